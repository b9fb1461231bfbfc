"""Counting documents by state, at a cost that does not grow with what is settled."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    Priority,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.registry import census
from llamaindex_reaktly.registry.census import CensusTaker
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Title", "Some text.")


def submit(registry: Registry, name: str, priority: Priority = Priority.NORMAL) -> None:
    document = replace(DOCUMENT, key=replace(KEY, external_id=name), priority=priority)
    registry.acceptance.accept([(document, "j")])


def finish(registry: Registry, error: str | None = None) -> None:
    (claim,) = registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    registry.queue.settle([Verdict(claim, 1, error)], {})


def test_every_state_is_counted(registry: Registry) -> None:
    for name in "abcde":
        submit(registry, name)
    finish(registry)
    finish(registry, "bad")
    registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    registry.documents.bury([replace(KEY, external_id="e").document_id])
    assert registry.census.take().documents == dict.fromkeys(DocumentState, 1)


def test_the_oldest_of_a_state_is_found_whatever_its_priority(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.census.take().oldest_waiting_seconds == 0
    for moment, priority in ((100.0, Priority.LOW), (200.0, Priority.HIGH)):
        monkeypatch.setattr(registry.database, "now", lambda _connection, now=moment: now)
        submit(registry, priority.name, priority)
    monkeypatch.setattr(registry.database, "now", lambda _connection: 300.0)
    assert registry.census.take().oldest_seconds[DocumentState.QUEUED] == 200
    registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    taken = registry.census.take()
    assert taken.oldest_seconds[DocumentState.PROCESSING] == 100
    assert taken.oldest_waiting_seconds == 200


def test_what_is_settled_is_counted_again_only_when_that_is_a_trifle(registry: Registry) -> None:
    moments = iter([0.0, 0.0, 2.0, 9_999.0, 10_003.0, 10_003.0, 10_004.0])
    taker = CensusTaker(registry.database, clock=lambda: next(moments))
    submit(registry, "a")
    submit(registry, "b")
    finish(registry)
    assert taker.take().documents[DocumentState.COMPLETED] == 1  # took two seconds
    finish(registry)
    early = taker.take().documents
    assert (early[DocumentState.QUEUED], early[DocumentState.COMPLETED]) == (0, 1)
    assert taker.take().documents[DocumentState.COMPLETED] == 2


@pytest.mark.parametrize(
    "statement", [census._UNSETTLED_COUNTS, census._SETTLED_COUNTS, census._OLDEST]
)
def test_the_table_itself_is_never_read(
    registry: Registry, statement: sa.Select[str, int] | sa.CompoundSelect[str, float]
) -> None:
    if not registry.database.is_sqlite:
        pytest.skip("the plan's words are SQLite's")
    with registry.database.read() as connection:
        asked = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {asked}"))
        steps = [row[3] for row in plan if "documents" in row[3]]
    assert steps
    assert all("COVERING INDEX ix_documents_queue" in step for step in steps)
