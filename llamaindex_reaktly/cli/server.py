"""The server process: the API in it, ingestion in processes of its own.

The socket listens first, LlamaIndex is never imported here, and neither the model nor
a worker is touched before the first request can be answered: a server that is started
together with `python -c "import llama_index.core"` is ready before that ends.
"""

import contextlib
import errno
import gc
import os
import signal
import socket
import threading
import time
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import typer

from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.supervision import Witness, WorkerSupervisor
from llamaindex_reaktly.errors import ConfigurationError, ReaktlyError, Unavailable
from llamaindex_reaktly.file_systems import network_file_system
from llamaindex_reaktly.logs import gathered_lines

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from llamaindex_reaktly.knowledge_base import KnowledgeBase
    from llamaindex_reaktly.registry.registry import Registry
    from llamaindex_reaktly.settings import Settings
    from reaktly_api.settings import ApiSettings

log = structlog.get_logger(__name__)

# Container engines kill after ten seconds (docker stop): be through before.
SHUTDOWN_SECONDS = 9.0
# Of these, what requests in flight may take to be answered.
REQUEST_SECONDS = 5
BACKLOG = 2048
# A bulk of 10,000 items lives as 200,000 containers until it is stored. By default the
# collector walks all of them again and again as they become more, 90 ms at a time
# (measured). So it walks the newest, a millisecond for each 5,000 more, and others seldom.
COLLECTOR_THRESHOLDS = (5_000, 200, 10)


def run_server(settings: "Settings", *, workers: int) -> None:
    """Serve until SIGTERM or SIGINT, then return with everything ended.

    A second signal ends everything at once. Raises `ConfigurationError` when the address
    cannot be listened on or a worker cannot work with these settings, `Unavailable` when the
    data directory or the application does not open.
    """
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    with listening_socket(settings.host, settings.port) as listener:
        # Between here and uvicorn's own handlers a signal must not end us half open; uvicorn
        # raises what it caught once more when it is through, to the same handler.
        stop_asked = threading.Event()

        def note(_number: int, _frame: FrameType | None) -> None:
            stop_asked.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)
        with open_knowledge_base(settings) as knowledge_base:
            if kind := network_file_system(knowledge_base.data_dir):
                log.warning(
                    "data_on_network_file_system",
                    file_system=kind,
                    advice="SQLite may lose data there: use a local disk for REAKTLY_DATA_DIR",
                )
            from starlette.routing import Route

            from llamaindex_reaktly.cli.mcp_mount import MountedMcp
            from reaktly_api.app import create_app

            assistants = MountedMcp(settings, knowledge_base)
            app = create_app(
                knowledge_base,
                api_settings(settings),
                mounts=[Route("/mcp", assistants, name="mcp")] if find_spec("mcp") else [],
                mounts_lifespan=assistants.lifespan,
            )

            def stop_serving() -> None:
                server.should_exit = True

            supervisor = WorkerSupervisor(
                workers,
                witness=_witness(knowledge_base.registry),
                on_misconfigured=stop_serving,
                progress=lambda: _documents_done(knowledge_base.registry),
            )
            if workers:
                knowledge_base.watch("worker", supervisor.require_workers)
            lifecycle = _Lifecycle(settings, knowledge_base, supervisor, address_of(listener))
            server = _server(app, lifecycle, stop_asked)
            try:
                with gathered_lines():
                    server.run(sockets=[listener])
            except SystemExit as error:  # uvicorn's way to say that the app did not start
                raise Unavailable("the API could not start; the log says why") from error
            finally:
                lifecycle.end()
                lifecycle.wait()
            if supervisor.is_misconfigured:
                raise ConfigurationError(
                    "the ingestion worker cannot work with these settings; what it says is above"
                )


def _witness(registry: "Registry") -> Witness:
    """Counts what becomes of the workers, and strikes the dead from the list of the living."""

    def tell(event: str, pid: int | None) -> None:
        try:
            registry.queue.count({event: 1})
            if event == "worker_deaths" and pid is not None:
                registry.workers.forget_process(pid)
        except ReaktlyError as error:
            log.warning("worker_event_not_counted", worker_event=event, reason=error.message)

    return tell


