import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from typer.testing import Result

from llamaindex_reaktly.answers.extractive import DOES_NOT_KNOW
from llamaindex_reaktly.cli.server import address_of, api_settings, listening_socket
from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.settings import load_settings

Run = Callable[..., Result]

REAKTLY = (sys.executable, "-m", "llamaindex_reaktly.cli")
GREETING = "Reaktly listens on http://127.0.0.1:"


class _Server:
    """A running `reaktly serve`, on the port that its greeting names."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.greeting = process.stdout.readline()
        assert self.greeting.startswith(GREETING)
        self.port = int(self.greeting.removeprefix(GREETING).split(",")[0])

    def call(
        self, method: str, path: str, body: object = None, key: str = ""
    ) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        payload = None if body is None else json.dumps(body).encode()
        connection.request(method, path, payload, {"x-api-key": key} if key else {})
        response = connection.getresponse()
        answer: dict[str, object] = json.loads(response.read())
        connection.close()
        return response.status, answer

    def is_open(self) -> bool:
        try:
            return self.call("GET", "/health")[0] == 200
        except ConnectionError:
            return False

    def event(self, name: str) -> dict[str, object]:
        """Read the log up to that event."""
        assert self.process.stderr is not None
        return _event(self.process.stderr, name)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


def _event(log: IO[str], name: str) -> dict[str, object]:
    for line in log:
        event: dict[str, object] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"the log ended without {name}")


@contextmanager
def _serving(*arguments: str, command: tuple[str, ...] = (*REAKTLY, "serve")) -> Iterator[_Server]:
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield _Server(process)
        finally:
            process.kill()


@pytest.fixture
def key(run: Run) -> str:
    return run("keys", "create", "--name", "n", "--knowledge-base", "*").stdout.strip()


def _document(external_id: str, text: str) -> dict[str, object]:
    return {
        "integrationId": "int_1",
        "knowledgeBaseId": "harbour",
        "externalId": external_id,
        "sourceType": "PAGE",
        "data": {"title": "Knots", "content": text},
    }


def test_the_greeting_names_address_data_and_how_to_make_a_key(data_dir: Path) -> None:
    with _serving("--no-worker") as server:
        assert server.port > 0
        assert str(data_dir) in server.greeting
        assert "reaktly keys create --name NAME --knowledge-base KB" in server.greeting
        status, _ = server.call("GET", "/health")
        assert status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_well(number: signal.Signals) -> None:
    with _serving("--no-worker") as server:
        assert server.end(number) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


# Asks itself to end while the model is loading, and tells if that was not waited for.
INTERRUPTED = """
import os, signal, sys, threading
from llamaindex_reaktly.cli import main
from llamaindex_reaktly.knowledge_base import KnowledgeBase

closed = threading.Event()
close = KnowledgeBase.close

class Model:
    def embed_query(self, text):
        os.kill(os.getpid(), signal.SIGTERM)
        if closed.wait(1.0):
            print("closed while loading", file=sys.stderr)

def note_and_close(self):
    closed.set()
    close(self)

