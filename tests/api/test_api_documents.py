from collections.abc import Callable
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import DocumentKey, Passage, SourceDocument, SourceType
from llamaindex_reaktly.knowledge_base import KnowledgeBase

pytestmark = pytest.mark.both_databases

KEY = DocumentKey("kb", "integration:int", "a1")


async def test_a_document_reads_as_it_was_accepted(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    item["data"] |= {
        "url": "https://example.org/a",
        "contentType": "text/markdown",
        "summary": "Short.",
        "tags": ["garden"],
        "language": "en",
        "hash": "h1",
        "sourceData": {"price": 3, "deep": {"list": [1, None, {"x": True}]}},
    }
    await client.post("/ingest", json=item)
    answer = (await client.get(f"/documents/{KEY.document_id}")).json()

    assert answer.pop("updatedAt").endswith("Z")
    assert answer == {
        "documentId": KEY.document_id,
        "knowledgeBaseId": "kb",
        "integrationId": "int",
        "externalId": "a1",
        "sourceType": "ARTICLE",
        "title": "Watering",
        "url": "https://example.org/a",
        "status": "queued",
        "chunks": None,
        "content": "Water in the morning.",
        "contentType": "text/markdown",
        "summary": "Short.",
        "tags": ["garden"],
        "language": "en",
        "sourceData": {"price": 3, "deep": {"list": [1, None, {"x": True}]}},
        "hash": "h1",
        "extracted": {},
        "lastOutcome": None,
        "error": None,
    }


async def test_passages_come_with_their_headings(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await client.post("/ingest", json=item)
    path = f"/documents/{KEY.document_id}/passages"
    assert (await client.get(path)).json() == {"documentId": KEY.document_id, "passages": []}

    monkeypatch.setattr(
        knowledge_base, "passages", lambda _: [Passage("n1", "Early.", ("Garden", "Water"))]
    )
    assert (await client.get(path)).json()["passages"] == [
        {"text": "Early.", "headings": ["Garden", "Water"]}
    ]


async def test_a_deleted_document_is_in_no_answer(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    await client.post("/ingest", json=item)
    await client.request("DELETE", "/ingest", json=item)

    assert (await client.get(f"/documents/{KEY.document_id}")).status_code == 404
    assert (await client.get(f"/documents/{KEY.document_id}/passages")).status_code == 404
    assert (await client.get("/documents")).json() == {"documents": [], "nextCursor": None}


async def test_a_document_out_of_reach_answers_as_an_unknown_one(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    far = DocumentKey("other", "integration:int", "a1")
    knowledge_base.submit([SourceDocument(far, SourceType.PAGE, "Secret", "Secret.")])

    for suffix in ("", "/passages"):
        unreached = await client.get(f"/documents/{far.document_id}{suffix}")
        unknown = await client.get(f"/documents/doc_nothing{suffix}")
        assert unreached.status_code == unknown.status_code == 404
        assert unreached.content == unknown.content
    assert (await client.get("/documents")).json()["documents"] == []


async def test_documents_are_listed_page_by_page(
    open_client: Callable[..., Any], make_key: Callable[..., str], item: dict[str, Any]
) -> None:
    client = await open_client(make_key("*"))
    items = [item | {"externalId": str(n)} for n in range(3)]
    await client.post("/ingest/bulk", json={"items": [*items, item | {"knowledgeBaseId": "other"}]})

    first = (await client.get("/documents?knowledgeBaseId=kb&limit=2")).json()
    rest = await client.get(
        "/documents", params={"knowledgeBaseId": "kb", "cursor": first["nextCursor"]}
    )
    documents = first["documents"] + rest.json()["documents"]
    assert sorted(document["externalId"] for document in documents) == ["0", "1", "2"]
    assert len((await client.get("/documents")).json()["documents"]) == 4


@pytest.mark.parametrize("document_id", ["%00", "..%2F..%2Fetc%2Fpasswd", "'%20OR%201=1", "doc_"])
async def test_hostile_document_ids_are_unknown(
    client: httpx.AsyncClient, document_id: str
) -> None:
    assert (await client.get(f"/documents/{document_id}")).status_code == 404
