"""What only a real server on a socket shows."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import ApiSettings, create_app

LIMIT = 100_000


class Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
async def port(knowledge_base: KnowledgeBase) -> AsyncIterator[int]:
    """Where a server with a body limit of 100,000 bytes listens."""
    app = create_app(knowledge_base, ApiSettings(max_body_bytes=LIMIT))
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    yield listener.getsockname()[1]
    # At once, or a test that fails with a request under way would hang here.
    server.should_exit = server.force_exit = True
    await serving


@pytest.fixture
async def exchange(port: int, make_key: Callable[..., str]) -> Callable[..., Any]:
    """Sends bytes as they are (`TOKEN` replaced) and gives the status and the headers."""
    token = make_key().encode()

    async def send(head: bytes, *pieces: bytes) -> tuple[int, dict[str, str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head.replace(b"\n", b"\r\n").replace(b"TOKEN", token) + b"\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
        finally:
            writer.close()
        first, *lines = answer.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    return send


HEAD = b"POST /ingest HTTP/1.1\nhost: x\nx-api-key: TOKEN\n"


async def test_a_declared_length_over_the_limit_is_refused_before_any_byte_comes(
    exchange: Callable[..., Any],
) -> None:
    for length in (b"100001", b"99999999999", b"9" * 18):
        status, headers = await exchange(HEAD + b"content-length: " + length + b"\n")
        assert status == 413
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"]


async def test_a_body_that_is_announced_is_refused_instead_of_asked_for(
    exchange: Callable[..., Any],
) -> None:
    status, _ = await exchange(HEAD + b"content-length: 100001\nexpect: 100-continue\n")
    assert status == 413


async def test_chunks_are_counted_as_they_come(exchange: Callable[..., Any]) -> None:
    chunk = b"%x\r\n" % 50_000 + b" " * 50_000 + b"\r\n"
    status, headers = await exchange(HEAD + b"transfer-encoding: chunked\n", chunk, chunk, chunk)
    assert status == 413
    assert headers["x-request-id"]


async def test_a_bomb_is_a_413(exchange: Callable[..., Any]) -> None:
    bomb = gzip.compress(b'{"a":"' + b"0" * 50_000_000 + b'"}')
    assert len(bomb) < LIMIT
    head = HEAD + b"content-encoding: gzip\ncontent-length: %d\n" % len(bomb)
    status, _ = await exchange(head, bomb)
    assert status == 413


async def test_two_lengths_at_odds_are_never_a_5xx(exchange: Callable[..., Any]) -> None:
    head = HEAD + b"content-length: 5\ntransfer-encoding: chunked\n"
    status, _ = await exchange(head, b"0\r\n\r\n")
    assert 400 <= status < 500


async def test_a_stranger_is_refused_without_a_body(exchange: Callable[..., Any]) -> None:
    status, headers = await exchange(b"POST /ingest HTTP/1.1\nhost: x\ncontent-length: 90000\n")
    assert status == 401
    assert headers["www-authenticate"] == "bearer"


async def test_head_answers_as_get_without_a_body(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/health", "/docs", "/openapi.json", "/nope"):
            get, head = await client.get(path), await client.head(path)
            assert head.status_code == get.status_code
            assert head.headers["content-length"] == get.headers["content-length"]
            assert head.content == b""


async def test_an_item_goes_in_over_a_connection_that_stays_open(
    port: int, make_key: Callable[..., str], item: dict[str, Any]
) -> None:
    item["externalId"] = "a/b %2F ü"
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {make_key()}"}
    ) as client:
        too_large = await client.post("/ingest", content=b" " * (LIMIT + 1))
        assert too_large.status_code == 413
        pushed = await client.post(
            "/ingest",
            content=gzip.compress(orjson.dumps(item)),
            headers={"content-encoding": "gzip"},
        )
        assert pushed.json() == {"status": "queued", "jobId": "int-a/b %2F ü"}
        job = await client.get("/ingest/jobs/int-a%2Fb%20%252F%20%C3%BC")
        assert job.json()["externalId"] == "a/b %2F ü"
