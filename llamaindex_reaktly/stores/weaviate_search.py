"""One search of a tenant: both legs at once, then what is not known of what they found.

The server's order decides which objects are looked at. Cosines and BM25 are computed here
from what the objects hold, with the embedded store's own arithmetic, so that a candidate's
evidence is the same number in both stores.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.errors import EmbedderMismatch
from llamaindex_reaktly.stores import weaviate_counts, weaviate_tenant
from llamaindex_reaktly.stores.filter_match import holds, values_by_field
from llamaindex_reaktly.stores.lexical import (
    LexicalQuery,
    distinct_terms,
    index_tokens,
    lexical_query,
)
from llamaindex_reaktly.stores.protocol import Candidate, StoreQuery, Vector
from llamaindex_reaktly.stores.weaviate_counts import Known, Tenant
from llamaindex_reaktly.stores.weaviate_filters import ServerCondition, compile_for_server
from llamaindex_reaktly.stores.weaviate_objects import (
    HeadRecord,
    NodeRecord,
    Ref,
    object_id,
    read_head,
    read_node,
    read_ref,
)
from llamaindex_reaktly.stores.weaviate_schema import VECTOR
from llamaindex_reaktly.stores.weaviate_tenant import MAX_RESULTS, Found

K = TypeVar("K")
V = TypeVar("V")

# Of some kilobytes each.
_MOST_RECORDS = 10_000
_MOST_RANKED_TERMS = 256
_MOST_REPEATS = 4
_EVERYTHING = ServerCondition(where=None, admits_nothing=False, is_exact=True)


class Kept(Generic[K, V]):
    """The most recently used entries, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The entry, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Keep an entry."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def pop(self, key: K) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(key, None)


class Records:
    """What was read of nodes and documents, under the digests of what their objects hold."""

    def __init__(self) -> None:
        self.nodes: Kept[tuple[str, str], NodeRecord] = Kept(_MOST_RECORDS)
        self.heads: Kept[tuple[str, int, str], HeadRecord] = Kept(_MOST_RECORDS)


class Hit(NamedTuple):
    """An object that a leg brought up."""

    object_id: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class ReadHit:
    """What a hit's object and its head hold."""

    node: NodeRecord
    head: HeadRecord


async def gathered(
    tenant: Tenant, dimension: int, query: StoreQuery, known: Known, records: Records
) -> list[Candidate]:
    """The best nodes of both legs, in order of document and place, with their evidence."""
    condition = _EVERYTHING if query.filter is None else compile_for_server(query.filter)
    if condition.admits_nothing or query.candidates < 1:
        return []
    limit = min(query.candidates, MAX_RESULTS)
    while True:
        terms = asyncio.create_task(_lexical(tenant, query, condition, limit, known))
        try:
            vector = await asyncio.to_thread(lambda: query.vector)
            if vector is not None and len(vector) != dimension:
                raise EmbedderMismatch(
                    f"the knowledge base holds vectors of {dimension} dimensions,"
                    f" not of {len(vector)}"
                )
            near = await _nearest(tenant, vector, condition, limit)
            lexical, matching = await terms
        finally:
            terms.cancel()
        read = await read_hits(tenant, [*near, *matching], records)
        if query.filter is not None and not condition.is_exact:
            read = {
                own_id: one
                for own_id, one in read.items()
                if holds(query.filter, values_by_field(one.head.document))
            }
        nearest = [hit.object_id for hit in near if hit.object_id in read]
        matched = [hit.object_id for hit in matching if hit.object_id in read]
        # What only narrows down may let too few through: as long as a leg was cut off, the
        # rest of it is asked for.
        cut_off = (len(near) >= limit and len(nearest) < query.candidates) or (
            len(matching) >= limit and len(matched) < query.candidates
        )
        if condition.is_exact or not cut_off or limit >= MAX_RESULTS:
            break
        limit = min(limit * 4, MAX_RESULTS)
    near_ids = set(nearest[: query.candidates])
    chosen = sorted(
        near_ids.union(matched),
        key=lambda one: (read[one].head.document.document_id, read[one].node.ordinal, one),
    )
    return _candidates(
        [read[one] for one in chosen],
        np.array([one in near_ids for one in chosen], dtype=np.bool_),
        vector,
        lexical,
        query.candidates,
    )


async def _nearest(
    tenant: Tenant, vector: Vector | None, condition: ServerCondition, limit: int
) -> list[Hit]:
    if vector is None:
        return []
    answer = await tenant.query.near_vector(
        vector.tolist(),
        target_vector=VECTOR,
        filters=condition.where,
        limit=limit,
        return_properties=["ref"],
    )
    return _hits(answer.objects)


