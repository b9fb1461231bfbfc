import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import structlog
from pydantic import TypeAdapter
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from llamaindex_reaktly import errors
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api.dialects import INKEEP as INKEEP_DIALECT
from reaktly_api.dialects import QUANT, REAKTLY, Dialect, dialect_of, error_headers
from reaktly_api.dialects import SMARTTALK as SMARTTALK_DIALECT
from reaktly_api.envelopes import EveryItemRefused
from reaktly_api.rate_limits import Allowance, LimitReached

EXAMPLES: dict[type[errors.ReaktlyError], errors.ReaktlyError] = {
    errors.InvalidRequest: errors.InvalidRequest("wrong", field="data.title"),
    errors.RateLimited: errors.RateLimited("slow down", retry_after=7),
}
# Code and status as AI SmartTalk's clients see them; where it has no code, one in its manner.
SMARTTALK = {
    errors.Unauthenticated: ("INVALID_TOKEN", 401),
    errors.Forbidden: ("INVALID_TOKEN", 403),
    errors.UnknownKnowledgeBase: ("INVALID_MODEL_ID", 404),
    errors.KnowledgeBaseOutOfReach: ("INVALID_MODEL_ID", 404),
    errors.RateLimited: ("RATE_LIMITED", 429),
    errors.InvalidRequest: ("INVALID_REQUEST", 400),
    errors.DocumentTooLarge: ("DOCUMENT_TOO_LARGE", 413),
    errors.QuotaExceeded: ("QUOTA_EXCEEDED", 402),
    errors.NotFound: ("INVALID_REQUEST", 404),
    errors.MethodNotAllowed: ("INVALID_REQUEST", 405),
    errors.UnsupportedMediaType: ("INVALID_REQUEST", 415),
    errors.InternalError: ("INTERNAL_ERROR", 500),
    errors.Unavailable: ("SERVICE_UNAVAILABLE", 503),
    errors.StorageFull: ("STORAGE_FULL", 507),
}
# Type, param and code as OpenAI's SDKs see them.
INKEEP = {
    errors.Unauthenticated: ("invalid_request_error", None, "invalid_api_key"),
    errors.UnknownModel: ("invalid_request_error", "model", "model_not_found"),
    errors.RateLimited: ("requests", None, "rate_limit_exceeded"),
    errors.QuotaExceeded: ("insufficient_quota", None, "insufficient_quota"),
    errors.InvalidRequest: ("invalid_request_error", "data.title", "invalid_request"),
    errors.NotFound: ("invalid_request_error", None, "unknown_url"),
    errors.InternalError: ("server_error", None, "internal"),
    errors.Unavailable: ("server_error", None, "unavailable"),
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


def example(kind: type[errors.ReaktlyError]) -> errors.ReaktlyError:
    return EXAMPLES.get(kind) or kind("a sentence")


def said(dialect: Dialect, error: errors.ReaktlyError) -> dict[str, Any]:
    worded = dialect.worded(error)
    envelope: dict[str, Any] = json.loads(json.dumps(dialect.render(worded)))
    TypeAdapter(dialect.envelope).validate_python(envelope)
    return envelope


@pytest.mark.parametrize("kind", kinds())
def test_every_error_of_the_tree_has_each_dialects_envelope(
    kind: type[errors.ReaktlyError],
) -> None:
    error = example(kind)
    code = error.error_code
    reaktly = said(REAKTLY, error)
    assert reaktly["statusCode"] == code.status
    assert reaktly["message"] == error.message
    assert reaktly["error"] == code.phrase

    concealed = SMARTTALK_DIALECT.worded(error)
    assert QUANT.worded(error).error_code is concealed.error_code
    assert said(QUANT, error) == {
        "error": {"code": concealed.error_code.code, "message": concealed.message}
    }

    smarttalk = said(SMARTTALK_DIALECT, error)
    assert smarttalk.keys() == {"success", "error"}
    assert smarttalk["success"] is False
    assert smarttalk["error"].keys() == {"code", "message"}
    if kind in SMARTTALK:
        assert (smarttalk["error"]["code"], concealed.error_code.status) == SMARTTALK[kind]

    inkeep = said(INKEEP_DIALECT, error)
    assert inkeep.keys() == {"error"}
    assert inkeep["error"]["message"] == error.message
    if kind in INKEEP:
        assert tuple(inkeep["error"][name] for name in ("type", "param", "code")) == INKEEP[kind]


@pytest.mark.parametrize("dialect", [QUANT, SMARTTALK_DIALECT], ids=lambda dialect: dialect.name)
def test_a_base_out_of_reach_answers_as_one_that_nobody_made(dialect: Dialect) -> None:
    out_of_reach = errors.KnowledgeBaseOutOfReach("theirs")
    assert dialect.worded(out_of_reach).error_code.status == 404
    assert said(dialect, out_of_reach) == said(dialect, errors.UnknownKnowledgeBase("theirs"))


def test_a_batch_that_is_refused_whole_tells_of_each_item() -> None:
    refused = EveryItemRefused([{"what": "ever"}], field="pages")
    assert said(REAKTLY, refused)["errors"] == [{"what": "ever"}]
    assert said(QUANT, refused)["errors"] == [{"what": "ever"}]
    assert said(SMARTTALK_DIALECT, refused)["documents"] == [{"what": "ever"}]


def test_what_an_error_knows_is_in_its_envelope_and_headers() -> None:
    assert said(REAKTLY, EXAMPLES[errors.InvalidRequest])["field"] == "data.title"
    two = errors.Conflict("two", candidates=("a", "b"))
    assert said(REAKTLY, two)["candidates"] == ["a", "b"]
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


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        *((path, REAKTLY) for path in ("/ingest", "/nowhere", "", "*", "/v2/x", "/v1x", "/siteS")),
        *((path, REAKTLY) for path in ("/api", "/api/v1/documents", "/sitesX", "/api/ingest")),
        *((f"{base}/sites", QUANT) for base in ("", "/api")),
        *((f"{base}/organisations/o/x", QUANT) for base in ("", "/api")),
        *((f"{base}/public/sites/kb/search", QUANT) for base in ("", "/api")),
        ("/v1/documents", SMARTTALK_DIALECT),
        ("/v1/documents/import", SMARTTALK_DIALECT),
        ("/v1/chat/query", SMARTTALK_DIALECT),
        ("/v1/chat/query/x", SMARTTALK_DIALECT),
        ("/v1/documentsX", INKEEP_DIALECT),
        ("/v1/chat/queryX", INKEEP_DIALECT),
        ("/v1/chat/completions", INKEEP_DIALECT),
        ("/v1", INKEEP_DIALECT),
        ("/v1/", INKEEP_DIALECT),
    ],
)
def test_a_paths_prefix_tells_its_dialect(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) is dialect


