"""`reaktly mcp`: the knowledge base for an assistant on this machine, over stdin and stdout."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.opening import open_knowledge_base, read_settings, traced
from llamaindex_reaktly.cli.parameters import opaque_id
from llamaindex_reaktly.errors import ConfigurationError, ReaktlyError

if TYPE_CHECKING:
    from llamaindex_reaktly.knowledge_base import KnowledgeBase

WORKER_STOP_SECONDS = 8.0


def mcp(
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Offer no tool that changes anything.")
    ] = False,
    knowledge_base_id: Annotated[
        str | None,
        typer.Option("--knowledge-base", metavar="KB", help="Only this one.", callback=opaque_id),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A Reaktly server, with the key in REAKTLY_API_KEY."),
    ] = None,
) -> None:
    """Serve MCP on standard input and output; an assistant's client starts this."""
    # Nothing here needs an orderly end, and a thread that reads would delay it until
    # the client's next line: what was acknowledged is durable.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if server is not None:
        _bridge(server, read_only=read_only, knowledge_base_id=knowledge_base_id)
        return
    with traced(), open_knowledge_base(read_settings()) as knowledge_base, _warm(knowledge_base):
        from reaktly_mcp import Access, KnowledgeServer

        access = Access(reach=frozenset({knowledge_base_id}) if knowledge_base_id else None)
        if read_only:
            access = access.read_only()
        with _worker_on_demand(knowledge_base) as see_to_a_worker:
            KnowledgeServer(knowledge_base, lambda: access, on_accepted=see_to_a_worker).run(
                "stdio"
            )


def _bridge(address: str, *, read_only: bool, knowledge_base_id: str | None) -> None:
    key = os.environ.get("REAKTLY_API_KEY", "")
    if not key:
        raise ConfigurationError("REAKTLY_API_KEY: must be a key of the server, for --server")
    import anyio

    from llamaindex_reaktly.logs import configure_logging
    from reaktly_mcp.bridge import Bridge

    configure_logging()
    bridge = Bridge(address, key, read_only=read_only, knowledge_base=knowledge_base_id)
    anyio.run(bridge.run)


@contextmanager
def _warm(knowledge_base: "KnowledgeBase") -> Iterator[None]:
    """Load the model while the rest starts: the first search is asked for soon."""

    def load() -> None:
        try:
            knowledge_base.embedder(knowledge_base.settings.embedder).embed_query("warm up")
        except ReaktlyError as error:
            typer.echo(f"warning: {error.message}", err=True)

    warming = threading.Thread(target=load, name="warm-up", daemon=True)
    warming.start()
    try:
        yield
    finally:
        # A thread inside onnxruntime's import while the interpreter goes down is an abort.
        warming.join()


@contextmanager
def _worker_on_demand(knowledge_base: "KnowledgeBase") -> Iterator[Callable[[], None]]:
    """A function that starts a worker of our own, unless one is at work already.

    It takes a worker five seconds of processor time to start, which nobody spends who
    only searches.
    """
    from llamaindex_reaktly.cli.supervision import WorkerSupervisor

    supervisor = WorkerSupervisor(1)
    lock = threading.Lock()
    is_started = False

    def see_to_it() -> None:
        nonlocal is_started
        with lock:
            # Ringing forgets the listeners that are dead; those left are alive.
            knowledge_base.work_bell.ring()
            if not is_started and not knowledge_base.work_bell.has_listeners():
                supervisor.start()
                is_started = True

    try:
        yield see_to_it
    finally:
        if is_started:
            supervisor.stop(WORKER_STOP_SECONDS)
