"""What Reaktly's pages say in words, against a server as it is started."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.product import Answer, Client, Product

BASE = "promises"


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[Client]:
    client = product.client()
    yield client
    client.close()


def an_item(external_id: str, **data: object) -> dict[str, Any]:
    return {
        "integrationId": "int_abc123",
        "knowledgeBaseId": BASE,
        "sourceType": "ARTICLE",
        "externalId": external_id,
        "data": {"title": "Tents", "content": "A tent keeps the rain out."} | data,
    }


def push(client: Client, item: object) -> Answer:
    return client.call("POST", "/ingest", item, {"wait": "true"})


@pytest.mark.requirement("R-01", "R-08")
def test_what_was_pushed_is_found_by_its_meaning(client: Client) -> None:
    content = "Physicians recommend a daily stroll for cardiac wellbeing."
    assert push(client, an_item("stroll", title="Advice", content=content)).status == 200
    found = client.search(BASE, "doctors say walking is healthy for the heart", mode="vector")
    assert found[0]["externalId"] == "stroll"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("integrationId", marks=pytest.mark.requirement("R-03")),
        pytest.param("knowledgeBaseId", marks=pytest.mark.requirement("R-04")),
        pytest.param("sourceType", marks=pytest.mark.requirement("R-05")),
        pytest.param("externalId", marks=pytest.mark.requirement("R-06")),
        pytest.param("data.title", marks=pytest.mark.requirement("R-07")),
        pytest.param("data.content", marks=pytest.mark.requirement("R-08")),
    ],
)
def test_an_item_without_a_needed_field_is_refused_by_name(client: Client, path: str) -> None:
    item = an_item("incomplete")
    *parents, name = path.split(".")
    del (item[parents[0]] if parents else item)[name]
    refused = push(client, item)
    assert (refused.status, refused.body["field"]) == (400, path)


@pytest.mark.requirement("R-05")
@pytest.mark.parametrize("source_type", ["PRODUCT", "ARTICLE", "PAGE", "SERVICE", "PERSON"])
def test_each_source_type_is_kept(client: Client, source_type: str) -> None:
    item = an_item(f"type {source_type}") | {"sourceType": source_type}
    assert push(client, item).status == 200
    found = client.search(BASE, "rain", sourceType=source_type, externalId=item["externalId"])
    assert [hit["sourceType"] for hit in found] == [source_type]


@pytest.mark.requirement("R-05")
@pytest.mark.parametrize("source_type", ["article", "EVENT", "", None, 1])
def test_another_source_type_is_refused(client: Client, source_type: object) -> None:
    refused = push(client, an_item("odd") | {"sourceType": source_type})
    assert (refused.status, refused.body["field"]) == (400, "sourceType")


@pytest.mark.requirement("R-06")
def test_the_same_id_is_the_same_item(client: Client) -> None:
    for title in ("First", "Second"):
        assert push(client, an_item("again", title=title)).status == 200
    found = client.search(BASE, "rain", externalId="again")
    assert [hit["title"] for hit in found] == ["Second"]


@pytest.mark.requirement("R-07", "R-09", "R-10")
def test_title_link_and_metadata_come_out_as_they_went_in(client: Client) -> None:
    metadata = {"price": 12.5, "sku": "T-1", "colours": ["red"], "maker": {"name": "Ada"}}
    data = {"title": "A red tent", "url": "https://shop.example/t-1", "sourceData": metadata}
    assert push(client, an_item("metadata", **data)).status == 200
    filters: dict[str, Any] = {"sourceData.sku": "T-1", "sourceData.price": 12.5}
    (hit,) = client.search(BASE, "tent", **filters)
    assert {name: hit[name] for name in data} == data
    (document,) = [
        entry
        for entry in client.ok("GET", "/documents", query={"knowledgeBaseId": BASE})["documents"]
        if entry["externalId"] == "metadata"
    ]
    stored = client.ok("GET", f"/documents/{document['documentId']}")
    assert {name: stored[name] for name in data} == data


@pytest.mark.requirement("R-11", "R-12")
def test_the_same_hash_again_does_nothing_unless_forced(client: Client) -> None:
    item = an_item("hashed", hash="a1b2c3d4e5f6")
    changed = an_item("hashed", hash="a1b2c3d4e5f6", content="A tent keeps the wind out too.")

    def outcome(item: object) -> object:
        job_id = client.ok("POST", "/ingest", item, {"wait": "true"})["jobId"]
        return client.ok("GET", f"/ingest/jobs/{job_id}")["lastOutcome"]

    assert outcome(item) != "unchanged"
    assert outcome(changed) == "unchanged"
    assert outcome(changed | {"options": {"forceRefresh": True}}) != "unchanged"
    (hit,) = client.search(BASE, "tent", externalId="hashed")
    assert "wind" in hit["text"]


@pytest.mark.requirement("R-13")
@pytest.mark.parametrize("priority", ["high", "low", None])
def test_a_priority_is_high_or_low_or_none(client: Client, priority: str | None) -> None:
    assert push(client, an_item("urgent") | {"options": {"priority": priority}}).status == 200


@pytest.mark.requirement("R-13")
def test_another_priority_is_refused(client: Client) -> None:
    refused = push(client, an_item("urgent") | {"options": {"priority": "medium"}})
    assert (refused.status, refused.body["field"]) == (400, "options.priority")


@pytest.mark.requirement("R-02")
@pytest.mark.parametrize("scope", ["iq:read", "iq:chat"])
def test_a_key_without_the_scope_may_not_push(product: Product, scope: str) -> None:
    client = Client(product.port, product.make_key(BASE, "--scope", scope))
    try:
        assert push(client, an_item("forbidden")).status == 403
    finally:
        client.close()


@pytest.mark.requirement("R-15")
def test_an_item_of_a_batch_goes_as_it_would_go_alone(client: Client) -> None:
    good, bad = an_item("in a batch"), an_item("bad in a batch", title=None)
    answer = client.ok("POST", "/ingest/bulk", {"items": [bad, good]}, {"wait": "true"})
    alone = push(client, bad)
    assert answer["jobIds"] == ["int_abc123-in a batch"]
    assert [error["message"] for error in answer["errors"]] == [alone.body["message"]]
