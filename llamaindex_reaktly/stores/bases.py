"""The open knowledge bases of a process: their connections and what they keep in memory.

Connections are borrowed for one operation each. Only the most recently used bases stay
open, so that any number of bases works within a process's limit of open files, and their
vectors within a limit of memory.

A base's name in the directory is a symbolic link to its file, and no file's name is ever
used twice. So an index that can't be trusted gives way to a new one in one step, and
whoever still has the old one open does no harm: SQLite, closing a file that is gone, would
delete the log of whatever has its name by then (sqlite.org/howtocorrupt.html, 2.4).
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llamaindex_reaktly.errors import IndexDamaged, Unavailable
from llamaindex_reaktly.stores.filter_sql import CASEFOLD_FUNCTION
from llamaindex_reaktly.stores.protocol import IndexedDocument
from llamaindex_reaktly.stores.schema import connect, make
from llamaindex_reaktly.stores.sqlite import engine_errors, sqlite3
from llamaindex_reaktly.stores.vector_view import VectorView, read_state

# Each connection takes two to three file descriptors.
_IDLE_CONNECTIONS = 2

_BESIDE = ("-wal", "-shm")


class OpenFile:
    """One file of a base while it is that base's. `lock` guards what has no lock of its own."""

    def __init__(self, identity: tuple[int, int] | None) -> None:
        self.identity = identity
        self.lock = threading.Lock()
        # Guards `view` alone: reading all vectors takes its time.
        self.view_lock = threading.Lock()
        self.view: VectorView | None = None
        self.frequencies: tuple[int, dict[str, int]] = (-1, {})
        # By rowid, which names one version of a document for good.
        self.documents: dict[int, IndexedDocument] = {}
        self.languages: tuple[int, tuple[str, ...]] = (-1, ())
        self._idle: list[sqlite3.Connection] = []
        self._open = True

    def take(self) -> sqlite3.Connection | None:
        """An idle connection, or None."""
        with self.lock:
            return self._idle.pop() if self._idle else None

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Keep the connection for the next one who needs it, or close it."""
        with self.lock:
            keep = self._open and len(self._idle) < _IDLE_CONNECTIONS
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def close(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        with self.lock:
            self._open = False
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Base:
    """One knowledge base's place in the directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Writers of one process queue here instead of polling for SQLite's lock.
        self.writing = threading.Lock()
        self._lock = threading.Lock()
        self._file = OpenFile(None)
        self._open = True

    @property
    def vector_bytes(self) -> int:
        """The memory that its vectors take."""
        view = self._file.view
        return 0 if view is None else view.vectors.nbytes

    def forget_vectors(self) -> None:
        """Give the memory of its vectors back; the next search reads them again."""
        self._file.view = None

    @contextmanager
    def connection(
        self, *, create: bool
    ) -> Iterator[tuple[sqlite3.Connection, OpenFile] | tuple[None, None]]:
        """A connection for one operation with its file; None if the base is not there.

        An error inside closes it, and with it the transaction.
        """
        with engine_errors():
            file = self._current()
            connection = file.take() or self._connected()
            if connection is None and create:
                self._make()
                file = self._current()
                connection = self._connected()
                if connection is None:
                    raise Unavailable("the index was removed while it was made; try again")
            if connection is None:
                yield None, None
                return
            try:
                yield connection, file
            except BaseException:
                connection.close()
                raise
            file.give_back(connection)

    def renew(self, index_id: str | None) -> None:
        """Put a new, empty file in the place of the one that can't be trusted.

        Does nothing where a sound index of another id than `index_id` is there: somebody
        was first. None: whatever is there.
        """
        with _lock_of(self.path.parent):
            if index_id is None or self._index_id() in (index_id, None):
                self._put_new()
        self._current()

    def _index_id(self) -> str | None:
        """The id of the index that is there; None if there is none that can be read."""
        try:
            with engine_errors():
                connection = self._connected()
                if connection is None:
                    return None
                try:
                    return read_state(connection).index_id
                finally:
                    connection.close()
        except IndexDamaged:
            return None

    def _current(self) -> OpenFile:
        """What is open of the file that is there now; of another one, nothing is kept."""
        try:
            status = self.path.stat()
            identity = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            identity = None
        with self._lock:
            file = self._file
            if file.identity == identity:
                return file
            self._file = newer = OpenFile(identity)
            if not self._open:
                newer.close()
        file.close()
        return newer

    def _connected(self) -> sqlite3.Connection | None:
        connection = connect(self.path)
        if connection is not None:
            connection.create_function(CASEFOLD_FUNCTION, 1, _casefolded, deterministic=True)
        return connection

    def _make(self) -> None:
        with _lock_of(self.path.parent):
            connection = self._connected()
            if connection is not None:
                connection.close()
            else:
                self._put_new()

    def _put_new(self) -> None:
        """Make a file under a name of its own, point the base's name to it, remove the old one."""
        old = self.path.resolve()
        new = self.path.with_suffix(f".{secrets.token_hex(6)}{self.path.suffix}")
        try:
            make(new)
        except BaseException:
            _remove(new)
            raise
        link = new.with_suffix(".link")
        link.symlink_to(new.name)
        link.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        # An index of the first release has no link: its name points to the new file by now.
        _remove(old, itself=old != self.path)

    def close(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        with self._lock:
            self._open = False
            file = self._file
        file.close()


def _remove(file: Path, *, itself: bool = True) -> None:
    for name in ([str(file)] if itself else []) + [f"{file}{beside}" for beside in _BESIDE]:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


@contextmanager
def _lock_of(directory: Path) -> Iterator[None]:
    """Where files take each other's place, one process and thread at a time does it."""
    with (directory / "files.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _casefolded(value: str | bytes | float | None) -> str | bytes | float | None:
    return value.casefold() if isinstance(value, str) else value


class OpenBases:
    """The most recently used bases of a directory, at most `max_open` of them.

    Their vectors take at most `max_bytes` of memory together, or one base's alone.
    """

    def __init__(self, directory: Path, max_open: int, max_bytes: int) -> None:
        self._directory = directory
        self._max_open = max_open
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bases: OrderedDict[str, Base] | None = OrderedDict()

    def get(self, knowledge_base_id: str) -> Base:
        """The base, opened or not; the least recently used one is closed for it."""
        closing: Base | None = None
        with self._lock:
            if self._bases is None:
                raise Unavailable("the store is closed")
            base = self._bases.get(knowledge_base_id)
            if base is None:
                base = Base(self._directory / file_name(knowledge_base_id))
                self._bases[knowledge_base_id] = base
                if len(self._bases) > self._max_open:
                    _, closing = self._bases.popitem(last=False)
            else:
                self._bases.move_to_end(knowledge_base_id)
        if closing is not None:
            closing.close()
        return base

    def __len__(self) -> int:
        """How many are open."""
        return len(self._bases or ())

    def bound_memory(self) -> None:
        """Forget the vectors of the least recently used bases, where all take too much."""
        with self._lock:
            bases = list((self._bases or {}).values())
        taken = sum(base.vector_bytes for base in bases)
        for base in bases[:-1]:
            if taken <= self._max_bytes:
                return
            taken -= base.vector_bytes
            base.forget_vectors()

    def close(self) -> None:
        """Close every base. Idempotent."""
        with self._lock:
            bases, self._bases = self._bases, None
        for base in (bases or {}).values():
            base.close()


def file_name(knowledge_base_id: str) -> str:
    """A name that any file system takes, whatever the id holds, and that tells nothing of it."""
    digest = hashlib.sha256(knowledge_base_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:40]}.sqlite3"
