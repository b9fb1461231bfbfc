"""A real server to measure: `reaktly serve` with a temporary data directory and a key.

It listens on a free port of the loopback interface and ends with the `with` block:

    with running_server() as server, server.client() as client:
        client.ingest("kb", items)
        client.post("/search", {"knowledgeBaseId": "kb", "query": "..."})
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.results import BenchmarkFailed

READY_WITHIN = 120.0
STOP_WITHIN = 20.0
LOG_LINES_SHOWN = 12
BULK_ITEMS = 500
# The server closes connections that are idle for five seconds (uvicorn's default).
IDLE_SECONDS = 4.0
OK = http.HTTPStatus.OK

COMMAND_LINE = ("-m", "llamaindex_reaktly.cli")

JsonObject = dict[str, Any]


class Client:
    """One kept-alive connection with a key. Not for several threads."""

    def __init__(self, port: int, key: str, *, timeout: float = 300.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._headers = {"content-type": "application/json", "x-api-key": key}
        self._last_used = time.monotonic()

    def send(self, method: str, path: str, payload: bytes | None = None) -> tuple[int, bytes]:
        """Send bytes; the answer's status and bytes."""
        if time.monotonic() - self._last_used > IDLE_SECONDS:
            self._connection.close()  # and is opened anew by the request
        self._connection.request(method, path, body=payload, headers=self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        self._last_used = time.monotonic()
        return response.status, answer

    def post(self, path: str, body: object) -> Any:
        """Send JSON; the answer's JSON. Raises `BenchmarkFailed` unless the status is 200."""
        return orjson.loads(self.post_bytes(path, orjson.dumps(body)))

    def post_bytes(self, path: str, payload: bytes) -> bytes:
        """Send JSON that is encoded already; the answer as it came."""
        return self._expect("POST", path, payload)

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return orjson.loads(self._expect("GET", path))

    def metrics(self) -> dict[str, float]:
        """`/metrics` by name; samples that differ in labels only are added up."""
        text = self._expect("GET", "/metrics").decode()
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def ingest(self, items: Sequence[JsonObject], *, timeout: float = 600.0) -> None:
        """Post items in bulks and return when all are searchable.

        Raises `BenchmarkFailed` when one is refused or fails, or the time is over.
        """
        for start in range(0, len(items), BULK_ITEMS):
            self.post("/ingest/bulk", {"items": items[start : start + BULK_ITEMS]})
        self.wait_until_searchable({item["knowledgeBaseId"] for item in items}, timeout)

    def wait_until_searchable(self, knowledge_bases: set[str], timeout: float = 600.0) -> None:
        """Return when nothing of these waits or is worked on; raises if anything failed."""
        deadline = time.monotonic() + timeout
        for name in knowledge_bases:
            for status in ("queued", "processing", "queued"):
                while self.jobs(name, status):
                    if time.monotonic() > deadline:
                        raise BenchmarkFailed(f"not all was searchable within {timeout:.0f} s")
                    time.sleep(0.1)
            if failed := self.jobs(name, "failed"):
                raise BenchmarkFailed(f"{failed[0]['externalId']} failed: {failed[0]['error']}")

    def jobs(self, knowledge_base: str, status: str, limit: int = 1) -> list[JsonObject]:
        """The first jobs of a knowledge base in a state."""
        path = f"/ingest/jobs?knowledgeBaseId={knowledge_base}&status={status}&limit={limit}"
        jobs: list[JsonObject] = self.get(path)["jobs"]
        return jobs

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _expect(self, method: str, path: str, payload: bytes | None = None) -> bytes:
        status, answer = self.send(method, path, payload)
        if status != OK:
            raise BenchmarkFailed(
                f"{method} {path} answered {status}: {answer[:300].decode(errors='replace')}"
            )
        return answer


class BenchmarkServer:
    """A running server. `command` replaces the command line that is given `serve`."""

    def __init__(
        self,
        work_dir: Path,
        *,
        data_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND_LINE,
        options: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.data_dir = data_dir or work_dir / "data"
        self._work_dir = work_dir
        self._key: str | None = None
        self._environment = server_environment(self.data_dir, settings or {})
        self._log_path = work_dir / "server.log"
        arguments = ["serve", "--host", "127.0.0.1", "--port", str(self.port), *options]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, *arguments],
                cwd=work_dir,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The API's process."""
        return self._process.pid

    @property
    def key(self) -> str:
        """A key for all knowledge bases, made when first asked for."""
        if self._key is None:
            self._key = create_key(self._work_dir, self._environment)
        return self._key

    def client(self, *, timeout: float = 300.0) -> Client:
        """A new connection with the key."""
        return Client(self.port, self.key, timeout=timeout)

    def is_ready(self) -> bool:
        """Whether `/ready` answers 200; raises `BenchmarkFailed` when the server ended."""
        if self._process.poll() is not None:
            raise BenchmarkFailed(f"the server ended:\n{self.last_log_lines()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/ready")
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return response.status == OK

    def wait_until_ready(self) -> None:
        """Return when `/ready` answers 200."""
        deadline = time.monotonic() + READY_WITHIN
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"the server was not ready:\n{self.last_log_lines()}")
            time.sleep(0.02)

    def wait_for_worker(self) -> None:
        """Return when a worker has said that it takes work."""
        deadline = time.monotonic() + READY_WITHIN
        while b"worker_started" not in self._log_path.read_bytes():
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"no worker started:\n{self.last_log_lines()}")
            time.sleep(0.05)

    def worker_pids(self) -> list[int]:
        """The processes that the server started, and those that they did (Linux)."""
        found: list[int] = []
        waiting = [self.pid]
        while waiting:
            for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                pids = [int(pid) for pid in children.read_text().split()]
                found += pids
                waiting += pids
        return found

    def stop(self) -> None:
        """Ask it to stop and wait; kill it, with its workers, when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_WITHIN)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def last_log_lines(self) -> str:
        """The end of its log."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])


@contextlib.contextmanager
def running_server(
    *,
    data_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND_LINE,
    options: Sequence[str] = (),
    wait_for_worker: bool = True,
) -> Iterator[BenchmarkServer]:
    """A server that is ready, its worker too, and is stopped whatever happens.

    `data_dir` is where a program filled a data directory before; else it is a new one.
    """
    with tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder:
        work_dir = Path(folder)
        server = BenchmarkServer(
            work_dir, data_dir=data_dir, settings=settings, command=command, options=options
        )
        try:
            server.wait_until_ready()
            if wait_for_worker and "--no-worker" not in options:
                server.wait_for_worker()
            yield server
        finally:
            server.stop()


def server_environment(data_dir: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that would make another server of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REAKTLY_")}
    kept["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(Path(__file__).parent.parent), kept.get("PYTHONPATH")))
    )
    return (
        kept
        | {"REAKTLY_DATA_DIR": str(data_dir), "REAKTLY_AUTO_CREATE_KNOWLEDGE_BASES": "true"}
        | dict(settings)
    )


def create_key(work_dir: Path, environment: Mapping[str, str]) -> str:
    """A key for all knowledge bases, made with the command line as an operator would."""
    arguments = ["keys", "create", "--name", "benchmark", "--knowledge-base", "*"]
    done = subprocess.run(
        [sys.executable, *COMMAND_LINE, *arguments],
        cwd=work_dir,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"no key could be made: {done.stderr.strip()}")
    return done.stdout.strip()


def free_port() -> int:
    """A port of the loopback interface on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
