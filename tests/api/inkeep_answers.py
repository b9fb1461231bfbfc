"""What the tests of Inkeep's dialect share: documents, questions, and readers of answers."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import httpx

from llamaindex_reaktly.domain import DocumentKey, Passage, SearchHit, SourceType

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
QUESTION = "How do I get started?"


def hit(name: str, *passages: Passage, **changes: Any) -> SearchHit:
    key = DocumentKey("kb", "integration:int", name)
    found = SearchHit(
        document_id=key.document_id,
        key=key,
        version=1,
        source_type=SourceType.ARTICLE,
        title=name.title(),
        url=f"https://docs.test/{name}",
        summary=None,
        tags=(),
        attributes={},
        updated_at=datetime(2026, 1, 2, tzinfo=UTC),
        relevance=passages[0].relevance,
        passages=passages,
    )
    return dataclasses.replace(found, **changes)


GUIDE = hit(
    "guide",
    Passage("n1", "## Quick start\n\nAdd the `<script>`.", ("Guide", "Quick start"), 0.9),
    Passage("n2", "Then öffne the page.", (), 0.5),
)
SHOP = hit("shop", Passage("n3", "We sell cans.", (), 0.4), source_type=SourceType.PRODUCT)


def chat(content: object = QUESTION, **fields: Any) -> dict[str, Any]:
    return {"model": "inkeep-rag", "messages": [{"role": "user", "content": content}], **fields}


def documents(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = json.loads(answer.json()["choices"][0]["message"]["content"])[
        "content"
    ]
    return found


def events(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [
        line.removeprefix("data: ")
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    ]
