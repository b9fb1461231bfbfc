"""`reaktly worker`: one ingestion worker in this process."""

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.opening import read_settings, traced

if TYPE_CHECKING:
    from llamaindex_reaktly.ingestion.worker import Worker

# Searches go first on a busy machine; ingestion takes what they leave.
NICENESS = 10


def worker(
    until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)] = False,
) -> None:
    """Index what is queued, until stopped. `serve` starts workers of its own."""
    if until_stdin_ends:
        # Ctrl-C reaches all processes of a terminal; the parent says when we are to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    settings = read_settings(warn=not until_stdin_ends)  # the parent has warned
    from llamaindex_reaktly.ingestion.worker import Worker

    with traced(warn=not until_stdin_ends):
        running = Worker(settings)
        try:
            stop_signals = [signal.SIGTERM] if until_stdin_ends else [signal.SIGTERM, signal.SIGINT]
            for number in stop_signals:
                signal.signal(number, lambda _number, _frame: running.stop())
            if until_stdin_ends:
                threading.Thread(target=_stop_at_end_of_stdin, args=(running,), daemon=True).start()
            running.run()
        finally:
            running.close()


def _stop_at_end_of_stdin(running: "Worker") -> None:
    """Stop when the other end of the pipe is gone, which is when the parent is."""
    while os.read(0, 4096):
        pass
    running.stop()
