"""More is deleted at once than a server deletes in one request: a long document, a large source.

Straight on the store, with vectors made up for it: what is in question is whether anything
is left, not what a search finds.
"""

import time
from datetime import UTC, datetime

import numpy as np

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.stores.protocol import IndexedDocument, IndexedNode, Replacement
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from scripts.weaviate_server import WeaviateServer
from torture.context import Context
from torture.oracle import Fault
from torture.outcome import Outcome
from torture.store_kills import opened

# A server deletes 10,000 objects in one request.
NODES = 25_000
DOCUMENTS = 12_000
_BASE = "kb-mass"
_DIMENSION = 64
_DOCUMENTS_A_CALL = 1_000


def mass_deletes(context: Context) -> Outcome:
    """Store a document of many nodes and a source of many documents; delete one, then the other."""
    oracle = context.oracle()
    (server,) = (one for one in context.servers if isinstance(one, WeaviateServer))
    dice = np.random.default_rng(context.seed)
    notes = []
    with opened(server) as store:
        _replace(store, [_document("kept", 1, dice)])
        _replace(store, [_document("long", NODES, dice)])
        names = [f"one-of-many-{number}" for number in range(DOCUMENTS)]
        for start in range(0, DOCUMENTS, _DOCUMENTS_A_CALL):
            some = names[start : start + _DOCUMENTS_A_CALL]
            _replace(store, [_document(name, 1, dice) for name in some])
        context.show(f"{store.count(_BASE)} stored")
        for what, gone in (
            (f"a document of {NODES:,} nodes", ["long"]),
            (f"{DOCUMENTS:,} documents of a source", names),
        ):
            begun = time.monotonic()
            deleted = store.delete(_BASE, gone)
            notes.append(f"{what} deleted in {time.monotonic() - begun:.1f} s")
            if deleted != len(gone):
                oracle.accuse(Fault.UNDELETED, what, f"only {deleted} were said to be deleted")
        left = store.count(_BASE)
        if (left.documents, left.nodes) != (1, 1):
            oracle.accuse(Fault.UNDELETED, _BASE, f"{left} is left, beside one that must be")
        if not store.nodes(_BASE, "kept"):
            oracle.accuse(Fault.MISSING, "kept", "went with the others")
    return Outcome.of(context, oracle, notes=notes)


def _replace(store: WeaviateStore, replacements: list[Replacement]) -> None:
    store.connection.submit(
        lambda: store.index.replace(_BASE, replacements, keep_older=False), None
    ).result()


def _document(name: str, nodes: int, dice: np.random.Generator) -> Replacement:
    document = IndexedDocument(
        document_id=name,
        version=1,
        source="integration:mass",
        external_id=name,
        source_type=SourceType.ARTICLE,
        title=name,
        url=None,
        summary=None,
        tags=(),
        language="en",
        attributes={},
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    vectors = dice.standard_normal((nodes, _DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Replacement(
        document,
        [
            IndexedNode(
                node_id=f"{name}/{ordinal}",
                ordinal=ordinal,
                text=f"Node {ordinal} of {name}",
                headings=(),
                terms=f"node {ordinal}",
                vector=vector,
                content_digest=f"{name}/{ordinal}",
            )
            for ordinal, vector in enumerate(vectors)
        ],
    )