def _documents_done(registry: "Registry") -> int:
    """How many documents were indexed, or have failed, so far."""
    try:
        counters = registry.queue.counters()
    except ReaktlyError:
        return 0
    return counters.get("documents_indexed", 0) + counters.get("documents_failed", 0)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; `ConfigurationError` says why there can be none."""
    try:
        family, *_rest, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror:
        raise ConfigurationError(f"REAKTLY_HOST: {host!r} is no address of this machine") from None
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} of {host} is in use; choose another with --port",
            errno.EACCES: f"port {port} may only be used by the system; choose one above 1023",
            errno.EADDRNOTAVAIL: f"REAKTLY_HOST: {host!r} is no address of this machine",
        }
        reason = reasons.get(error.errno or 0, f"cannot listen on {host}:{port}: {error.strerror}")
        raise ConfigurationError(reason) from None


def address_of(listener: socket.socket) -> str:
    """The URL under which a listening socket is reached, with its real port."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def api_settings(settings: "Settings") -> "ApiSettings":
    """The part of the settings that the API is given."""
    from reaktly_api.rate_limits import read_rule
    from reaktly_api.settings import ApiSettings

    try:
        rate_limits = dict(map(read_rule, settings.rate_limit))
    except ValueError as error:
        raise ConfigurationError(f"REAKTLY_RATE_LIMIT: {error}") from None
    return ApiSettings(
        max_body_bytes=settings.max_body_bytes,
        max_batch_body_bytes=settings.max_batch_body_bytes,
        max_document_bytes=settings.max_document_bytes,
        max_bulk_items=settings.max_bulk_items,
        quant_answer_seconds=settings.quant_answer_seconds,
        quant_wait_seconds=settings.quant_wait_seconds,
        rag_documents=settings.rag_documents,
        rag_tokens=settings.rag_tokens,
        cors_origins=settings.cors_origins,
        metrics_token=settings.metrics_token,
        redis_url=settings.redis_url,
        rate_limits=rate_limits,
    )


def _server(
    app: "Starlette", lifecycle: "_Lifecycle", stop_asked: threading.Event
) -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        """Tells when it listens and when it begins to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                lifecycle.begin()
            self.should_exit = self.should_exit or stop_asked.is_set()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                lifecycle.leave_at_once(sig)
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            lifecycle.end()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=REQUEST_SECONDS,
        )
    )


class _Lifecycle:
    """What happens beside answering requests: the greeting, the model, the workers, the end."""

    def __init__(
        self,
        settings: "Settings",
        knowledge_base: "KnowledgeBase",
        supervisor: WorkerSupervisor,
        address: str,
    ) -> None:
        self._settings = settings
        self._knowledge_base = knowledge_base
        self._supervisor = supervisor
        self._address = address
        self._warming = threading.Thread(target=self._warm_up, name="warm-up", daemon=True)
        self._ending: threading.Thread | None = None
        self._deadline = 0.0

    def begin(self) -> None:
        """Greet, then load the model and start the workers, in that order, out of the way."""
        typer.echo(
            f"Reaktly listens on {self._address}, data in {self._knowledge_base.data_dir}; "
            "make a key with: reaktly keys create --name NAME --knowledge-base KB"
        )
        self._warming.start()

    def end(self) -> None:
        """Tell the workers to stop, and see to it that everything ends in time. Idempotent."""
        if self._ending is not None:
            return
        self._knowledge_base.let_waiters_go()
        self._deadline = time.monotonic() + SHUTDOWN_SECONDS
        self._ending = threading.Thread(
            target=self._supervisor.stop, args=(SHUTDOWN_SECONDS - 1,), name="stop-workers"
        )
        self._ending.start()
        # A request whose thread hangs in something cannot be ended from outside. What was
        # acknowledged is durable, so to leave it is safe.
        watchdog = threading.Timer(SHUTDOWN_SECONDS, self._leave)
        watchdog.daemon = True
        watchdog.start()

    def wait(self) -> None:
        """Block until the workers are gone and nothing is being loaded; bounded."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self.leave_at_once(number))
        # A thread inside onnxruntime's import while the interpreter goes down is an abort.
        for thread in (self._ending, self._warming):
            if thread is not None and thread.ident is not None:
                thread.join(max(0.0, self._deadline - time.monotonic()))

    def leave_at_once(self, number: int) -> None:
        """End this process and its workers now; from a signal handler, so without a word."""
        for pid in self._supervisor.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(128 + number)

    def _warm_up(self) -> None:
        # The model first: it takes half a second, and a worker's own start, with LlamaIndex's
        # import, would take the processor from it for ten times as long.
        try:
            self._knowledge_base.embedder(self._settings.embedder).embed_query("warm up")
        except ReaktlyError as error:
            log.warning("embedder_not_loaded", reason=error.message)
        finally:
            with contextlib.suppress(ModuleNotFoundError):  # an extra that may be left out
                import reaktly_mcp  # noqa: F401 - for the first request
            # What is loaded by now stays: without this each full collection walks it all
            # again, 75 ms (measured) in which neither loop nor search gets a turn.
            gc.freeze()
            self._supervisor.start()

    def _leave(self) -> None:
        log.warning("left_with_requests_unanswered")
        self._supervisor.kill()
        os._exit(0)
