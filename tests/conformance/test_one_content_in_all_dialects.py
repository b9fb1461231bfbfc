"""What came in by any dialect comes out by every other, as the same document."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.end_to_end.product import Client, Product

BASE = "shared"
QUESTION = "How long does the ferry to the islands take?"
TITLE = "The ferry to the islands"
CONTENT = (
    "The ferry to the islands takes forty minutes and leaves on the hour. "
    "Bicycles travel free of charge."
)
SUMMARY = "When the ferry leaves, and how long it takes."
TAGS = ["ferry", "timetable"]
METADATA = {"category": "travel", "minutes": 40, "harbours": ["north", "south"]}


def by_reaktly(client: Client, url: str) -> None:
    data = {
        "title": TITLE,
        "content": CONTENT,
        "url": url,
        "summary": SUMMARY,
        "tags": TAGS,
        "sourceData": METADATA,
    }
    item = {"integrationId": "int", "knowledgeBaseId": BASE, "externalId": url}
    client.push(item | {"sourceType": "ARTICLE", "data": data}, wait=True)


def by_smarttalk(client: Client, url: str) -> None:
    document = {"title": TITLE, "content": CONTENT, "url": url}
    metadata = METADATA | {"tags": TAGS}
    imported = client.ok(
        "POST",
        "/v1/documents/import",
        {"chatModelId": BASE, "documents": [document | {"metadata": metadata}]},
    )
    client.wait_until_completed(imported["documents"][0]["id"])


def by_quant(client: Client, url: str) -> None:
    page = {"url": url, "title": TITLE, "content": CONTENT, "summary": SUMMARY, "tags": TAGS}
    answer = client.ok(
        "POST",
        f"/organisations/acme/ai-search/sites/{BASE}/pages",
        {"pages": [page | {"metadata": METADATA}]},
        {"wait": "true"},
    )
    assert answer["processed"] == 1, answer


WAYS_IN: Mapping[str, Callable[[Client, str], None]] = {
    "reaktly": by_reaktly,
    "smarttalk": by_smarttalk,
    "quant": by_quant,
}


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[Client]:
    """Its key reaches one knowledge base, which is the one where a request names none."""
    client = Client(product.port, product.make_key(BASE))
    yield client
    client.close()


@pytest.fixture(scope="module", params=list(WAYS_IN))
def document(request: pytest.FixtureRequest, client: Client) -> dict[str, Any]:
    """A document as `/search` shows it; the only one with its url."""
    url = f"https://ferry.example/{request.param}"
    WAYS_IN[request.param](client, url)
    (found,) = client.search(BASE, QUESTION, url=url)
    assert found["url"] == url
    return found


def test_reaktly_shows_all_of_it(client: Client, document: dict[str, Any]) -> None:
    assert (document["title"], document["tags"]) == (TITLE, TAGS)
    # AI SmartTalk's documents have none.
    expected = None if document["url"].endswith("smarttalk") else SUMMARY
    assert document["summary"] == expected
    assert METADATA.items() <= document["sourceData"].items()
    assert "forty minutes" in document["text"]
    stored = client.ok("GET", f"/documents/{document['documentId']}")
    assert stored["content"] == CONTENT
    for name in ("title", "url", "summary", "tags", "sourceData"):
        assert stored[name] == document[name]


@pytest.mark.parametrize(
    "filters",
    [
        {"sourceData.category": "travel"},
        {"sourceData.minutes": {"lte": 40}},
        {"sourceData.harbours": {"any": ["south"]}},
        {"tags": "timetable"},
        {"not": {"sourceData.category": {"ne": "travel"}}},
    ],
    ids=str,
)
@pytest.mark.requirement("S-12")
def test_it_can_be_filtered_by_its_metadata_in_each_dialect(
    client: Client, document: dict[str, Any], filters: dict[str, Any]
) -> None:
    both = {"and": [filters, {"url": document["url"]}]}
    neither = {"and": [{"not": filters}, {"url": document["url"]}]}
    name = document["documentId"]
    asked = {"chatModelId": BASE, "query": QUESTION}
    reaktly = {"knowledgeBaseId": BASE, "query": QUESTION}

    def ids(path: str, body: dict[str, Any], entries: str, field: str) -> list[str]:
        return [entry[field] for entry in client.ok("POST", path, body)[entries]]

    for chosen, expected in ((both, [name]), (neither, [])):
        with_filter = {"filters": chosen}
        assert ids("/search", reaktly | with_filter, "results", "documentId") == expected
        assert ids("/answer", reaktly | with_filter, "sources", "documentId") == expected
        assert ids("/v1/documents/search", asked | with_filter, "documents", "id") == expected
        assert ids("/v1/chat/query", asked | with_filter, "sources", "documentId") == expected


def test_it_is_the_same_document_of_the_same_relevance_in_smarttalk(
    client: Client, document: dict[str, Any]
) -> None:
    filters = {"url": document["url"]}
    body = {"chatModelId": BASE, "query": QUESTION, "filters": filters}
    (found,) = client.ok("POST", "/v1/documents/search", body)["documents"]
    assert (found["id"], found["title"]) == (document["documentId"], TITLE)
    assert found["relevance"] == document["relevance"]
    assert "forty minutes" in found["content"]

    answered = client.ok("POST", "/v1/chat/query", body)
    (source,) = answered["sources"]
    assert (source["documentId"], source["title"]) == (document["documentId"], TITLE)
    assert source["relevance"] == document["relevance"]
    assert "forty minutes" in answered["response"]


def test_inkeep_shows_it(client: Client, document: dict[str, Any]) -> None:
    asked = {"model": "inkeep-rag", "messages": [{"role": "user", "content": QUESTION}]}
    completion = client.ok("POST", "/v1/chat/completions", asked)
    content = json.loads(completion["choices"][0]["message"]["content"])["content"]
    (found,) = [entry for entry in content if entry["url"] == document["url"]]
    assert found["title"] == TITLE
    assert "forty minutes" in found["source"]["content"][0]["text"]


def test_it_can_be_deleted_where_its_dialect_deletes(client: Client) -> None:
    """By the id that all dialects share."""
    by_reaktly(client, "https://ferry.example/short-lived")
    filters = {"url": "https://ferry.example/short-lived"}
    (found,) = client.search(BASE, QUESTION, **filters)
    client.ok("DELETE", "/v1/documents", {"chatModelId": BASE, "ids": [found["documentId"]]})
    assert client.search(BASE, QUESTION, **filters) == []
