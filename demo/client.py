"""The few documented endpoints that the demo calls, over the standard library's HTTP client."""

import http.client
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from demo.content import DemoDocument, JsonObject

METRIC_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (\S+)(?: \d+)?$")
PAGE_SIZE = 100


class DemoFailed(Exception):
    """The demo cannot go on; the message is a sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Job:
    """Where a pushed document stands (`GET /ingest/jobs`)."""

    external_id: str
    status: str
    last_outcome: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of `POST /search`; `passages` are the texts of the best ones, best first."""

    external_id: str
    source_type: str
    title: str
    url: str
    relevance: float
    headings: tuple[str, ...]
    passages: tuple[str, ...]
    source_data: JsonObject


@dataclass(frozen=True, slots=True)
class Reply:
    """What `POST /answer` says; `sources` are external id, title and url of what it cites."""

    text: str
    answered: bool
    sources: tuple[tuple[str, str, str], ...]


class KnowledgeBaseApi(Protocol):
    """What the tour asks of a server."""

    def push(self, documents: Iterable[DemoDocument]) -> str:
        """Send documents through `POST /ingest/bulk`; return the server's estimated time."""
        ...

    def jobs(self) -> list[Job]:
        """List every job of the knowledge base."""
        ...

    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        """Search the knowledge base."""
        ...

    def ask(self, question: str) -> Reply:
        """Ask the knowledge base."""
        ...

    def delete(self, external_id: str) -> int:
        """Delete one document; return how many were deleted."""
        ...

    def metrics(self) -> dict[str, float]:
        """Read `/metrics`: each name with the sum over its labels."""
        ...


class HttpApi:
    """One knowledge base of a server on the loopback interface, through its HTTP API."""

    def __init__(
        self, *, port: int, api_key: str, knowledge_base_id: str, integration_id: str
    ) -> None:
        self._port = port
        self._api_key = api_key
        self._knowledge_base_id = knowledge_base_id
        self._integration_id = integration_id

    def push(self, documents: Iterable[DemoDocument]) -> str:
        """Send documents through `POST /ingest/bulk`; return the server's estimated time.

        Raises `DemoFailed` when one of them is refused.
        """
        items = [
            document.ingest_item(
                knowledge_base_id=self._knowledge_base_id, integration_id=self._integration_id
            )
            for document in documents
        ]
        answer = json.loads(self._call("POST", "/ingest/bulk", {"items": items}))
        if answer.get("errors") or answer["jobCount"] != len(items):
            raise DemoFailed(f"the server refused documents: {answer.get('errors', answer)}")
        return str(answer["estimatedTime"])

    def jobs(self) -> list[Job]:
        """List every job of the knowledge base, page by page."""
        return list(self._jobs())

    def _jobs(self) -> Iterator[Job]:
        query = {"knowledgeBaseId": self._knowledge_base_id, "limit": str(PAGE_SIZE)}
        while True:
            path = f"/ingest/jobs?{urllib.parse.urlencode(query)}"
            page = json.loads(self._call("GET", path))
            for job in page["jobs"]:
                yield Job(job["externalId"], job["status"], job["lastOutcome"], job["error"])
            if page["nextCursor"] is None:
                return
            query["cursor"] = page["nextCursor"]

    def search(self, query: str, filters: JsonObject, *, mode: str = "hybrid") -> list[Hit]:
        """Search the knowledge base (`POST /search`)."""
        body: JsonObject = {
            "knowledgeBaseId": self._knowledge_base_id,
            "query": query,
            "mode": mode,
            "filters": filters,
        }
        answer = json.loads(self._call("POST", "/search", body))
        return [_hit(result) for result in answer["results"]]

    def ask(self, question: str) -> Reply:
        """Ask the knowledge base (`POST /answer`)."""
        body: JsonObject = {"knowledgeBaseId": self._knowledge_base_id, "query": question}
        answer = json.loads(self._call("POST", "/answer", body))
        return Reply(
            answer["answer"],
            answer["answered"],
            tuple(
                (source["externalId"], source["title"], source["url"])
                for source in answer["sources"]
                if source["cited"]
            ),
        )

    def delete(self, external_id: str) -> int:
        """Delete one document (`DELETE /ingest`); return how many were deleted."""
        body: JsonObject = {
            "integrationId": self._integration_id,
            "knowledgeBaseId": self._knowledge_base_id,
            "externalId": external_id,
        }
        return int(json.loads(self._call("DELETE", "/ingest", body))["deleted"])

    def metrics(self) -> dict[str, float]:
        """Read `/metrics`: each name with the sum over its labels."""
        return parse_metrics(self._call("GET", "/metrics"))

    def _call(self, method: str, path: str, body: JsonObject | None = None) -> str:
        try:
            status, text = call(self._port, method, path, api_key=self._api_key, body=body)
        except (OSError, http.client.HTTPException) as failure:
            reason = str(failure) or type(failure).__name__
            raise DemoFailed(f"{method} {path} had no answer: {reason}") from failure
        if status != http.HTTPStatus.OK:
            raise DemoFailed(f"{method} {path} answered {status}: {text}")
        return text


def call(
    port: int,
    method: str,
    path: str,
    *,
    api_key: str | None = None,
    body: JsonObject | None = None,
) -> tuple[int, str]:
    """Send one request to the server on the loopback interface; return status and body.

    Raises `OSError` or `http.client.HTTPException` when no whole answer comes.
    """
    headers = {"content-type": "application/json"}
    if api_key is not None:
        headers["x-api-key"] = api_key
    payload = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=payload, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _hit(result: dict[str, Any]) -> Hit:
    passages = result["passages"] or [{"text": result["text"], "headings": []}]
    return Hit(
        external_id=result["externalId"],
        source_type=result["sourceType"],
        title=result["title"],
        url=result["url"],
        relevance=result["relevance"],
        headings=tuple(passages[0]["headings"]),
        passages=tuple(passage["text"] for passage in passages),
        source_data=result["sourceData"],
    )


def parse_metrics(exposition: str) -> dict[str, float]:
    """Read Prometheus' text format; values that differ in labels only are added up."""
    sums: dict[str, float] = {}
    for line in exposition.splitlines():
        if match := METRIC_LINE.match(line):
            name, value = match.groups()
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums
