"""The product's processes on one registry and one data directory, to be killed and frozen.

Two shapes: `reaktly serve` with the workers that it supervises, and API processes without
workers (`reaktly serve --no-worker`) beside workers of their own (`reaktly worker`).
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from benchmarks.server import COMMAND_LINE, create_key, free_port, server_environment
from torture.connection import Connection, NotAnswered, NotSent

# Long, because machines are shared: a start takes some seconds of processor time.
READY_WITHIN = 240.0
STOPPED_WITHIN = 15.0
LOG_LINES_SHOWN = 15
# The least that the settings allow: how long a killed worker's documents wait.
LEASE_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_REQUEST_EVENT = '"event":"request_answered"'


class TortureFailed(Exception):
    """A scenario could not be carried out; the message is a sentence."""


class NotPossible(TortureFailed):
    """This machine does not allow what the scenario does; the message says what."""


class Server(Protocol):
    """Another server that the product needs, to be killed and frozen as well.

    PostgreSQL is one; `scripts.weaviate_server` has another. What the fleet knows of either
    is its settings.
    """

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment variables that make the product use it."""

    def kill(self) -> None:
        """SIGKILL to all its processes."""

    def start(self) -> None:
        """Start it again on the data that it had, and wait until it answers."""

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        """Let it stand still for a block."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many processes of which kind. `supervised` workers belong to their API process."""

    apis: int = 1
    workers: int = 0
    supervised: int = 1

    def __str__(self) -> str:
        if self.workers:
            return f"{self.apis} x serve --no-worker, {self.workers} x worker"
        return f"{self.apis} x serve with {self.supervised} worker"


SERVED = Shape()
SPREAD = Shape(apis=2, workers=2, supervised=0)


class Process:
    """One `reaktly` process, in a session of its own, and its log."""

    def __init__(self, fleet: "Fleet", name: str, arguments: Sequence[str]) -> None:
        self._fleet = fleet
        self._arguments = arguments
        self.log = fleet.directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Its process id; the last one, when it is dead."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again)."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._fleet.command, *self._arguments],
                cwd=self._fleet.directory,
                env=self._fleet.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._fleet.limit_files,
            )

    def kill(self) -> None:
        """SIGKILL to this process alone, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def has_logged(self, event: bytes) -> bool:
        """Whether it wrote this since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return event in log.read()

    def last_lines(self) -> str:
        """The end of its log, requests left out."""
        written = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line for line in written if _REQUEST_EVENT not in line]
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def abort(self) -> None:
        """Have it and its children write where each of their threads stands, and end."""
        if self.is_alive:
            for pid in (*children_of(self.pid), self.pid):
                _send(pid, signal.SIGABRT)

    def stop(self) -> None:
        """Ask it to end, as an operator would; kill its whole session when it does not."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGCONT)
        if self._process.poll() is None:
            self._process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOPPED_WITHIN)
        finally:
            # Also a worker that outlives its supervisor.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Fleet:
    """All processes on one data directory. Leaving it ends them."""

    def __init__(
        self,
        directory: Path,
        shape: Shape = SERVED,
        *,
        servers: Sequence[Server] = (),
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND_LINE,
        data_dir: Path | None = None,
        most_files: int | None = None,
    ) -> None:
        self.directory = directory
        self.shape = shape
        self.servers = servers
        self.data_dir = data_dir or directory / "data"
        self.command = command
        self.most_files = most_files
        needed = {name: value for server in servers for name, value in server.settings.items()}
        self.environment = server_environment(
            self.data_dir,
            {
                "REAKTLY_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
                "REAKTLY_WORKERS": str(shape.supervised),
                "REAKTLY_LOG_FORMAT": "json",
                "PYTHONFAULTHANDLER": "1",
            }
            | needed
            | dict(settings or {}),
        )
        self.ports = [free_port() for _ in range(shape.apis)]
        options = [] if shape.supervised else ["--no-worker"]
        self.apis = [
            Process(self, f"api-{n}", ("serve", "--port", str(port), *options))
            for n, port in enumerate(self.ports)
        ]
        self.workers = [Process(self, f"worker-{n}", ("worker",)) for n in range(shape.workers)]
        self._key: str | None = None

    @property
    def processes(self) -> list[Process]:
        """Those that the harness starts: a supervised worker is not among them."""
        return [*self.apis, *self.workers]

    @property
    def key(self) -> str:
        """A key for all knowledge bases, made when first asked for."""
        if self._key is None:
            self._key = create_key(self.directory, self.environment)
        return self._key

    def limit_files(self) -> None:
        """Between fork and exec: how many files the process may have open."""
        if self.most_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.most_files, self.most_files))

    def connection(self) -> Connection:
        """New connections to all API processes."""
        return Connection(self.ports, self.key)

    def worker_pids(self) -> list[int]:
        """All workers that live, supervised or not."""
        return [w.pid for w in self.workers if w.is_alive] + [
            pid for api in self.apis if api.is_alive for pid in children_of(api.pid)
        ]

    def strays(self) -> list[int]:
        """Processes of the product that no process of the fleet has started (Linux)."""
        family = {process.pid for process in self.processes if process.is_alive}
        working_here = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "cwd").readlink() == self.directory:
                    working_here.append(int(folder.name))
        generation = family
        while generation:
            generation = {child for pid in generation for child in children_of(pid)}
            family |= generation
        return sorted(set(working_here) - family)

    def start(self) -> None:
        """Start what does not run, and wait until all are in service."""
        self.start_dead()
        self.wait_until_in_service()

    def start_dead(self) -> None:
        """Start what does not run."""
        for process in self.processes:
            if not process.is_alive:
                process.start()

    def wait_until_in_service(self) -> None:
        """Return when every API is ready and every worker has said that it takes work."""
        for api in self.apis:
            self.wait_for(lambda api=api: self.is_ready(api), f"{api.log.stem} is not ready")  # type: ignore[misc]
            if self.shape.supervised:
                self.wait_for(
                    lambda api=api: api.has_logged(b"worker_started"),  # type: ignore[misc]
                    "no supervised worker started",
                )
        for worker in self.workers:
            self.wait_for(
                lambda worker=worker: worker.has_logged(b"worker_started"),  # type: ignore[misc]
                f"{worker.log.stem} did not start",
            )

    def is_ready(self, api: Process) -> bool:
        """Whether an API process answers `/ready` with 200."""
        if not api.is_alive:
            raise TortureFailed(f"{api.log.stem} ended by itself:\n{api.last_lines()}")
        port = self.ports[self.apis.index(api)]
        with Connection([port], "none") as connection:
            try:
                return connection.call("GET", "/ready").status == 200
            except (NotSent, NotAnswered, TimeoutError):
                return False

    def wait_for(
        self, condition: Callable[[], bool], otherwise: str, within: float = READY_WITHIN
    ) -> float:
        """Return when the condition holds, with the seconds that it took.

        Raises `TortureFailed` when the time is over.
        """
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > within:
                raise TortureFailed(f"{otherwise} within {within:.0f} s:\n{self.last_lines()}")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - begun

    def last_lines(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {p.log.stem}\n{p.last_lines()}" for p in self.processes if p.log.exists()
        )

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes:
            if isinstance(error, TortureFailed):
                process.abort()
            process.stop()


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that live (Linux)."""
    with contextlib.suppress(OSError):
        return [
            int(child)
            for children in Path(f"/proc/{pid}/task").glob("*/children")
            for child in children.read_text().split()
        ]
    return []


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process where it stands, and let it go on afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pid, signal.SIGCONT)
