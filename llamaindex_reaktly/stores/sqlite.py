"""The SQLite that opens the store's files: the bundled one, under the stdlib module's types.

`pysqlite3` is the stdlib module compiled against another SQLite and carries no types.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llamaindex_reaktly.errors import ReaktlyError, StorageFull, Unavailable

if TYPE_CHECKING:
    import sqlite3
else:
    import pysqlite3.dbapi2 as sqlite3

__all__ = ["engine_errors", "sqlite3"]

_DAMAGED = "the index is damaged; rebuild it"
_BUSY = "the index is busy; try again"

# Primary result codes, https://sqlite.org/rescode.html
_ERRORS: Mapping[int, Callable[[], ReaktlyError]] = {
    5: lambda: Unavailable(_BUSY),
    6: lambda: Unavailable(_BUSY),
    8: lambda: Unavailable("the index may not be written"),
    10: lambda: Unavailable("the index cannot be read or written"),
    11: lambda: Unavailable(_DAMAGED),
    13: lambda: StorageFull("the disk is full"),
    14: lambda: Unavailable("the index cannot be opened"),
    26: lambda: Unavailable(_DAMAGED),
}


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what SQLite and the system say of the world (not of our SQL) into our errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        translated = _ERRORS.get(code & 0xFF) if isinstance(code, int) else None
        if translated is None:
            raise
        raise translated() from error
    except OSError as error:  # of the directory around the files
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full") from error
        raise Unavailable("the index cannot be opened") from error
