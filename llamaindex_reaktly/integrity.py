"""Comparing what the registry says is indexed with what the index holds, and mending it.

Runs beside a live server: what differs is looked at again a little later, and only what
differs in the very same way counts. Documents that a worker has in hand are left to it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.documents import IndexedState

LOOK_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class Findings:
    """Ids of documents whose nodes are not as the registry has it, and `damage` in sentences.

    `missing` have no nodes where they should; `stale` those of another version or not all
    of them; `orphaned` are in the index alone; `stuck` were claimed by a worker that fell
    silent, and are taken up by the next one.
    """

    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def compare(
    knowledge_base: KnowledgeBase,
    knowledge_base_id: str,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> Findings:
    """Look at every document of a knowledge base and at every row of its index.

    Raises `Unavailable` while the index is being made again.
    """
    knowledge_base.store.require_whole(knowledge_base_id)
    if damage := knowledge_base.store.problems(knowledge_base_id):
        return Findings(damage=damage)
    first = _differences(knowledge_base, knowledge_base_id)
    if first:
        wait(LOOK_AGAIN_SECONDS)
        second = _differences(knowledge_base, knowledge_base_id)
        first = {id_: what for id_, what in first.items() if second.get(id_) == what}
    findings = Findings()
    for document_id, (kind, *_) in sorted(first.items()):
        getattr(findings, kind).append(document_id)
    return findings


def repair(knowledge_base: KnowledgeBase, knowledge_base_id: str, findings: Findings) -> int:
    """Queue what is missing or stale and remove what is orphaned; how many are queued.

    A damaged index is made again as a whole.
    """
    if findings.damage:
        return knowledge_base.store.rebuild(
            knowledge_base_id, "the index was damaged and is being made again"
        )
    # Stale ones too: nodes of a version that the registry does not know would outlive it.
    if gone := [*findings.orphaned, *findings.stale]:
        knowledge_base.store.delete(knowledge_base_id, gone)
        knowledge_base.store.purge(knowledge_base_id)
    return knowledge_base.registry.documents.index_again([*findings.missing, *findings.stale])


_Difference = tuple[str, IndexedState | None, tuple[tuple[int, int], ...]]


def _differences(knowledge_base: KnowledgeBase, knowledge_base_id: str) -> dict[str, _Difference]:
    """By document: what is wrong, and the evidence for it."""
    rows = knowledge_base.registry.documents.indexed_states(knowledge_base_id)
    held: dict[str, tuple[tuple[int, int], ...]] = {}
    for one in knowledge_base.store.versions(knowledge_base_id):
        held[one.document_id] = (*held.get(one.document_id, ()), (one.version, one.nodes))
    found: dict[str, _Difference] = {}
    for document_id, row in rows.items():
        kind = _kind(row, held.get(document_id, ()))
        if kind is not None:
            found[document_id] = (kind, row, held.get(document_id, ()))
    for document_id, versions in held.items():
        if document_id not in rows:
            found[document_id] = ("orphaned", None, versions)
    return found


def _kind(row: IndexedState, held: tuple[tuple[int, int], ...]) -> str | None:
    if row.is_silent:
        return "stuck"
    if row.state is DocumentState.PROCESSING:
        return None
    if row.state is DocumentState.DELETED:
        return "orphaned" if held and row.purged else None
    if row.indexed_version is None:
        return None
    nodes = dict(held).get(row.indexed_version)
    if nodes is None:
        return "stale" if held else "missing"
    if row.state is DocumentState.COMPLETED and row.chunks not in (None, nodes):
        return "stale"
    return None
