"""A small collection of bad input against `/ingest`; none of it is ever a 5xx."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.domain import DocumentKey
from llamaindex_reaktly.knowledge_base import KnowledgeBase


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


def changed(item: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, name = path.split(".")
    target = item
    for parent in parents:
        target = target.setdefault(parent, {})
    target[name] = value
    return item


def cases(by_field: Mapping[str, Sequence[object]]) -> list[tuple[str, object]]:
    return [(field, value) for field, values in by_field.items() for value in values]


CONTROLS = ("a\tb", "a\r\nSet-Cookie: x", "\x07", "\x7f", "\x85")
NO_IDS: tuple[object, ...] = (None, 7, 1.5, True, [], {}, "", "x" * 257, *CONTROLS)
REFUSED = cases(
    {
        "integrationId": NO_IDS,
        "knowledgeBaseId": NO_IDS,
        "externalId": NO_IDS,
        "sourceType": (None, "", "article", "BLOG", 1, ["ARTICLE"]),
        "data": (None, "x", [], 1),
        "data.title": (None, "", " \n", 1, [], "x" * 2_001),
        "data.content": (None, 1, [], {}),
        "data.url": (
            1,
            [],
            "x" * 2_049,
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "javascript :x",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "https://a/\r\nx: y",
            "java\tscript:x",
        ),
        "data.sourceData": ([], "x", 1),
        "data.hash": (1, "x" * 513),
        "data.contentType": ("", "application/pdf", "TEXT/HTML", "text/html; charset=x", 1),
        "data.summary": (1, "x" * 10_001),
        "data.tags": ("x", [1], [""], ["x" * 257], ["t"] * 101),
        "data.language": (1, "", "english please", "e"),
        "options": ("x", []),
        "options.forceRefresh": ("true", 1),
        "options.priority": ("urgent", "HIGH", 2),
    }
)


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=lambda v: str(v)[:24])
async def test_a_wrong_value_is_a_400_that_names_its_field(
    client: httpx.AsyncClient, item: dict[str, Any], field: str, value: object
) -> None:
    response = await client.post("/ingest", json=changed(item, field, value))
    assert response.status_code == 400
    answer = response.json()
    assert answer["error"] == "Bad Request"
    assert answer["field"].startswith(field)
    assert answer["message"].startswith(answer["field"] + ": ")
    assert len(response.content) < 2_000


ACCEPTED = cases(
    {
        "externalId": (
            "a/b",
            "C:\\x",
            "100%",
            "%_",
            "${jndi:ldap://x}",
            "constructor",
            "аdmin",
            "e\u0301",
            "a\u200bb",
            "\u202eabc",
            "🌱",
            "x" * 255,
            "🌱" * 256,
            "\ue000",
            "123",
            " ",
            "DOC",
            "'; --",
        ),
        "data.url": (None, "", "/node/1", "https://example.org/ü?q=1#f", "mailto:a@b.c"),
        "data.content": ("", " ", "QUJD" * 100_000, "\u2028", "<p>", "kb\ufffd"),
        "data.title": ("x" * 2_000, "Two\nlines"),
        "data.sourceData": ({}, {"a": None}, {"a": {"b": [1.5, [2]]}}, {"$ne": 1}),
        "data.language": ("zh-Hant-TW",),
    }
)


@pytest.mark.parametrize(("field", "value"), ACCEPTED, ids=lambda v: str(v)[:24])
async def test_unusual_but_honest_values_are_kept_as_they_are(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    field: str,
    value: object,
) -> None:
    response = await client.post("/ingest", json=changed(item, field, value))
    assert response.status_code == 200, response.text
    key = DocumentKey("kb", "integration:int", item["externalId"])
    read = await client.get(f"/documents/{key.document_id}")
    assert read.status_code == 200
    if field == "externalId" or (value and field.startswith("data.")):
        assert read.json()[field.removeprefix("data.")] == value


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"k" * 257: 1}, "data.sourceData." + "k" * 240),
        ({"": 1}, "data.sourceData"),
        ({"a\nb": 1}, "data.sourceData.a"),
        ({str(n): n for n in range(1_001)}, "data.sourceData"),
        ({"big": "x" * 262_144}, "data.sourceData"),
    ],
    ids=["long name", "no name", "control in name", "many names", "bulk"],
)
async def test_metadata_has_limits(
    client: httpx.AsyncClient, item: dict[str, Any], attributes: dict[str, object], field: str
) -> None:
    response = await client.post("/ingest", json=changed(item, "data.sourceData", attributes))
    assert response.status_code == 400
    assert response.json()["field"].startswith(field)


async def test_several_problems_are_told_at_once(client: httpx.AsyncClient) -> None:
    response = await client.post("/ingest", json={"data": {"title": 1, "tags": 1, "url": 1}})
    message = response.json()["message"]
    assert "integrationId: Field required" in message
    assert message.endswith("and 3 more")
