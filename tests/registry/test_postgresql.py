"""What a registry on PostgreSQL meets that one on a local file does not."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentKey, DocumentState, SourceDocument, SourceType
from llamaindex_reaktly.errors import ReaktlyError, StorageFull, Unavailable
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.registry import Registry
from scripts.postgresql import PostgreSQL

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.PAGE, "Title", "Some text.")
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'secret words' USING ERRCODE = '{}'; END $$"


@pytest.fixture
def server(postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server of the test's own, to be stopped and started."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def database(postgresql_url: str) -> Iterator[Database]:
    with closing(Database(postgresql_url)) as database:
        yield database


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_urls_as_they_are_commonly_written_are_understood(postgresql_url: str, scheme: str) -> None:
    url = postgresql_url.replace("postgresql", scheme, 1)
    with closing(Registry(url)) as registry:
        assert registry.queue.counters() == {}


def test_a_server_that_is_away_is_unavailable_and_is_found_again_when_it_is_back(
    server: PostgreSQL,
) -> None:
    with (
        closing(Registry(server.url(server.create_database()))) as registry,
        registry.database.bell("work").listen() as listener,
    ):
        registry.acceptance.accept([(DOCUMENT, "a")])
        assert listener.wait(5)
        server.kill()
        for attempt in (
            lambda: registry.acceptance.accept([(replace(DOCUMENT, content="B"), "a")]),
            lambda: registry.documents.status(KEY.document_id),
            lambda: registry.visibility.visible_from([KEY.document_id]),
        ):
            with pytest.raises(Unavailable):
                attempt()
        server.start()
        assert registry.visibility.visible_from([KEY.document_id]) == {KEY.document_id: 1}
        registry.acceptance.accept([(replace(DOCUMENT, content="C"), "a")])
        status = registry.documents.status(KEY.document_id)
        assert status is not None
        assert (status.state, status.version) == (DocumentState.QUEUED, 2)
        # The doorbell's connection comes back by itself, and may ring for what it missed.
        deadline = time.monotonic() + 20
        while not listener.wait(0.1):
            registry.database.bell("work").ring()
            assert time.monotonic() < deadline


def test_a_full_disk_of_the_servers_is_storage_full_in_our_own_words(database: Database) -> None:
    with pytest.raises(StorageFull) as caught:
        database.write(lambda connection: connection.execute(sa.text(RAISE.format("53100"))))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_that_met_another_is_tried_again(database: Database, state: str) -> None:
    tries = []

    def operation(connection: sa.Connection) -> str:
        tries.append(1)
        if len(tries) < 3:
            connection.execute(sa.text(RAISE.format(state)))
        return "done"

    assert database.write(operation) == "done"
    assert len(tries) == 3


def test_leases_are_measured_by_the_databases_clock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.0)
    with database.read() as connection:
        assert database.now(connection) > 1_700_000_000


def test_commits_are_durable_whatever_the_servers_default(server: PostgreSQL) -> None:
    name = server.create_database()
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with closing(Database(server.url(name))) as database, database.read() as connection:
        assert connection.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"


def test_several_processes_worth_of_writers_never_wait_for_each_other_in_a_circle(
    postgresql: PostgreSQL, postgresql_url: str
) -> None:
    keys = [replace(KEY, external_id=str(number)) for number in range(40)]
    ids = [key.document_id for key in keys]
    problems: list[ReaktlyError] = []
    over = time.monotonic() + 4
    with closing(Registry(postgresql_url)) as first:
        # Documents that are there already: new ones cannot be locked before they are.
        first.acceptance.accept([(replace(DOCUMENT, key=key), "x") for key in keys])

    def push(registry: Registry, chance: random.Random) -> None:
        some = chance.sample(keys, 8)
        text = str(chance.random())
        registry.acceptance.accept(
            [(replace(DOCUMENT, key=key, content=text), "x") for key in some]
        )

    def bury(registry: Registry, chance: random.Random) -> None:
        registry.documents.bury(chance.sample(ids, 5))

    def work(registry: Registry, chance: random.Random) -> None:
        claims = registry.queue.claim(limit=16, characters=10**6, lease_seconds=0.05)
        chance.shuffle(claims)
        registry.queue.extend({claim.token for claim in claims}, 0.05)
        middle = len(claims) // 2
        registry.queue.settle([Verdict(c, 1) for c in claims[:middle]], {"a": 1, "b": 1})
        registry.queue.release(claims[middle:])
        registry.queue.count({"b": 1, "a": 1})
        registry.queue.mark_purged([document_id for _, document_id in registry.queue.unpurged()])

    def keep(action: Callable[[Registry, random.Random], None], registry: Registry) -> None:
        chance = random.Random()
        try:
            while time.monotonic() < over:
                action(registry, chance)
        except ReaktlyError as error:
            problems.append(error)

    with ExitStack() as stack:
        threads = []
        for _ in range(3):
            registry = stack.enter_context(closing(Registry(postgresql_url)))
            threads += [
                threading.Thread(target=keep, args=(action, registry))
                for action in (push, push, bury, work)
            ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
    name = postgresql_url.partition("/test_")[2].partition("?")[0]
    (deadlocks,) = postgresql.execute(
        f"SELECT deadlocks FROM pg_stat_database WHERE datname = 'test_{name}'"
    )
    assert deadlocks == (0,)
