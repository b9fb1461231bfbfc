"""What a search shows of what the store found."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.domain import SearchMode, SearchRequest, SourceType
from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.retrieval.retriever import EMBEDDING_THREADS, Retriever
from llamaindex_reaktly.stores.protocol import (
    Candidate,
    IndexedDocument,
    Store,
    StoreQuery,
    Vector,
)


class OneLeg:
    """A store of one-node documents that match the better the lower their number."""

    replaces_at_once = True

    def __init__(self, documents: int, version: int = 1) -> None:
        self._found = [_candidate(number, version) for number in range(documents)]

    def languages(self, knowledge_base_id: str) -> Sequence[str]:
        return ["en"]

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        return self._found[: query.candidates]


class Registry:
    """Hides some documents, and notes how many it was asked about."""

    def __init__(self, hidden: Collection[str] = (), lowest: int = 1) -> None:
        self._hidden = hidden
        self._lowest = lowest
        self.asked = 0

    def visible_from(self, document_ids: Collection[str]) -> Mapping[str, int]:
        self.asked += len(document_ids)
        return {i: self._lowest for i in document_ids if i not in self._hidden}

    def replacement_clock(self) -> int:
        return 7

    def live_versions(self, document_ids: Collection[str], tick: int) -> Mapping[str, int]:
        assert tick == 7
        return self.visible_from(document_ids)


def _candidate(number: int, version: int) -> Candidate:
    document = IndexedDocument(
        document_id=f"doc_{number}",
        version=version,
        source="integration:int",
        external_id=str(number),
        source_type=SourceType.PAGE,
        title="",
        url=None,
        summary=None,
        tags=(),
        language="en",
        attributes={},
        updated_at=datetime(2024, 1, 1, tzinfo=UTC),
    )
    evidence = 1.0 / (1 + number)
    return Candidate(document, f"n{number}", 0, "text", (), 0.0, 0.0, evidence, evidence, 1.0)


def search(store: OneLeg, registry: Registry, *, limit: int, offset: int = 0) -> list[str]:
    request = SearchRequest("kb", "word", limit=limit, offset=offset, mode=SearchMode.TEXT)
    with retriever_of(store, registry) as retriever:
        return [hit.document_id for hit in retriever.search(request, None).hits]


@contextmanager
def retriever_of(store: OneLeg, registry: Registry) -> Iterator[Retriever]:
    retriever = Retriever(cast("Store", store), registry, lambda _, languages: {"en": ["word"]})
    try:
        yield retriever
    finally:
        retriever.close()


class MeetingStore(OneLeg):
    """Notes when it is asked, and reads the query's vector afterwards."""

    def __init__(self, asked: threading.Barrier) -> None:
        super().__init__(1)
        self._asked = asked
        self.vectors: list[Vector | None] = []

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        self._asked.wait()
        self.vectors.append(query.vector)
        return super().search(knowledge_base_id, query)


class MeetingEmbedder:
    """Has a vector only once the store is asked as well."""

    def __init__(self, asked: threading.Barrier) -> None:
        self._asked = asked

    def embed_query(self, text: str) -> Vector:
        self._asked.wait()
        return VECTOR


VECTOR = np.array([1.0, 0.0], dtype=np.float32)
HYBRID = SearchRequest("kb", "word", limit=1)


def test_the_store_looks_for_words_while_the_query_is_embedded() -> None:
    asked = threading.Barrier(2, timeout=30)
    store, embedder = MeetingStore(asked), MeetingEmbedder(asked)
    with retriever_of(store, Registry()) as retriever:
        assert retriever.search(HYBRID, cast("TextEmbedder", embedder)).hits
    assert store.vectors == [VECTOR]


def test_searches_beyond_the_embedding_threads_embed_by_themselves() -> None:
    searches = 2 * EMBEDDING_THREADS
    asked = threading.Barrier(searches, timeout=30)

    class PatientEmbedder:
        def embed_query(self, text: str) -> Vector:
            asked.wait()  # for all the others, more than there are threads for it
            return VECTOR

    store, embedder = OneLegOfVectors(), cast("TextEmbedder", PatientEmbedder())
    with retriever_of(store, Registry()) as retriever, ThreadPoolExecutor(searches) as pool:
        found = list(pool.map(lambda _: retriever.search(HYBRID, embedder), range(searches)))
    assert all(len(result.hits) == 1 for result in found)


class OneLegOfVectors(OneLeg):
    """Reads the vector before it answers."""

    def __init__(self) -> None:
        super().__init__(1)

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        assert query.vector is VECTOR
        return super().search(knowledge_base_id, query)


@given(
    documents=st.integers(0, 60),
    hidden=st.sets(st.integers(0, 59)),
    limit=st.integers(1, 20),
    offset=st.integers(0, 20),
)
def test_a_page_is_the_visible_documents_of_its_place_whatever_is_hidden(
    documents: int, hidden: set[int], limit: int, offset: int
) -> None:
    visible = [f"doc_{number}" for number in range(documents) if number not in hidden]
    registry = Registry({f"doc_{number}" for number in hidden})
    found = search(OneLeg(documents), registry, limit=limit, offset=offset)
    assert found == visible[offset : offset + limit]


def test_more_than_all_candidates_hidden_leaves_the_visible_ones_behind_them() -> None:
    registry = Registry({f"doc_{number}" for number in range(250)})
    assert search(OneLeg(300), registry, limit=2) == ["doc_250", "doc_251"]


def test_a_version_from_before_a_delete_is_not_shown() -> None:
    assert search(OneLeg(3, version=1), Registry(lowest=2), limit=5) == []
    assert search(OneLeg(3, version=2), Registry(lowest=2), limit=1) == ["doc_0"]


def test_the_registry_is_asked_about_little_more_than_the_page() -> None:
    registry = Registry()
    search(OneLeg(100), registry, limit=10)
    assert registry.asked < 20


class TwoVersions(OneLeg):
    """A store that replaces a document step by step: the newer version matches better."""

    replaces_at_once = False

    def __init__(self) -> None:
        newer, older = _candidate(0, version=3), _candidate(1, version=2)
        same = replace(older.document, document_id=newer.document.document_id)
        self._found = [newer, replace(older, document=same)]


def test_of_two_versions_the_one_that_was_live_when_the_search_began_is_shown() -> None:
    request = SearchRequest("kb", "word", limit=5, mode=SearchMode.TEXT)
    for live in (2, 3):
        with retriever_of(TwoVersions(), Registry(lowest=live)) as retriever:
            assert [hit.version for hit in retriever.search(request, None).hits] == [live]


def test_a_version_that_the_registry_does_not_know_yet_is_shown_where_it_replaced_at_once() -> None:
    assert search(OneLeg(1, version=3), Registry(lowest=2), limit=1) == ["doc_0"]
