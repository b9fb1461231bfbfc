"""Claims, leases, fences and verdicts."""

import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Priority,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import documents


def document(name: str, priority: Priority = Priority.NORMAL, content: str = "x") -> SourceDocument:
    key = DocumentKey("kb", "integration:int", name)
    return SourceDocument(key, SourceType.PAGE, name, content, priority=priority)


def accept(registry: Registry, *accepted: SourceDocument) -> None:
    for one in accepted:
        registry.acceptance.accept([(one, one.key.external_id)])


def claim(
    registry: Registry, *, limit: int = 100, characters: int = 10**6, **options: Any
) -> list[Claim]:
    return registry.queue.claim(limit=limit, characters=characters, lease_seconds=60, **options)


def names(claims: list[Claim]) -> list[str]:
    return [one.document.key.external_id for one in claims]


def status(registry: Registry, one: SourceDocument) -> DocumentStatus:
    found = registry.documents.status(one.key.document_id)
    assert found is not None
    return found


def let_leases_run_out(registry: Registry) -> None:
    set_leases(registry, 1.0)


def set_leases(registry: Registry, until: float) -> None:
    registry.database.write(
        lambda connection: connection.execute(sa.update(documents).values(lease_until=until))
    )


def test_high_goes_before_none_and_none_before_low_each_by_age(registry: Registry) -> None:
    accept(
        registry,
        document("low1", Priority.LOW),
        document("none1"),
        document("high1", Priority.HIGH),
        document("none2"),
        document("high2", Priority.HIGH),
    )
    order = []
    while claims := claim(registry):
        order.append(names(claims))
    assert order == [["high1", "high2"], ["none1", "none2"], ["low1"]]


def test_documents_of_one_batch_are_claimed_in_its_order(registry: Registry) -> None:
    batch = [document(str(number)) for number in range(30)]
    registry.acceptance.accept([(one, one.key.external_id) for one in batch])
    assert names(claim(registry)) == [one.key.external_id for one in batch]


def test_a_claim_is_bounded_by_documents_and_by_characters(registry: Registry) -> None:
    accept(registry, *(document(str(i), content="x" * 10) for i in range(6)))
    assert len(claim(registry, limit=2)) == 2
    assert len(claim(registry, characters=25)) == 2
    assert len(claim(registry, characters=1)) == 1


def test_only_more_urgent_documents_are_claimed_when_asked_for_those(registry: Registry) -> None:
    accept(registry, document("low", Priority.LOW), document("none"))
    assert names(claim(registry, above_rank=1)) == []
    accept(registry, document("high", Priority.HIGH))
    assert names(claim(registry, above_rank=1)) == ["high"]


def test_a_claimed_document_is_not_claimed_again_while_its_lease_lasts(registry: Registry) -> None:
    accept(registry, document("a"))
    assert names(claim(registry)) == ["a"]
    assert claim(registry) == []


def test_a_lease_from_before_the_clock_was_set_back_holds_nothing_up(registry: Registry) -> None:
    accept(registry, document("worked on"), document("deleted"))
    claim(registry)
    registry.documents.bury([document("deleted").key.document_id])
    assert (claim(registry), registry.queue.unpurged()) == ([], [])
    set_leases(registry, time.time() + 3_600)
    assert names(claim(registry)) == ["worked on"]
    assert registry.queue.unpurged() == [("kb", document("deleted").key.document_id)]


def test_an_expired_lease_is_claimable_again_and_its_holder_fenced_off(registry: Registry) -> None:
    accept(registry, document("a"))
    (stale,) = claim(registry)
    let_leases_run_out(registry)
    (fresh,) = claim(registry)
    assert registry.queue.settle([Verdict(stale, 1)], {}) == [stale]
    assert status(registry, document("a")).state is DocumentState.PROCESSING
    assert registry.queue.settle([Verdict(fresh, 2)], {}) == []
    assert status(registry, document("a")).chunks == 2


def test_a_heartbeat_keeps_a_lease(registry: Registry) -> None:
    accept(registry, document("a"))
    (held,) = claim(registry)
    let_leases_run_out(registry)
    registry.queue.extend([held.token], 60)
    assert claim(registry) == []


def test_a_document_that_silenced_its_worker_is_tried_alone(registry: Registry) -> None:
    accept(registry, document("bad"), document("good"))
    assert names(claim(registry)) == ["bad", "good"]
    let_leases_run_out(registry)
    assert [names(claim(registry)) for _ in range(3)] == [["bad"], ["good"], []]


def test_a_document_is_given_up_after_three_workers_fell_silent_over_it(registry: Registry) -> None:
    accept(registry, document("bad"))
    for _ in range(3):
        assert names(claim(registry)) == ["bad"]
        let_leases_run_out(registry)
    assert claim(registry) == []
    given_up = status(registry, document("bad"))
    assert given_up.state is DocumentState.FAILED
    assert given_up.error == "processing did not end in 3 attempts"


def test_a_verdict_on_an_outdated_version_changes_nothing(registry: Registry) -> None:
    accept(registry, document("a"))
    (old,) = claim(registry)
    accept(registry, document("a", content="newer"))
    assert registry.queue.settle([Verdict(old, 1)], {}) == [old]
    assert status(registry, document("a")).state is DocumentState.QUEUED
    (new,) = claim(registry)
    assert (new.version, new.document.content) == (2, "newer")


def test_a_verdict_on_a_deleted_document_changes_nothing(registry: Registry) -> None:
    accept(registry, document("a"))
    (held,) = claim(registry)
    registry.documents.bury([held.document_id])
    assert registry.queue.settle([Verdict(held, 1)], {}) == [held]
    assert status(registry, document("a")).state is DocumentState.DELETED


