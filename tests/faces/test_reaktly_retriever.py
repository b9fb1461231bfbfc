"""Retrieval through LlamaIndex's interface, and by what LlamaIndex builds on it."""

import threading
from typing import Any

import pytest
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index_instrumentation import get_dispatcher

from llamaindex_reaktly import ReaktlyRetriever
from llamaindex_reaktly.domain import DocumentKey, SearchMode, SearchRequest
from llamaindex_reaktly.errors import InvalidRequest, UnknownKnowledgeBase
from llamaindex_reaktly.knowledge_base import KnowledgeBase

QUESTION = "How long until a wet tent grows mould?"
TENTS = DocumentKey("outdoor", "integration:handbook", "tents").document_id


def titles(nodes: list[NodeWithScore]) -> list[str]:
    return [node.metadata["title"] for node in nodes]


@pytest.mark.parametrize("mode", SearchMode)
def test_nodes_are_the_passages_of_a_search_by_falling_relevance(
    knowledge_base: KnowledgeBase, mode: SearchMode
) -> None:
    nodes = ReaktlyRetriever(knowledge_base, "outdoor", mode=mode.value).retrieve(QUESTION)
    found = knowledge_base.search(SearchRequest("outdoor", QUESTION, mode=mode))
    passages = [passage for hit in found.hits for passage in hit.passages]
    assert {(node.node_id, node.score, node.text) for node in nodes} == {
        (passage.node_id, passage.relevance, passage.text) for passage in passages
    }
    scores = [node.get_score() for node in nodes]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)


def test_a_node_says_where_it_comes_from(knowledge_base: KnowledgeBase) -> None:
    best = ReaktlyRetriever(knowledge_base, "outdoor").retrieve(QUESTION)[0].node
    assert best.ref_doc_id == TENTS
    assert best.metadata == {
        "price": 0,
        "section": "camp",
        "documentId": TENTS,
        "title": "Caring for a tent",
        "headings": ["Drying"],
        "url": "https://example.com/tents",
    }
    shown = best.get_content(MetadataMode.LLM)
    assert "https://example.com/tents" in shown
    assert TENTS not in shown
    assert "example.com" not in best.get_content(MetadataMode.EMBED)


def test_an_attribute_called_url_is_not_taken_for_the_address(
    knowledge_base: KnowledgeBase,
) -> None:
    (stove,) = ReaktlyRetriever(knowledge_base, "outdoor", limit=1).retrieve("gas stove")
    assert stove.metadata["title"] == "Gas stove"
    assert "url" not in stove.metadata


def test_the_limit_counts_nodes_and_keeps_the_best(knowledge_base: KnowledgeBase) -> None:
    # One document answers between two passages of another.
    question = "How many minutes until a tent grows mould?"
    everything = ReaktlyRetriever(knowledge_base, "outdoor").retrieve(question)
    assert titles(everything)[:3] == ["Caring for a tent", "Gas stove", "Caring for a tent"]
    for limit in (1, 2, 3):
        nodes = ReaktlyRetriever(knowledge_base, "outdoor", limit=limit).retrieve(question)
        assert nodes == everything[:limit]


def test_nodes_below_the_wanted_relevance_are_left_out(knowledge_base: KnowledgeBase) -> None:
    everything = ReaktlyRetriever(knowledge_base, "outdoor").retrieve(QUESTION)
    # Between two passages of one document: it holds for each, not for the document's best.
    wanted = everything[0].get_score()
    nodes = ReaktlyRetriever(knowledge_base, "outdoor", min_relevance=wanted).retrieve(QUESTION)
    assert nodes == everything[:1]