@pytest.mark.parametrize("path", ["/nowhere", "/sites/a/b/c", "/v1/documents/x", "/v1/x"])
async def test_an_unknown_path_is_refused_in_the_envelope_of_its_prefix(
    client: httpx.AsyncClient, path: str
) -> None:
    dialect = dialect_of(path)
    not_found = errors.NotFound("there is nothing at this path")
    for method in ("GET", "POST", "PATCH"):
        response = await client.request(method, path)
        assert response.status_code == 404
        assert response.json() == said(dialect, not_found)
        assert response.headers["x-request-id"]
    encoded = await client.post(path, headers={"content-encoding": "br"})
    assert encoded.status_code == 415
    unread = errors.UnsupportedMediaType("content-encoding: only gzip and deflate are read")
    assert encoded.json() == said(dialect, unread)


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
        ("PUT", "/sites/kb/pages", "DELETE, OPTIONS, POST"),
        ("POST", "/api/sites", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/documents/import", "OPTIONS, POST"),
        ("GET", "/v1/chat/query", "OPTIONS, POST"),
        ("DELETE", "/v1/chat/completions", "OPTIONS, POST"),
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
    TypeAdapter(dialect_of(path).envelope).validate_json(response.content)

    options = await client.options(path)
    assert options.status_code == 204
    assert options.headers["allow"] == allow
    assert options.content == b""


@pytest.mark.parametrize(
    ("path", "status"),
    [("/sites", 200), ("/v1/models", 200), ("/v1/documents/import", 405), ("/v1/nowhere", 404)],
)
async def test_head_answers_as_the_dialect_does_without_a_body(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    response = await client.head(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) > 0
    assert response.headers["x-request-id"]


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
            # As OpenAI's SDK asks from a browser.
            "access-control-request-headers": "authorization, content-type, x-stainless-lang",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["x-request-id"]
    refused = await client.post("/search", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    other = await client.get("/health", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