def test_a_released_claim_costs_no_attempt_and_shows_the_reason(registry: Registry) -> None:
    accept(registry, document("a"))
    registry.queue.release(claim(registry), "the store is away")
    waiting = status(registry, document("a"))
    assert (waiting.state, waiting.attempts) == (DocumentState.QUEUED, 0)
    assert waiting.error == "the store is away"
    (again,) = claim(registry)
    registry.queue.settle([Verdict(again, 1)], {})
    assert status(registry, document("a")).error is None


def test_a_document_deleted_under_a_worker_is_purged_by_that_worker(registry: Registry) -> None:
    accept(registry, document("a"))
    (held,) = claim(registry)
    registry.documents.bury([held.document_id])
    registry.queue.mark_purged([held.document_id])
    assert registry.queue.unpurged() == []  # it is left to the worker while its lease lasts
    let_leases_run_out(registry)
    assert registry.queue.unpurged() == [("kb", held.document_id)]
    registry.queue.mark_purged([held.document_id], [held.token])
    assert registry.queue.unpurged() == []


def test_counters_add_up(registry: Registry) -> None:
    registry.queue.settle([], {"chunks_embedded": 3, "documents_failed": 0})
    registry.queue.count({"chunks_embedded": 4})
    assert registry.queue.counters() == {"chunks_embedded": 7}


def test_what_waits_or_is_worked_on_is_unsettled(registry: Registry) -> None:
    accept(registry, document("a"), document("b"))
    claim(registry, limit=1)
    assert registry.queue.unsettled() == 2


@pytest.mark.parametrize("verdict_error", [None, "bad"])
def test_a_new_version_clears_what_became_of_the_old_one(
    registry: Registry, verdict_error: str | None
) -> None:
    accept(registry, document("a"))
    registry.queue.settle([Verdict(c, 1, verdict_error) for c in claim(registry)], {})
    accept(registry, replace(document("a"), content="new"))
    fresh = status(registry, document("a"))
    assert (fresh.state, fresh.error, fresh.finished_at, fresh.attempts) == (
        DocumentState.QUEUED,
        None,
        None,
        0,
    )


def test_suspects_are_left_out_when_asked(registry: Registry) -> None:
    accept(registry, document("bad"), document("good"))
    registry.queue.release(claim(registry, limit=1), "it crashed", at_fault=True)
    suspect = status(registry, document("bad"))
    assert (suspect.state, suspect.attempts, suspect.error) == (
        DocumentState.QUEUED,
        1,
        "it crashed",
    )
    assert names(claim(registry, suspects=False)) == ["good"]
    assert claim(registry, suspects=False) == []
    (again,) = claim(registry)
    assert again.is_suspect


def test_claims_are_of_one_base_or_of_all_but_some(registry: Registry) -> None:
    elsewhere = replace(document("b"), key=DocumentKey("other", "integration:int", "b"))
    accept(registry, document("a"), elsewhere, document("c"))
    assert names(claim(registry, without=["kb"])) == ["b"]
    assert claim(registry, without=["kb"]) == []
    assert names(claim(registry, within="kb", limit=1)) == ["a"]
    assert claim(registry, within="other") == []


@pytest.mark.parametrize(("crashed", "tries"), [(True, 3), (False, 10)])
def test_what_a_dead_worker_held_is_taken_back_at_once_and_given_up_in_the_end(
    registry: Registry, crashed: bool, tries: int
) -> None:
    accept(registry, document("a"), document("b"))
    (held,) = claim(registry, limit=1, owner="living")
    for number in range(tries):
        assert names(claim(registry, owner=f"dead{number}")) == ["b"]
        assert registry.queue.reclaim(f"dead{number}", crashed=crashed) == 1
    assert claim(registry) == []
    given_up = status(registry, document("b"))
    assert given_up.state is DocumentState.FAILED
    assert given_up.error == f"processing did not end in {tries} attempts"
    assert registry.queue.settle([Verdict(held, 1)], {}) == []


def test_a_worker_taken_for_dead_is_fenced_off(registry: Registry) -> None:
    accept(registry, document("a"))
    (stale,) = claim(registry, owner="one")
    registry.queue.reclaim("one", crashed=False)
    (fresh,) = claim(registry, owner="two")
    assert registry.queue.settle([Verdict(stale, 1)], {}) == [stale]
    assert registry.queue.settle([Verdict(fresh, 1)], {}) == []


def test_waiting_documents_are_told_what_they_wait_for(registry: Registry) -> None:
    elsewhere = replace(document("b"), key=DocumentKey("other", "integration:int", "b"))
    accept(registry, document("a"), elsewhere)
    registry.queue.explain("kb", "the store is away")
    assert status(registry, document("a")).error == "the store is away"
    assert status(registry, elsewhere).error is None


@pytest.mark.parametrize("damage", ["DELETE FROM payloads", "UPDATE payloads SET declared = '{'"])
def test_a_document_whose_row_is_damaged_fails_and_holds_up_no_other(
    registry: Registry, damage: str
) -> None:
    good, bad = (
        SourceDocument(DocumentKey("kb", "s", name), SourceType.PAGE, name, "text")
        for name in ("good", "bad")
    )
    registry.acceptance.accept([(bad, "j"), (good, "j")])
    registry.database.write(
        lambda connection: connection.exec_driver_sql(
            f"{damage} WHERE document_id = '{bad.key.document_id}'"
        )
    )
    claims = registry.queue.claim(limit=10, characters=100, lease_seconds=60)
    assert [claim.document for claim in claims] == [good]
    status = registry.documents.status(bad.key.document_id)
    assert status is not None
    assert status.state is DocumentState.FAILED
    assert "post it again" in (status.error or "")
