"""The SQLite that opens the store's files: the bundled one, under the stdlib module's types.

`pysqlite3` is the stdlib module compiled against another SQLite and carries no types.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    import pysqlite3.dbapi2 as sqlite3

__all__ = ["sqlite3"]
