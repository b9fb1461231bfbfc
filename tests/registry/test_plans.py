"""No statement that a request or a worker needs reads a table from end to end."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from llamaindex_reaktly.domain import Choice, DocumentKey, DocumentState, SourceDocument, SourceType
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry
from scripts.postgresql import PostgreSQL

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.PAGE, "Title", "Some text.")
ROWS = 20_000

# As in a base that has been in use: nearly all is done, and some is deleted.
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})",
    "postgresql": "WITH n AS (SELECT generate_series(1, {rows}) AS i)",
}
_FILL = (
    """INSERT INTO documents (document_id, knowledge_base_id, source, external_id, job_id, version,
    state, queue_rank, queued_at, updated_at, force_refresh, visible_from, attempts, purged,
    source_type, title, characters)
    {numbers} SELECT 'doc_' || (i * 7919 % {rows}), 'kb' || (i % 5), 's', 'e' || i, 'j' || i, 1,
    CASE i % 50 WHEN 0 THEN 'deleted' ELSE 'completed' END, 1, i, i, false, 1, 0, true, 'PAGE',
    't', 1 FROM n""",
    """INSERT INTO payloads (document_id, declared, content)
    SELECT document_id, '{{}}', 'Some text.' FROM documents""",
)


def fill(connection: sa.Connection) -> None:
    numbers = _NUMBERS[connection.dialect.name].format(rows=ROWS)
    for statement in _FILL:
        connection.execute(sa.text(statement.format(numbers=numbers, rows=ROWS)))


def use(registry: Registry) -> None:
    """Everything that requests and workers do."""
    acceptance, documents, queue = registry.acceptance, registry.documents, registry.queue
    batch = [(replace(DOCUMENT, key=replace(KEY, external_id=str(n))), "j") for n in range(20)]
    ids = [document.key.document_id for document, _ in batch]
    acceptance.accept(batch)
    acceptance.accept(batch)
    claims = queue.claim(limit=10, characters=10**6, lease_seconds=60, above_rank=5)
    queue.extend([claims[0].token], 60)
    queue.settle([Verdict(claim, 1) for claim in claims[:4]], {"a": 1})
    queue.settle([Verdict(claim, error="bad") for claim in claims[4:6]], {})
    queue.release(claims[6:])
    acceptance.accept(batch[:2])
    for state in DocumentState:
        documents.page(knowledge_base_ids=["kb1"], state=state, limit=5)
    first = documents.page(knowledge_base_ids=["kb1", "kb2"], limit=5)
    documents.page(knowledge_base_ids=["kb1", "kb2"], cursor=first.next_cursor, limit=5)
    documents.statuses(ids)
    documents.by_job("j", None)
    documents.fetch(ids[0])
    registry.visibility.visible_from(ids)
    documents.retry([ids[4]])
    documents.bury(ids[:5])
    queue.unpurged()
    queue.mark_purged(ids[:5])
    queue.unsettled()
    documents.bury_chosen(Choice("kb", frozenset(ids[8:9]), "s", frozenset("u"), frozenset("t")))
    registry.knowledge_bases.ensure("kb", embedder="minilm")
    registry.usage.of(["kb"])


@pytest.fixture
def recorded(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[str, Sequence[Any]]]]:
    """The statements that a registry on SQLite executes, with parameters."""
    statements: list[tuple[str, Sequence[Any]]] = []
    prepare = registry.database._prepare

    def preparing(*arguments: Any) -> Any:
        prepared = prepare(*arguments)
        statements.append((prepared.statement, [None] * len(prepared.positiontup or ())))
        return prepared

    def executing(
        _c: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool
    ) -> None:
        statements.append((statement, parameters[0] if many else parameters))

    monkeypatch.setattr(registry.database, "_prepare", preparing)
    sa.event.listen(registry.database.engine, "before_cursor_execute", executing)
    yield statements
    sa.event.remove(registry.database.engine, "before_cursor_execute", executing)


@pytest.mark.parametrize("registry_url", ["sqlite"], indirect=True)
def test_on_sqlite_every_table_is_searched_by_an_index(
    registry: Registry, recorded: list[tuple[str, Sequence[Any]]]
) -> None:
    registry.database.write(fill)
    recorded.clear()
    use(registry)
    plans = []
    with registry.database.read() as connection:
        for statement, parameters in list(recorded):
            if re.match("SELECT|UPDATE|DELETE|INSERT", statement):
                explained = f"EXPLAIN QUERY PLAN {statement}"
                steps = connection.exec_driver_sql(explained, tuple(parameters))
                plans.append("\n".join([*(step.detail for step in steps), statement]))
    assert len(plans) > 40
    assert [plan for plan in plans if re.search("SCAN (documents|payloads)", plan)] == []
    # A page of a listing does not go through those before it.
    assert sum("(knowledge_base_id=? AND document_id>?)" in plan for plan in plans) == 1
    # Counting what a base holds reads no document.
    assert sum("ix_documents_usage" in plan and "sum(" in plan for plan in plans) == 1
    # A listing by state, but for the usual one, does not go through all of a base.
    assert sum("ix_documents_unfinished" in plan for plan in plans) == len(DocumentState) - 1


def test_on_postgresql_every_table_is_searched_by_an_index(
    postgresql: PostgreSQL, postgresql_url: str
) -> None:
    name = sa.make_url(postgresql_url).database
    with closing(Registry(postgresql_url)) as registry:
        registry.database.write(fill)
    postgresql.execute("ANALYZE", str(name))
    for setting in (
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
    ):
        postgresql.execute(f"ALTER DATABASE {name} SET {setting}")
    start = len(postgresql.log())
    with closing(Registry(postgresql_url)) as registry:
        use(registry)
    plans = postgresql.log()[start:].split("LOG:  duration:")
    assert len(plans) > 40
    assert [plan for plan in plans if re.search("Seq Scan on (documents|payloads)", plan)] == []
