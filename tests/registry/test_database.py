"""Migrations and the writer that commits in groups."""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from llamaindex_reaktly.errors import Conflict, ReaktlyError, Unavailable
from llamaindex_reaktly.registry import migrations
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import counters, metadata


def test_the_migrations_end_at_the_revision_that_a_start_expects() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [migrations.HEAD]


def test_the_migrations_make_exactly_the_declared_schema(registry: Registry) -> None:
    with registry.database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def test_opening_a_current_database_again_changes_nothing(sqlite_url: str, tmp_path: Path) -> None:
    Database(sqlite_url).close()
    before = (tmp_path / "registry.sqlite").read_bytes()
    Database(sqlite_url).close()
    assert (tmp_path / "registry.sqlite").read_bytes() == before


def test_several_processes_worth_of_openings_at_once_migrate_once(bare_url: str) -> None:
    opened: list[Database] = []
    threads = [threading.Thread(target=lambda: opened.append(Database(bare_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        database.close()


def write_as_one_group(database: Database, writes: Sequence[Callable[[], object]]) -> None:
    """Have writes wait for a slow one, so that they share the next commit."""
    hold, entered = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        entered.set()
        assert hold.wait(10)

    first = threading.Thread(target=lambda: database.write(slow))
    first.start()
    assert entered.wait(10)
    group = [threading.Thread(target=write) for write in writes]
    for thread in group:
        thread.start()
    # A thread that waits for its commit has put its write in.
    deadline = time.monotonic() + 10
    while database._jobs.qsize() < len(writes):
        assert time.monotonic() < deadline
    hold.set()
    for thread in [first, *group]:
        thread.join()


def test_an_operation_that_raises_leaves_nothing_and_spares_its_group(registry: Registry) -> None:
    database = registry.database

    def good(name: str) -> None:
        database.write(lambda c: c.execute(sa.insert(counters).values(name=name, value=1)))

    outcomes: list[str] = []

    def bad() -> None:
        def operation(connection: sa.Connection) -> None:
            connection.execute(sa.insert(counters).values(name="bad", value=1))
            raise ValueError("on purpose")

        with pytest.raises(ValueError, match="on purpose"):
            database.write(operation)
        outcomes.append("raised")

    goods = [functools.partial(good, str(number)) for number in range(5)]
    write_as_one_group(database, [*goods[:3], bad, *goods[3:]])
    assert outcomes == ["raised"]
    assert sorted(registry.queue.counters()) == ["0", "1", "2", "3", "4"]
    assert database.group_sizes[5] == 1


def test_what_several_ask_for_at_once_is_done_once_and_apart_when_that_raises(
    registry: Registry,
) -> None:
    database = registry.database
    calls: list[list[str]] = []
    results: dict[str, str | ReaktlyError] = {}

    def operation(connection: sa.Connection, names: Sequence[str]) -> list[str]:
        calls.append(sorted(names))
        connection.execute(sa.insert(counters), [{"name": name, "value": 1} for name in names])
        if "bad" in names:
            raise Conflict("on purpose")
        return [name.upper() for name in names]

    def ask(name: str) -> None:
        try:
            results[name] = database.write_together(operation, name)
        except ReaktlyError as error:
            results[name] = error

    write_as_one_group(database, [functools.partial(ask, name) for name in ("a", "b", "c")])
    assert calls == [["a", "b", "c"]]
    assert results == {"a": "A", "b": "B", "c": "C"}
    write_as_one_group(database, [functools.partial(ask, name) for name in ("d", "bad", "e")])
    assert isinstance(results["bad"], Conflict)
    assert (results["d"], results["e"]) == ("D", "E")
    assert set(registry.queue.counters()) == {"a", "b", "c", "d", "e"}


def test_a_closed_registry_refuses_writes_instead_of_hanging(registry_url: str) -> None:
    database = Database(registry_url)
    database.close()
    database.close()
    with pytest.raises(Unavailable):
        database.write(lambda connection: None)


def test_a_registry_that_cannot_be_opened_says_so_without_the_drivers_words(
    tmp_path: Path,
) -> None:
    with pytest.raises(Unavailable) as caught:
        Database(f"sqlite:///{tmp_path / 'missing' / 'r.sqlite'}")
    assert "sqlite" not in caught.value.message.lower()


def test_a_look_up_on_a_database_that_is_gone_says_so_without_the_drivers_words(
    registry: Registry,
) -> None:
    registry.database.write(lambda connection: connection.execute(sa.text("DROP TABLE counters")))
    with pytest.raises(Unavailable) as caught:
        registry.queue.counters()
    assert "counters" not in caught.value.message


def test_a_look_up_sees_what_was_committed_just_before(registry: Registry) -> None:
    for expected in range(1, 4):
        registry.queue.count({"looks": 1})
        assert registry.queue.counters() == {"looks": expected}


def test_a_commit_rings_for_everyone_and_a_refused_operation_rings_for_nobody(
    registry: Registry,
) -> None:
    database = registry.database

    def refused(connection: sa.Connection) -> None:
        database.ring_on_commit("work")
        raise ValueError("on purpose")

    with database.bell("work").listen() as work, database.bell("done").listen() as done:
        database.write(lambda _: database.ring_on_commit("done"))
        assert done.wait(5)
        with pytest.raises(ValueError, match="on purpose"):
            database.write(refused)
        database.write(lambda _: database.ring_on_commit("done"))
        assert done.wait(5)
        assert not work.wait(0)
