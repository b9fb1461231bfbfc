"""A server of its own for the demo: a process on a free port, with a temporary data directory."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from demo.client import DemoFailed, call

READY_WITHIN = 60.0
STOP_WITHIN = 20.0
LOG_LINES_SHOWN = 12


class DemoServer:
    """A running `reaktly serve`. `port` is where it listens on the loopback interface."""

    def __init__(self, work_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._work_dir = work_dir
        self._log_path = work_dir / "server.log"
        self._environment = server_environment(work_dir / "data") | dict(settings or {})
        with self._log_path.open("wb") as log:
            # A session of its own: Ctrl-C at the terminal reaches the demo alone,
            # which then stops the server in good order.
            self._process = subprocess.Popen(  # noqa: S603 (our own program, fixed arguments)
                [*_reaktly(), "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=work_dir,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Return when `/ready` answers 200; raise `DemoFailed` when it never does."""
        deadline = time.monotonic() + READY_WITHIN
        answer = "no answer"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise DemoFailed(f"the server ended with exit code {self._process.returncode}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = call(self.port, "GET", "/ready")
                if status == http.HTTPStatus.OK:
                    return
            time.sleep(0.05)
        raise DemoFailed(f"the server was not ready within {READY_WITHIN:.0f} s: {answer}")

    def create_key(self, knowledge_base_id: str) -> str:
        """Create an API key for one knowledge base with the command line, as an operator would."""
        arguments = ["keys", "create", "--name", "demo", "--knowledge-base", knowledge_base_id]
        done = subprocess.run(  # noqa: S603 (our own program, fixed arguments)
            [*_reaktly(), *arguments],
            cwd=self._work_dir,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"reaktly {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def stop(self) -> None:
        """Ask the server to stop and wait; kill it, with its worker, when it does not."""
        self._process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_WITHIN)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def last_log_lines(self) -> str:
        """Return the end of the server's log."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])


@contextlib.contextmanager
def running_server(
    work_dir: Path, settings: Mapping[str, str] | None = None
) -> Iterator[DemoServer]:
    """Start a server and stop it whatever happens in between."""
    server = DemoServer(work_dir, settings)
    try:
        yield server
    finally:
        server.stop()


def server_environment(data_dir: Path) -> dict[str, str]:
    """Return this process's environment without settings that would make another server of it."""
    kept = {
        name: value for name, value in os.environ.items() if not name.upper().startswith("REAKTLY_")
    }
    return kept | {
        "REAKTLY_DATA_DIR": str(data_dir),
        "REAKTLY_AUTO_CREATE_KNOWLEDGE_BASES": "true",
    }


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _reaktly() -> list[str]:
    return [sys.executable, "-m", "llamaindex_reaktly.cli"]
