"""How the knowledge bases stand, on either database."""

from dataclasses import replace

import pytest

from llamaindex_reaktly.domain import DocumentKey, DocumentState, SourceDocument, SourceType
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.registry import Registry

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Title", "Some text.")


@pytest.fixture
def clock(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The registry's clock; the last number is now."""
    times = [1000.0]
    monkeypatch.setattr(registry.database, "now", lambda _connection: times[-1])
    return times


def submit(registry: Registry, *names: str, knowledge_base_id: str = "kb") -> None:
    registry.knowledge_bases.ensure(knowledge_base_id, embedder="minilm")
    for name in names:
        key = DocumentKey(knowledge_base_id, KEY.source, name)
        registry.acceptance.accept([(replace(DOCUMENT, key=key), "j")])


def finish(registry: Registry, error: str | None = None) -> str:
    (claim,) = registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    registry.queue.settle([Verdict(claim, 1, error)], {})
    return claim.document_id


def test_each_base_has_its_counts_ages_and_last_success(
    registry: Registry, clock: list[float]
) -> None:
    submit(registry, "a", "b", "c")
    registry.knowledge_bases.ensure("empty", embedder="minilm")
    clock.append(1010.0)
    finish(registry)
    finish(registry, "bad")
    clock.append(1025.0)
    empty, base = registry.standing.of_bases()
    assert (empty.knowledge_base_id, empty.waiting, empty.last_indexed_at) == ("empty", 0, None)
    assert (base.waiting, base.documents[DocumentState.FAILED], base.indexed_lately) == (1, 1, 1)
    assert base.oldest_seconds == 25
    assert base.last_indexed_at is not None
    assert base.last_indexed_at.timestamp() == 1010
    assert registry.standing.of_bases("kb") == [base]
    clock.append(2000.0)
    assert registry.standing.of_bases("kb")[0].indexed_lately == 0


def test_reasons_are_grouped_the_most_frequent_first(registry: Registry) -> None:
    submit(registry, "a", "b", "c")
    submit(registry, "d", knowledge_base_id="other")
    rare = finish(registry, "rare")
    often = [finish(registry, "often") for _ in range(2)]
    first, second = registry.standing.reasons(DocumentState.FAILED)
    assert (first.text, first.documents, first.example_id) == ("often", 2, min(often))
    assert (second.text, second.documents, second.example_id) == ("rare", 1, rare)
    assert registry.standing.reasons(DocumentState.FAILED, "other") == []
    assert registry.standing.reasons(DocumentState.QUEUED) == []
