"""Searching a knowledge base as LlamaIndex retrieves."""

import asyncio
from collections.abc import Mapping

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import (
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import MetadataFilters

from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.domain import Passage, SearchHit, SearchMode, SearchRequest
from llamaindex_reaktly.filters import Filter, parse_filter
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.stores.llama_index_nodes import translated

# What names a passage's place to a model that reads its text out of its document.
_CONTEXT = frozenset({keys.TITLE, keys.HEADINGS})


class ReaktlyRetriever(BaseRetriever):
    """Retrieves passages of a knowledge base, best first, at most three of a document.

    A node's score is its `relevance`, 0 to 1, the same number as in `POST /search`; its id is
    the passage's and its `ref_doc_id` the document's. Its metadata is the document's
    attributes with `documentId`, `title`, `headings` (the path above the passage) and, where
    there is one, `url`.

    `limit` counts nodes. `mode` is `hybrid`, `vector` or `text`. `filters` are LlamaIndex's,
    whose keys are the names of attributes and of Reaktly's fields alike, or a mapping in
    Reaktly's filter language, as HTTP takes it. The query is the bundle's text; its
    `embedding`, made by whichever model, is not used. Raises `ValueError` and
    `InvalidRequest` for what it cannot use; retrieving raises as `KnowledgeBase.search` does.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        knowledge_base_id: str,
        *,
        limit: int = 10,
        mode: SearchMode | str = SearchMode.HYBRID,
        filters: MetadataFilters | Mapping[str, object] | None = None,
        min_relevance: float = 0.0,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if limit < 1:
            msg = f"limit must be at least 1, not {limit}"
            raise ValueError(msg)
        super().__init__(callback_manager=callback_manager)
        self._knowledge_base = knowledge_base
        self._knowledge_base_id = knowledge_base_id
        self._limit = limit
        self._mode = SearchMode(mode)
        self._filter = filter_of(filters)
        self._min_relevance = min_relevance

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._knowledge_base.search(
            SearchRequest(
                self._knowledge_base_id,
                query_bundle.query_str,
                # A document is as relevant as its best passage: the best passages are theirs.
                limit=self._limit,
                mode=self._mode,
                filters=self._filter,
                min_relevance=self._min_relevance,
            )
        )
        nodes = [node_of(hit, passage) for hit in found.hits for passage in hit.passages]
        nodes = [node for node in nodes if node.get_score() >= self._min_relevance]
        return sorted(nodes, key=lambda node: -node.get_score())[: self._limit]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def filter_of(filters: MetadataFilters | Mapping[str, object] | None) -> Filter | None:
    """Either kind of filters as the core's. Raises `ValueError` or `InvalidRequest`."""
    if isinstance(filters, MetadataFilters):
        return translated(filters) if filters.filters else None
    return parse_filter(filters)


def node_of(hit: SearchHit, passage: Passage) -> NodeWithScore:
    """A passage of a document that was found, scored by its relevance."""
    metadata = {
        **hit.attributes,
        "documentId": hit.document_id,
        keys.TITLE: hit.title,
        keys.HEADINGS: list(passage.headings),
    }
    metadata.pop(keys.URL, None)  # an attribute of that name is not the document's address
    if hit.url is not None:
        metadata[keys.URL] = hit.url
    node = TextNode(
        id_=passage.node_id,
        text=passage.text,
        metadata=metadata,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.document_id)},
        excluded_embed_metadata_keys=[key for key in metadata if key not in _CONTEXT],
        excluded_llm_metadata_keys=["documentId"],
    )
    return NodeWithScore(node=node, score=passage.relevance)
