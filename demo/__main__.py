"""Run the demo: exit 0 when every expectation holds, 1 when one doesn't, 130 after Ctrl-C."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo.client import DemoFailed, HttpApi
from demo.content import load_documents
from demo.server import running_server
from demo.terminal import Terminal
from demo.tour import Tour
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

KNOWLEDGE_BASE_ID = "tarnholt"
INTEGRATION_ID = "website"
INTERRUPTED = 130


def main(arguments: Sequence[str] = ()) -> int:
    """Start a server, walk through the tour, stop the server; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=main.__doc__)
    parser.add_argument("--store", choices=("embedded", "weaviate"), default="embedded")
    store: str = parser.parse_args(arguments).store
    terminal = Terminal(sys.stdout)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(
            prefix="reaktly-demo-", ignore_cleanup_errors=True
        ) as work_dir:
            failures = _show(terminal, Path(work_dir), store)
    except KeyboardInterrupt:
        terminal.say("Interrupted; the server is stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left (`| head`); nothing more can be shown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DemoFailed as failure:
        terminal.check(holds=False, text=str(failure))
        return 1
    terminal.heading(f"Done in {time.monotonic() - started:.1f} s, the server is stopped.")
    for unmet in failures:
        terminal.check(holds=False, text=unmet)
    if not failures:
        terminal.say("Everything held that must hold.")
    return 1 if failures else 0


@contextmanager
def _index(terminal: Terminal, work_dir: Path, store: str) -> Iterator[Mapping[str, str]]:
    """The settings that point a server at the store; a Weaviate runs as long as it is used."""
    if store == "embedded":
        yield {}
        return
    terminal.say(
        "Starting a Weaviate of its own; where Go has to build it first, that takes a while."
    )
    try:
        with WeaviateServer(work_dir / "weaviate") as server:
            terminal.say(f"Weaviate is ready at {server.url}.")
            yield server.settings
    except WeaviateMissing as error:
        raise DemoFailed(str(error)) from None
    except subprocess.SubprocessError as error:
        raise DemoFailed(f"Weaviate could not be started: {error}") from None


def _show(terminal: Terminal, work_dir: Path, store: str) -> list[str]:
    """Run the tour against a server of its own; return the expectations that failed."""
    documents = load_documents()
    terminal.heading(
        "Reaktly: a knowledge base for Tarnholt, an invented maker of bicycle trailers"
    )
    with (
        _index(terminal, work_dir, store) as settings,
        running_server(work_dir, settings) as server,
    ):
        started = time.monotonic()
        try:
            server.wait_until_ready()
            terminal.say(
                f"reaktly serve is ready at http://127.0.0.1:{server.port} "
                f"after {time.monotonic() - started:.1f} s, on an empty data directory."
            )
            api = HttpApi(
                port=server.port,
                api_key=server.create_key(KNOWLEDGE_BASE_ID),
                knowledge_base_id=KNOWLEDGE_BASE_ID,
                integration_id=INTEGRATION_ID,
            )
            terminal.say(f"reaktly keys create made a key for knowledge base {KNOWLEDGE_BASE_ID}.")
            tour = Tour(api, terminal)
            tour.run(documents)
        except DemoFailed:
            terminal.heading("The end of the server's log")
            terminal.verbatim(server.last_log_lines())
            raise
    return tour.failures


if __name__ == "__main__":
    # A demo that is told to end stops its server, too, as after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
