"""`reaktly worker`: one ingestion worker in this process."""

import contextlib
import functools
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.opening import read_settings, traced
from llamaindex_reaktly.errors import ConfigurationError, ModelMissing, Unavailable

if TYPE_CHECKING:
    from llamaindex_reaktly.ingestion.isolation import IsolatedParsing
    from llamaindex_reaktly.ingestion.worker import Worker
    from llamaindex_reaktly.settings import Settings

# Searches go first on a busy machine; ingestion takes what they leave.
NICENESS = 10
# A worker whose parent is gone ends by itself, whatever it is at.
STOP_SECONDS = 15.0


def worker(
    until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)] = False,
) -> None:
    """Index what is queued, until stopped. `serve` starts workers of its own."""
    if until_stdin_ends:
        # Ctrl-C reaches all processes of a terminal; the parent says when we are to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    settings = read_settings(warn=not until_stdin_ends)  # the parent has warned
    try:
        parsing = _isolated_parsing(settings)
    except ConfigurationError as error:
        if not until_stdin_ends:
            raise
        from llamaindex_reaktly.cli.supervision import MISCONFIGURED

        typer.echo(f"reaktly: {error.message}", err=True)
        raise typer.Exit(MISCONFIGURED) from None
    from llamaindex_reaktly.ingestion.worker import Worker

    with traced(warn=not until_stdin_ends):
        running = Worker(settings, parsing=parsing)
        running.record_crashes()
        try:
            stop_signals = [signal.SIGTERM] if until_stdin_ends else [signal.SIGTERM, signal.SIGINT]
            for number in stop_signals:
                signal.signal(number, lambda _number, _frame: running.stop())
            if until_stdin_ends:
                threading.Thread(target=_stop_at_end_of_stdin, args=(running,), daemon=True).start()
            running.run()
        finally:
            running.close()
    if parsing.is_lost:
        raise Unavailable("the processes that parse documents were lost; start this one again")


def _isolated_parsing(settings: "Settings") -> "IsolatedParsing":
    """Parsing in children, of a server that is forked off here and now.

    Before the first thread, so before the model's runtime is imported and before the
    registry is opened; after the import of what parsing needs, which all then share.
    """
    from llamaindex_reaktly.ingestion.fork_server import ForkServer
    from llamaindex_reaktly.ingestion.isolation import IsolatedParsing, serve_parser
    from llamaindex_reaktly.ingestion.parsing import TransformationChain, load_transformations
    from llamaindex_reaktly.knowledge_base import models_directory

    added = load_transformations(settings.transformations)
    chain = TransformationChain(models_directory(settings), added)
    with contextlib.suppress(ModelMissing):  # which each document will say
        chain.warm_up(settings.embedder)
    forks = ForkServer(
        functools.partial(serve_parser, chain=chain, memory_bytes=settings.parse_memory_bytes)
    )
    return IsolatedParsing(forks, seconds=settings.parse_seconds)


def _stop_at_end_of_stdin(running: "Worker") -> None:
    """Stop when the other end of the pipe is gone, which is when the parent is."""
    while os.read(0, 4096):
        pass
    running.stop()
    time.sleep(STOP_SECONDS)  # then it hangs, and nobody else is there to end it
    os._exit(1)
