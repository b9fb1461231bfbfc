import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    Citation,
    DocumentKey,
    Passage,
    SearchHit,
    SourceType,
    Statement,
)
from llamaindex_reaktly.filters import Comparison, Operator
from llamaindex_reaktly.knowledge_base import KnowledgeBase

QUESTION = {"knowledgeBaseId": "kb", "query": "How much does it hold?"}
PASSAGE = Passage("n1", "A can. It holds 1.5 litres.", (), 0.9)


def hit(name: str, relevance: float) -> SearchHit:
    key = DocumentKey("kb", "integration:int", name)
    return SearchHit(
        document_id=key.document_id,
        key=key,
        version=1,
        source_type=SourceType.PRODUCT,
        title=name,
        url=f"/{name}",
        summary=None,
        tags=(),
        attributes={},
        updated_at=datetime(2026, 1, 2, tzinfo=UTC),
        relevance=relevance,
        passages=(PASSAGE,),
    )


CAN, TUB = hit("can", 0.9), hit("tub", 0.4)
KNOWN = Answer(
    True,
    (Statement("It holds 1.5 litres.", (Citation("[1]", CAN, PASSAGE, 7, 27),)),),
    (CAN, TUB),
)
UNKNOWN = Answer(False, (Statement("Nobody knows."),), (TUB,))


@pytest.fixture
def asked(knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> list[AnswerRequest]:
    """What the core was asked; of another query than `QUESTION`'s it knows nothing."""
    requests: list[AnswerRequest] = []

    def answer(request: AnswerRequest) -> Answer:
        requests.append(request)
        return KNOWN if request.question == QUESTION["query"] else UNKNOWN

    monkeypatch.setattr(knowledge_base, "answer", answer)
    return requests


async def test_an_answer_has_the_documented_shape(
    client: httpx.AsyncClient, asked: list[AnswerRequest]
) -> None:
    response = await client.post("/answer", json=QUESTION)
    assert response.status_code == 200
    assert response.json() == {
        "answer": "It holds 1.5 litres. [1]",
        "answered": True,
        "citations": [
            {
                "marker": "[1]",
                "documentId": CAN.document_id,
                "url": "/can",
                "title": "can",
                "quote": "It holds 1.5 litres.",
            }
        ],
        "sources": [
            {
                "documentId": one.document_id,
                "integrationId": "int",
                "externalId": one.title,
                "title": one.title,
                "url": one.url,
                "relevance": one.relevance,
                "cited": one is CAN,
            }
            for one in (CAN, TUB)
        ],
    }
    assert asked == [AnswerRequest("kb", "How much does it hold?")]


async def test_where_the_base_does_not_know_the_nearest_documents_are_named(
    client: httpx.AsyncClient, asked: list[AnswerRequest]
) -> None:
    answer = (await client.post("/answer", json=QUESTION | {"query": "Why?"})).json()
    assert answer["answered"] is False
    assert answer["answer"] == "Nobody knows."
    assert answer["citations"] == []
    assert [(one["externalId"], one["cited"]) for one in answer["sources"]] == [("tub", False)]


async def test_a_stream_brings_the_text_in_pieces_and_the_whole_last(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = replace(KNOWN, statements=(*KNOWN.statements, Statement("Indeed.")))
    monkeypatch.setattr(knowledge_base, "answer", lambda request: two)
    whole = (await client.post("/answer", json=QUESTION)).json()
    response = await client.post("/answer", json=QUESTION | {"stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\ndata: ") for event in response.text.strip().split("\n\n")]
    assert [name for name, _ in events] == ["event: text", "event: text", "event: answer"]
    *pieces, last = [json.loads(data) for _, data in events]
    assert "".join(piece["text"] for piece in pieces) == whole["answer"]
    assert last == whole


async def test_filters_reach_the_core(client: httpx.AsyncClient, asked: list[Any]) -> None:
    assert (await client.post("/answer", json=QUESTION | {"filters": {"tags": "x"}})).is_success
    assert asked[0].filters == Comparison("tags", Operator.EQ, "x")


async def test_answers_want_the_scope_for_them(
    open_client: Callable[..., Any], make_key: Callable[..., str], asked: list[Any]
) -> None:
    reader = await open_client(make_key("kb", scopes=["iq:read", "iq:import"]))
    assert (await reader.post("/answer", json=QUESTION)).status_code == 403
    stranger = await open_client(make_key("other"))
    assert (await stranger.post("/answer", json=QUESTION)).status_code == 403
    assert asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [({"query": " "}, "query"), ({"query": 1}, "query"), ({"filters": []}, "filters")],
)
async def test_a_wrong_field_is_a_400_that_names_it(
    client: httpx.AsyncClient, asked: list[Any], change: dict[str, Any], field: str
) -> None:
    response = await client.post("/answer", json=QUESTION | change)
    assert response.status_code == 400
    assert response.json()["field"] == field
    assert asked == []
