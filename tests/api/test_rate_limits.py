import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from reaktly_api.dialects import dialect_of
from reaktly_api.rate_limits import LimitReached, RateLimiter, read_rule


def key(key_id: str = "k", **rate_limits: str) -> Any:
    return SimpleNamespace(
        key_id=key_id, rate_limits={k.replace("any", "*"): v for k, v in rate_limits.items()}
    )


def test_nothing_is_limited_unless_set() -> None:
    limiter = RateLimiter({})
    assert all(limiter.charge(key(), "search") is None for _ in range(1_000))


def test_a_limit_counts_by_key_and_operation() -> None:
    limiter = RateLimiter({"*": "2/minute"})
    for caller in (key("a"), key("b")):
        for operation in ("search", "ingest"):
            left = [limiter.charge(caller, operation) for _ in range(2)]
            assert [allowance and allowance.remaining for allowance in left] == [1, 0]
            with pytest.raises(LimitReached):
                limiter.charge(caller, operation)


@pytest.mark.requirement("S-25")
def test_a_keys_own_limit_wins_and_the_named_operation_before_the_star() -> None:
    limiter = RateLimiter({"search": "1/hour", "*": "9/hour"})

    def limit(caller: Any, operation: str) -> int:
        allowance = limiter.charge(caller, operation)
        assert allowance is not None
        return allowance.limit

    assert limit(key("1"), "search") == 1
    assert limit(key("2"), "ingest") == 9
    assert limit(key("3", search="5/hour"), "search") == 5
    assert limit(key("4", any="6/hour"), "search") == 6
    assert limit(key("5", any="6/hour", search="7/hour"), "search") == 7


async def test_answers_carry_the_allowance_and_a_429_says_when_to_come_back(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key(rate_limits={"listDocuments": "2/minute"}))

    first = await client.get("/documents")
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("2", "1")
    assert 1 <= int(first.headers["ratelimit-reset"]) <= 60
    await client.get("/documents")

    refused = await client.get("/documents")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-remaining"] == "0"
    assert refused.json()["error"] == "Too Many Requests"
    assert "ratelimit-limit" not in (await client.get("/ingest/jobs")).headers


@pytest.fixture
async def documented(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> httpx.AsyncClient:
    """A client for whom what the vendors document holds, and nothing else."""
    opened: httpx.AsyncClient = await open_client(make_key())
    return opened


async def passed(client: httpx.AsyncClient, method: str, *paths: str) -> int:
    """How many requests pass before one is refused; each path in its turn. 150 at most."""
    for number, path in zip(range(150), itertools.cycle(paths), strict=False):
        response = await client.request(method, path, json={})
        if response.status_code == 429:
            assert 1 <= int(response.headers["retry-after"]) <= 60
            assert response.headers["ratelimit-remaining"] == "0"
            TypeAdapter(dialect_of(path).envelope).validate_json(response.content)
            return number
    return 150


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/v1/documents/import", 100),
        ("POST", "/v1/chat/query", 60),
        ("POST", "/v1/documents/search", 60),
        ("POST", "/v1/chat/completions", 150),
        ("POST", "/search", 150),
        ("POST", "/ingest", 150),
    ],
)
async def test_each_endpoint_has_the_limit_that_is_documented_and_no_other(
    documented: httpx.AsyncClient, method: str, path: str, limit: int
) -> None:
    assert await passed(documented, method, path) == limit


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_all_paths_to_the_same_share_its_limit(
    documented: httpx.AsyncClient, method: str
) -> None:
    paths = [
        f"{base}{family}/sites/kb/pages"
        for base in ("", "/api")
        for family in ("", "/organisations/org/ai-search")
    ]
    assert await passed(documented, method, *paths) == 60


def test_what_is_documented_holds_unless_something_is_set() -> None:
    def limit(caller: Any, **defaults: str) -> int | None:
        allowance = RateLimiter(
            {name.replace("any", "*"): rule for name, rule in defaults.items()}
        ).charge(caller, "search", "60/minute")
        return None if allowance is None else allowance.limit

    assert limit(key()) == 60
    assert limit(key(), ingest="7/minute") == 60
    assert limit(key(), search="7/minute") == 7
    assert limit(key(), any="7/minute") == 7
    assert limit(key(search="8/minute"), search="7/minute") == 8
    assert limit(key(), search="none") is None
    assert limit(key(any="none"), search="7/minute") is None


@pytest.mark.parametrize("text", ["often", "search=", "search=often", "", "60", "none=", "NONE"])
def test_a_limit_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a limit such as 60/minute"):
        read_rule(text)


def test_a_limit_may_name_its_operation() -> None:
    assert read_rule("60/minute") == ("*", "60/minute")
    assert read_rule("search=5 per second") == ("search", "5 per second")
    assert read_rule("search=none") == ("search", "none")
