"""The open knowledge bases of a process: their connections and what they keep in memory.

Connections are borrowed for one operation each. Only the most recently used bases stay
open, so that any number of bases works within a process's limit of open files.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.filter_sql import CASEFOLD_FUNCTION
from llamaindex_reaktly.stores.protocol import IndexedDocument
from llamaindex_reaktly.stores.schema import connect
from llamaindex_reaktly.stores.sqlite import engine_errors, sqlite3
from llamaindex_reaktly.stores.vector_view import VectorView

# Each connection takes two to three file descriptors.
_IDLE_CONNECTIONS = 2


class Base:
    """One knowledge base's file. `lock` guards what has no lock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        # Guards `view` alone: reading all vectors takes its time.
        self.view_lock = threading.Lock()
        self.view: VectorView | None = None
        self.frequencies: tuple[int, dict[str, int]] = (-1, {})
        # By rowid, which names one version of a document for good.
        self.documents: dict[int, IndexedDocument] = {}
        self.languages: tuple[int, tuple[str, ...]] = (-1, ())
        # Writers of one process queue here instead of polling for SQLite's lock.
        self.writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._open = True

    @contextmanager
    def connection(self, *, create: bool) -> Iterator[sqlite3.Connection | None]:
        """A connection for one operation; None if the base is not there.

        An error inside closes it, and with it the transaction.
        """
        with engine_errors():
            connection = self._borrowed(create=create)
            if connection is None:
                yield None
                return
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)

    def _borrowed(self, *, create: bool) -> sqlite3.Connection | None:
        with self.lock:
            if self._idle:
                return self._idle.pop()
        connection = connect(self.path, create=create)
        if connection is not None:
            connection.create_function(CASEFOLD_FUNCTION, 1, _casefolded, deterministic=True)
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
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


def _casefolded(value: str | bytes | float | None) -> str | bytes | float | None:
    return value.casefold() if isinstance(value, str) else value


class OpenBases:
    """The most recently used bases of a directory, at most `max_open` of them."""

    def __init__(self, directory: Path, max_open: int) -> None:
        self._directory = directory
        self._max_open = max_open
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