async def _lexical(
    tenant: Tenant, query: StoreQuery, condition: ServerCondition, limit: int, known: Known
) -> tuple[LexicalQuery | None, list[Hit]]:
    terms = {} if query.terms is None else query.terms
    distinct = distinct_terms(terms)
    if not distinct:
        return None, []
    counting = asyncio.create_task(weaviate_counts.term_frequencies(tenant, known, distinct))
    try:
        if len(distinct) > _MOST_RANKED_TERMS:
            frequencies = await counting
            there = sorted(filter(frequencies.get, distinct), key=frequencies.__getitem__)
            distinct = set(there[:_MOST_RANKED_TERMS])
        # Words of another language than the document's may bring up what does not match.
        places = limit if len(terms) == 1 else min(limit + limit // 4, MAX_RESULTS)
        words = _repeated(terms.values(), distinct)
        hits: list[Hit] = []
        if words:
            answer = await tenant.query.bm25(
                index_tokens(words),
                query_properties=["tokens"],
                filters=condition.where,
                limit=places,
                return_properties=["ref"],
            )
            hits = _hits(answer.objects)
        frequencies = await counting
    finally:
        counting.cancel()
    of_tenant = await weaviate_counts.counts(tenant, known)
    lexical = lexical_query(terms, frequencies, nodes=of_tenant.nodes, total_terms=of_tenant.terms)
    return lexical, hits


def _repeated(of_languages: Iterable[Sequence[str]], chosen: set[str]) -> list[str]:
    """The chosen terms, each as often as the language repeats it that does so most."""
    repeats: Counter[str] = Counter()
    for terms in of_languages:
        repeats |= Counter(term for term in terms if term in chosen)
    return [
        term for term, number in sorted(repeats.items()) for _ in range(min(number, _MOST_REPEATS))
    ]


def _hits(objects: Iterable[Found]) -> list[Hit]:
    return [Hit(str(one.uuid), read_ref(one.properties)) for one in objects]


async def read_hits(tenant: Tenant, hits: Iterable[Hit], records: Records) -> dict[str, ReadHit]:
    """Hits by id with what their objects hold; those of versions that are not whole left out."""
    by_id = {hit.object_id: hit.ref for hit in hits}
    nodes = {own_id: records.nodes.get((own_id, ref.stamp)) for own_id, ref in by_id.items()}
    heads: dict[tuple[str, int], HeadRecord | None] = {}
    for ref in by_id.values():
        version = (ref.document_id, ref.version)
        if version not in heads:
            heads[version] = records.heads.get((*version, ref.head_stamp))
    missing = {own_id for own_id, record in nodes.items() if record is None}
    missing |= {object_id(*version, 0) for version, record in heads.items() if record is None}
    if missing:
        found = await weaviate_tenant.fetch(
            tenant,
            sorted(missing),
            return_properties=["ref", "payload", "head"],
            include_vector=True,
        )
        for one in found:
            # Under the digests of what came, which may be newer than what was found.
            ref, own_id = read_ref(one.properties), str(one.uuid)
            node = read_node(one.properties, one.vector.get(VECTOR))
            if node is not None:
                records.nodes.put((own_id, ref.stamp), node)
                if own_id in nodes:
                    nodes[own_id] = node
            head = read_head(one.properties)
            if head is not None:
                version = (ref.document_id, ref.version)
                records.heads.put((*version, ref.head_stamp), head)
                heads[version] = head
    read = {}
    for own_id, ref in by_id.items():
        node, head = nodes[own_id], heads[ref.document_id, ref.version]
        if node is not None and head is not None:
            read[own_id] = ReadHit(node, head)
    return read


def _candidates(
    read: Sequence[ReadHit],
    nearest: NDArray[np.bool_],
    vector: Vector | None,
    lexical: LexicalQuery | None,
    count: int,
) -> list[Candidate]:
    """The candidates of both legs; those that words alone brought up, the `count` best."""
    if not read:
        return []
    cosines = np.zeros(len(read))
    if vector is not None:
        cosines = np.vecdot(np.array([one.node.vector for one in read]), vector)
    kept = nearest.copy()
    bm25 = matched_idf = query_idf = np.zeros(len(read))
    if lexical is not None:
        evidence = lexical.evidence_of(
            [one.node.language for one in read],
            [one.node.length for one in read],
            [one.node.profile for one in read],
        )
        bm25, matched_idf, query_idf = evidence.bm25, evidence.matched_idf, evidence.query_idf
        matching = np.flatnonzero(bm25 > 0)
        kept[matching[np.argsort(-bm25[matching], kind="stable")[:count]]] = True
    of_documents: dict[tuple[str, int], float] = {}
    candidates = []
    for place in np.flatnonzero(kept).tolist():
        one = read[place]
        document = one.head.document
        key = (document.document_id, document.version)
        if key not in of_documents:
            mean = one.node.vector if one.head.mean is None else one.head.mean
            of_documents[key] = 0.0 if vector is None else float(np.vecdot(mean, vector))
        candidates.append(
            Candidate(
                document=document,
                node_id=one.node.node_id,
                ordinal=one.node.ordinal,
                text=one.node.text,
                headings=one.node.headings,
                cosine=float(cosines[place]),
                document_cosine=of_documents[key],
                bm25=float(bm25[place]),
                matched_idf=float(matched_idf[place]),
                query_idf=float(query_idf[place]),
                extra=one.node.extra,
            )
        )
    return candidates
