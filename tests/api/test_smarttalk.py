"""The AI SmartTalk dialect (seed 004), on the wire."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    Citation,
    Passage,
    SearchHit,
    SearchRequest,
    SearchResult,
    SourceDocument,
    SourceType,
    Statement,
)
from llamaindex_reaktly.filters import Comparison, Operator
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Verdict
from reaktly_api.smarttalk.requests import ImportedDocument

Json = dict[str, Any]

GUIDE: Json = {
    "title": "Getting Started Guide",
    "content": "Welcome to our platform.",
    "url": "https://docs.example.com/getting-started",
}
PASSAGES = (Passage("n1", "Best. It is safe.", ("Top",), 0.9), Passage("n2", "Next.", (), 0.5))


def hit(knowledge_base: KnowledgeBase, document_id: str) -> SearchHit:
    stored = knowledge_base.fetch(document_id)
    assert stored is not None
    return SearchHit(
        document_id=document_id,
        key=stored.status.key,
        version=1,
        source_type=SourceType.ARTICLE,
        title=stored.document.title,
        url=stored.document.url,
        summary=None,
        tags=(),
        attributes={},
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        relevance=0.92,
        passages=PASSAGES,
    )


@pytest.fixture
async def client(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> httpx.AsyncClient:
    """A client that authenticates as the seed says."""
    opened: httpx.AsyncClient = await open_client()
    opened.headers["authorization"] = f"Bearer {make_key()}"
    return opened


async def send(client: httpx.AsyncClient, *documents: object, base: str = "kb") -> httpx.Response:
    body = {"chatModelId": base, "documents": documents}
    return await client.post("/v1/documents/import", json=body)


async def imported(client: httpx.AsyncClient, *documents: Json) -> list[str]:
    response = await send(client, *documents)
    assert response.status_code == 200, response.text
    return [entry["id"] for entry in response.json()["documents"]]


async def delete(client: httpx.AsyncClient, **chosen: list[str]) -> httpx.Response:
    body = {"chatModelId": "kb", **chosen}
    return await client.request("DELETE", "/v1/documents", json=body)


def stored(knowledge_base: KnowledgeBase, document_id: str) -> SourceDocument:
    content = knowledge_base.fetch(document_id)
    assert content is not None
    return content.document


def test_whatever_the_words_two_pairs_are_two_documents() -> None:
    pairs = [("a", None), ("a", "b"), ("ab", None), ("b", "a"), ("id:a", None), ("A", "b")]
    keys = {ImportedDocument(title=t, content="x", url=u).key("kb") for t, u in pairs}
    named = {ImportedDocument(title="a", content="x", id=i).key("kb") for i in ("a", "page:a")}
    assert len(keys | named) == 8


@pytest.mark.requirement("S-13")
async def test_an_import_answers_with_exactly_the_documented_fields(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    response = await send(client, GUIDE)
    assert response.status_code == 200
    answer = response.json()
    [entry] = answer["documents"]
    assert answer == {
        "success": True,
        "imported": 1,
        "documents": [
            {"id": entry["id"], "title": "Getting Started Guide", "status": "processing"}
        ],
    }
    assert stored(knowledge_base, entry["id"]).content == GUIDE["content"]


@pytest.mark.requirement("S-12")
async def test_metadata_is_kept_and_its_language_and_tags_understood(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    metadata = {"category": "docs", "language": "de", "tags": ["a", " ", 3, "b "], "n": {"x": 1}}
    [one] = await imported(client, GUIDE | {"metadata": metadata, "url": None})
    document = stored(knowledge_base, one)
    assert document.attributes == metadata
    assert (document.language, document.tags, document.url) == ("de", ("a", "b"), None)
    [two] = await imported(client, GUIDE | {"metadata": {"language": "plain English"}})
    assert stored(knowledge_base, two).language is None


@pytest.mark.requirement("S-02", "S-38")
async def test_the_same_title_and_url_replace_and_others_do_not(
    client: httpx.AsyncClient,
) -> None:
    [first] = await imported(client, GUIDE)
    assert await imported(client, GUIDE | {"content": "New."}) == [first]
    others = [
        GUIDE | {"title": "getting started guide"},
        GUIDE | {"url": None},
        GUIDE | {"url": GUIDE["url"] + "/"},
        GUIDE | {"id": "mine"},
    ]
    ids = await imported(client, *others)
    assert len({first, *ids}) == 5
    assert await imported(client, {"title": "Moved", "content": "x", "id": "mine"}) == [ids[3]]


async def test_what_did_not_change_is_completed_once_it_can_be_found(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    await imported(client, GUIDE)
    waiting = (await send(client, GUIDE)).json()["documents"][0]
    assert waiting["status"] == "processing"
    [claim] = knowledge_base.registry.queue.claim(
        limit=1, characters=10_000, lease_seconds=60, owner="w"
    )
    knowledge_base.registry.queue.settle([Verdict(claim, chunks=1)], {})
    assert (await send(client, GUIDE)).json()["documents"][0]["status"] == "completed"
    again = (await send(client, GUIDE | {"content": "New."})).json()["documents"][0]
    assert again["status"] == "processing"


@pytest.mark.requirement("S-10", "S-31", "S-36")
async def test_good_documents_are_kept_and_refused_ones_named_in_their_place(
    open_client: Callable[..., Any], make_key: Callable[..., str], knowledge_base: KnowledgeBase
) -> None:
    client = await open_client(make_key(), max_document_bytes=1024)
    response = await send(
        client,
        {"title": "No content"},
        GUIDE,
        {"title": "Big", "content": "ä" * 513},
        {"title": "Whole", "content": "ä" * 512},
        "nonsense",
    )
    assert response.status_code == 200
    answer = response.json()
    assert (answer["success"], answer["imported"]) == (True, 2)
    documents = answer["documents"]
    assert [d["status"] for d in documents] == [
        "failed",
        "processing",
        "failed",
        "processing",
        "failed",
    ]
    assert documents[0]["error"] == {
        "code": "INVALID_REQUEST",
        "message": "documents[0]: content: Field required",
    }
    assert documents[2]["error"]["code"] == "DOCUMENT_TOO_LARGE"
    assert [d["title"] for d in documents] == ["No content", GUIDE["title"], "Big", "Whole", None]
    assert [d["id"] is None for d in documents] == [True, False, True, False, True]
    assert len(knowledge_base.list_documents("kb").items) == 2


@pytest.mark.requirement("S-10", "S-31")
async def test_when_every_document_is_refused_the_answer_is_an_error(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(), max_document_bytes=1024)
    response = await send(client, {"title": "x"}, GUIDE | {"content": "x" * 1025})
    assert response.status_code == 400
    answer = response.json()
    assert (answer["success"], answer["error"]["code"]) == (False, "INVALID_REQUEST")
    assert [d["status"] for d in answer["documents"]] == ["failed", "failed"]

    response = await send(client, GUIDE | {"content": "x" * 1025})
    assert response.status_code == 413
    assert response.json() == {
        "success": False,
        "error": {
            "code": "DOCUMENT_TOO_LARGE",
            "message": "documents[0].content: is larger than 1024 bytes",
        },
    }


@pytest.mark.requirement("S-37")
async def test_a_hundred_documents_are_accepted_and_one_more_is_not(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    many = [{"title": f"T{n}", "content": "x"} for n in range(101)]
    response = await send(client, *many)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_REQUEST"
    assert knowledge_base.list_documents("kb").items == []
    assert (await send(client, *many[:100])).json()["imported"] == 100


async def test_the_same_document_twice_in_a_batch_is_counted_twice_and_the_last_wins(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    response = await send(client, GUIDE, GUIDE | {"content": "Last."})
    answer = response.json()
    assert answer["imported"] == 2
    first, last = (entry["id"] for entry in answer["documents"])
    assert first == last
    assert stored(knowledge_base, first).content == "Last."


async def test_an_empty_import_imports_nothing(client: httpx.AsyncClient) -> None:
    assert (await send(client)).json() == {"success": True, "imported": 0, "documents": []}


@pytest.mark.requirement("S-18")
async def test_a_search_answers_with_exactly_the_documented_fields(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await imported(client, GUIDE)
    asked: list[SearchRequest] = []

    def search(request: SearchRequest) -> SearchResult:
        asked.append(request)
        return SearchResult((hit(knowledge_base, one),))

    monkeypatch.setattr(knowledge_base, "search", search)
    body: Json = {"chatModelId": "kb", "query": "password security"}
    response = await client.post("/v1/documents/search", json=body)
    assert response.json() == {
        "success": True,
        "documents": [
            {
                "id": one,
                "title": GUIDE["title"],
                "content": "Best. It is safe.\n\nNext.",
                "relevance": 0.92,
            }
        ],
    }
    body |= {"limit": 100, "filters": {"sourceData.category": "docs"}}
    assert (await client.post("/v1/documents/search", json=body)).is_success
    assert asked == [
        SearchRequest("kb", "password security"),
        SearchRequest(
            "kb",
            "password security",
            limit=100,
            filters=Comparison("sourceData.category", Operator.EQ, "docs"),
        ),
    ]


@pytest.mark.requirement("S-16")
async def test_a_query_answers_with_its_sources_or_says_that_it_does_not_know(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await imported(client, GUIDE)
    found = hit(knowledge_base, one)
    asked: list[AnswerRequest] = []

    def answer(request: AnswerRequest) -> Answer:
        asked.append(request)
        if request.question != "Is it safe?":
            return Answer(False, (Statement("Nobody knows."),), (found,))
        statement = Statement("It is safe.", (Citation("[1]", found, PASSAGES[0], 6, 17),))
        return Answer(True, (statement,), (found,))

    monkeypatch.setattr(knowledge_base, "answer", answer)
    body: Json = {"chatModelId": "kb", "query": "Is it safe?"}
    options = {"maxTokens": 500, "temperature": 0.7}
    response = await client.post("/v1/chat/query", json=body | {"options": options})
    assert response.json() == {
        "success": True,
        "response": "It is safe.",
        "sources": [{"documentId": one, "title": GUIDE["title"], "relevance": 0.92}],
    }
    response = await client.post("/v1/chat/query", json=body | {"query": "Why?", "options": None})
    assert response.json() == {"success": True, "response": "Nobody knows.", "sources": []}
    assert [request.max_tokens for request in asked] == [500, None]


@pytest.mark.requirement("S-03")
async def test_documents_are_deleted_by_id_url_or_title(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    ids = await imported(
        client,
        GUIDE,
        {"title": "Other", "content": "x", "url": GUIDE["url"]},
        {"title": "Named", "content": "x", "id": "mine"},
        {"title": "Kept", "content": "x", "url": None},
        {"title": "Twice", "content": "x", "url": "/1"},
        {"title": "Twice", "content": "x", "url": "/2"},
    )
    response = await delete(client, urls=[GUIDE["url"], GUIDE["url"].upper()])
    assert response.json() == {"success": True, "deleted": 2}
    assert (await delete(client, titles=["Twice", "twice", "kept"])).json()["deleted"] == 2
    assert (await delete(client, ids=["mine", "page:x"])).json()["deleted"] == 1
    assert (await delete(client, ids=["mine"], titles=["Named"])).json()["deleted"] == 0
    assert [s.document_id for s in knowledge_base.list_documents("kb").items] == [ids[3]]
    assert (await delete(client, ids=[ids[3]], urls=["/x"])).json()["deleted"] == 1
    assert (await delete(client, ids=[])).json() == {"success": True, "deleted": 0}


async def test_urls_and_titles_mean_what_came_by_this_dialect_and_ids_anything_in_the_base(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Json, make_key: Any
) -> None:
    item["data"]["url"] = GUIDE["url"]
    assert (await client.post("/ingest", json=item)).is_success
    [theirs] = knowledge_base.list_documents("kb").items
    assert (await delete(client, urls=[GUIDE["url"]])).json()["deleted"] == 0
    assert (await delete(client, titles=[item["data"]["title"]])).json()["deleted"] == 0
    everywhere = {"authorization": f"Bearer {make_key('kb', 'other')}"}
    body = {"chatModelId": "other", "ids": [theirs.document_id]}
    response = await client.request("DELETE", "/v1/documents", json=body, headers=everywhere)
    assert response.json()["deleted"] == 0
    assert (await delete(client, ids=[theirs.document_id])).json()["deleted"] == 1


async def test_what_is_imported_here_is_read_there(client: httpx.AsyncClient) -> None:
    [one] = await imported(client, GUIDE | {"metadata": {"category": "docs"}})
    document = (await client.get(f"/documents/{one}")).json()
    assert document["documentId"] == one
    assert document["integrationId"] is None
    assert (document["title"], document["url"]) == (GUIDE["title"], GUIDE["url"])
    assert document["sourceData"] == {"category": "docs"}


ENDPOINTS = [
    ("POST", "/v1/documents/import", {"documents": [GUIDE]}),
    ("POST", "/v1/documents/search", {"query": "x"}),
    ("POST", "/v1/chat/query", {"query": "x"}),
    ("DELETE", "/v1/documents", {"ids": ["x"]}),
]
endpoints = pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)


def refusal(response: httpx.Response) -> tuple[int, str]:
    answer = response.json()
    assert answer["success"] is False
    assert answer.keys() == {"success", "error"}
    assert answer["error"].keys() == {"code", "message"}
    return response.status_code, answer["error"]["code"]


@endpoints
@pytest.mark.requirement("S-06", "S-08", "S-26", "S-27", "S-28", "S-30")
async def test_refusals_have_the_documented_codes(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    method: str,
    path: str,
    body: Json,
) -> None:
    good = body | {"chatModelId": "kb"}
    nobody = await open_client()
    assert refusal(await nobody.request(method, path, json=good)) == (401, "INVALID_TOKEN")
    wrong = await open_client("rk_live_wrong")
    assert refusal(await wrong.request(method, path, json=good)) == (401, "INVALID_TOKEN")
    idle = await open_client(make_key("kb", scopes=["iq:admin"]))
    assert refusal(await idle.request(method, path, json=good)) == (403, "INVALID_TOKEN")
    client = await open_client(make_key("*"))
    unknown = body | {"chatModelId": "nowhere"}
    assert refusal(await client.request(method, path, json=unknown)) == (404, "INVALID_MODEL_ID")
    assert refusal(await client.request(method, path, json=body)) == (400, "INVALID_REQUEST")
    assert refusal(await client.request(method, path, content="{")) == (400, "INVALID_REQUEST")


@endpoints
async def test_a_model_out_of_reach_answers_as_one_that_nobody_made(
    client: httpx.AsyncClient, method: str, path: str, body: Json
) -> None:
    there = await client.request(method, path, json=body | {"chatModelId": "other"})
    absent = await client.request(method, path, json=body | {"chatModelId": "nowher"})
    assert refusal(there) == refusal(absent) == (404, "INVALID_MODEL_ID")
    assert there.text.replace("other", "nowher") == absent.text


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/v1/documents/import", {"documents": None}, "documents"),
        ("/v1/documents/search", {"limit": 0}, "limit"),
        ("/v1/documents/search", {"limit": 101}, "limit"),
        ("/v1/documents/search", {"limit": "10"}, "limit"),
        ("/v1/documents/search", {"query": " "}, "query"),
        ("/v1/documents/search", {"filters": {"price": 1}}, "filters.price"),
        ("/v1/chat/query", {"options": {"maxTokens": 0}}, "options.maxTokens"),
        ("/v1/chat/query", {"options": {"temperature": "hot"}}, "options.temperature"),
        ("/v1/chat/query", {"query": 1}, "query"),
    ],
)
@pytest.mark.requirement("S-09", "S-30")
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, path: str, change: Json, field: str
) -> None:
    response = await client.post(path, json={"chatModelId": "kb", "query": "x"} | change)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert response.json()["error"]["message"].startswith(f"{field}: ")


async def test_a_delete_that_says_nothing_is_refused(client: httpx.AsyncClient) -> None:
    response = await delete(client)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert "ids, urls or titles" in response.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS[:3])
@pytest.mark.requirement("S-22", "S-23", "S-24", "S-29")
async def test_the_documented_rate_limits_hold(
    client: httpx.AsyncClient, method: str, path: str, body: Json
) -> None:
    limit = 100 if path.endswith("import") else 60
    bad = body | {"chatModelId": 1}
    for _ in range(limit):
        assert (await client.request(method, path, json=bad)).status_code == 400
    response = await client.request(method, path, json=bad)
    assert refusal(response) == (429, "RATE_LIMITED")
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/documents/none", "/v1/chat/query/x"])
@pytest.mark.requirement("S-26")
async def test_paths_that_are_not_served_answer_in_the_envelope(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.status_code in (404, 405)
    assert refusal(response)[1] == "INVALID_REQUEST"
