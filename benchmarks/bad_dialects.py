"""The endpoints of the other dialects, as the bad input is sent to them.

What is judged is the same everywhere: no 5xx, the dialect's own envelope, and in a 400
the name of the culprit. What is accepted may differ: a field that one dialect reads is
one that another passes over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.bad_bodies import renamed_body

# A field's path has 256 characters at most; what is wrong follows.
LONGEST_NAME = 300

_DOCUMENT = {name: (name, "%s") for name in ("url", "title", "content", "metadata")} | {
    "content_type": ("contentType", "%s")
}
_SEARCH = {"query": ("query", "%s"), "top_k": ("limit", "%s"), "filter": ("filters", "%s")}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a case is sent, and how its members are called there.

    `base` names the member with the knowledge base, and what is put around its id; the
    path may hold it for `{base}`.
    """

    dialect: str
    method: str
    path: str
    names: Mapping[str, tuple[str, str]]
    base: tuple[str, str] | None = None
    inside: str | None = None

    def body(self, raw: bytes, base: str) -> bytes:
        """The case's body in this endpoint's words."""
        head = []
        if self.base is not None:
            name, around = self.base
            head.append((json.dumps(name), json.dumps(around.replace("%s", base))))
        return renamed_body(raw, head, self.names, self.inside)


INGESTING = (
    Endpoint(
        "quant", "POST", "/sites/{base}/pages", _DOCUMENT | {"id": ("key", "%s")}, inside="pages"
    ),
    Endpoint("quant", "DELETE", "/sites/{base}/pages", {"id": ("url", "%s")}),
    Endpoint(
        "smarttalk",
        "POST",
        "/v1/documents/import",
        _DOCUMENT | {"id": ("id", "%s")},
        ("chatModelId", "%s"),
        "documents",
    ),
    Endpoint(
        "smarttalk", "DELETE", "/v1/documents", {"id": ("ids", "[%s]")}, ("chatModelId", "%s")
    ),
    Endpoint(
        "reaktly", "DELETE", "/ingest", {"id": ("externalId", "%s")}, ("knowledgeBaseId", "%s")
    ),
)
SEARCHING = (
    Endpoint("smarttalk", "POST", "/v1/documents/search", _SEARCH, ("chatModelId", "%s")),
    Endpoint("smarttalk", "POST", "/v1/chat/query", _SEARCH, ("chatModelId", "%s")),
    Endpoint("reaktly", "POST", "/answer", _SEARCH, ("knowledgeBaseId", "%s")),
    Endpoint(
        "inkeep",
        "POST",
        "/v1/chat/completions",
        {"query": ("messages", '[{"role": "user", "content": %s}]')},
        ("model", "inkeep-rag@%s"),
    ),
    Endpoint(
        "inkeep", "POST", "/v1/responses", {"query": ("input", "%s")}, ("model", "inkeep-rag@%s")
    ),
)


def wrong_with(dialect: str, status: int, answer: Any) -> str | None:
    """What is wrong with a refusal in a dialect; None if nothing is."""
    if status == 422:
        return "422 is no status of ours"
    message = _message(dialect, status, answer)
    if not message:
        return "not in the dialect's envelope"
    if status == 400 and ": " not in message[:LONGEST_NAME]:
        return "names no culprit"
    return None


def _message(dialect: str, status: int, answer: Any) -> str | None:
    """What an envelope of the dialect says; None if it is none."""
    if not isinstance(answer, dict):
        return None
    if dialect == "reaktly":
        known = answer.get("statusCode") == status and "error" in answer
        return answer.get("message") if known else None
    error = answer.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    shapes = {
        "quant": error.keys() == {"code", "message"},
        "smarttalk": error.keys() == {"code", "message"} and answer.get("success") is False,
        "inkeep": error.keys() == {"message", "type", "param", "code"},
    }
    message: str = error["message"]
    return message if shapes[dialect] else None
