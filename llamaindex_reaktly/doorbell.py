"""Waking other processes on this machine: accepting wakes workers, finishing wakes waiters.

Each waiter owns a named pipe in a directory; ringing writes a byte into all of them.
Pipes, because they need no server, no port and no polling, and a name of any length
(a Unix socket's path ends at some 100 bytes). A ring is a hint, never the truth: who
hears it looks into the registry, and who misses it looks there after a while anyway.
"""

import contextlib
import os
import select
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self


class Doorbell:
    """One thing that can be rung, such as `work` or `done`, under a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory / name

    def ring(self) -> None:
        """Wake everyone who listens now. Never blocks and never fails."""
        try:
            pipes = list(self._directory.iterdir())
        except OSError:
            return
        for pipe in pipes:
            if pipe.suffix != ".pipe":
                continue
            try:
                descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                # Nobody has it open: its owner died. Listeners appear under this name only
                # once they are open, so none is removed by mistake.
                with contextlib.suppress(OSError):
                    pipe.unlink()
                continue
            with contextlib.suppress(OSError):  # a full pipe rings already
                os.write(descriptor, b"!")
            os.close(descriptor)

    def has_listeners(self) -> bool:
        """Whether anybody listens; one who died without a word counts until the next ring."""
        return any(self._directory.glob("*.pipe"))

    def listen(self) -> "Listener":
        """Start to listen; rings from now on are heard by the next `wait`."""
        return Listener(self._directory)


class Listener:
    """Hears a doorbell. Close it when done, or use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{uuid.uuid4().hex}"
        hidden, self._path = directory / f"{name}.new", directory / f"{name}.pipe"
        os.mkfifo(hidden, 0o600)
        # Open for writing too, so that the pipe never reports its end.
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
        hidden.rename(self._path)

    def fileno(self) -> int:
        """The descriptor that becomes readable when the bell rings."""
        return self._descriptor

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the bell rings or `timeout` seconds are over; whether it rang."""
        readable, _, _ = select.select([self._descriptor], [], [], timeout)
        if readable:
            self.clear()
        return bool(readable)

    def wake(self) -> None:
        """End a `wait` from another thread or from a signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"!")

    def clear(self) -> None:
        """Forget the rings heard so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, 4096):
                pass

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
