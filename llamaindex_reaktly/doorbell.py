"""Waking other processes: accepting wakes workers, finishing wakes those who wait.

A ring is a hint, never the truth: who hears it looks into the registry, and who misses
it looks there after a while anyway. Here is the bell of one machine; where the registry
is a PostgreSQL, that rings on all machines (`registry.notifications`).
"""

import contextlib
import os
import select
import uuid
from abc import abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class Listener(Protocol):
    """Hears a doorbell. Close it when done, or use it as a context manager."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> bool:
        """Block until the bell rings or `timeout` seconds are over; whether it rang."""

    @abstractmethod
    def wake(self) -> None:
        """End a `wait` from another thread or from a signal handler."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Doorbell(Protocol):
    """One thing that can be rung, such as `work` or `done`."""

    def ring(self) -> None:
        """Wake everyone who listens now. Never fails."""

    def has_listeners(self) -> bool:
        """Whether anybody listens; one who died without a word may count until the next ring."""

    def listen(self) -> Listener:
        """Start to listen; rings from now on are heard by the next `wait`."""


class PipeDoorbell:
    """Named pipes in a directory, one a listener; ringing writes a byte into all of them.

    Pipes, because they need no server, no port and no polling, and a name of any length
    (a Unix socket's path ends at some 100 bytes).
    """

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

    def listen(self) -> Listener:
        """Start to listen; rings from now on are heard by the next `wait`."""
        return _PipeListener(self._directory)


class _PipeListener(Listener):
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{uuid.uuid4().hex}"
        hidden, self._path = directory / f"{name}.new", directory / f"{name}.pipe"
        os.mkfifo(hidden, 0o600)
        # Open for writing too, so that the pipe never reports its end.
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
        hidden.rename(self._path)

    def wait(self, timeout: float | None = None) -> bool:
        readable, _, _ = select.select([self._descriptor], [], [], timeout)
        if readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._descriptor, 4096):
                    pass
        return bool(readable)

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"!")

    def close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1
