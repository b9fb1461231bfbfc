from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    DocumentState,
    Priority,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.errors import StorageFull
from llamaindex_reaktly.knowledge_base import KnowledgeBase, job_id
from reaktly_api.reaktly.requests import IngestItem

pytestmark = pytest.mark.both_databases


def key(external_id: str = "a1", base: str = "kb", integration: str = "int") -> DocumentKey:
    return DocumentKey(base, f"integration:{integration}", external_id)


@pytest.mark.requirement("R-14")
async def test_an_accepted_item_is_queued_under_the_documented_job_id(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    response = await client.post("/ingest", json=item)

    assert response.status_code == 200
    assert response.json() == {"status": "queued", "jobId": "int-a1"}
    status = knowledge_base.status(key().document_id)
    assert status is not None
    assert status.state is DocumentState.QUEUED


def test_every_declared_field_reaches_the_core() -> None:
    parsed = IngestItem.model_validate(
        {
            "integrationId": "int",
            "knowledgeBaseId": "kb",
            "sourceType": "PRODUCT",
            "externalId": "a1",
            "data": {
                "title": "Can",
                "content": "<p>Copper.</p>",
                "contentType": "text/html",
                "url": "/can",
                "summary": "A can.",
                "tags": ["garden"],
                "language": "de-CH",
                "hash": "abc",
                "sourceData": {"price": 39.9, "sizes": ["s", "m"], "deep": {"a": [1]}},
            },
            "options": {"forceRefresh": True, "priority": "high"},
        }
    )

    assert parsed.document() == SourceDocument(
        key=key(),
        source_type=SourceType.PRODUCT,
        title="Can",
        content="<p>Copper.</p>",
        content_type=ContentType.HTML,
        url="/can",
        summary="A can.",
        tags=("garden",),
        language="de-CH",
        attributes={"price": 39.9, "sizes": ["s", "m"], "deep": {"a": [1]}},
        client_hash="abc",
        priority=Priority.HIGH,
        force_refresh=True,
    )


def test_optional_fields_may_be_null_or_empty(item: dict[str, Any]) -> None:
    bare = IngestItem.model_validate(item).document()
    item["data"] |= dict.fromkeys(
        ("url", "sourceData", "hash", "contentType", "summary", "tags", "language")
    )
    item["options"] = None
    assert IngestItem.model_validate(item).document() == bare

    item["data"] |= {"url": "", "hash": "", "summary": "", "tags": [], "sourceData": {}}
    item["options"] = {"forceRefresh": None, "priority": None}
    assert IngestItem.model_validate(item).document() == bare


@pytest.mark.parametrize(
    ("options", "priority"),
    [({"priority": "low"}, Priority.LOW), ({}, Priority.NORMAL), ({"priority": "high"}, 2)],
)
def test_priority_high_low_and_between(
    item: dict[str, Any], options: dict[str, str], priority: Priority
) -> None:
    document = IngestItem.model_validate(item | {"options": options}).document()
    assert document.priority == priority


def test_tags_of_the_metadata_serve_where_none_are_declared(item: dict[str, Any]) -> None:
    item["data"]["sourceData"] = {"tags": ["garden", " ", 3, " copper ", "x" * 257]}
    assert IngestItem.model_validate(item).document().tags == ("garden", "copper")

    item["data"]["tags"] = ["declared"]
    assert IngestItem.model_validate(item).document().tags == ("declared",)

    item["data"] |= {"tags": None, "sourceData": {"tags": "garden"}}
    assert IngestItem.model_validate(item).document().tags == ()


def test_door_and_core_name_jobs_alike(item: dict[str, Any]) -> None:
    parsed = IngestItem.model_validate(item)
    assert parsed.job_id == job_id(parsed.key) == "int-a1"


async def test_unknown_fields_are_ignored(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    item |= {"__proto__": {"admin": True}, "knowledge_base_id": "other", "tenant": "other"}
    item["data"]["nonsense"] = 1

    assert (await client.post("/ingest", json=item)).status_code == 200
    assert knowledge_base.status(key(base="other").document_id) is None


async def test_a_missing_knowledge_base_is_a_404(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    item: dict[str, Any],
) -> None:
    client = await open_client(make_key("*"))
    response = await client.post("/ingest", json=item | {"knowledgeBaseId": "nobody"})
    assert response.status_code == 404


async def test_a_full_disk_is_a_507(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(documents: object) -> None:
        raise StorageFull("the disk is full")

    monkeypatch.setattr(knowledge_base, "submit", full)
    response = await client.post("/ingest", json=item)
    assert response.status_code == 507
    assert response.json()["message"] == "the disk is full"


async def test_waiting_answers_with_the_state_that_was_reached(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[list[str], float]] = []

    def settle(ids: list[str], timeout: float) -> list[object]:
        asked.append((ids, timeout))
        status = knowledge_base.status(ids[0])
        assert status is not None
        return [replace(status, state=DocumentState.FAILED, error="no text")]

    monkeypatch.setattr(knowledge_base, "wait_until_settled", settle)
    response = await client.post("/ingest?wait=true", json=item)

    assert response.json() == {"status": "failed", "jobId": "int-a1", "error": "no text"}
    assert asked == [([key().document_id], 30.0)]


async def test_waiting_ends_with_the_time(
    open_client: Callable[..., Any], make_key: Callable[..., str], item: dict[str, Any]
) -> None:
    client = await open_client(make_key(), max_wait_seconds=0.01)
    response = await client.post("/ingest?wait=true", json=item)
    assert response.json() == {"status": "queued", "jobId": "int-a1", "error": None}

    bulk = await client.post("/ingest/bulk?wait=1", json={"items": [item]})
    assert bulk.json() | {"estimatedTime": ""} == {
        "status": "queued",
        "jobCount": 1,
        "estimatedTime": "",
        "jobIds": ["int-a1"],
        "completed": 0,
        "failed": 0,
    }


async def test_a_deleted_document_counts_once(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    await client.post("/ingest", json=item)
    reference = {name: item[name] for name in ("integrationId", "knowledgeBaseId", "externalId")}

    first = await client.request("DELETE", "/ingest", json=reference)
    second = await client.request("DELETE", "/ingest", json=reference)

    assert first.json() == {"status": "deleted", "deleted": 1}
    assert second.json() == {"status": "deleted", "deleted": 0}


async def test_deleting_in_a_missing_knowledge_base_is_a_404(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key("*"))
    reference = {"integrationId": "int", "knowledgeBaseId": "nobody", "externalId": "a"}
    assert (await client.request("DELETE", "/ingest", json=reference)).status_code == 404
