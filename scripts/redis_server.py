"""A Redis server of one's own, on a free loopback port, for tests.

    .venv/bin/python -m scripts.redis_server        serves until Ctrl-C and prints the URL

It keeps nothing on disk and touches no server of the system's.
"""

import shutil
import signal
import socket
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

import redis

from scripts.parent_death import end_with_parent

PROGRAM = "redis-server"
STARTS_WITHIN = 20.0
STOPS_WITHIN = 10.0


class RedisMissing(Exception):
    """Redis's program is not on this machine."""


class RedisServer:
    """A server, empty at each start; leaving it ends it.

    Raises `RedisMissing` where the program is missing.
    """

    def __init__(self) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise RedisMissing(f"{PROGRAM} is not installed; on Debian: apt-get install {PROGRAM}")
        self._program = program
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._port: int = taken.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The URL of its first database, the same after a restart."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start the server and return when it answers."""
        self._process = subprocess.Popen(
            [
                self._program, "--port", str(self._port), "--bind", "127.0.0.1",
                "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", "/tmp",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError(f"{PROGRAM} did not start") from error
                    time.sleep(0.02)
                else:
                    return

    def freeze(self) -> None:
        """Have it hold its connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server at once, frozen or not. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOPS_WITHIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def main() -> None:
    """Serve until a signal says stop."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with RedisServer() as server:
        print(server.url, flush=True)
        over.wait()


if __name__ == "__main__":
    main()
