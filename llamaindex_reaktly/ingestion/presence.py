"""Who of this data directory's workers lives, as the kernel knows it.

A worker holds a lock on a file for as long as it lives, however it ends. So whoever
finds the lock free knows at once that the owner's claims need not run out. What a
crash leaves in the file tells it from a kill from outside.
"""

import contextlib
import faulthandler
import fcntl
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ENDING = ".worker"


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """A worker that ended without a word, and whether it crashed."""

    owner: str
    crashed: bool


class Presence:
    """This worker's own file. Close it in the end, when nothing is claimed any more."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.owner = uuid.uuid4().hex
        # Under its name only once it is locked, so that nobody takes it for a dead one's.
        hidden, self._path = directory / f"{self.owner}.new", directory / f"{self.owner}{_ENDING}"
        self._file = hidden.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        hidden.rename(self._path)
        self._records_crashes = False

    def record_crashes(self) -> None:
        """Have crashes of this process leave a trace; for a process that is a worker alone."""
        faulthandler.enable(self._file)
        self._records_crashes = True

    @contextlib.contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """End this process as crashed if what is done takes longer, whatever it hangs in."""
        if not self._records_crashes:
            yield
            return
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def dead(self) -> Iterator[DeadWorker]:
        """Workers that died; each is forgotten when the caller comes for the next."""
        for path in self._directory.glob(f"*{_ENDING}"):
            if path == self._path:
                continue
            with contextlib.suppress(FileNotFoundError), path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield DeadWorker(path.stem, crashed=os.fstat(file.fileno()).st_size > 0)
                path.unlink(missing_ok=True)

    def close(self, *, claims_left: bool = False, crashed: bool = False) -> None:
        """Leave no trace, or with `claims_left` that of one who died. Idempotent."""
        if self._file.closed:
            return
        if self._records_crashes:
            faulthandler.disable()
        if not claims_left:
            self._path.unlink(missing_ok=True)
        elif crashed:
            self._file.write("ended by an error\n")
        self._file.close()
