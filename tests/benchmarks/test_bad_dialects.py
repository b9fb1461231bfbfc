import json
from typing import Any

import pytest

from benchmarks.bad_dialects import INGESTING, SEARCHING, Endpoint, wrong_with

DOCUMENT = b'{"id": "a", "url": "/a", "title": "A", "content": "text", "other": 1}'
QUESTION = b'{"query": "q", "top_k": 3, "filter": {"a": 1}, "other": 1}'
SENT = {
    "POST /sites/{base}/pages": {
        "pages": [{"key": "a", "url": "/a", "title": "A", "content": "text"}],
    },
    "DELETE /sites/{base}/pages": {"url": "a"},
    "POST /v1/documents/import": {
        "chatModelId": "kb",
        "documents": [{"id": "a", "url": "/a", "title": "A", "content": "text"}],
    },
    "DELETE /v1/documents": {"chatModelId": "kb", "ids": ["a"]},
    "DELETE /ingest": {"knowledgeBaseId": "kb", "externalId": "a"},
    "POST /v1/documents/search": {
        "chatModelId": "kb",
        "query": "q",
        "limit": 3,
        "filters": {"a": 1},
    },
    "POST /v1/chat/completions": {
        "model": "inkeep-rag@kb",
        "messages": [{"role": "user", "content": "q"}],
    },
    "POST /v1/responses": {"model": "inkeep-rag@kb", "input": "q"},
}


@pytest.mark.parametrize("endpoint", [*INGESTING, *SEARCHING], ids=lambda e: f"{e.method} {e.path}")
def test_a_body_is_in_the_endpoints_words(endpoint: Endpoint) -> None:
    expected = SENT.get(f"{endpoint.method} {endpoint.path}")
    if expected is not None:
        raw = DOCUMENT if endpoint in INGESTING else QUESTION
        sent = json.loads(endpoint.body(raw, "kb"))
        assert sent["other"] == 1
        assert sent | expected == sent


@pytest.mark.parametrize(
    ("dialect", "answer", "fault"),
    [
        ("reaktly", {"statusCode": 400, "message": "a.b: no", "error": "Bad Request"}, None),
        ("reaktly", {"statusCode": 400, "message": "no", "error": "Bad Request"}, "culprit"),
        ("reaktly", {"statusCode": 404, "message": "a: no", "error": "Bad Request"}, "envelope"),
        ("quant", {"error": {"code": "x", "message": "a: no"}}, None),
        ("quant", {"error": {"code": "x", "message": "a: no", "field": "a"}}, "envelope"),
        ("smarttalk", {"success": False, "error": {"code": "X", "message": "a: no"}}, None),
        ("smarttalk", {"error": {"code": "X", "message": "a: no"}}, "envelope"),
        ("inkeep", {"error": {"message": "a: b", "type": "", "param": None, "code": ""}}, None),
        ("inkeep", {"error": {"message": "a: b"}}, "envelope"),
        ("inkeep", None, "envelope"),
    ],
)
def test_a_refusal_is_in_the_dialects_envelope_and_names_the_culprit(
    dialect: str, answer: Any, fault: str | None
) -> None:
    found = wrong_with(dialect, 400, answer)
    assert (found is None) == (fault is None)
    assert fault is None or fault in str(found)
