import subprocess
import sys
from pathlib import Path

import pytest

from demo import server as demo_server
from demo.client import DemoFailed
from demo.server import DemoServer, free_port, running_server, server_environment

# Programs in the place of reaktly. The first answers every request with the
# status in its first line until SIGTERM ends it.
ANSWERING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")

    def log_message(self, *args):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[-1])), Answer).serve_forever()
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ANSWERING
ENDS_AT_ONCE = "print('the data directory is read-only')\nraise SystemExit(3)"
CREATES_KEYS = """
import sys
if sys.argv[1] == "serve":
    raise SystemExit(0)
print("rk_live_" + "-".join(sys.argv[1:]))
"""
REFUSES_KEYS = "import sys\nsys.exit('no such knowledge base')"


def in_place_of_reaktly(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(demo_server, "_reaktly", lambda: [sys.executable, "-c", program])


def process_of(server: DemoServer) -> subprocess.Popen[bytes]:
    return server._process


def test_a_ready_server_is_stopped_by_sigterm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_place_of_reaktly(monkeypatch, ANSWERING.format(status=200))
    with running_server(tmp_path) as server:
        server.wait_until_ready()
        assert process_of(server).poll() is None
    assert process_of(server).returncode == -15


def test_a_server_that_ignores_sigterm_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo_server, "STOP_WITHIN", 0.1)
    in_place_of_reaktly(monkeypatch, STUBBORN.format(status=200))
    with running_server(tmp_path) as server:
        server.wait_until_ready()
    assert process_of(server).returncode == -9


def test_the_server_is_stopped_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_place_of_reaktly(monkeypatch, ANSWERING.format(status=200))
    server: DemoServer | None = None

    def interrupted_demo() -> None:
        nonlocal server
        with running_server(tmp_path) as server:
            server.wait_until_ready()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_demo()
    assert server is not None
    assert process_of(server).returncode == -15


def test_a_server_that_is_never_ready_is_reported_with_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo_server, "READY_WITHIN", 1.0)
    in_place_of_reaktly(monkeypatch, ANSWERING.format(status=503))
    with (
        running_server(tmp_path) as server,
        pytest.raises(DemoFailed, match="not ready within"),
    ):
        server.wait_until_ready()


def test_a_server_that_ends_early_is_reported_and_its_log_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_place_of_reaktly(monkeypatch, ENDS_AT_ONCE)
    with running_server(tmp_path) as server:
        with pytest.raises(DemoFailed, match="exit code 3"):
            server.wait_until_ready()
        assert server.last_log_lines() == "the data directory is read-only"


def test_a_key_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_place_of_reaktly(monkeypatch, CREATES_KEYS)
    with running_server(tmp_path) as server:
        key = server.create_key("kb")
    assert key == "rk_live_keys-create---name-demo---knowledge-base-kb"


def test_a_refused_key_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_place_of_reaktly(monkeypatch, REFUSES_KEYS)
    with running_server(tmp_path) as server, pytest.raises(DemoFailed, match="no such knowledge"):
        server.create_key("kb")


def test_settings_of_the_surroundings_do_not_reach_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REAKTLY_STORE", "weaviate")
    monkeypatch.setenv("PATH_OF_MINE", "kept")
    environment = server_environment(tmp_path)
    assert "REAKTLY_STORE" not in environment
    assert environment["PATH_OF_MINE"] == "kept"
    assert environment["REAKTLY_DATA_DIR"] == str(tmp_path)
    assert environment["REAKTLY_AUTO_CREATE_KNOWLEDGE_BASES"] == "true"


def test_a_free_port_is_not_a_privileged_one() -> None:
    assert free_port() >= 1024