CHEAP = MetadataFilters(
    filters=[MetadataFilter(key="price", value=100, operator=FilterOperator.LT)]
)
PRODUCTS = MetadataFilters(filters=[MetadataFilter(key="sourceType", value="PRODUCT")])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, {"Caring for a tent", "Gas stove", "Walking boots"}),
        (MetadataFilters(filters=[]), {"Caring for a tent", "Gas stove", "Walking boots"}),
        (CHEAP, {"Caring for a tent", "Gas stove"}),
        (PRODUCTS, {"Gas stove", "Walking boots"}),
        (MetadataFilters(filters=[CHEAP, PRODUCTS]), {"Gas stove"}),
        ({"sourceData.price": {"lt": 100}, "tags": "care"}, {"Caring for a tent"}),
    ],
)
def test_filters_are_llama_index_s_or_those_of_http(
    knowledge_base: KnowledgeBase, filters: Any, expected: set[str]
) -> None:
    nodes = ReaktlyRetriever(knowledge_base, "outdoor", filters=filters).retrieve(QUESTION)
    assert set(titles(nodes)) == expected


async def test_async_gives_what_sync_gives_off_the_event_loop(
    knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = ReaktlyRetriever(knowledge_base, "outdoor")
    expected = retriever.retrieve(QUESTION)
    threads = []
    search = knowledge_base.search

    def watched(request: SearchRequest) -> object:
        threads.append(threading.current_thread())
        return search(request)

    monkeypatch.setattr(knowledge_base, "search", watched)
    assert await retriever.aretrieve(QUESTION) == expected
    assert threads
    assert threading.main_thread() not in threads


def test_what_cannot_be_used_is_refused_when_the_retriever_is_made(
    knowledge_base: KnowledgeBase,
) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        ReaktlyRetriever(knowledge_base, "outdoor", limit=0)
    with pytest.raises(ValueError, match="sparse"):
        ReaktlyRetriever(knowledge_base, "outdoor", mode="sparse")
    with pytest.raises(InvalidRequest, match="colour"):
        ReaktlyRetriever(knowledge_base, "outdoor", filters={"colour": "red"})


def test_an_unknown_knowledge_base_is_an_error_of_the_retrieval(
    knowledge_base: KnowledgeBase,
) -> None:
    with pytest.raises(UnknownKnowledgeBase):
        ReaktlyRetriever(knowledge_base, "nowhere").retrieve(QUESTION)


def test_it_tells_llama_index_s_instrumentation(knowledge_base: KnowledgeBase) -> None:
    ended: list[RetrievalEndEvent] = []

    class Collecting(BaseEventHandler):
        def handle(self, event: BaseEvent, **kwargs: object) -> None:
            if isinstance(event, RetrievalEndEvent):
                ended.append(event)

    dispatcher, handler = get_dispatcher(), Collecting()
    dispatcher.add_event_handler(handler)
    try:
        nodes = ReaktlyRetriever(knowledge_base, "outdoor").retrieve(QUESTION)
    finally:
        dispatcher.event_handlers.remove(handler)
    assert [event.nodes for event in ended] == [nodes]


async def test_a_retriever_query_engine_answers_from_it(knowledge_base: KnowledgeBase) -> None:
    engine = RetrieverQueryEngine.from_args(
        ReaktlyRetriever(knowledge_base, "outdoor", limit=2),
        llm=MockLLM(),  # repeats its prompt
        response_mode=ResponseMode.COMPACT,
    )
    for response in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        assert "grows mould within two days" in str(response)
        assert "https://example.com/tents" in str(response)
        assert len(response.source_nodes) == 2


async def test_a_query_fusion_retriever_fuses_it(knowledge_base: KnowledgeBase) -> None:
    legs: list[Any] = [
        ReaktlyRetriever(knowledge_base, "outdoor", mode=mode) for mode in ("text", "vector")
    ]
    fusion = QueryFusionRetriever(
        legs, llm=MockLLM(), num_queries=2, similarity_top_k=3, use_async=False
    )
    nodes = fusion.retrieve(QUESTION)
    assert nodes[0].node.ref_doc_id == TENTS
    assert len({node.node_id for node in nodes}) == 3
    assert [node.node_id for node in await fusion.aretrieve(QUESTION)] == [
        node.node_id for node in nodes
    ]
