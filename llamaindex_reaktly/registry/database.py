"""The registry's database: one engine, short reads, and one thread that writes in groups.

SQLite and PostgreSQL run the same code; what differs between them is in this file, in
`engines` and in the doorbells.
"""

import hashlib
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler

from llamaindex_reaktly.doorbell import Doorbell, PipeDoorbell
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.registry import engines
from llamaindex_reaktly.registry.engines import translate
from llamaindex_reaktly.registry.migrations import HEAD
from llamaindex_reaktly.registry.notifications import NotificationDoorbell, channel
from llamaindex_reaktly.registry.schema import counters

log = structlog.get_logger(__name__)

A = TypeVar("A")
T = TypeVar("T")

# How many waiting writes one commit takes with it, and after how many documents it takes no
# further one. A group is as long as the disk's last flush made it; the bounds only keep one
# transaction from growing without end.
MAX_GROUP = 128
MAX_GROUP_DOCUMENTS = 2_000
# How often a group is tried that met another process's transaction, which cannot be waited for.
MAX_TRIES = 5

# Look-ups at the same time; they are short, and a server's connections are few.
MAX_READERS = 8

BELLS = ("work", "done")

# Serialises migrations of several processes on PostgreSQL; any constant will do.
_MIGRATION_LOCK = 7_295_811_402


