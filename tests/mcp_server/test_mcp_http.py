"""MCP over HTTP, in the API's application: keys, scopes, hosts, and what is not MCP."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.routing import Route

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import create_app
from reaktly_mcp import McpEndpoint

Http = httpx2.AsyncClient
Serve = Callable[..., AbstractAsyncContextManager[Http]]
URL = "http://127.0.0.1:8000/mcp"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def make_key(core: KnowledgeBase) -> Callable[..., str]:
    def make(*bases: str, **options: Any) -> str:
        return core.registry.keys.create("test", knowledge_bases=bases or ("kb",), **options)[1]

    return make


@pytest.fixture
def serve(core: KnowledgeBase) -> Serve:
    """Runs the application; gives an HTTP client that has its own way into it."""

    @asynccontextmanager
    async def serve_one(token: str | None = None, **options: Any) -> AsyncIterator[Http]:
        endpoint = McpEndpoint(core, **options)
        app = create_app(core, mounts=[Route("/mcp", endpoint)], mounts_lifespan=endpoint.lifespan)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with (
            app.router.lifespan_context(app),
            Http(transport=httpx2.ASGITransport(app), headers=headers) as http,
        ):
            yield http

    return serve_one


@asynccontextmanager
async def client(http: Http, mode: Any = "auto") -> AsyncIterator[Client]:
    async with Client(streamable_http_client(URL, http_client=http), mode=mode) as connected:
        yield connected


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_key_decides_which_tools_and_which_bases_there_are(
    serve: Serve, make_key: Callable[..., str], put: Callable[..., str], mode: str
) -> None:
    foreign = put(base="other")
    token = make_key("kb", scopes=["iq:read"])
    async with serve(token) as http, client(http, mode) as one:
        names = {tool.name for tool in (await one.list_tools()).tools}
        assert {"search", "fetch"} <= names
        assert not names & {"ingest", "delete_document", "ask"}
        assert (await one.call_tool("ingest", {"documents": []})).is_error
        assert (await one.call_tool("fetch", {"id": foreign})).is_error
        bases = (await one.call_tool("list_knowledge_bases", {})).structured_content
        assert [base["id"] for base in bases["knowledge_bases"]] == ["kb"]


async def test_where_no_base_is_named_the_keys_default_or_the_requests_header_is_meant(
    serve: Serve, make_key: Callable[..., str], put: Callable[..., str]
) -> None:
    put(name="mine")
    put(base="other", name="another")
    for headers, options, expected in (
        ({}, {"default_knowledge_base": "other"}, "Title of another"),
        ({"x-knowledge-base": "kb"}, {}, "Title of mine"),
    ):
        async with serve(make_key("kb", "other", **options)) as http:
            http.headers.update(headers)
            async with client(http) as one:
                page = (await one.call_tool("list_documents", {})).structured_content
        assert [entry["title"] for entry in page["documents"]] == [expected]


async def test_a_revoked_key_is_refused_at_once(
    serve: Serve, core: KnowledgeBase, make_key: Callable[..., str]
) -> None:
    token = make_key()
    headers = ACCEPT | {"x-api-key": token}
    async with serve() as http:
        assert (await http.post(URL, json=PING, headers=headers)).status_code == 200
        core.registry.keys.revoke(core.registry.keys.all()[0].key_id)
        refused = await http.post(URL, json=PING, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer rk_live_guessed"}, {"authorization": "Bearer " + "x" * 600}],
)
async def test_without_a_key_there_is_no_mcp(serve: Serve, headers: dict[str, str]) -> None:
    async with serve() as http:
        answer = await http.post(URL, json=PING, headers=ACCEPT | headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("options", "host", "origin", "status"),
    [
        ({}, "127.0.0.1:8000", None, 200),
        ({}, "localhost", "http://localhost:6274", 200),
        ({}, "evil.test", None, 421),
        ({}, "localhost", "https://evil.test", 403),
        ({"allowed_hosts": ["kb.test"]}, "kb.test", None, 200),
        ({"allowed_hosts": ["kb.test"]}, "kb.test:8443", None, 200),
        ({"allowed_hosts": ["*"]}, "anything.test", None, 200),
        ({"allowed_origins": ["https://app.test"]}, "localhost", "https://app.test", 200),
    ],
)
async def test_only_known_hosts_and_origins_are_served(
    serve: Serve,
    make_key: Callable[..., str],
    options: dict[str, Any],
    host: str,
    origin: str | None,
    status: int,
) -> None:
    headers = ACCEPT | {"host": host} | ({} if origin is None else {"origin": origin})
    async with serve(make_key(), **options) as http:
        assert (await http.post(URL, json=PING, headers=headers)).status_code == status


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_without_sessions_there_is_nothing_to_open_or_to_end(
    serve: Serve, make_key: Callable[..., str], method: str
) -> None:
    async with serve(make_key()) as http:
        answer = await http.request(method, URL, headers=ACCEPT)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff", b'{"id":1}', b"x" * 5_000]
)
async def test_what_is_no_message_is_refused_without_a_word_of_the_internals(
    serve: Serve, make_key: Callable[..., str], body: bytes
) -> None:
    for version in ("2025-06-18", "2026-07-28"):
        headers = ACCEPT | {"content-type": "application/json", "mcp-protocol-version": version}
        async with serve(make_key(), max_body_bytes=4_000) as http:
            answer = await http.post(URL, content=body, headers=headers)
        assert 400 <= answer.status_code < 500
        assert "Traceback" not in answer.text
        assert "File " not in answer.text
