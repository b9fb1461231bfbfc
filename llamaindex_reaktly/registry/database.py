"""The registry's database: one engine, short reads, and one thread that writes in groups.

SQLite and PostgreSQL run the same code; what differs between them is in this file.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler

from llamaindex_reaktly.errors import ReaktlyError, StorageFull, Unavailable
from llamaindex_reaktly.registry.migrations import HEAD

log = structlog.get_logger(__name__)

T = TypeVar("T")

# How many waiting writes one commit takes with it. A group is as long as the disk's
# last flush made it; the bound only keeps one transaction from growing without end.
MAX_GROUP = 128

# Statements with longer lists are prepared each time, so that what is kept stays small.
MAX_KEPT_PARAMETERS = 128

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
)
_SQLITE_FULL = ("disk is full", "disk I/O error")

# Serialises migrations of several processes on PostgreSQL; any constant will do.
_MIGRATION_LOCK = 7_295_811_402


def translate(error: BaseException | None) -> ReaktlyError:
    """What the driver's error means to a caller, without the driver's words."""
    text = str(error)
    if any(mark in text for mark in _SQLITE_FULL) or "No space left" in text:
        return StorageFull("the registry's disk is full; nothing was accepted")
    return Unavailable("the registry cannot be reached at the moment")


class Database:
    """An open registry database, migrated to the newest schema. Close it when done."""

    def __init__(self, url: str) -> None:
        self.engine = _create_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        try:
            self._migrate()
        except sa.exc.DBAPIError as error:
            self.engine.dispose()
            raise translate(error.orig) from error
        except Unavailable:
            self.engine.dispose()
            raise
        self._prepared: dict[tuple[object, ...], ExpandedState] = {}
        # The last one in is the first one out: its caches are the warmest.
        self._readers: deque[Any] = deque()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write_groups, name="registry-writer")
        self._writer.daemon = True
        self._writer.start()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading, in one transaction (on SQLite: one snapshot)."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise translate(error.orig) from error

    def look_up(self, statement: sa.Select[Any], **parameters: object) -> Sequence[Any]:
        """All rows of a statement that stands for itself, columns as the driver gives them.

        For what every request asks. On SQLite the statement goes straight to the driver, on
        a connection kept for this: alone it is a snapshot without a transaction around it,
        and SQLAlchemy's part costs many times the look-up, most of all when other work has
        driven its code out of the processor's caches. What is prepared is kept, so the
        statement must be one that lives as long as the program.
        """
        if not self.is_sqlite:
            with self.read() as connection:
                return connection.execute(statement, parameters).all()
        prepared = self._prepare(statement, parameters)
        values: dict[str, Any] = {**prepared.parameters, **parameters}
        for name, parts in prepared.parameter_expansion.items():
            if name in parameters:  # else a list of the statement's own
                values.update(zip(parts, values[name], strict=True))
        positional = [values[name] for name in prepared.positiontup or ()]
        try:
            try:
                reader = self._readers.pop()
            except IndexError:
                reader = self._open_reader()
            rows: Sequence[Any] = reader.execute(prepared.statement, positional).fetchall()
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise translate(error) from error
        self._readers.append(reader)
        return rows

    def _prepare(
        self, statement: sa.Select[Any], parameters: Mapping[str, object]
    ) -> ExpandedState:
        lengths = [len(value) for value in parameters.values() if isinstance(value, list)]
        shape = (statement, *lengths)
        prepared = self._prepared.get(shape)
        if prepared is None:
            compiled = statement.compile(self.engine)
            assert isinstance(compiled, SQLCompiler)
            prepared = compiled.construct_expanded_state(dict(parameters))
            if sum(lengths) <= MAX_KEPT_PARAMETERS:
                self._prepared[shape] = prepared
        return prepared

    def _open_reader(self) -> Any:
        pooled = self.engine.raw_connection()
        reader = pooled.dbapi_connection
        pooled.detach()
        return reader

    def write(self, operation: Callable[[sa.Connection], T]) -> T:
        """Run `operation` in a transaction shared with others that wait; durable on return.

        An operation that raises leaves nothing behind and does not touch the others.
        """
        if self._closed:
            raise Unavailable("the registry is closed")
        future: Future[T] = Future()
        self._jobs.put(_Job(operation, future))
        return future.result()

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch by the clock that all users of this database share."""
        if self.is_sqlite:
            return time.time()
        return float(
            connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        )

    def scrub(self) -> bool:
        """Wipe what was deleted out of the files; False if readers were in the way.

        Deleted rows are zeroed (`secure_delete`), but copies of rows that were once moved
        stay in the gaps of pages until the file is rewritten, and the log keeps older pages
        until it is written back and truncated (sqlite.org/pragma.html, secure_delete).
        PostgreSQL is left to its own vacuum: its files are not ours.
        """
        if not self.is_sqlite:
            return True
        with self.read() as connection:
            raw = connection.connection.dbapi_connection
            if raw is None:
                return False
            connection.rollback()
            cursor = raw.cursor()
            cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            cursor.close()
        return not busy

    def close(self) -> None:
        """Finish what is queued and release the connections. Idempotent."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._writer.join()
            while self._readers:
                self._readers.pop().close()
            self.engine.dispose()

    def _write_groups(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            while len(group) < MAX_GROUP:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._jobs.put(None)
                    break
                group.append(following)
            self._commit(group)

    def _commit(self, group: list["_Job"]) -> None:
        done: list[tuple[_Job, object]] = []
        try:
            with (
                self.engine.connect().execution_options(writes=True) as connection,
                connection.begin(),
            ):
                for job in group:
                    try:
                        with connection.begin_nested():
                            done.append((job, job.operation(connection)))
                    except Exception as error:  # noqa: BLE001 - the caller gets it
                        job.fail(error)
        except Exception as error:  # noqa: BLE001 - the thread's outermost handler
            log.warning("registry_commit_failed", error=type(error).__name__)
            for job in group:
                job.fail(error)
            return
        for job, result in done:
            job.future.set_result(result)

    def _migrate(self) -> None:
        with self.engine.connect().execution_options(writes=True) as connection:
            if sa.inspect(connection).has_table("alembic_version"):
                version = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
                if version.scalar_one_or_none() == HEAD:
                    return
        from alembic import command
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", "llamaindex_reaktly.registry:migrations")
        # On SQLite the transaction itself (BEGIN IMMEDIATE) is the lock.
        with (
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            if not self.is_sqlite:
                connection.execute(
                    sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                )
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise Unavailable(
                    "the registry's schema is not one that this version knows; it was made by a "
                    "newer one: install the newest llamaindex-reaktly"
                ) from error


class _Job:
    """One write that waits for its commit."""

    __slots__ = ("future", "operation")

    def __init__(self, operation: Callable[[sa.Connection], object], future: "Future[T]") -> None:
        self.operation = operation
        self.future: Future[object] = future  # type: ignore[assignment]

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            if isinstance(error, sa.exc.DBAPIError):
                error = translate(error.orig)
            self.future.set_exception(error)


def _create_engine(url: str) -> sa.Engine:
    if url.startswith("postgres://"):  # as many hosting providers write it
        url = url.replace("postgres", "postgresql", 1)
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)

    import pysqlite3.dbapi2 as sqlite

    engine = sa.create_engine(
        parsed,
        module=sqlite,
        pool_size=8,
        max_overflow=32,
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
