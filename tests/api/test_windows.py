"""Limits hold to the last request, in one process and in several that share a Redis."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import limits
import pytest
import structlog

from llamaindex_reaktly.errors import ConfigurationError
from reaktly_api.windows import MemoryWindow, RedisWindow, Window
from scripts.redis_server import RedisServer

CLIENTS = 16


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture(params=["memory", "redis"])
def windows(request: pytest.FixtureRequest) -> Iterator[list[Window]]:
    """One window in memory, or two on one Redis as two processes would have them."""
    if request.param == "memory":
        yield [MemoryWindow()]
        return
    shared = [RedisWindow(request.getfixturevalue("redis_url")) for _ in range(2)]
    yield list(shared)
    for window in shared:
        window.close()


def test_no_stretch_sees_more_than_the_limit_and_each_as_many_as_were_asked_for(
    windows: list[Window],
) -> None:
    limit, stretches = 25, 3
    item = limits.parse(f"{limit} per second")
    # When each request that passed may have been counted, at the earliest and the latest.
    earliest: list[float] = []
    latest: list[float] = []
    begun = time.time()

    def ask(window: Window) -> None:
        while time.time() < begun + stretches + 0.5:
            before = time.time()
            if window.hit(item, "moving", "search"):
                earliest.append(before)
                latest.append(time.time())

    threads = [
        threading.Thread(target=ask, args=(windows[number % len(windows)],))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(latest) >= stretches * limit
    pairs = zip(sorted(earliest), sorted(latest)[limit:], strict=False)
    # Redis keeps four digits of a second.
    assert min(last - first for first, last in pairs) > 1 - 0.001


def test_what_is_left_is_told(windows: list[Window]) -> None:
    item = limits.parse("3/minute")
    left = []
    for turn in range(4):
        window = windows[turn % len(windows)]
        passed = window.hit(item, "left", "search")
        forgotten_at, remaining = window.look(item, "left", "search")
        left.append((passed, remaining))
        assert 50 < forgotten_at - time.time() <= 60
    assert left == [(True, 2), (True, 1), (True, 0), (False, 0)]


@pytest.mark.parametrize("place", ["memory", "redis"])
async def test_of_requests_at_once_exactly_the_limit_passes(
    request: pytest.FixtureRequest,
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    place: str,
) -> None:
    url = request.getfixturevalue("redis_url") if place == "redis" else None
    token = make_key(rate_limits={"listDocuments": "40/minute"})
    clients = [await open_client(token, redis_url=url) for _ in range(2 if url else 1)]

    async def ask(number: int) -> list[int]:
        client = clients[number % len(clients)]
        return [(await client.get("/documents")).status_code for _ in range(5)]

    asked = await asyncio.gather(*(ask(number) for number in range(CLIENTS)))
    statuses = [status for answers in asked for status in answers]
    assert statuses.count(200) == 40
    assert statuses.count(429) == 5 * CLIENTS - 40


async def uncounted(client: httpx.AsyncClient) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    name = "reaktly_rate_limits_uncounted_requests_total "
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize("fate", ["stopped", "frozen"])
async def test_while_redis_is_away_requests_pass_uncounted(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    redis_server: RedisServer,
    fate: str,
) -> None:
    token = make_key(rate_limits={"listDocuments": "1/minute"})
    client = await open_client(token, redis_url=redis_server.url)
    assert (await client.get("/documents")).status_code == 200
    assert (await client.get("/documents")).status_code == 429
    end, bring_back = (
        (redis_server.stop, redis_server.start)
        if fate == "stopped"
        else (redis_server.freeze, redis_server.thaw)
    )
    end()
    try:
        with structlog.testing.capture_logs() as logs:
            for number in range(1, 4):
                answer = await client.get("/documents")
                assert answer.status_code == 200
                assert "ratelimit-limit" not in answer.headers
                assert await uncounted(client) == number
        warnings = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
        assert warnings == ["rate_limits_not_counted"]
        assert (await client.get("/ready?for=accept")).status_code == 200
    finally:
        bring_back()
    deadline = time.monotonic() + 20
    while (await client.get("/documents")).status_code != 429:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost:6379"])
async def test_a_redis_that_is_no_address_stops_the_start(
    open_client: Callable[..., Any], url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_REDIS_URL: must be an address"):
        await open_client(redis_url=url)
