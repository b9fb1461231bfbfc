"""Reaktly as its users have it: processes on a data directory, spoken to over HTTP."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

READY_WITHIN = 40.0
SETTLED_WITHIN = 40.0
STOPPED_WITHIN = 15.0
# Below the five seconds after which uvicorn ends a connection that says nothing.
IDLE_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with its JSON, or its text where it is none."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Identity:
    """What names a document on the wire."""

    knowledge_base_id: str
    integration_id: str
    external_id: str

    @property
    def fields(self) -> dict[str, str]:
        """As an item of `/ingest` carries it."""
        return {
            "knowledgeBaseId": self.knowledge_base_id,
            "integrationId": self.integration_id,
            "externalId": self.external_id,
        }


class Client:
    """One connection to a server. Not for several threads at once."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=45)
        self._used = time.monotonic()
        self.headers = {"x-api-key": key, "content-type": "application/json"}

    def call(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request with a JSON body, or none."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        if time.monotonic() - self._used > IDLE_WITHIN:
            self._connection.close()  # the server may just be doing so; the next request opens it
        self._used = time.monotonic()
        payload = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, payload, self.headers)
        response = self._connection.getresponse()
        payload = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, json.loads(payload) if is_json else payload.decode())

    def ok(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """The answer's JSON; anything but 200 is an `AssertionError`."""
        answer = self.call(method, path, body, query)
        assert answer.status == 200, f"{method} {path}: {answer}"
        return answer.body

    def push(self, *items: Mapping[str, object], wait: bool = False) -> None:
        """Push items that `item` made."""
        answer = self.ok(
            "POST", "/ingest/bulk", {"items": items}, {"wait": "true"} if wait else None
        )
        assert answer["jobCount"] == len(items), answer
        assert not wait or answer["status"] == "completed", answer

    def search(
        self, knowledge_base_id: str, query: str, *, mode: str = "hybrid", **filters: object
    ) -> list[dict[str, Any]]:
        """The results of a search."""
        body = {"knowledgeBaseId": knowledge_base_id, "query": query, "mode": mode}
        results = self.ok("POST", "/search", body | ({"filters": filters} if filters else {}))
        found: list[dict[str, Any]] = results["results"]
        return found

    def job(self, identity: Identity) -> Answer:
        """Look a document's job up."""
        job_id = f"{identity.integration_id}-{identity.external_id}"
        return self.call(
            "GET",
            # A dot is never escaped by `quote`, and `..` is not for clients to resolve.
            "/ingest/jobs/" + urllib.parse.quote(job_id, safe=""),
            query={
                "knowledgeBaseId": identity.knowledge_base_id,
                "integrationId": identity.integration_id,
            },
        )

    def wait_for(
        self, identity: Identity, *states: str, within: float = SETTLED_WITHIN
    ) -> dict[str, Any]:
        """Ask for a job until it is in one of these states."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            job = self.job(identity)
            if job.status == 200 and job.body["status"] in states:
                found: dict[str, Any] = job.body
                return found
            time.sleep(0.005)
        raise AssertionError(f"{identity} is not {states} within {within} s: {job}")

    def wait_until_completed(self, *document_ids: str, within: float = SETTLED_WITHIN) -> None:
        """Ask for documents, of whatever dialect, until all can be found."""
        deadline = time.monotonic() + within
        for document_id in document_ids:
            while (found := self.ok("GET", f"/documents/{document_id}"))["status"] != "completed":
                assert time.monotonic() < deadline, found
                time.sleep(0.005)

    def counter(self, name: str) -> float:
        """A counter without labels of `/metrics`."""
        lines: str = self.ok("GET", "/metrics")
        return next(
            (float(line.split()[1]) for line in lines.splitlines() if line.startswith(name + " ")),
            0.0,
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def item(identity: Identity, content: str, **data: object) -> dict[str, object]:
    """An item of `/ingest` in plain text."""
    return {
        **identity.fields,
        "sourceType": "ARTICLE",
        "data": {"title": "A page", "content": content, "contentType": "text/plain"} | data,
    }


class Product:
    """A data directory with the processes that work on it; leaving it ends them all."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.data_dir = directory / "data"
        self.port = _free_port()
        self._log = directory / "log"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("REAKTLY_")
        } | {"REAKTLY_DATA_DIR": str(self.data_dir), **environment}
        self.keeps_the_index = environment.get("REAKTLY_STORE", "embedded") == "embedded"
        self._directory = directory
        self._key: str | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []

    @property
    def key(self) -> str:
        """A key for everything, made by the command line."""
        if self._key is None:
            self._key = self.make_key("*")
        return self._key

    def make_key(self, knowledge_base_id: str, *options: str) -> str:
        """One more key, with the default scopes unless `options` say otherwise."""
        arguments = ["keys", "create", "--name", "test", "--knowledge-base", knowledge_base_id]
        return subprocess.run(
            [*_reaktly(), *arguments, *options],
            cwd=self._directory,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.strip()

    @cached_property
    def shared_client(self) -> Client:
        """A connection for tests that need only one, for all their examples."""
        return self.client()

    def client(self) -> Client:
        """A new connection; closed with the product."""
        client = Client(self.port, self.key)
        self._clients.append(client)
        return client

    def start_server(self, *, worker: bool = True, ready_for: str | None = None) -> None:
        """Start `reaktly serve` and wait until it is ready; for one thing, or for everything."""
        arguments = ["serve", "--port", str(self.port), *([] if worker else ["--no-worker"])]
        self._server = self._start(*arguments)
        deadline = time.monotonic() + READY_WITHIN
        client = self.client()
        while time.monotonic() < deadline:
            assert self._server.poll() is None, self.log()
            with contextlib.suppress(OSError, http.client.HTTPException):
                asked = {"for": ready_for} if ready_for else None
                if client.call("GET", "/ready", query=asked).status == 200:
                    return
            client.close()
            time.sleep(0.05)
        raise AssertionError(f"not ready within {READY_WITHIN} s: {self.log()}")

    def stop(self) -> None:
        """End everything in good order."""
        self.close_connections()
        self.stop_worker()
        if self._server is not None:
            server, self._server = self._server, None
            _stop(server)

    def kill(self) -> None:
        """End the server without a word, and with it the worker that it started."""
        assert self._server is not None
        for pid in [self._server.pid, *self.workers()]:
            os.kill(pid, signal.SIGKILL)
        self._server.wait()
        self.close_connections()

    def workers(self) -> list[int]:
        """The processes that the server started (Linux)."""
        assert self._server is not None
        return [
            int(child)
            for tasks in Path(f"/proc/{self._server.pid}/task").glob("*/children")
            for child in tasks.read_text().split()
        ]

    def close_connections(self) -> None:
        """Have each client connect anew."""
        for client in self._clients:
            client.close()

    def worker(self) -> subprocess.Popen[bytes]:
        """The `reaktly worker` beside the server; started when none runs."""
        if self._worker is None or self._worker.poll() is not None:
            self._worker = self._start("worker")
        return self._worker

    def stop_worker(self) -> None:
        """End the worker in good order."""
        if self._worker is not None:
            _stop(self._worker)
            self._worker = None

    def log(self) -> str:
        """What the processes wrote."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*_reaktly(), *arguments],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextlib.contextmanager
def frozen(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process in mid-work, and let it go on afterwards."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _reaktly() -> list[str]:
    return [sys.executable, "-m", "llamaindex_reaktly.cli"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
