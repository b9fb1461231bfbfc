"""What the log tells of a request, and that it tells nothing else."""

from typing import Any

import httpx
import pytest
from structlog.typing import EventDict

from llamaindex_reaktly.knowledge_base import KnowledgeBase

Item = dict[str, Any]


def told(logs: list[EventDict], event: str) -> list[EventDict]:
    return [entry for entry in logs if entry["event"] == event]


async def test_each_request_has_a_line_with_route_status_time_and_key(
    client: httpx.AsyncClient, logs: list[EventDict]
) -> None:
    await client.get("/ingest/jobs/secret-job", headers={"x-request-id": "r-1"})
    (line,) = told(logs, "request_answered")
    assert (line["method"], line["route"]) == ("GET", "/ingest/jobs/{jobId:path}")
    assert (line["status"], line["request_id"], line["log_level"]) == (404, "r-1", "info")
    assert line["key_id"].startswith("key_")
    assert line["ms"] > 0
    assert "secret" not in str(logs)
    assert "rk_live_" not in str(logs)


async def test_a_request_without_a_good_key_has_a_line_that_names_none(
    client: httpx.AsyncClient, logs: list[EventDict]
) -> None:
    await client.get("/documents", headers={"x-api-key": "rk_live_wrong"})
    await client.get("/nowhere")
    lines = told(logs, "request_answered")
    assert [(line["status"], line["key_id"]) for line in lines] == [(401, None), (404, None)]


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_what_machines_ask_for_ever_has_lines_for_debug_only(
    client: httpx.AsyncClient, logs: list[EventDict], path: str
) -> None:
    await client.get(path)
    assert told(logs, "request_answered")[0]["log_level"] == "debug"


async def test_a_documents_acceptance_is_told_under_the_requests_id(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, logs: list[EventDict], item: Item
) -> None:
    headers = {"x-request-id": "r-1"}
    await client.post("/ingest", json=item, headers=headers)
    await client.post("/ingest", json=item, headers=headers)
    first, second = told(logs, "document_accepted")
    assert (first["request_id"], first["log_level"]) == ("r-1", "info")
    assert (first["version"], first["unchanged"], second["unchanged"]) == (1, False, True)
    assert first["knowledge_base_id"] == "kb"
    await client.request("DELETE", "/ingest", json=item, headers=headers)
    (deleted,) = told(logs, "document_deleted")
    assert (deleted["document_id"], deleted["request_id"]) == (first["document_id"], "r-1")
    for word in (item["data"]["title"], item["data"]["content"]):
        assert word not in str(logs)


async def test_a_bulk_has_one_line_and_its_documents_lines_for_debug(
    client: httpx.AsyncClient, logs: list[EventDict], item: Item
) -> None:
    items = [{**item, "externalId": str(i)} for i in range(3)]
    await client.post("/ingest/bulk", json={"items": items})
    (line,) = told(logs, "documents_accepted")
    assert (line["documents"], line["unchanged"], line["log_level"]) == (3, 0, "info")
    each = told(logs, "document_accepted")
    assert [entry["log_level"] for entry in each] == ["debug"] * 3
    assert {entry["request_id"] for entry in each} == {line["request_id"]}


async def test_the_worker_is_told_which_request_a_document_came_by_last(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: Item
) -> None:
    for request_id in ("r-1", "r-2"):
        item["data"]["content"] += " And again."
        await client.post("/ingest", json=item, headers={"x-request-id": request_id})
    (claim,) = knowledge_base.registry.queue.claim(limit=1, characters=1, lease_seconds=60)
    assert claim.origin.request_id == "r-2"
    assert claim.queued_at <= claim.claimed_at
