from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import (
    DocumentKey,
    Passage,
    SearchHit,
    SearchMode,
    SearchRequest,
    SearchResult,
    SourceType,
)
from llamaindex_reaktly.errors import EmbedderMismatch
from llamaindex_reaktly.filters import And, Comparison, Operator
from llamaindex_reaktly.knowledge_base import KnowledgeBase

KEY = DocumentKey("kb", "integration:int", "a1")
HIT = SearchHit(
    document_id=KEY.document_id,
    key=KEY,
    version=1,
    source_type=SourceType.PRODUCT,
    title="Can",
    url="/can",
    summary="A can.",
    tags=("garden",),
    attributes={"price": 39.9},
    updated_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    relevance=0.9,
    passages=(Passage("n1", "Best.", ("Top",), 0.9), Passage("n2", "Next.", (), 0.5)),
)


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


@pytest.fixture
def asked(knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> list[SearchRequest]:
    """What the core was asked; it answers with one hit."""
    requests: list[SearchRequest] = []

    def search(request: SearchRequest) -> SearchResult:
        requests.append(request)
        return SearchResult((HIT,))

    monkeypatch.setattr(knowledge_base, "search", search)
    return requests


async def test_a_hit_has_the_documented_shape(
    client: httpx.AsyncClient, asked: list[SearchRequest]
) -> None:
    response = await client.post("/search", json={"knowledgeBaseId": "kb", "query": "can"})

    assert response.status_code == 200
    answer = response.json()
    assert answer.pop("timingMs") >= 0
    assert answer == {
        "query": "can",
        "results": [
            {
                "documentId": KEY.document_id,
                "integrationId": "int",
                "externalId": "a1",
                "sourceType": "PRODUCT",
                "title": "Can",
                "url": "/can",
                "summary": "A can.",
                "relevance": 0.9,
                "text": "Best.",
                "passages": [
                    {"text": "Best.", "relevance": 0.9, "headings": ["Top"]},
                    {"text": "Next.", "relevance": 0.5, "headings": []},
                ],
                "sourceData": {"price": 39.9},
                "tags": ["garden"],
                "updatedAt": "2026-01-02T03:04:05Z",
            }
        ],
    }
    assert asked == [SearchRequest("kb", "can")]


async def test_every_parameter_reaches_the_core(
    client: httpx.AsyncClient, asked: list[SearchRequest]
) -> None:
    body = {
        "knowledgeBaseId": "kb",
        "query": "can",
        "limit": 100,
        "offset": 20,
        "mode": "text",
        "filters": {"tags": "garden", "sourceData.price": {"lte": 40}},
        "minRelevance": 1,
    }
    assert (await client.post("/search", json=body)).status_code == 200
    assert asked == [
        SearchRequest(
            "kb",
            "can",
            limit=100,
            offset=20,
            mode=SearchMode.TEXT,
            filters=And(
                (
                    Comparison("tags", Operator.EQ, "garden"),
                    Comparison("sourceData.price", Operator.LTE, 40),
                )
            ),
            min_relevance=1.0,
        )
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": " \t\n"}, "query"),
        ({"query": True}, "query"),
        ({"query": None}, "query"),
        ({"query": "x" * 10_001}, "query"),
        ({"query": "a\u0000b"}, "query"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"offset": -5}, "offset"),
        ({"offset": 10_001}, "offset"),
        ({"mode": "magic"}, "mode"),
        ({"minRelevance": 1.1}, "minRelevance"),
        ({"minRelevance": "0.5"}, "minRelevance"),
        ({"filters": []}, "filters"),
        ({"filters": {"price": 1}}, "filters.price"),
        ({"filters": {"tags": {"$ne": 1}}}, "filters.tags"),
        ({"filters": {"tags": {"in": "x"}}}, "filters.tags.in"),
        ({"knowledgeBaseId": 1}, "knowledgeBaseId"),
        ({"knowledgeBaseId": ""}, "knowledgeBaseId"),
    ],
)
async def test_a_wrong_field_is_a_400_that_names_it(
    client: httpx.AsyncClient,
    asked: list[SearchRequest],
    change: dict[str, Any],
    field: str,
) -> None:
    body = {"knowledgeBaseId": "kb", "query": "can"} | change
    response = await client.post("/search", json=body)
    assert response.status_code == 400
    assert response.json()["field"] == field
    assert asked == []


@pytest.mark.parametrize(
    "query",
    [
        "*",
        "title:foo",
        "NEAR(a b, 5)",
        "x' OR '1'='1",
        "\\",
        '"',
        "ｂａｃｋｕｐ",
        "<script>",
        "🌱",
        "a" * 10_000,
    ],
)
async def test_any_words_may_be_asked(
    client: httpx.AsyncClient, asked: list[SearchRequest], query: str
) -> None:
    response = await client.post("/search", json={"knowledgeBaseId": "kb", "query": query})
    assert response.status_code == 200
    assert response.json()["query"] == query
    assert asked[0].query == query


async def test_a_model_that_is_missing_is_a_503_with_its_sentence(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post("/search", json={"knowledgeBaseId": "kb", "query": "can"})
    assert response.status_code == 503
    assert "not installed" in response.json()["message"]


async def test_another_models_base_is_a_503(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(request: SearchRequest) -> SearchResult:
        raise EmbedderMismatch("embedded by another model")

    monkeypatch.setattr(knowledge_base, "search", search)
    response = await client.post("/search", json={"knowledgeBaseId": "kb", "query": "can"})
    assert response.status_code == 503
    assert response.json() == {
        "statusCode": 503,
        "message": "embedded by another model",
        "error": "Service Unavailable",
    }
