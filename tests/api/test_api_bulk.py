from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import DocumentState, DocumentStatus
from llamaindex_reaktly.knowledge_base import KnowledgeBase

pytestmark = pytest.mark.both_databases


@pytest.mark.requirement("R-16")
async def test_accepted_items_are_counted_and_named_in_order(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    items = [item | {"externalId": name} for name in ("z", "a", "m")]
    response = await client.post("/ingest/bulk", json={"items": items})

    assert response.status_code == 200
    answer = response.json()
    assert answer["status"] == "queued"
    assert answer["jobCount"] == 3
    assert answer["jobIds"] == ["int-z", "int-a", "int-m"]
    assert "errors" not in answer


@pytest.mark.requirement("R-16")
async def test_the_estimate_is_the_cores_in_whole_seconds(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(knowledge_base, "estimate_seconds", lambda documents: 4.2 * documents)
    response = await client.post("/ingest/bulk", json={"items": [item]})
    assert response.json()["estimatedTime"] == "5s"


async def test_refused_items_are_named_and_the_others_kept(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    items = [
        item | {"externalId": "good"},
        item | {"externalId": 7},
        item | {"externalId": "typed", "sourceType": "BLOG"},
        "not an item",
        item | {"externalId": "far", "knowledgeBaseId": "other"},
        item | {"externalId": "x" * 257},
        item | {"externalId": "also good"},
    ]
    response = await client.post("/ingest/bulk", json={"items": items})

    assert response.status_code == 200
    answer = response.json()
    assert answer["jobIds"] == ["int-good", "int-also good"]
    assert [(e["index"], e["externalId"]) for e in answer["errors"]] == [
        (1, None),
        (2, "typed"),
        (3, None),
        (4, "far"),
        (5, None),
    ]
    assert answer["errors"][0]["message"] == "externalId: Input should be a valid string"
    assert answer["errors"][1]["message"].startswith("sourceType: ")
    assert "does not reach" in answer["errors"][3]["message"]
    assert len(knowledge_base.list_documents("kb").items) == 2
    assert knowledge_base.list_documents("other").items == []


@pytest.mark.parametrize(("method"), ["POST", "DELETE"])
async def test_a_batch_of_refused_items_is_a_400_with_their_list(
    client: httpx.AsyncClient, method: str
) -> None:
    response = await client.request(method, "/ingest/bulk", json={"items": [{}, {}]})
    assert response.status_code == 400
    answer = response.json()
    assert answer["field"] == "items"
    assert [error["index"] for error in answer["errors"]] == [0, 1]


async def test_an_empty_batch_is_fine(client: httpx.AsyncClient) -> None:
    pushed = await client.post("/ingest/bulk", json={"items": []})
    assert pushed.json() == {"status": "queued", "jobCount": 0, "estimatedTime": "0s", "jobIds": []}
    deleted = await client.request("DELETE", "/ingest/bulk", json={"items": []})
    assert deleted.json() == {"status": "deleted", "deleted": 0}


async def test_too_many_items_are_a_413_that_names_the_limit(
    open_client: Callable[..., Any], make_key: Callable[..., str], item: dict[str, Any]
) -> None:
    client = await open_client(make_key(), max_bulk_items=2)
    assert (await client.post("/ingest/bulk", json={"items": [item] * 2})).status_code == 200

    response = await client.post("/ingest/bulk", json={"items": [item] * 3})
    assert response.status_code == 413
    assert "2 items" in response.json()["message"]


@pytest.mark.parametrize("body", [{}, {"items": None}, {"items": {}}, {"items": "x"}])
async def test_items_must_be_a_list(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    response = await client.post("/ingest/bulk", json=body)
    assert response.status_code == 400
    assert response.json()["field"] == "items"


async def test_of_the_same_document_twice_the_last_wins_and_both_count(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, item: dict[str, Any]
) -> None:
    later = item | {"data": {"title": "Later", "content": "Later."}}
    response = await client.post("/ingest/bulk", json={"items": [item, later]})

    assert response.json()["jobIds"] == ["int-a1", "int-a1"]
    assert response.json()["jobCount"] == 2
    (status,) = knowledge_base.list_documents("kb").items
    assert status.title == "Later"


async def test_items_of_a_missing_knowledge_base_are_refused_beside_the_others(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
) -> None:
    client = await open_client(make_key("*"))
    items = [
        item | {"knowledgeBaseId": "nobody"},
        item,
        item | {"knowledgeBaseId": "other"},
    ]
    answer = (await client.post("/ingest/bulk", json={"items": items})).json()
    assert answer["jobCount"] == 2
    assert [error["index"] for error in answer["errors"]] == [0]

    deleted = (await client.request("DELETE", "/ingest/bulk", json={"items": items})).json()
    assert deleted["deleted"] == 2
    assert [error["index"] for error in deleted["errors"]] == [0]
    assert not knowledge_base.knowledge_base_exists("nobody")


async def test_a_batch_is_one_call_of_the_core(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    submit = knowledge_base.submit_fitting

    def counted(documents: list[Any]) -> Any:
        sizes.append(len(documents))
        return submit(documents)

    monkeypatch.setattr(knowledge_base, "submit_fitting", counted)
    items = [item | {"externalId": str(number)} for number in range(500)]
    assert (await client.post("/ingest/bulk", json={"items": items})).json()["jobCount"] == 500
    assert sizes == [500]


async def test_waiting_for_a_batch_counts_what_became_of_it(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = [DocumentState.COMPLETED, DocumentState.FAILED]

    def settle(ids: list[str], timeout: float) -> list[DocumentStatus]:
        found = [knowledge_base.status(i) for i in ids]
        return [replace(s, state=t) for s, t in zip(found, states, strict=True) if s]

    monkeypatch.setattr(knowledge_base, "wait_until_settled", settle)
    items = [item, item | {"externalId": "a2"}]
    mixed = (await client.post("/ingest/bulk?wait=true", json={"items": items})).json()
    assert (mixed["status"], mixed["completed"], mixed["failed"]) == ("failed", 1, 1)

    states[1] = DocumentState.COMPLETED
    good = (await client.post("/ingest/bulk?wait=true", json={"items": items})).json()
    assert (good["status"], good["completed"], good["failed"]) == ("completed", 2, 0)
