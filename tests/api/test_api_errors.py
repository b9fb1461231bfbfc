from collections.abc import Callable
from typing import Any

import httpx
import pytest
import structlog
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from llamaindex_reaktly import errors
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import dialects
from reaktly_api.dialects import EveryItemRefused, error_headers, reaktly_envelope, renderer_for
from reaktly_api.rate_limits import Allowance, LimitReached

EXAMPLES: dict[type[errors.ReaktlyError], errors.ReaktlyError] = {
    errors.InvalidRequest: errors.InvalidRequest("wrong", field="data.title"),
    errors.RateLimited: errors.RateLimited("slow down", retry_after=7),
}


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


def descendants(root: type[errors.ReaktlyError]) -> set[type[errors.ReaktlyError]]:
    children = set(root.__subclasses__())
    return children.union(*(descendants(child) for child in children))


def kinds() -> list[type[errors.ReaktlyError]]:
    every = descendants(errors.ReaktlyError)
    return sorted((k for k in every if k.__module__ == errors.__name__), key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", kinds())
def test_every_error_of_the_tree_has_an_envelope(kind: type[errors.ReaktlyError]) -> None:
    error = EXAMPLES.get(kind) or kind("a sentence")
    envelope = reaktly_envelope(error)
    assert envelope["statusCode"] == kind.error_code.status
    assert envelope["message"] == error.message
    assert envelope["error"] == kind.error_code.phrase


def test_what_an_error_knows_is_in_its_envelope_and_headers() -> None:
    assert reaktly_envelope(EXAMPLES[errors.InvalidRequest])["field"] == "data.title"
    refused = EveryItemRefused([{"index": 0, "externalId": None, "message": "no"}])
    assert reaktly_envelope(refused)["errors"] == refused.refused
    assert reaktly_envelope(errors.Conflict("two", candidates=("a", "b")))["candidates"] == (
        "a",
        "b",
    )
    assert error_headers(errors.MethodNotAllowed("no", allowed=("GET", "PUT"))) == [
        ("allow", "GET, PUT")
    ]
    assert error_headers(EXAMPLES[errors.RateLimited]) == [("retry-after", "7")]
    assert dict(error_headers(LimitReached(Allowance(60, 0, 12)))) == {
        "retry-after": "12",
        "ratelimit-limit": "60",
        "ratelimit-remaining": "0",
        "ratelimit-reset": "12",
    }
    assert error_headers(errors.Unauthenticated("no")) == [("www-authenticate", "Bearer")]


@pytest.mark.parametrize("path", ["/ingest", "/nowhere", "", "*"])
def test_paths_of_no_other_dialect_are_reaktlys(path: str) -> None:
    assert renderer_for(path) is reaktly_envelope


async def test_a_prefix_gives_its_dialect_all_its_refusals(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terse(error: errors.ReaktlyError) -> dict[str, object]:
        return {"oops": error.error_code.code}

    table = (("/documents", terse), *dialects.RENDERERS)
    monkeypatch.setattr(dialects, "RENDERERS", table)
    assert (await client.get("/documents/a/b")).json() == {"oops": "not_found"}
    assert (await client.put("/documents")).json() == {"oops": "method_not_allowed"}
    assert (await client.get("/documents?limit=0")).json() == {"oops": "invalid_request"}
    encoded = {"content-encoding": "br"}
    refused = await client.request("GET", "/documents", headers=encoded)
    assert refused.json() == {"oops": "unsupported_media_type"}
    assert "statusCode" in (await client.get("/documentsX")).json()


@pytest.mark.parametrize("path", ["/nope", "/search/", "/ingestion", "/documents/a/b", "/.env"])
async def test_unknown_paths_are_enveloped(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert response.json() == {
        "statusCode": 404,
        "message": "there is nothing at this path",
        "error": "Not Found",
    }


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/ingest", "DELETE, OPTIONS, POST"),
        ("GET", "/search", "OPTIONS, POST"),
        ("POST", "/documents", "GET, HEAD, OPTIONS"),
        ("TRACE", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/ingest/jobs/a/retry", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_a_wrong_method_is_a_405_with_all_that_are_allowed(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert response.headers["x-request-id"]
    assert response.json()["statusCode"] == 405

    options = await client.options(path)
    assert options.status_code == 204
    assert options.headers["allow"] == allow
    assert options.content == b""


async def test_a_sane_request_id_is_kept_and_another_replaced(client: httpx.AsyncClient) -> None:
    async def named(request_id: bytes) -> str:
        response = await client.get("/health", headers={b"x-request-id": request_id})
        return response.headers["x-request-id"]

    assert await named(b"abc-123:x/y") == "abc-123:x/y"
    assert await named(b"x" * 128) == "x" * 128
    made = [await named(i) for i in (b"", b"x" * 129, b"a b", b"a\tb", "ü".encode())]
    assert all(len(name) == 32 for name in made)
    assert len(set(made)) == 5


async def test_an_unforeseen_error_is_logged_and_says_nothing_of_its_cause(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(token: str) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(knowledge_base, "authenticate", explode)
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        response = await client.get("/documents", headers={"x-request-id": "r-1"})

    assert response.status_code == 500
    assert response.headers["x-request-id"] == "r-1"
    assert response.json()["error"] == "Internal Server Error"
    assert "hunter2" not in response.text
    (entry,) = (entry for entry in logs if entry["log_level"] == "error")
    assert entry["request_id"] == "r-1"
    assert entry["exc_info"]


async def test_mounted_applications_share_the_middleware(
    knowledge_base: KnowledgeBase,
) -> None:
    from reaktly_api import create_app

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    app = create_app(
        knowledge_base,
        mounts=[Mount("/ok", PlainTextResponse("mounted")), Mount("/broken", broken)],
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client,
    ):
        assert (await client.get("/ok/")).text == "mounted"
        broken_answer = await client.get("/broken/")
        assert broken_answer.status_code == 500
        assert broken_answer.headers["x-request-id"]
        assert (await client.get("/health")).status_code == 200


async def test_browsers_are_let_in_only_from_listed_origins(
    open_client: Callable[..., Any],
) -> None:
    origin = {"origin": "https://shop.example"}
    closed = await open_client()
    assert (
        "access-control-allow-origin" not in (await closed.get("/health", headers=origin)).headers
    )

    client = await open_client(cors_origins=("https://shop.example",))
    preflight = await client.options(
        "/search",
        headers=origin
        | {
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-api-key, content-type",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["x-request-id"]
    refused = await client.post("/search", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    other = await client.get("/health", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
