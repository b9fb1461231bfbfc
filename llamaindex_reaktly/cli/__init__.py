"""The command line: the one place where everything is put together.

Importing it costs nothing; `main` imports what the command at hand needs.
"""

import os


def main() -> None:
    """Run the command that the process was started with; the console script `reaktly`."""
    # One thread for each linear algebra call: a scan of vectors is bound by memory, not by
    # arithmetic, and a pool of spinning threads in every process takes from the others on
    # the machine what it does not use. The libraries read this once, as numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from llamaindex_reaktly.cli.application import app

    app(prog_name="reaktly")
