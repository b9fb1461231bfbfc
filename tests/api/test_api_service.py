import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llamaindex_reaktly.knowledge_base import KnowledgeBase

PARTS = ("registry", "disk", "store", "embedder", "worker")


@pytest.fixture
def parts(knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the core says of its parts; all is well."""
    states = dict.fromkeys(PARTS, "ok")
    monkeypatch.setattr(knowledge_base, "readiness", lambda: states)
    return states


async def test_health_needs_neither_threads_nor_core(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase
) -> None:
    knowledge_base.close()
    response = await client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_tells_the_state_of_each_part(
    client: httpx.AsyncClient, parts: dict[str, str]
) -> None:
    response = await client.get("/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "parts": parts})


@pytest.mark.parametrize(
    ("ailing", "both", "accept", "search"),
    [
        ("registry", 503, 503, 503),
        ("disk", 503, 503, 200),
        ("store", 503, 200, 503),
        ("embedder", 503, 200, 503),
        ("worker", 200, 200, 200),
    ],
)
async def test_ready_asks_for_what_the_purpose_needs(
    client: httpx.AsyncClient,
    parts: dict[str, str],
    ailing: str,
    both: int,
    accept: int,
    search: int,
) -> None:
    parts[ailing] = "is away"
    assert (await client.get("/ready")).status_code == both
    assert (await client.get("/ready?for=accept")).status_code == accept
    assert (await client.get("/ready?for=search")).status_code == search


async def test_a_server_that_is_not_ready_says_why(
    client: httpx.AsyncClient, parts: dict[str, str]
) -> None:
    parts["store"] = "is away"
    answer = (await client.get("/ready")).json()
    assert answer == {
        "statusCode": 503,
        "message": "not ready: store: is away",
        "error": "Service Unavailable",
        "parts": parts,
    }
    assert (await client.get("/ready?for=lunch")).json()["field"] == "for"


async def scrape(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_metrics_count_the_cores_work(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = replace(
        knowledge_base.metrics(),
        counters={"documents_parsed": 3, "chunks_embedded": 17},
        queue_documents={"queued": 2, "failed": 1},
        queue_oldest_seconds=12.5,
    )
    monkeypatch.setattr(knowledge_base, "metrics", lambda: snapshot)
    samples = await scrape(client)

    assert samples["reaktly_documents_parsed_total", frozenset()] == 3
    assert samples["reaktly_chunks_embedded_total", frozenset()] == 17
    assert samples["reaktly_queue_documents", frozenset({("state", "queued")})] == 2
    assert samples["reaktly_queue_oldest_seconds", frozenset()] == 12.5


async def test_metrics_count_requests_by_route_and_tell_no_tenant(
    client: httpx.AsyncClient,
) -> None:
    await client.get("/ingest/jobs/secret-job?knowledgeBaseId=secret-base")
    await client.get("/secret-path")
    await client.request("BREW", "/health")
    samples = await scrape(client)

    def requests(method: str, route: str, status: str) -> float:
        labels = {("method", method), ("route", route), ("status", status)}
        return samples["reaktly_http_requests_total", frozenset(labels)]

    assert requests("GET", "/ingest/jobs/{jobId:path}", "403") == 1
    assert requests("GET", "unmatched", "404") == 1
    assert requests("other", "/health", "405") == 1
    assert "secret" not in (await client.get("/metrics")).text


async def test_metrics_can_want_a_token(open_client: Callable[..., Any]) -> None:
    client = await open_client(metrics_token="s3cret")
    for headers in ({}, {"authorization": "Bearer s3cre"}, {"x-api-key": "s3cret"}):
        assert (await client.get("/metrics", headers=headers)).status_code == 401
    opened = await client.get("/metrics", headers={"authorization": "Bearer s3cret"})
    assert opened.status_code == 200


async def test_the_root_leads_to_the_documentation(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert (response.status_code, response.headers["location"]) == (302, "/docs")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))


async def test_the_page_lists_every_endpoint_and_model(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"<h3><b>{method.upper()}</b>{path}</h3>" in page.text
            assert f'id="{operation["operationId"]}"' in page.text
    for name in document["components"]["schemas"]:
        assert f'id="model-{name}"' in page.text


async def test_the_page_needs_nothing_but_itself(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    tags = Tags()
    tags.feed(page.text)

    names = {name for name, _ in tags.opened}
    assert not names & {"script", "link", "img", "iframe", "form"}
    ids = {attributes["id"] for _, attributes in tags.opened if "id" in attributes}
    for _, attributes in tags.opened:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        link = attributes.get("href")
        assert link is None or link == "openapi.json" or link.removeprefix("#") in ids

    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy


def test_whatever_the_document_says_is_escaped() -> None:
    from reaktly_api.docs_page import render

    evil = "<script>alert(1)</script>"
    operation = {
        "operationId": evil,
        "tags": [evil],
        "summary": evil,
        "description": evil,
        "parameters": [{"name": evil, "in": "query", "schema": {"enum": [evil]}}],
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {"type": evil},
                    "examples": {"a": {"summary": evil, "value": {evil: "it's"}}},
                }
            }
        },
        "responses": {"200": {"description": evil, "content": {evil: {}}}},
    }
    schema = {"description": evil, "properties": {evil: {"$ref": f"#/{evil}"}}, "enum": [evil]}
    html, _ = render(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "tags": [{"name": evil}],
            "paths": {evil: {"get": operation}},
            "components": {"schemas": {evil: schema}},
        }
    )
    assert "<script" not in html
    assert SimpleNamespace(html=html).html.count("&lt;script&gt;") > 10
