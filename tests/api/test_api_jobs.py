from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.knowledge_base import KnowledgeBase

pytestmark = pytest.mark.both_databases

IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


def document(key: DocumentKey) -> SourceDocument:
    return SourceDocument(key, SourceType.PAGE, "Title", "Text.")


def job_url(job_id: str) -> str:
    return "/ingest/jobs/" + quote(job_id, safe="")


async def test_a_job_tells_where_its_document_stands(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    await client.post("/ingest", json=item)
    answer = (await client.get("/ingest/jobs/int-a1")).json()

    assert answer.pop("documentId").startswith("doc_")
    assert answer.pop("queuedAt").endswith("Z")
    assert answer == {
        "jobId": "int-a1",
        "integrationId": "int",
        "knowledgeBaseId": "kb",
        "externalId": "a1",
        "status": "queued",
        "lastOutcome": None,
        "attempts": 0,
        "chunks": None,
        "error": None,
        "finishedAt": None,
    }


@pytest.mark.parametrize(
    "external_id",
    [
        "a/b",
        "100%",
        "%2F",
        "/",
        "//",
        "..",
        "a/../b",
        "x/retry",
        "retry",
        "?q=1#f",
        "ключ",
        "a b+c",
    ],
)
async def test_any_external_id_is_found_again_by_its_job_id(
    client: httpx.AsyncClient, item: dict[str, Any], external_id: str
) -> None:
    pushed = await client.post("/ingest", json=item | {"externalId": external_id})
    response = await client.get(job_url(pushed.json()["jobId"]))

    assert response.status_code == 200
    assert response.json()["externalId"] == external_id


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(integration_id=IDS, external_id=IDS)
async def test_ids_survive_the_way_through_url_and_body(
    client: httpx.AsyncClient, item: dict[str, Any], integration_id: str, external_id: str
) -> None:
    body = item | {"integrationId": integration_id, "externalId": external_id}
    pushed = await client.post("/ingest", json=body)
    assert pushed.status_code == 200
    found = await client.get(
        job_url(pushed.json()["jobId"]), params={"integrationId": integration_id}
    )
    assert found.status_code == 200
    assert found.json()["integrationId"] == integration_id
    assert found.json()["externalId"] == external_id


async def test_a_shared_job_id_is_a_conflict_that_can_be_narrowed(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    item: dict[str, Any],
) -> None:
    client = await open_client(make_key("kb", "other"))
    for ids in (("kb", "a-b", "c"), ("kb", "a", "b-c"), ("other", "a", "b-c")):
        names = dict(zip(("knowledgeBaseId", "integrationId", "externalId"), ids, strict=True))
        await client.post("/ingest", json=item | names)

    shared = await client.get("/ingest/jobs/a-b-c")
    assert shared.status_code == 409
    assert len(shared.json()["candidates"]) == 3

    narrowed = await client.get("/ingest/jobs/a-b-c?knowledgeBaseId=other")
    assert narrowed.json()["knowledgeBaseId"] == "other"
    assert (await client.get("/ingest/jobs/a-b-c?knowledgeBaseId=kb")).status_code == 409
    exact = await client.get("/ingest/jobs/a-b-c?knowledgeBaseId=kb&integrationId=a-b")
    assert exact.json()["externalId"] == "c"


async def test_a_job_out_of_reach_answers_as_an_unknown_one(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    knowledge_base.submit([document(DocumentKey("other", "integration:int", "a1"))])

    unreached = await client.get("/ingest/jobs/int-a1")
    unknown = await client.get("/ingest/jobs/int-a2")
    assert unreached.status_code == unknown.status_code == 404
    assert unreached.content == unknown.content
    assert (await client.post("/ingest/jobs/int-a1/retry")).status_code == 404


async def test_a_job_does_not_conflict_with_another_out_of_reach(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    knowledge_base.submit([document(DocumentKey("other", "integration:int", "a1"))])
    await client.post("/ingest", json=item)
    assert (await client.get("/ingest/jobs/int-a1")).json()["knowledgeBaseId"] == "kb"


async def test_a_deleted_job_answers_until_a_living_one_has_its_name(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    first = item | {"integrationId": "a-b", "externalId": "c"}
    await client.post("/ingest", json=first)
    await client.request("DELETE", "/ingest", json=first)
    assert (await client.get("/ingest/jobs/a-b-c")).json()["status"] == "deleted"

    await client.post("/ingest", json=item | {"integrationId": "a", "externalId": "b-c"})
    assert (await client.get("/ingest/jobs/a-b-c")).json()["integrationId"] == "a"


@pytest.mark.parametrize("path", ["/ingest/jobs/", "/ingest/jobs/a%00b", "/ingest/jobs/%FF"])
async def test_paths_that_can_be_no_job_are_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_only_a_failed_document_can_be_retried(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await client.post("/ingest", json=item)
    assert (await client.post("/ingest/jobs/int-a1/retry")).status_code == 409

    retried: list[str] = []
    status = knowledge_base.find_jobs("int-a1", None)[0]

    def retry(document_id: str) -> object:
        retried.append(document_id)
        return status

    monkeypatch.setattr(knowledge_base, "retry", retry)
    response = await client.post("/ingest/jobs/int-a1/retry")
    assert response.json()["jobId"] == "int-a1"
    assert retried == [status.document_id]


async def test_jobs_are_listed_page_by_page(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    items = [item | {"externalId": str(number)} for number in range(5)]
    await client.post("/ingest/bulk", json={"items": items})

    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/ingest/jobs", params=query)).json()
        assert len(page["jobs"]) == expected
        seen += [job["externalId"] for job in page["jobs"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert sorted(seen) == ["0", "1", "2", "3", "4"]


async def test_listings_hold_what_the_key_reaches_and_deleted_jobs_on_demand(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    knowledge_base.submit([document(DocumentKey("other", "integration:int", "hidden"))])
    gone = item | {"externalId": "gone"}
    await client.post("/ingest/bulk", json={"items": [item, gone]})
    await client.request("DELETE", "/ingest", json=gone)

    async def listed(query: str = "") -> list[str]:
        response = await client.get("/ingest/jobs" + query)
        assert response.status_code == 200
        return [job["externalId"] for job in response.json()["jobs"]]

    assert await listed() == ["a1"]
    assert await listed("?knowledgeBaseId=kb&status=queued") == ["a1"]
    assert await listed("?status=deleted") == ["gone"]
    assert await listed("?status=failed") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("status=done", "status"),
        ("cursor=%21", "cursor"),
        ("knowledgeBaseId=", "knowledgeBaseId"),
        ("knowledgeBaseId=a%00b", "knowledgeBaseId"),
        ("knowledgeBaseId=%FF", "query"),
    ],
)
async def test_a_wrong_parameter_is_a_400_that_names_it(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    response = await client.get(f"/ingest/jobs?{query}")
    assert response.status_code == 400
    assert response.json()["field"] == field


async def test_documents_of_other_dialects_have_no_integration(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    knowledge_base.submit([document(DocumentKey("kb", "quant", "/node/1"))])
    (job,) = (await client.get("/ingest/jobs")).json()["jobs"]
    assert job["integrationId"] is None
    assert job["jobId"] == "quant-/node/1"
