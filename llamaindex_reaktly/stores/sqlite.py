"""The SQLite that opens the store's files: the bundled one, under the stdlib module's types.

`pysqlite3` is the stdlib module compiled against another SQLite and carries no types.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llamaindex_reaktly.errors import IndexDamaged, ReaktlyError, StorageFull, Unavailable

if TYPE_CHECKING:
    import sqlite3
else:
    import pysqlite3.dbapi2 as sqlite3

__all__ = ["engine_errors", "sqlite3"]

_BUSY = "the index is busy; try again"


def _damaged() -> ReaktlyError:
    return IndexDamaged("the index is damaged; rebuild it")


# Result codes, https://sqlite.org/rescode.html: extended ones first, then their primary ones.
_ERRORS: Mapping[int, Callable[[], ReaktlyError]] = {
    522: _damaged,  # IOERR_SHORT_READ: the file ends within a page
    1032: _damaged,  # READONLY_DBMOVED: the file was removed under us
    4874: lambda: StorageFull("the disk is full"),  # IOERR_SHMSIZE, on a full tmpfs
    5: lambda: Unavailable(_BUSY),
    6: lambda: Unavailable(_BUSY),
    8: lambda: Unavailable("the index may not be written"),
    10: lambda: Unavailable("the index cannot be read or written"),
    11: _damaged,
    13: lambda: StorageFull("the disk is full"),
    14: lambda: Unavailable("the index cannot be opened"),
    19: _damaged,  # our statements violate no constraint of a whole file
    20: _damaged,
    26: _damaged,
}
# The engine's words, where it has no code for what a damaged file makes of our statements.
_DAMAGE = ("no such table", "no such column", "unsupported file format", "Could not decode")


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what SQLite and the system say of the world (not of our SQL) into our errors."""
    try:
        yield
    except UnicodeDecodeError as error:  # a damaged name, in the engine's own words on it
        raise _damaged() from error
    except sqlite3.DatabaseError as error:
        if str(error).startswith(_DAMAGE):
            raise _damaged() from error
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(code, int):
            raise
        translated = _ERRORS.get(code) or _ERRORS.get(code & 0xFF)
        if translated is None:
            raise
        raise translated() from error
    except OSError as error:  # of the directory around the files
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full") from error
        raise Unavailable("the index cannot be opened") from error
