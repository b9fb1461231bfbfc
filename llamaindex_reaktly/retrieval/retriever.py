"""Searching one knowledge base: both legs, what is visible of them, documents in order."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from llamaindex_reaktly.domain import (
    DocumentKey,
    Passage,
    SearchHit,
    SearchMode,
    SearchRequest,
    SearchResult,
)
from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.retrieval.ranking import RankedDocument, rank
from llamaindex_reaktly.stores.protocol import Candidate, Store, StoreQuery, Vector
from llamaindex_reaktly.tracing import in_this_trace, span

PASSAGES_PER_DOCUMENT = 3
# Nodes that each leg brings up. More than a page of documents needs, because several
# nodes of one document come together and the best of both legs must be in the union.
MIN_CANDIDATES = 100
# Documents that visibility is asked about at a time, beyond those that are shown.
SPARE_DOCUMENTS = 5
EMBEDDING_THREADS = 4


class Visibility(Protocol):
    """The registry's word on what a search may show."""

    def visible_from(self, document_ids: Collection[str]) -> Mapping[str, int]:
        """The lowest version of each document that may be shown; absent: none."""
        ...

    def replacement_clock(self) -> int:
        """The tick at which a search begins."""
        ...

    def live_versions(self, document_ids: Collection[str], tick: int) -> Mapping[str, int]:
        """The version of each document to show to a search that began then; absent: none."""
        ...


class Retriever:
    """Answers searches from a store, showing only what the registry calls visible."""

    def __init__(
        self,
        store: Store,
        visibility: Visibility,
        query_terms: Callable[[str, Sequence[str]], Mapping[str, Sequence[str]]],
    ) -> None:
        self._store = store
        self._visibility = visibility
        self._query_terms = query_terms
        self._embedding_threads = ThreadPoolExecutor(
            EMBEDDING_THREADS, thread_name_prefix="reaktly-embed-query"
        )

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._embedding_threads.shutdown(cancel_futures=True)

    def search(self, request: SearchRequest, embedder: TextEmbedder | None) -> SearchResult:
        """The documents that best answer the request, in order of relevance.

        A search of mode `text` needs no embedder.
        """
        wanted = request.offset + request.limit
        vector = terms = None
        if embedder is not None and request.mode is not SearchMode.TEXT:
            vector = self._embedding(embedder, request.query)
        if request.mode is not SearchMode.VECTOR:
            languages = self._store.languages(request.knowledge_base_id)
            terms = self._query_terms(request.query, languages)
        candidates = max(MIN_CANDIDATES, 4 * wanted)
        # Read before the store is: what it finds then is at least as new.
        tick = None if self._store.replaces_at_once else self._visibility.replacement_clock()
        while True:
            query = StoreQuery(vector, terms, request.filters, candidates)
            with span("search.store"):
                found = self._store.search(request.knowledge_base_id, query)
            with span("search.rank"):
                ranked = rank(found, request.mode)
            with span("search.visibility"):
                documents = self._visible(ranked, wanted, tick)
            # Documents of many nodes, or ones just deleted, may leave too few: ask for more,
            # as long as a leg was cut off rather than exhausted.
            if len(documents) >= wanted or len(found) < candidates:
                break
            candidates *= 4
        relevant = [d for d in documents if d.relevance >= request.min_relevance]
        page = relevant[request.offset : wanted]
        return SearchResult(tuple(_hit(request.knowledge_base_id, d) for d in page))

    def _embedding(self, embedder: TextEmbedder, text: str) -> Callable[[], Vector]:
        """The query's vector, begun in a thread of its own while the store is asked for words."""

        def embed() -> Vector:
            with span("search.embed"):
                return embedder.embed_query(text)

        begun = self._embedding_threads.submit(in_this_trace(embed))

        @functools.cache
        def vector() -> Vector:
            # Where searches queue for the processor, whoever needs the vector makes it.
            return embed() if begun.cancel() else begun.result()

        return vector

    def _visible(
        self, documents: Sequence[RankedDocument], wanted: int, tick: int | None
    ) -> list[RankedDocument]:
        """The first `wanted` documents that may be shown, or all if there are fewer.

        A store that replaces at once has one version of each, which may be newer than the
        registry knows yet; of several, the one that was live at the `tick` is shown.
        """
        visible: dict[str, RankedDocument] = {}
        # Asking about all candidates costs more than most pages need: a few beyond the
        # page, and on only when so many were hidden.
        step = wanted + SPARE_DOCUMENTS
        for start in range(0, len(documents), step):
            some = documents[start : start + step]
            ids = {_first(d).document.document_id for d in some}
            if tick is None:
                allowed = self._visibility.visible_from(ids)
            else:
                allowed = self._visibility.live_versions(ids, tick)
            for ranked in some:
                document = _first(ranked).document
                version = allowed.get(document.document_id)
                if version is None or document.version < version:
                    continue
                if tick is None or document.version == version:
                    visible.setdefault(document.document_id, ranked)
            if len(visible) >= wanted:
                break
        return list(visible.values())[:wanted]


def _first(ranked: RankedDocument) -> Candidate:
    return ranked.nodes[0][1]


def _hit(knowledge_base_id: str, ranked: RankedDocument) -> SearchHit:
    document = _first(ranked).document
    return SearchHit(
        document_id=document.document_id,
        key=DocumentKey(knowledge_base_id, document.source, document.external_id),
        version=document.version,
        source_type=document.source_type,
        title=document.title,
        url=document.url,
        summary=document.summary,
        tags=document.tags,
        attributes=document.attributes,
        updated_at=document.updated_at,
        relevance=ranked.relevance,
        passages=tuple(
            Passage(node.node_id, node.text, node.headings, relevance)
            for relevance, node in ranked.nodes[:PASSAGES_PER_DOCUMENT]
        ),
        language=document.language,
    )
