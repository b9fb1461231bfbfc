"""`ReaktlySQLiteVectorStore`: a knowledge base of the embedded store as LlamaIndex sees one.

LlamaIndex adds, filters and deletes nodes, each with metadata of its own, so each node is
stored as a document of one node. `ref_doc_id` is its external id. Nodes that Reaktly's own
ingestion stored in the same knowledge base are found and filtered as well.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.filters import (
    ATTRIBUTE_PREFIX,
    FIXED_FIELDS,
    And,
    Comparison,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
)
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.filter_sql import CASEFOLDED, DOCUMENT_ID_FIELD, SOURCE_FIELD
from llamaindex_reaktly.stores.protocol import (
    Candidate,
    IndexedDocument,
    IndexedNode,
    Replacement,
    StoreQuery,
    Vector,
)

SOURCE = "llama-index"
"""The source of nodes that were added through LlamaIndex."""

_NODE_PREFIX = "node:"
# What LlamaIndex's own stores put beside a node's metadata, and people filter by.
_REF_DOC_KEYS = frozenset({"ref_doc_id", "doc_id", "document_id"})
_DEFAULT_ALPHA = 0.5
_DEFAULT_MMR_THRESHOLD = 0.5
_MMR_POOL = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReaktlySQLiteVectorStore(BasePydanticVectorStore):
    """A vector store in a directory, with full text, filters and no server.

    `path` is the directory, which several processes may share; `knowledge_base_id` names
    the part of it that this store reads and writes. `language` (ISO 639-1) is that of
    nodes whose metadata has no `language`.

    Modes: DEFAULT (cosine), TEXT_SEARCH and SPARSE (BM25), HYBRID (`alpha` · cosine +
    (1 - `alpha`) · BM25 / the query's idf; `alpha` .5 unless given), MMR. Others are
    refused with a `ValueError`, as are embeddings of another dimension than those already
    there (`EmbedderMismatch`).
    """

    stores_text: bool = True
    flat_metadata: bool = False
    path: str
    knowledge_base_id: str = "default"
    language: str = "en"

    _store: EmbeddedStore = PrivateAttr()
    _analyzer: Analyzer = PrivateAttr()

    def __init__(
        self,
        path: str | Path,
        knowledge_base_id: str = "default",
        *,
        language: str = "en",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path=str(path), knowledge_base_id=knowledge_base_id, language=language, **kwargs
        )
        self._store = EmbeddedStore(Path(path))
        self._analyzer = Analyzer()

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised configurations."""
        return "ReaktlySQLiteVectorStore"

    @property
    def client(self) -> EmbeddedStore:
        """The embedded store."""
        return self._store

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        self._store.close()

    # Writing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:  # noqa: ARG002 (LlamaIndex's signature)
        """Store nodes with their embeddings, in one transaction; a known id is replaced."""
        self._store.replace(self.knowledge_base_id, [self._replacement(node) for node in nodes])
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:  # noqa: ARG002 (LlamaIndex's signature)
        """Delete every node of a source document; `purge` wipes its traces."""
        self._store.delete_matching(self.knowledge_base_id, _of_documents([ref_doc_id]))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ARG002 (LlamaIndex's signature)
    ) -> None:
        """Delete the nodes that have one of the ids and satisfy the filters.

        Nothing is deleted when neither is given: `clear` does that.
        """
        chosen = _chosen(node_ids=node_ids, filters=filters)
        if chosen is not None:
            self._store.delete_matching(self.knowledge_base_id, chosen)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def purge(self) -> None:
        """Wipe what deleted and replaced nodes left in the files, which rewrites them."""
        self._store.purge(self.knowledge_base_id)

    def clear(self) -> None:
        """Delete everything, without a trace."""
        self._store.drop(self.knowledge_base_id)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await asyncio.to_thread(self.clear)

    # Reading

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes that have one of the ids and satisfy the filters; all if neither is given."""
        chosen = _chosen(node_ids=node_ids, filters=filters)
        return [
            _node(found.document, node)
            for found in self._store.select(self.knowledge_base_id, chosen)
            for node in found.nodes
        ]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ARG002 (LlamaIndex's signature)
        """The best nodes by the query's mode, best first, with their scores."""
        ranking = _RANKINGS.get(query.mode)
        if ranking is None:
            known = ", ".join(mode.value for mode in _RANKINGS)
            raise ValueError(f"mode {query.mode.value} is not supported; use one of {known}")
        ranked = ranking(self, query)
        return VectorStoreQueryResult(
            nodes=[_node(candidate.document, candidate) for candidate, _ in ranked],
            similarities=[score for _, score in ranked],
            ids=[candidate.node_id for candidate, _ in ranked],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _by_vector(self, query: VectorStoreQuery) -> list[tuple[Candidate, float]]:
        found = self._found(query, _vector_of(query), None, query.similarity_top_k)
        return _best(found, lambda candidate: candidate.cosine, query.similarity_top_k)

    def _by_text(self, query: VectorStoreQuery) -> list[tuple[Candidate, float]]:
        count = query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k
        found = self._found(query, None, _text_of(query), count)
        return _best(found, lambda candidate: candidate.bm25, count)

    def _by_both(self, query: VectorStoreQuery) -> list[tuple[Candidate, float]]:
        alpha = _DEFAULT_ALPHA if query.alpha is None else query.alpha
        count = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
        legs = max(count, query.similarity_top_k, query.sparse_top_k or 0)
        found = self._found(query, _vector_of(query), _text_of(query), legs)

        def score(candidate: Candidate) -> float:
            share = candidate.bm25 / candidate.query_idf if candidate.query_idf else 0.0
            return alpha * candidate.cosine + (1 - alpha) * share

        return _best(found, score, count)

    def _by_relevance_and_variety(self, query: VectorStoreQuery) -> list[tuple[Candidate, float]]:
        """Maximal marginal relevance (Carbonell, Goldstein 1998) over the nearest nodes."""
        threshold = _DEFAULT_MMR_THRESHOLD if query.mmr_threshold is None else query.mmr_threshold
        pool = query.similarity_top_k * _MMR_POOL
        found = self._found(query, _vector_of(query), None, pool)
        nearest = _best(found, lambda candidate: candidate.cosine, pool)
        vectors = self._vectors([candidate for candidate, _ in nearest])
        chosen: list[tuple[Candidate, float]] = []
        remaining = list(range(len(nearest)))
        closest = np.zeros(len(nearest))
        while remaining and len(chosen) < query.similarity_top_k:
            scores = {
                i: threshold * nearest[i][1] - (1 - threshold) * closest[i] for i in remaining
            }
            best = max(remaining, key=lambda i: scores[i])
            chosen.append((nearest[best][0], float(scores[best])))
            remaining.remove(best)
            closest = np.maximum(closest, vectors @ vectors[best])
        return chosen

    def _vectors(self, candidates: Sequence[Candidate]) -> Vector:
        documents = tuple({candidate.document.document_id for candidate in candidates})
        stored = self._store.select(
            self.knowledge_base_id, Comparison(DOCUMENT_ID_FIELD, Operator.IN, documents)
        )
        by_node = {node.node_id: node.vector for found in stored for node in found.nodes}
        return np.array([by_node[candidate.node_id] for candidate in candidates])

    def _found(
        self, query: VectorStoreQuery, vector: Vector | None, text: str | None, candidates: int
    ) -> list[Candidate]:
        terms = None
        if text is not None:
            languages = self._store.languages(self.knowledge_base_id)
            terms = self._analyzer.query_terms(text, languages)
        return self._store.search(
            self.knowledge_base_id,
            StoreQuery(
                vector=vector,
                terms=terms,
                filter=_chosen(query.node_ids, query.doc_ids, query.filters),
                candidates=candidates,
            ),
        )

    def _replacement(self, node: BaseNode) -> Replacement:
        stated = node.metadata.get("language")
        language = stated if isinstance(stated, str) else self.language
        content = node_to_metadata_dict(node)
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        document = IndexedDocument(
            document_id=_NODE_PREFIX + node.node_id,
            version=0,
            source=SOURCE,
            external_id=node.ref_doc_id or "",
            source_type=SourceType.PAGE,
            title="",
            url=None,
            summary=None,
            tags=(),
            language=language,
            attributes=json.loads(content["_node_content"])["metadata"],
            updated_at=_EPOCH,
        )
        searchable = node.get_content(metadata_mode=MetadataMode.EMBED)
        stored = IndexedNode(
            node_id=node.node_id,
            ordinal=0,
            text=text,
            headings=(),
            terms=" ".join(self._analyzer.terms(searchable, language)),
            vector=_unit(node.get_embedding()),
            content_digest=node.hash,
            extra=json.dumps({key: content[key] for key in ("_node_content", "_node_type")}),
        )
        return Replacement(document, [stored])


_Ranking = Callable[[ReaktlySQLiteVectorStore, VectorStoreQuery], Sequence[tuple[Candidate, float]]]

_RANKINGS: Mapping[VectorStoreQueryMode, _Ranking] = {
    VectorStoreQueryMode.DEFAULT: ReaktlySQLiteVectorStore._by_vector,  # noqa: SLF001 (its own)
    VectorStoreQueryMode.SPARSE: ReaktlySQLiteVectorStore._by_text,  # noqa: SLF001 (its own)
    VectorStoreQueryMode.TEXT_SEARCH: ReaktlySQLiteVectorStore._by_text,  # noqa: SLF001 (its own)
    VectorStoreQueryMode.HYBRID: ReaktlySQLiteVectorStore._by_both,  # noqa: SLF001 (its own)
    VectorStoreQueryMode.MMR: ReaktlySQLiteVectorStore._by_relevance_and_variety,  # noqa: SLF001 (its own)
}


def _best(
    found: Sequence[Candidate], score: Callable[[Candidate], float], count: int
) -> list[tuple[Candidate, float]]:
    scored = [(candidate, score(candidate)) for candidate in found]
    # The candidates come in the order of their nodes, which the sort keeps among equals.
    return sorted(scored, key=lambda pair: -pair[1])[:count]


def _vector_of(query: VectorStoreQuery) -> Vector:
    if query.query_embedding is None:
        raise ValueError(f"mode {query.mode.value} needs a query_embedding")
    return _unit(query.query_embedding)


def _text_of(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise ValueError(f"mode {query.mode.value} needs a query_str")
    return query.query_str


def _unit(embedding: Sequence[float]) -> Vector:
    vector = np.asarray(embedding, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def _node(document: IndexedDocument, stored: IndexedNode | Candidate) -> BaseNode:
    if stored.extra is not None and document.source == SOURCE:
        return metadata_dict_to_node(json.loads(stored.extra))
    return TextNode(
        id_=stored.node_id,
        text=stored.text,
        metadata={
            **document.attributes,
            "title": document.title,
            "url": document.url,
            "headings": list(stored.headings),
        },
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document.document_id)},
    )


# Filters


def _chosen(
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
    filters: MetadataFilters | None = None,
) -> Filter | None:
    """What must hold for all that is given; None where nothing is."""
    parts: list[Filter] = []
    if node_ids is not None:
        ids = tuple(_NODE_PREFIX + node_id for node_id in node_ids)
        parts.append(Comparison(DOCUMENT_ID_FIELD, Operator.IN, ids))
    if doc_ids is not None:
        parts.append(_of_documents(doc_ids))
    if filters is not None and filters.filters:
        parts.append(translated(filters))
    return And(tuple(parts)) if parts else None


def _of_documents(ref_doc_ids: Sequence[str]) -> Filter:
    """Nodes of LlamaIndex's documents with these ids, and Reaktly's documents with them."""
    ids = tuple(ref_doc_ids)
    of_llama_index = Comparison(SOURCE_FIELD, Operator.EQ, SOURCE)
    return Or(
        (
            And((of_llama_index, Comparison("externalId", Operator.IN, ids))),
            Comparison(DOCUMENT_ID_FIELD, Operator.IN, ids),
        )
    )


def translated(filters: MetadataFilters) -> Filter:
    """LlamaIndex's filters as ours. Raises `ValueError` for values that mean nothing."""
    operands = tuple(
        translated(part) if isinstance(part, MetadataFilters) else _comparison(part)
        for part in filters.filters
    )
    return _CONDITIONS[filters.condition or FilterCondition.AND](operands)


_CONDITIONS: Mapping[FilterCondition, Callable[[tuple[Filter, ...]], Filter]] = {
    FilterCondition.AND: And,
    FilterCondition.OR: Or,
    FilterCondition.NOT: lambda operands: Not(Or(operands)),
}


def _comparison(part: MetadataFilter) -> Filter:
    return _OPERATORS[part.operator](part)


def _on_field(
    part: MetadataFilter, operator: Operator, value: Scalar | tuple[Scalar, ...], prefix: str = ""
) -> Filter:
    """The key as metadata, and where it is one of Reaktly's own fields, as that too."""
    fields = [ATTRIBUTE_PREFIX + part.key]
    if part.key in FIXED_FIELDS - {"updatedAt"}:
        fields.append(part.key)
    if part.key in _REF_DOC_KEYS:
        fields.append("externalId")
    return Or(tuple(Comparison(prefix + field, operator, value) for field in fields))


def _with_scalar(operator: Operator) -> Callable[[MetadataFilter], Filter]:
    def compared(part: MetadataFilter) -> Filter:
        if part.value is None or isinstance(part.value, list):
            raise ValueError(f"operator {part.operator.value} takes one value, for {part.key}")
        return _on_field(part, operator, part.value)

    return compared


def _with_list(operator: Operator) -> Callable[[MetadataFilter], Filter]:
    def compared(part: MetadataFilter) -> Filter:
        if not isinstance(part.value, list):
            raise ValueError(f"operator {part.operator.value} takes a list, for {part.key}")
        return _on_field(part, operator, tuple(part.value))

    return compared


def _equal(part: MetadataFilter) -> Filter:
    if part.value is None:
        return Not(_on_field(part, Operator.EXISTS, value=True))
    return _with_scalar(Operator.EQ)(part)


def _containing_text(part: MetadataFilter) -> Filter:
    return _on_field(part, Operator.CONTAINS, _text(part))


def _containing_folded_text(part: MetadataFilter) -> Filter:
    return _on_field(part, Operator.CONTAINS, _text(part).casefold(), CASEFOLDED)


def _text(part: MetadataFilter) -> str:
    if not isinstance(part.value, str):
        raise ValueError(f"operator {part.operator.value} takes a string, for {part.key}")
    return part.value


def _empty(part: MetadataFilter) -> Filter:
    missing = Not(_on_field(part, Operator.EXISTS, value=True))
    return Or((missing, _on_field(part, Operator.EQ, "")))


_OPERATORS: Mapping[FilterOperator, Callable[[MetadataFilter], Filter]] = {
    FilterOperator.EQ: _equal,
    FilterOperator.NE: lambda part: Not(_equal(part)),
    FilterOperator.GT: _with_scalar(Operator.GT),
    FilterOperator.GTE: _with_scalar(Operator.GTE),
    FilterOperator.LT: _with_scalar(Operator.LT),
    FilterOperator.LTE: _with_scalar(Operator.LTE),
    FilterOperator.IN: _with_list(Operator.IN),
    FilterOperator.NIN: lambda part: Not(_with_list(Operator.IN)(part)),
    FilterOperator.ANY: _with_list(Operator.ANY),
    FilterOperator.ALL: _with_list(Operator.ALL),
    FilterOperator.CONTAINS: _with_scalar(Operator.CONTAINS),
    FilterOperator.TEXT_MATCH: _containing_text,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _containing_folded_text,
    FilterOperator.IS_EMPTY: _empty,
}