KnowledgeBase.embedder = lambda self, name: Model()
KnowledgeBase.close = note_and_close
main()
"""


def test_the_end_waits_for_the_model_that_is_loading() -> None:
    # An interpreter that goes down around onnxruntime's import aborts.
    with _serving("--no-worker", command=(sys.executable, "-c", INTERRUPTED, "serve")) as server:
        assert server.process.wait(20) == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_a_request_in_flight_is_answered_before_the_end(key: str) -> None:
    body = json.dumps(_document("bowline", "Tie a bowline.")).encode()
    with _serving("--no-worker") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(
                b"POST /ingest HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"x-api-key: " + key.encode() + b"\r\nexpect: 100-continue\r\n"
                b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
            server.process.send_signal(signal.SIGTERM)
            client.sendall(body)
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(20) == 0


def test_who_waits_is_told_at_the_end_what_is_queued(key: str) -> None:
    with _serving("--no-worker") as server, ThreadPoolExecutor(1) as pool:
        body = _document("bowline", "Tie a bowline.")
        waiting = pool.submit(server.call, "POST", "/ingest?wait=true", body, key)
        while server.call("GET", "/ingest/jobs/int_1-bowline", key=key)[0] != 200:
            pass
        assert server.end() == 0
        status, answer = waiting.result(20)
        assert (status, answer["status"]) == (200, "queued")


def test_the_end_comes_in_time_with_a_worker_that_does_not_answer() -> None:
    with _serving() as server:
        worker = server.event("worker_started")["pid"]
        assert isinstance(worker, int)
        os.kill(worker, signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert _has_ended(worker)


def test_a_second_signal_ends_everything_at_once() -> None:
    with _serving() as server:
        worker = server.event("worker_started")["pid"]
        assert isinstance(worker, int)
        os.kill(worker, signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        while server.is_open():
            pass
        assert server.end() == 128 + signal.SIGTERM
        assert _has_ended(worker)


def _has_ended(pid: int) -> bool:
    """Whether a process ends soon; one that nobody has buried yet has ended, too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
    return False


def test_a_transformation_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAKTLY_TRANSFORMATIONS", "json:Thing")
    with _serving() as server:
        assert server.process.stderr is not None
        said = server.process.stderr.read()
        assert "reaktly: REAKTLY_TRANSFORMATIONS: the module 'json' has no 'Thing'\n" in said
        assert "reaktly: the ingestion worker cannot work with these settings" in said
        assert server.process.wait(20) == 1


def test_a_port_in_use_is_a_sentence_and_exit_code_one(data_dir: Path) -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*REAKTLY, "serve", "--host", "127.0.0.1", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"reaktly: port {port} of 127.0.0.1 is in use; choose another with --port\n"
    )
    assert not data_dir.exists()


