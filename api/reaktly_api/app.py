"""The application: operations on a router, inside the middleware."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from llamaindex_reaktly.errors import (
    ErrorCode,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ReaktlyError,
)
from reaktly_api import docs_page, openapi, quant, smarttalk
from reaktly_api.dialects import dialect_of
from reaktly_api.facade import Facade
from reaktly_api.http_metrics import HttpMetrics
from reaktly_api.inkeep import OPERATIONS as INKEEP_OPERATIONS
from reaktly_api.middleware.body_limit import BodyLimitMiddleware
from reaktly_api.middleware.errors import ErrorMiddleware, error_response
from reaktly_api.middleware.observation import ObservationMiddleware
from reaktly_api.middleware.request_id import RequestIdMiddleware
from reaktly_api.operations import Endpoint, House, Operation
from reaktly_api.rate_limits import RateLimiter
from reaktly_api.reaktly import answer, documents, ingest, jobs, search, usage
from reaktly_api.service import service_operations
from reaktly_api.settings import ApiSettings
from reaktly_api.threads import Threads

_EXPOSED = (
    "x-request-id",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
)


def create_app(
    knowledge_base: Facade,
    settings: ApiSettings | None = None,
    mounts: Sequence[BaseRoute] = (),
    mounts_lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> Starlette:
    """The HTTP door onto `knowledge_base`.

    `mounts` come after our own routes, and are served within `mounts_lifespan`. The caller
    opens and closes the knowledge base; the application's lifespan closes its own threads.
    """
    settings = settings or ApiSettings()
    threads = Threads(workers=settings.threads, waiters=settings.waiters)
    metrics = HttpMetrics(knowledge_base)
    redis_url = settings.redis_url
    limiter = RateLimiter(
        settings.rate_limits,
        redis_url=None if redis_url is None else redis_url.get_secret_value(),
        on_uncounted=metrics.observe_uncounted,
    )
    house = House(knowledge_base, settings, threads, limiter)

    # Made when first asked for: schemas and page cost a start some 100 ms.
    @functools.cache
    def document() -> Mapping[str, object]:
        return openapi.build(operations, version=version("llamaindex-reaktly"))

    @functools.cache
    def page() -> tuple[str, str]:
        return docs_page.render(document())

    operations: Sequence[Operation] = (
        *search.OPERATIONS,
        *answer.OPERATIONS,
        *usage.OPERATIONS,
        *smarttalk.OPERATIONS,
        *quant.OPERATIONS,
        *ingest.OPERATIONS,
        *jobs.OPERATIONS,
        *documents.OPERATIONS,
        *INKEEP_OPERATIONS,
        *service_operations(metrics, document, page),
    )
    routes: list[BaseRoute] = [
        Route(path, Endpoint(o, house), methods=[o.method], name=o.name)
        for o in operations
        for path in (o.path, *o.aliases)
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with mounts_lifespan():
                yield
        finally:
            threads.close()
            limiter.close()

    app = Starlette(
        routes=[*routes, *mounts],
        middleware=_middleware(settings, metrics),
        exception_handlers={HTTPException: functools.partial(_answer_router, routes)},
        lifespan=lifespan,
    )
    # A redirect would drop bodies and leave the envelope; `/search/` is simply not there.
    app.router.redirect_slashes = False
    return app


def _middleware(settings: ApiSettings, metrics: HttpMetrics) -> list[Middleware]:
    """Outermost first. CORS stands outside the errors, so that browsers may read them."""
    cors = [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("DELETE", "GET", "POST"),
            # Who may call is told by its origin; SDKs send a dozen header fields of their own.
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )
    ]
    return [
        Middleware(RequestIdMiddleware),
        *(cors if settings.cors_origins else ()),
        Middleware(ObservationMiddleware, metrics=metrics),
        Middleware(ErrorMiddleware),
        Middleware(BodyLimitMiddleware, max_bytes=functools.partial(_body_limit, settings)),
    ]


def _body_limit(settings: ApiSettings, path: str) -> int:
    return dialect_of(path).max_body_bytes(settings)


def _answer_router(routes: Sequence[BaseRoute], request: Request, error: Exception) -> Response:
    """The router's own refusals (404, 405) in the envelope; OPTIONS as it should be."""
    assert isinstance(error, HTTPException)
    if error.status_code == ErrorCode.METHOD_NOT_ALLOWED.status:
        allowed = _allowed_methods(routes, request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": ", ".join(allowed)})
        return error_response(
            MethodNotAllowed(f"{request.method} is not served here", allowed=allowed),
            request.scope,
        )
    return error_response(_translate(error), request.scope)


def _translate(error: HTTPException) -> ReaktlyError:
    if error.status_code == ErrorCode.NOT_FOUND.status:
        return NotFound("there is nothing at this path")
    return InvalidRequest(f"request: {error.detail}", field="request")


def _allowed_methods(routes: Sequence[BaseRoute], request: Request) -> tuple[str, ...]:
    """All methods of all routes of this path; the router itself knows only the first's."""
    allowed = {"OPTIONS"}
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            allowed |= route.methods or set()
    return tuple(sorted(allowed))
