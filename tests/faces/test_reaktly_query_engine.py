"""Answers through LlamaIndex's interface."""

import pytest
from llama_index.core.base.response.schema import Response
from llama_index.core.tools import QueryEngineTool
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from llamaindex_reaktly import ReaktlyQueryEngine
from llamaindex_reaktly.domain import AnswerRequest, DocumentKey
from llamaindex_reaktly.errors import UnknownKnowledgeBase
from llamaindex_reaktly.knowledge_base import KnowledgeBase

QUESTION = "How long until a wet tent grows mould?"


def ask(engine: ReaktlyQueryEngine, question: str = QUESTION) -> Response:
    response = engine.query(question)
    assert isinstance(response, Response)
    return response


def test_the_response_is_the_documents_own_words_with_markers(
    knowledge_base: KnowledgeBase,
) -> None:
    response = ask(ReaktlyQueryEngine(knowledge_base, "outdoor"))
    assert "A wet tent grows mould within two days. [1]" in str(response)
    answer = knowledge_base.answer(AnswerRequest("outdoor", QUESTION))
    assert response.response == answer.marked_text


def test_each_citation_quotes_a_source_node_exactly(knowledge_base: KnowledgeBase) -> None:
    response = ask(ReaktlyQueryEngine(knowledge_base, "outdoor"))
    assert response.metadata is not None
    assert response.metadata["answered"] is True
    nodes = {node.node_id: node for node in response.source_nodes}
    citations = response.metadata["citations"]
    assert {citation["nodeId"] for citation in citations} == set(nodes)
    for citation in citations:
        node = nodes[citation["nodeId"]]
        assert node.text[citation["start"] : citation["end"]] == citation["quote"]
        assert f"{citation['quote']} {citation['marker']}" in str(response)
        assert citation["documentId"] == node.node.ref_doc_id
        assert (citation["title"], citation["url"]) == (
            node.metadata["title"],
            node.metadata.get("url"),
        )
        assert node.score is not None
        assert 0 < node.score <= 1


def test_a_base_that_does_not_know_says_so_and_cites_nothing(
    knowledge_base: KnowledgeBase,
) -> None:
    response = ask(
        ReaktlyQueryEngine(knowledge_base, "outdoor"), "Who composed the opera Rigoletto?"
    )
    assert response.metadata == {"answered": False, "citations": []}
    assert response.source_nodes == []
    assert "does not hold an answer" in str(response)


def test_only_what_the_filters_let_through_is_quoted(knowledge_base: KnowledgeBase) -> None:
    stoves = DocumentKey("outdoor", "integration:handbook", "stoves").document_id
    filters = MetadataFilters(filters=[MetadataFilter(key="section", value="kitchen")])
    engine = ReaktlyQueryEngine(knowledge_base, "outdoor", filters=filters)
    response = ask(engine, "What must not be used in a tent?")
    assert {node.node.ref_doc_id for node in response.source_nodes} == {stoves}


async def test_async_gives_what_sync_gives(knowledge_base: KnowledgeBase) -> None:
    engine = ReaktlyQueryEngine(knowledge_base, "outdoor")
    assert await engine.aquery(QUESTION) == engine.query(QUESTION)


async def test_an_agent_can_have_it_as_a_tool(knowledge_base: KnowledgeBase) -> None:
    tool = QueryEngineTool.from_defaults(
        ReaktlyQueryEngine(knowledge_base, "outdoor"), name="handbook", description="On outdoors."
    )
    output = await tool.acall(input=QUESTION)
    assert "within two days. [1]" in output.content


def test_an_unknown_knowledge_base_is_an_error(knowledge_base: KnowledgeBase) -> None:
    with pytest.raises(UnknownKnowledgeBase):
        ask(ReaktlyQueryEngine(knowledge_base, "nowhere"))
