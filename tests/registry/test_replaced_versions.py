"""Which version a search shows where old and new lie in the index side by side."""

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import documents

KEY = DocumentKey("kb", "integration:int", "page")
ID = KEY.document_id


def claimed(registry: Registry, content: str) -> Claim:
    document = SourceDocument(KEY, SourceType.PAGE, "Page", content)
    registry.acceptance.accept([(document, "int-page")])
    (claim,) = registry.queue.claim(limit=1, characters=100, lease_seconds=60)
    return claim


def settled(registry: Registry, *claims: Claim) -> list[Claim]:
    verdicts = [Verdict(claim, chunks=1) for claim in claims]
    return registry.queue.settle(verdicts, {}, older_are_kept=True)


def live(registry: Registry, tick: int) -> int | None:
    return registry.visibility.live_versions([ID, "doc_unknown"], tick).get(ID)


def test_a_search_shows_what_was_live_when_it_began(registry: Registry) -> None:
    ticks = [registry.visibility.replacement_clock()]
    for content in ("one", "two", "three"):
        claim = claimed(registry, content)
        assert live(registry, ticks[-1]) == (claim.version - 1 or None)
        settled(registry, claim)
        ticks.append(registry.visibility.replacement_clock())
    assert [live(registry, tick) for tick in ticks] == [None, 1, 2, 3]


def test_versions_of_one_batch_change_at_one_moment(registry: Registry) -> None:
    before = registry.visibility.replacement_clock()
    others = [DocumentKey("kb", "integration:int", str(number)) for number in range(3)]
    registry.acceptance.accept(
        [(SourceDocument(key, SourceType.PAGE, "", "text"), "job") for key in others]
    )
    claims = registry.queue.claim(limit=3, characters=100, lease_seconds=60)
    settled(registry, *claims)
    after = registry.visibility.replacement_clock()
    ids = [key.document_id for key in others]
    assert registry.visibility.live_versions(ids, before) == {}
    assert registry.visibility.live_versions(ids, after) == dict.fromkeys(ids, 1)


def test_nothing_of_before_a_delete_is_shown_after_it(registry: Registry) -> None:
    settled(registry, claimed(registry, "one"))
    settled(registry, claimed(registry, "two"))
    tick = registry.visibility.replacement_clock()
    registry.documents.bury([ID])
    assert live(registry, tick) is None
    again = claimed(registry, "three")
    assert live(registry, tick) is None
    settled(registry, again)
    for earlier in range(tick + 1):
        assert live(registry, earlier) is None
    assert live(registry, tick + 1) == again.version


def test_a_rebuilt_document_is_shown_only_when_it_is_indexed_again(registry: Registry) -> None:
    settled(registry, claimed(registry, "one"))
    assert registry.indexes.give_up("kb", epoch=0, reason="a test") == 1
    tick = registry.visibility.replacement_clock()
    assert live(registry, tick) is None
    settled(registry, *registry.queue.claim(limit=1, characters=100, lease_seconds=60))
    assert live(registry, registry.visibility.replacement_clock()) == 1


def test_replaced_versions_are_handed_out_after_the_grace_until_they_are_removed(
    registry: Registry,
) -> None:
    settled(registry, claimed(registry, "one"))
    assert registry.visibility.replaced(grace_seconds=-1) == []
    second = claimed(registry, "two")
    settled(registry, second)
    assert registry.visibility.replaced(grace_seconds=60) == []
    (replaced,) = registry.visibility.replaced(grace_seconds=-1)
    assert (replaced.document_id, replaced.successor) == (ID, second.version)
    registry.visibility.forget_replaced([replaced])
    assert registry.visibility.replaced(grace_seconds=-1) == []


def test_what_a_worker_wrote_too_late_is_handed_out_as_well(registry: Registry) -> None:
    late = claimed(registry, "one")
    registry.database.write(
        lambda connection: connection.execute(sa.update(documents).values(lease_until=1.0))
    )
    (again,) = registry.queue.claim(limit=1, characters=100, lease_seconds=60)
    settled(registry, again)
    newer = claimed(registry, "two")
    settled(registry, newer)
    for one in registry.visibility.replaced(grace_seconds=-1):
        registry.visibility.forget_replaced([one])

    assert settled(registry, late) == [late]

    (replaced,) = registry.visibility.replaced(grace_seconds=-1)
    assert replaced.successor == newer.version
    assert live(registry, registry.visibility.replacement_clock()) == newer.version


def test_a_knowledge_base_takes_its_replaced_versions_with_it(registry: Registry) -> None:
    registry.knowledge_bases.create("kb", embedder="minilm")
    settled(registry, claimed(registry, "one"))
    settled(registry, claimed(registry, "two"))
    registry.knowledge_bases.delete("kb")
    assert registry.visibility.replaced(grace_seconds=-1) == []
