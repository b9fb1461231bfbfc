"""Between LlamaIndex's nodes, filters and queries and those of our stores.

LlamaIndex adds, filters and deletes nodes, each with metadata of its own, so each node is
stored as a document of one node. `ref_doc_id` is its external id. Nodes that Reaktly's own
ingestion stored in the same knowledge base are found and filtered as well.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
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

Ranked = Sequence[tuple[Candidate, float]]


# Nodes


def replacement_of(node: BaseNode, analyzer: Analyzer, language: str) -> Replacement:
    """The node as a document of its own; `language` unless its metadata names one."""
    stated = node.metadata.get("language")
    language = stated if isinstance(stated, str) else language
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
        terms=" ".join(analyzer.terms(searchable, language)),
        vector=_unit(node.get_embedding()),
        content_digest=node.hash,
        extra=json.dumps({key: content[key] for key in ("_node_content", "_node_type")}),
    )
    return Replacement(document, [stored])


def nodes_of(found: Sequence[Replacement]) -> list[BaseNode]:
    """Documents' nodes as LlamaIndex has them."""
    return [_node(one.document, node) for one in found for node in one.nodes]


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


def _unit(embedding: Sequence[float]) -> Vector:
    vector = np.asarray(embedding, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


# Queries


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What a mode asks of the store, and how it ranks what it gets.

    `variety` is the threshold of maximal marginal relevance (Carbonell, Goldstein 1998), or
    None for the plain order of scores.
    """

    vector: Vector | None
    text: str | None
    filter: Filter | None
    candidates: int
    score: Callable[[Candidate], float]
    count: int
    variety: float | None = None

    def store_query(self, analyzer: Analyzer, languages: Sequence[str]) -> StoreQuery:
        """The question to the store, whose documents are in these languages."""
        terms = None if self.text is None else analyzer.query_terms(self.text, languages)
        return StoreQuery(
            vector=self.vector, terms=terms, filter=self.filter, candidates=self.candidates
        )

    def ranked(self, found: Sequence[Candidate]) -> Ranked:
        """The best candidates with their scores; for `variety`, the pool to choose from."""
        scored = [(candidate, self.score(candidate)) for candidate in found]
        # The candidates come in the order of their nodes, which the sort keeps among equals.
        most = self.count if self.variety is None else self.candidates
        return sorted(scored, key=lambda pair: -pair[1])[:most]

    def varied(self, pool: Ranked, stored: Sequence[Replacement]) -> Ranked:
        """The pool's most relevant nodes that differ; `stored` holds their vectors."""
        assert self.variety is not None
        by_node = {node.node_id: node.vector for found in stored for node in found.nodes}
        vectors = np.array([by_node[candidate.node_id] for candidate, _ in pool])
        chosen: list[tuple[Candidate, float]] = []
        remaining = list(range(len(pool)))
        closest = np.zeros(len(pool))
        while remaining and len(chosen) < self.count:
            scores = {
                i: self.variety * pool[i][1] - (1 - self.variety) * closest[i] for i in remaining
            }
            best = max(remaining, key=lambda i: scores[i])
            chosen.append((pool[best][0], float(scores[best])))
            remaining.remove(best)
            closest = np.maximum(closest, vectors @ vectors[best])
        return chosen


def plan_of(query: VectorStoreQuery) -> QueryPlan:
    """How a query is answered. Raises `ValueError` for a mode, or for one without its input."""
    planned = _PLANS.get(query.mode)
    if planned is None:
        known = ", ".join(mode.value for mode in _PLANS)
        raise ValueError(f"mode {query.mode.value} is not supported; use one of {known}")
    return planned(query)


def documents_of(ranked: Ranked) -> Filter:
    """The candidates' documents."""
    documents = tuple({candidate.document.document_id for candidate, _ in ranked})
    return Comparison(DOCUMENT_ID_FIELD, Operator.IN, documents)


def result_of(ranked: Ranked) -> VectorStoreQueryResult:
    """The answer that LlamaIndex expects."""
    return VectorStoreQueryResult(
        nodes=[_node(candidate.document, candidate) for candidate, _ in ranked],
        similarities=[score for _, score in ranked],
        ids=[candidate.node_id for candidate, _ in ranked],
    )


def _by_vector(query: VectorStoreQuery) -> QueryPlan:
    count = query.similarity_top_k
    return QueryPlan(_vector_of(query), None, _filter_of(query), count, _cosine, count)


def _by_text(query: VectorStoreQuery) -> QueryPlan:
    count = query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k
    return QueryPlan(
        None, _text_of(query), _filter_of(query), count, lambda candidate: candidate.bm25, count
    )


def _by_both(query: VectorStoreQuery) -> QueryPlan:
    alpha = _DEFAULT_ALPHA if query.alpha is None else query.alpha
    count = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
    legs = max(count, query.similarity_top_k, query.sparse_top_k or 0)

    def score(candidate: Candidate) -> float:
        share = candidate.bm25 / candidate.query_idf if candidate.query_idf else 0.0
        return alpha * candidate.cosine + (1 - alpha) * share

    return QueryPlan(_vector_of(query), _text_of(query), _filter_of(query), legs, score, count)


def _by_relevance_and_variety(query: VectorStoreQuery) -> QueryPlan:
    threshold = _DEFAULT_MMR_THRESHOLD if query.mmr_threshold is None else query.mmr_threshold
    count = query.similarity_top_k
    pool = count * _MMR_POOL
    return QueryPlan(
        _vector_of(query), None, _filter_of(query), pool, _cosine, count, variety=threshold
    )


_PLANS: Mapping[VectorStoreQueryMode, Callable[[VectorStoreQuery], QueryPlan]] = {
    VectorStoreQueryMode.DEFAULT: _by_vector,
    VectorStoreQueryMode.SPARSE: _by_text,
    VectorStoreQueryMode.TEXT_SEARCH: _by_text,
    VectorStoreQueryMode.HYBRID: _by_both,
    VectorStoreQueryMode.MMR: _by_relevance_and_variety,
}


def _cosine(candidate: Candidate) -> float:
    return candidate.cosine


def _filter_of(query: VectorStoreQuery) -> Filter | None:
    return chosen(query.node_ids, query.doc_ids, query.filters)


def _vector_of(query: VectorStoreQuery) -> Vector:
    if query.query_embedding is None:
        raise ValueError(f"mode {query.mode.value} needs a query_embedding")
    return _unit(query.query_embedding)


def _text_of(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise ValueError(f"mode {query.mode.value} needs a query_str")
    return query.query_str


# Filters


def chosen(
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
        parts.append(of_documents(doc_ids))
    if filters is not None and filters.filters:
        parts.append(translated(filters))
    return And(tuple(parts)) if parts else None


def of_documents(ref_doc_ids: Sequence[str]) -> Filter:
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
