"""SQLAlchemy engines for the registry's two databases, and what their errors mean."""

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from llamaindex_reaktly.errors import ReaktlyError, StorageFull, Unavailable

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
)
_SQLITE_FULL = ("disk is full", "disk I/O error")

# A server that is away is noticed within seconds, also where the network only goes silent.
_POSTGRESQL_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "reaktly",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_FULL = "53100"
_POSTGRESQL_PASSING = ("40001", "40P01")  # serialization failure, deadlock


def create(url: str) -> sa.Engine:
    """An engine for an SQLAlchemy URL; `postgres:` and `postgresql:` mean psycopg.

    Raises `ArgumentError` for what is no URL, or that of another database.
    """
    if url.startswith("postgres:"):  # as many hosting providers write it
        url = url.replace("postgres", "postgresql", 1)
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return _create_postgresql(parsed.set(drivername="postgresql+psycopg"))
    if parsed.get_backend_name() == "sqlite":
        return _create_sqlite(parsed)
    raise sa.exc.ArgumentError("a registry is on SQLite or on PostgreSQL")


_SQLITE_DAMAGED = ("malformed", "not a database", "no such table")


def translate(error: BaseException | None) -> ReaktlyError:
    """What the driver's error means to a caller, without the driver's words."""
    text = str(error)
    if getattr(error, "sqlstate", None) == _POSTGRESQL_FULL or any(
        mark in text for mark in _SQLITE_FULL
    ):
        return StorageFull("the registry's disk is full; nothing was accepted")
    if any(mark in text for mark in _SQLITE_DAMAGED):
        return Unavailable(
            "the registry is damaged, and nothing else holds what it held: stop the server and put "
            "a back-up in its place, or read exports with `reaktly import`"
        )
    return Unavailable("the registry cannot be reached at the moment")


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when it is tried again at once."""
    return (
        isinstance(error, sa.exc.DBAPIError)
        and getattr(error.orig, "sqlstate", None) in _POSTGRESQL_PASSING
    )


def _create_sqlite(url: sa.URL) -> sa.Engine:
    import pysqlite3.dbapi2 as sqlite

    engine = sa.create_engine(
        url,
        module=sqlite,
        pool_size=8,
        max_overflow=32,
        # The one that was used last has the warmest cache, most of all the writer's.
        pool_use_lifo=True,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(raw: sa.engine.interfaces.DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = raw.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    # The driver's own transaction handling is off (isolation_level None): it would begin
    # only at the first write, and then may fail where waiting would have done.
    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _create_postgresql(url: sa.URL) -> sa.Engine:
    missing = {name: value for name, value in _POSTGRESQL_DEFAULTS.items() if name not in url.query}
    engine = sa.create_engine(
        url.update_query_dict(missing),
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=8,
        pool_timeout=10,
    )

    @sa.event.listens_for(engine, "connect")
    def require_durability(
        raw: sa.engine.interfaces.DBAPIConnection, _entry: ConnectionPoolEntry
    ) -> None:
        cursor = raw.cursor()
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        cursor.close()
        raw.commit()

    return engine
