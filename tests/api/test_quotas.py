"""What a full knowledge base answers, and what the doors tell of how full it is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings

Json = dict[str, Any]


@pytest.fixture
def knowledge_base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    """Two documents a knowledge base."""
    settings = Settings(
        data_dir=tmp_path, auto_create_knowledge_bases=False, max_documents=2, max_characters=100
    )
    with KnowledgeBase(settings) as core:
        for name in ("kb", "other"):
            core.registry.knowledge_bases.ensure(name, embedder="minilm")
        yield core


def named(item: Json, *names: str, base: str = "kb") -> list[Json]:
    return [item | {"externalId": name, "knowledgeBaseId": base} for name in names]


async def smarttalk(client: httpx.AsyncClient, *titles: str) -> httpx.Response:
    documents = [{"title": title, "content": "x"} for title in titles]
    body = {"chatModelId": "kb", "documents": documents}
    return await client.post("/v1/documents/import", json=body)


@pytest.mark.requirement("S-32")
async def test_a_full_base_takes_no_more_and_says_so(client: httpx.AsyncClient, item: Json) -> None:
    for one in named(item, "a", "b", "a"):
        assert (await client.post("/ingest", json=one)).status_code == 200
    response = await client.post("/ingest", json=named(item, "c")[0])
    assert response.status_code == 402
    assert response.json()["error"] == "Payment Required"
    assert "2 documents" in response.json()["message"]
    bulk = await client.post("/ingest/bulk", json={"items": named(item, "c", "d")})
    assert bulk.status_code == 402
    response = await smarttalk(client, "One")
    assert response.status_code == 402
    assert response.json()["error"]["code"] == "QUOTA_EXCEEDED"


async def test_pages_that_have_no_room_are_named_and_a_page_may_move_in_a_full_base(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    async def send(*pages: Json) -> httpx.Response:
        return await client.post("/sites/kb/pages", json={"pages": [*pages]})

    pages = [{"url": f"/{key}", "key": key, "content": "x"} for key in "abc"]
    answer = (await send(*pages)).json()
    assert (answer["queued"], len(answer["errors"])) == (2, 1)
    assert (answer["errors"][0]["url"], answer["errors"][0]["code"]) == ("/c", "quota_exceeded")
    assert (await send(pages[2])).json()["error"]["code"] == "quota_exceeded"
    assert (await send(pages[2])).status_code == 402
    assert (await send({**pages[0], "url": "/moved"})).json()["queued"] == 1
    urls = {status.key.external_id for status in knowledge_base.list_documents("kb").items}
    assert urls == {"/moved", "/b"}


async def test_what_fits_of_a_bulk_is_kept_and_the_rest_named(
    client: httpx.AsyncClient, item: Json
) -> None:
    items = [*named(item, "a", "b", "c"), {}, *named(item, "a")]
    answer = (await client.post("/ingest/bulk", json={"items": items})).json()
    assert answer["jobIds"] == ["int-a", "int-b", "int-a"]
    assert [(e["index"], e["externalId"]) for e in answer["errors"]] == [(2, "c"), (3, None)]
    assert "as much as it may" in answer["errors"][0]["message"]


async def test_one_full_base_stands_in_no_others_way(
    open_client: Callable[..., Any], make_key: Callable[..., str], item: Json
) -> None:
    client = await open_client(make_key("*"))
    await client.post("/ingest/bulk", json={"items": named(item, "a", "b")})
    items = [
        *named(item, "c", "d"),
        *named(item, "e", base="other"),
        *named(item, "f", base="nowhere"),
    ]
    answer = (await client.post("/ingest/bulk", json={"items": items})).json()
    assert answer["jobIds"] == ["int-e"]
    assert [error["index"] for error in answer["errors"]] == [0, 1, 3]


async def test_what_fits_of_an_import_is_kept_and_the_rest_failed(
    client: httpx.AsyncClient,
) -> None:
    answer = (await smarttalk(client, "One", "Two", "Three", "One")).json()
    assert answer["imported"] == 3
    documents = answer["documents"]
    assert [d["status"] for d in documents] == ["processing", "processing", "failed", "processing"]
    assert documents[2]["error"]["code"] == "QUOTA_EXCEEDED"
    assert documents[2]["id"] is None


@pytest.mark.requirement("S-40")
async def test_usage_is_told_with_its_limits(
    open_client: Callable[..., Any], make_key: Callable[..., str], item: Json
) -> None:
    client = await open_client(make_key("kb", "nowhere"))
    await client.post("/ingest", json=item)
    held = {
        "knowledgeBaseId": "kb",
        "documents": 1,
        "maxDocuments": 2,
        "characters": len(item["data"]["content"]),
        "maxCharacters": 100,
    }
    assert (await client.get("/usage")).json() == {"knowledgeBases": [held]}
    assert (await client.get("/usage?knowledgeBaseId=kb")).json() == {"knowledgeBases": [held]}
    assert (await client.get("/usage?knowledgeBaseId=nowhere")).status_code == 404
    assert (await client.get("/usage?knowledgeBaseId=other")).status_code == 403
    everything = await open_client(make_key("*"))
    bases = (await everything.get("/usage")).json()["knowledgeBases"]
    assert [base["knowledgeBaseId"] for base in bases] == ["kb", "other"]
    importer = await open_client(make_key("kb", scopes=["iq:import"]))
    assert (await importer.get("/usage")).status_code == 403