class Database:
    """An open registry database, migrated to the newest schema. Close it when done."""

    def __init__(self, url: str) -> None:
        self.engine = engines.create(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # Where the database's files are; None where that is a server's business.
        self.directory = Path(self.engine.url.database or ".").parent if self.is_sqlite else None
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
        self._reading = threading.Semaphore(MAX_READERS)
        self._bells = {name: self._make_bell(name) for name in BELLS}
        self._jobs: queue.SimpleQueue[_AnyJob | None] = queue.SimpleQueue()
        # What the operations of the group in the making ask to have rung and counted with it.
        self._ringing: set[str] = set()
        self._counted: Counter[str] = Counter()
        # How many commits took how many writes with them; the writer's alone to change.
        self.group_sizes: Counter[int] = Counter()
        self._gate = threading.Lock()
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
        except sa.exc.TimeoutError as error:  # every connection is in use, and stays so
            raise translate(error) from error

    def look_up(self, statement: sa.Select[Any], **parameters: object) -> Sequence[Any]:
        """All rows of a statement that stands for itself, columns as the driver gives them.

        For what every request asks. The statement goes straight to the driver, on a connection
        kept for this: alone it is a snapshot without a transaction around it, and SQLAlchemy's
        part costs many times the look-up, most of all when other work has driven its code out
        of the processor's caches. What is prepared is kept, so the statement must be one that
        lives as long as the program.
        """
        parameters = {name: _padded(value) for name, value in parameters.items()}
        prepared = self._prepare(statement, parameters)
        values: dict[str, Any] = {**prepared.parameters, **parameters}
        for name, parts in prepared.parameter_expansion.items():
            if name in parameters:  # else a list of the statement's own
                values.update(zip(parts, values[name], strict=True))
        arguments: Any = values
        if prepared.positiontup is not None:
            arguments = [values[name] for name in prepared.positiontup]
        with self._reading:
            return self._fetch(prepared.statement, arguments)

    def _fetch(self, statement: str, arguments: Any) -> Sequence[Any]:
        dialect = self.engine.dialect
        while True:
            try:
                reader, is_fresh = self._readers.pop(), False
            except IndexError:
                reader, is_fresh = self._open_reader(), True
            try:
                rows: Sequence[Any] = reader.execute(statement, arguments).fetchall()
            except dialect.loaded_dbapi.Error as error:
                is_lost = dialect.is_disconnect(error, reader, None)
                reader.close()
                if is_fresh or not is_lost:
                    raise translate(error) from error
                continue  # the server was away meanwhile: it may be back
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
            self._prepared[shape] = prepared
        return prepared

    def _open_reader(self) -> Any:
        """A driver's connection of our own, on which each statement is a transaction."""
        try:
            pooled = self.engine.raw_connection()
        except (self.engine.dialect.loaded_dbapi.Error, sa.exc.TimeoutError) as error:
            raise translate(error) from error
        reader: Any = pooled.dbapi_connection
        pooled.detach()
        if not self.is_sqlite:  # there it is so anyway
            reader.autocommit = True
        return reader

    def write(
        self,
        operation: Callable[[sa.Connection], T],
        locks: Collection[str] = (),
        realm: "Realm | None" = None,
    ) -> T:
        """Run `operation` in a transaction shared with others that wait; durable on return.

        An operation that raises leaves nothing behind and does not touch the others. It may
        be run more than once, and counts as run once.

        `locks` are the ids of the documents that it changes or decides by. On PostgreSQL a
        group locks all of its own before anything else, in one order, and whatever it does
        to other documents skips those that are locked: so groups never wait in a circle. Where
        the documents are known by names that others may give away, a `realm` holds the names.
        """

        def apart(connection: sa.Connection, _: Sequence[None]) -> list[T]:
            return [operation(connection)]

        return self.write_together(apart, None, locks, realm)

    def write_together(
        self,
        operation: Callable[[sa.Connection, Sequence[A]], Sequence[T]],
        argument: A,
        locks: Collection[str] = (),
        realm: "Realm | None" = None,
    ) -> T:
        """Like `write`, for an operation that does what several callers ask for at once.

        It is given the arguments of all who wait with the same operation, and gives a result
        for each; where it raises, it is run for each apart.
        """
        job: _Job[A, T] = _Job(operation, argument, locks, realm)
        with self._gate:  # nothing may come behind the end, where nobody would take it
            if self._closed:
                raise Unavailable("the registry is closed")
            self._jobs.put(job)
        return job.future.result()

    def bell(self, name: str) -> Doorbell:
        """The doorbell `work` or `done` of everyone who uses this database."""
        return self._bells[name]

    def ring_on_commit(self, name: str) -> None:
        """Ring a bell with the commit of the operation that calls this."""
        self._ringing.add(name)

    def count_on_commit(self, counts: Mapping[str, int]) -> None:
        """Add to the counters with the commit of the operation that calls this.

        All of a group at once and in one order: the counters are rows that everybody shares.
        """
        self._counted.update(counts)

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that knows `ON CONFLICT`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch by the clock that all users of this database share."""
        if self.is_sqlite:
            return time.time()
        return float(
            connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
        )

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file, in its words; PostgreSQL has its own tools."""
        if not self.is_sqlite:
            return []
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars()
            return [message for message in found if message != "ok"]

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
        with self._gate:
            was_closed, self._closed = self._closed, True
        if not was_closed:
            self._jobs.put(None)
            self._writer.join()
            for bell in self._bells.values():
                if isinstance(bell, NotificationDoorbell):
                    bell.close()
            while self._readers:
                self._readers.pop().close()
            self.engine.dispose()

    def _make_bell(self, name: str) -> Doorbell:
        if self.directory is not None:
            return PipeDoorbell(self.directory / "bells", name)
        return NotificationDoorbell(
            name,
            self._open_reader,
            lambda: self.write(lambda _: self.ring_on_commit(name)),
            self._ask,
        )

    def _ask(self, question: str, parameters: Mapping[str, object]) -> bool:
        with self.read() as connection:
            return bool(connection.execute(sa.text(question), parameters).scalar_one())

    def _write_groups(self) -> None:
        while (job := self._jobs.get()) is not None:
            group, documents = [job], len(job.locks)
            while len(group) < MAX_GROUP and documents < MAX_GROUP_DOCUMENTS:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._jobs.put(None)
                    break
                group.append(job)
                documents += len(job.locks)
            self._commit(group)

    def _commit(self, group: list["_AnyJob"]) -> None:
        """Commit a group, without those of its operations that raise."""
        tries = 0
        together = True
        while group:
            try:
                results = self._try(_runs(group) if together else [[job] for job in group])
            except _Refused as refusal:
                if len(refusal.jobs) == 1:
                    refusal.jobs[0].fail(refusal.error)
                    group.remove(refusal.jobs[0])
                else:
                    together = False
                continue
            except Exception as error:  # noqa: BLE001 - the thread's outermost handler
                tries += 1
                if tries < MAX_TRIES and engines.is_passing(error):
                    continue
                log.warning("registry_commit_failed", error=type(error).__name__)
                for job in group:
                    job.fail(error)
                return
            self.group_sizes[len(group)] += 1
            for job, result in results:
                job.future.set_result(result)
            return

    def _try(self, runs: Sequence[Sequence["_AnyJob"]]) -> list[tuple["_AnyJob", object]]:
        self._ringing.clear()
        self._counted.clear()
        results: list[tuple[_AnyJob, object]] = []
        with (
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            if not self.is_sqlite:
                _lock(connection, [job for run in runs for job in run])
            for run in runs:
                try:
                    answers = run[0].operation(connection, [job.argument for job in run])
                except Exception as error:
                    if engines.is_passing(error):
                        raise
                    raise _Refused(run, error) from error
                results += zip(run, answers, strict=True)
            self._conclude(connection)
        if self.is_sqlite:
            for name in self._ringing:
                self._bells[name].ring()
        return results

    def _conclude(self, connection: sa.Connection) -> None:
        """Count what was counted and, where that is part of a transaction, ring."""
        if counted := {name: value for name, value in self._counted.items() if value}:
            insert = self.insert(counters)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[counters.c.name],
                    set_={"value": counters.c.value + insert.excluded.value},
                ),
                [{"name": name, "value": counted[name]} for name in sorted(counted)],
            )
        if not self.is_sqlite:
            for name in sorted(self._ringing):
                connection.execute(_NOTIFY, {"channel": channel(name)})

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