def test_traces_that_cannot_be_are_a_warning_and_no_reason_not_to_serve(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with listening_socket("127.0.0.1", 0) as taken:
        done = run("serve", "--port", str(taken.getsockname()[1]))
    warning, sentence = done.stderr.splitlines()
    assert warning.startswith("warning: OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf")
    assert "is in use" in sentence


def test_a_host_that_is_not_ours_is_named() -> None:
    for host in ("no such host", "203.0.113.7"):
        with pytest.raises(ConfigurationError, match=r"REAKTLY_HOST: .* is no address of this"):
            listening_socket(host, 0)


def test_an_address_of_the_newer_protocol_stands_in_brackets() -> None:
    with listening_socket("::1", 0) as listener:
        assert address_of(listener).startswith("http://[::1]:")


def test_the_api_is_given_the_limits_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAKTLY_MAX_BODY_BYTES", "2048")
    monkeypatch.setenv("REAKTLY_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("REAKTLY_RATE_LIMIT", "60/minute, search=none")
    given = api_settings(load_settings())
    assert given.max_body_bytes == 2048
    assert given.cors_origins == ("https://a.example", "https://b.example")
    assert given.rate_limits == {"*": "60/minute", "search": "none"}
    assert given.redis_url is None
    monkeypatch.setenv("REAKTLY_REDIS_URL", "redis://localhost")
    assert api_settings(load_settings()).redis_url is not None
    monkeypatch.setenv("REAKTLY_RATE_LIMIT", "often")
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_RATE_LIMIT: 'often'"):
        api_settings(load_settings())


# Runs the command line to its end, then tells whether LlamaIndex was imported on the way.
REPORTING = """
import sys
from llamaindex_reaktly.cli import main
try:
    main()
finally:
    print("llama_index" in sys.modules, file=sys.stderr)
"""


def test_the_api_process_serves_without_importing_llamaindex(key: str) -> None:
    with _serving("--no-worker", command=(sys.executable, "-c", REPORTING, "serve")) as server:
        status, _ = server.call("POST", "/ingest", _document("bowline", "Tie a bowline."), key)
        assert status == 200
        search = {"knowledgeBaseId": "harbour", "query": "bowline"}
        status, answer = server.call("POST", "/search", search, key)
        assert (status, answer["results"]) == (200, [])
        assert server.end() == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read().splitlines()[-1] == "False"


def test_it_is_ready_before_llamaindex_could_be_imported() -> None:
    command = [sys.executable, "-c", "import llama_index.core"]
    with subprocess.Popen(command) as importing, _serving() as server:
        status, _ = server.call("GET", "/ready")
        assert importing.poll() is None
        assert status == 200


def test_it_is_ready_without_a_worker_and_says_so() -> None:
    with _serving() as server:
        worker = server.event("worker_started")["pid"]
        assert isinstance(worker, int)
        parts = server.call("GET", "/ready")[1]["parts"]
        assert isinstance(parts, dict)
        assert parts["worker"] == "ok"
        os.kill(worker, signal.SIGKILL)
        server.event("worker_died")
        status, answer = server.call("GET", "/ready")
        assert status == 200
        parts = answer["parts"]
        assert isinstance(parts, dict)
        assert parts["worker"] == "no ingestion worker runs at the moment; one is started soon"


def test_a_pushed_document_becomes_searchable_and_nothing_outlives_the_end(
    key: str, run: Run
) -> None:
    with _serving() as server:
        worker = server.event("worker_started")["pid"]
        assert isinstance(worker, int)
        path = "/ingest?wait=true"
        status, _ = server.call("POST", path, _document("bowline", "Tie a bowline."), key)
        assert status == 200
        search = {"knowledgeBaseId": "harbour", "query": "How do I tie a bowline?"}
        status, answer = server.call("POST", "/search", search, key)
        assert status == 200
        beside = json.loads(run("search", "harbour", search["query"], "--json").stdout)
        assert answer["results"] == beside["results"]
        question = {"knowledgeBaseId": "harbour", "query": "What should I tie?"}
        status, answer = server.call("POST", "/answer", question, key)
        assert (status, answer["answer"]) == (200, "Tie a bowline. [1]")
        beside_answer = json.loads(run("ask", "harbour", question["query"], "--json").stdout)
        assert beside_answer["answer"] == answer["answer"]
        assert beside_answer["citations"] == answer["citations"]
        (hit,) = beside["results"]
        assert hit["externalId"] == "bowline"
        assert server.end() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_a_worker_ends_when_its_server_is_killed() -> None:
    with _serving() as server:
        server.event("worker_started")
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        # The worker shares the server's log: its last words, then the end of the pipe.
        server.event("worker_stopped")
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_a_worker_alone_stops_when_asked(run: Run) -> None:
    worker = subprocess.Popen(
        [*REAKTLY, "worker"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with worker:
        assert worker.stderr is not None
        _event(worker.stderr, "worker_started")
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) > os.getpriority(os.PRIO_PROCESS, 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0


def test_waiting_for_files_needs_no_server(run: Run, folder: Path) -> None:
    done = subprocess.run(
        [*REAKTLY, "ingest", "harbour", str(folder), "--wait"],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3 queued, 3 searchable"
    found = json.loads(run("search", "harbour", "bowline knot", "--limit", "1", "--json").stdout)
    assert [hit["externalId"] for hit in found["results"]] == ["guides/mooring.html"]
    lines = run("search", "harbour", "bowline knot").stdout.splitlines()
    assert "How to & moor  (guides/mooring.html)" in lines[0]
    lines = run("ask", "harbour", "which knot do I moor with?").stdout.splitlines()
    assert lines == ["Tie a bowline knot. [1]", "  [1] How to & moor  (guides/mooring.html)"]
    lines = run("ask", "harbour", "who painted the Sistine Chapel?").stdout.splitlines()
    assert lines == [DOES_NOT_KNOW]
