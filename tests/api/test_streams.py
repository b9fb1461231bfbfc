"""Answers in events: how they are sent, and that nobody works for a client who left."""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api.operations import Call, Endpoint, House, Operation, Stream
from reaktly_api.rate_limits import RateLimiter
from reaktly_api.settings import ApiSettings
from reaktly_api.threads import Threads

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/count",
    "path_params": {},
    "query_string": b"",
    "headers": [],
}


@pytest.fixture
def house(shared_knowledge_base: KnowledgeBase) -> Iterator[House]:
    threads = Threads(workers=1, waiters=1)
    yield House(shared_knowledge_base, ApiSettings(), threads, RateLimiter({}))
    threads.close()


def endpoint(house: House, events: Generator[bytes, None, None]) -> Endpoint:
    def run(call: Call) -> Stream:
        return Stream(events)

    return Endpoint(
        Operation(
            method="GET",
            path="/count",
            name="count",
            tag="Test",
            summary="",
            description="",
            run=run,
        ),
        house,
    )


def bodies(messages: Sequence[dict[str, Any]]) -> list[bytes]:
    return [message["body"] for message in messages if message["type"] == "http.response.body"]


async def test_events_are_sent_one_by_one_and_end(house: House) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        await asyncio.Event().wait()

    events = (b"data: %d\n\n" % number for number in range(3))
    await endpoint(house, events)(SCOPE, receive, send)

    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert bodies(sent) == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b""]
    assert [m.get("more_body", False) for m in sent[1:]] == [True, True, True, False]


async def test_work_stops_when_the_client_leaves(house: House) -> None:
    closed: list[bool] = []
    enough = asyncio.Event()
    sent: list[dict[str, Any]] = []

    def endless() -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"data: more\n\n"
        finally:
            closed.append(True)

    async def send(message: Any) -> None:
        sent.append(dict(message))
        if len(sent) > 3:
            enough.set()

    async def receive() -> Any:
        await enough.wait()
        return {"type": "http.disconnect"}

    events = endless()  # held here, so that nothing but a word to it ends it
    with pytest.raises(ClientDisconnect):
        async with asyncio.timeout(5):
            await endpoint(house, events)(SCOPE, receive, send)
    assert closed == [True]
    assert b"" not in bodies(sent)