# In one statement and in one order. Documents that are not there yet cannot be locked: two
# groups that add the same ones at once may meet, and then one of them is tried again.
_LOCK = sa.text(
    "SELECT document_id FROM documents WHERE document_id = ANY(:ids) ORDER BY document_id"
    " FOR UPDATE"
)
_HOLD = sa.text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
_NOTIFY = sa.text("SELECT pg_notify(:channel, '')")


class Realm(NamedTuple):
    """Names that mean documents: one transaction at a time decides by those of a place.

    `documents` gives the ids of those that are meant, once nobody else can change it.
    """

    places: frozenset[str]
    documents: Callable[[sa.Connection], Collection[str]]


def _lock(connection: sa.Connection, jobs: Sequence["_AnyJob"]) -> None:
    """Names before documents, and each in one order, so that nobody waits in a circle."""
    locks = {id_ for job in jobs for id_ in job.locks}
    realms = [job.realm for job in jobs if job.realm is not None]
    if realms:
        places = {place for realm in realms for place in realm.places}
        keys = sorted(
            int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big", signed=True)
            for place in places
        )
        connection.execute(_HOLD, {"keys": keys})
        locks.update(id_ for realm in realms for id_ in realm.documents(connection))
    if locks:
        connection.execute(_LOCK, {"ids": list(locks)})


def _padded(value: object) -> object:
    """A list made as long as a power of two by its last element: few lengths to prepare for."""
    if not isinstance(value, list) or not value:
        return value
    return value + value[-1:] * ((1 << (len(value) - 1).bit_length()) - len(value))


class _Job(Generic[A, T]):
    """One write that waits for its commit."""

    def __init__(
        self,
        operation: Callable[[sa.Connection, Sequence[A]], Sequence[T]],
        argument: A,
        locks: Collection[str],
        realm: Realm | None,
    ) -> None:
        self.operation = operation
        self.argument = argument
        self.locks = locks
        self.realm = realm
        self.future: Future[T] = Future()

    def fail(self, error: Exception) -> None:
        if isinstance(error, sa.exc.DBAPIError):
            error = translate(error.orig)
        elif isinstance(error, sa.exc.TimeoutError):
            error = translate(error)
        self.future.set_exception(error)


_AnyJob = _Job[Any, Any]


def _runs(group: Sequence[_AnyJob]) -> list[list[_AnyJob]]:
    """The jobs by their operation: those of one are run together."""
    runs: dict[object, list[_AnyJob]] = {}
    for job in group:
        runs.setdefault(job.operation, []).append(job)
    return list(runs.values())


class _Refused(Exception):
    """An operation of a group raised: the others go on without it."""

    def __init__(self, jobs: Sequence[_AnyJob], error: Exception) -> None:
        super().__init__()
        self.jobs = jobs
        self.error = error
