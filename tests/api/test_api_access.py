from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.knowledge_base import KnowledgeBase

PROTECTED = [
    ("POST", "/ingest"),
    ("POST", "/ingest/bulk"),
    ("DELETE", "/ingest"),
    ("DELETE", "/ingest/bulk"),
    ("GET", "/ingest/jobs"),
    ("GET", "/ingest/jobs/x"),
    ("POST", "/ingest/jobs/x/retry"),
    ("POST", "/search"),
    ("GET", "/documents"),
    ("GET", "/documents/x"),
    ("GET", "/documents/x/passages"),
]
SEARCH = {"knowledgeBaseId": "kb", "query": "x"}


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


def yesterday() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_key_nothing_is_opened(
    open_client: Callable[..., Any], method: str, path: str
) -> None:
    client = await open_client()
    for headers in ({}, {"x-api-key": ""}, {"authorization": "Basic abc"}, {"x-api-key": "wrong"}):
        response = await client.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/health", "/ready?for=accept", "/metrics", "/docs", "/openapi.json"]
)
async def test_what_a_server_tells_of_itself_is_open(
    open_client: Callable[..., Any], path: str
) -> None:
    client = await open_client()
    assert (await client.get(path)).status_code == 200


async def test_either_header_opens_and_the_scheme_is_read_in_any_case(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client, token = await open_client(), make_key()
    for headers in (
        {"x-api-key": token},
        {"authorization": f"Bearer {token}"},
        {"authorization": f"bearer  {token}"},
        {"x-api-key": token, "authorization": "Bearer other"},
    ):
        assert (await client.get("/documents", headers=headers)).status_code == 200


@pytest.mark.requirement("S-27", "S-33")
async def test_expired_and_revoked_keys_answer_as_unknown_ones(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    knowledge_base: KnowledgeBase,
) -> None:
    client = await open_client()
    key, revoked = knowledge_base.registry.keys.create("gone", knowledge_bases=["kb"])
    headers = {"x-api-key": revoked}
    assert (await client.get("/documents", headers=headers)).status_code == 200

    knowledge_base.registry.keys.revoke(key.key_id)
    tokens = (revoked, make_key(expires_at=yesterday()), "rk_live_unknown", "ü", "x" * 20_000)
    answers = [
        await client.get("/documents", headers={b"x-api-key": token.encode("latin-1")})
        for token in tokens
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.requirement("R-02")
@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("iq:import", {"/ingest", "/ingest/bulk", "/ingest/jobs", "/ingest/jobs/x"}),
        ("iq:read", {"/search", "/documents", "/documents/x", "/documents/x/passages"}),
        ("iq:chat", set()),
    ],
)
async def test_a_scope_opens_its_own_endpoints(
    open_client: Callable[..., Any], make_key: Callable[..., str], scope: str, opened: set[str]
) -> None:
    client = await open_client(make_key(scopes=[scope]))
    status_of_jobs = {"/ingest/jobs", "/ingest/jobs/x"} if scope == "iq:read" else set()
    retry = {"/ingest/jobs/x/retry"} if scope == "iq:import" else set()
    for method, path in PROTECTED:
        allowed = path in opened | status_of_jobs | retry
        response = await client.request(method, path)
        assert (response.status_code != 403) == allowed, (method, path)


async def test_a_knowledge_base_out_of_reach_is_a_403_be_it_there_or_not(
    client: httpx.AsyncClient, item: dict[str, Any]
) -> None:
    for base in ("other", "nobody"):
        answers = [
            await client.post("/ingest", json=item | {"knowledgeBaseId": base}),
            await client.request("DELETE", "/ingest", json=item | {"knowledgeBaseId": base}),
            await client.post("/search", json=SEARCH | {"knowledgeBaseId": base}),
            await client.get(f"/ingest/jobs?knowledgeBaseId={base}"),
            await client.get(f"/ingest/jobs/x?knowledgeBaseId={base}"),
            await client.get(f"/documents?knowledgeBaseId={base}"),
        ]
        assert [answer.status_code for answer in answers] == [403] * 6
        assert len({answer.content for answer in answers}) == 1


async def test_a_missing_knowledge_base_within_reach_is_a_404(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> None:
    client = await open_client(make_key("*"))
    answers = [
        await client.post("/search", json=SEARCH | {"knowledgeBaseId": "nobody"}),
        await client.get("/ingest/jobs?knowledgeBaseId=nobody"),
        await client.get("/documents?knowledgeBaseId=nobody"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 3


async def test_an_unknown_key_may_not_have_its_body_read(
    open_client: Callable[..., Any],
) -> None:
    client = await open_client("rk_live_unknown")
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 64 * 1024
            yield b" " * (64 * 1024)

    assert (await client.post("/ingest", content=endless())).status_code == 401
    assert read < 1024 * 1024


async def test_a_request_asks_for_its_key_once(
    client: httpx.AsyncClient,
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    authenticate = knowledge_base.authenticate

    def counted(token: str) -> Any:
        asked.append(token)
        return authenticate(token)

    monkeypatch.setattr(knowledge_base, "authenticate", counted)
    item["data"]["content"] = "x" * 1_000_000
    assert (await client.post("/ingest", json=item)).status_code == 200
    assert len(asked) == 1
