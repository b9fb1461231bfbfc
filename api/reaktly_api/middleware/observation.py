"""What is told of each request: a count and a time, a line in the log, a span.

By route template, never by path: paths hold ids. The log alone names the key.
"""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamaindex_reaktly.tracing import server_span
from reaktly_api.http_metrics import HttpMetrics
from reaktly_api.operations import CALL, Call

log = structlog.get_logger(__name__)

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# Asked every few seconds by machines, for ever: lines for `debug`, and no spans.
_PROBES = frozenset({"/health", "/ready", "/metrics"})


class ObservationMiddleware:
    """Observes each response when it has been sent."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time the app; the router leaves the route that matched in the scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        if scope["path"] in _PROBES:
            await self._observe(method, scope, receive, send)
            return
        with server_span(method, scope["headers"]) as answered:
            route, status = await self._observe(method, scope, receive, send)
            if answered is not None:
                answered(route, status)

    async def _observe(
        self, method: str, scope: Scope, receive: Receive, send: Send
    ) -> tuple[str, int]:
        """Run the app; its route's template, and the status (0: the client left)."""
        started = time.perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.observe(method, route, status, seconds)
            call = scope.get(CALL)
            caller = call.recognised if isinstance(call, Call) else None
            tell = log.debug if scope["path"] in _PROBES else log.info
            tell(
                "request_answered",
                method=method,
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                key_id=None if caller is None else caller.key.key_id,
            )
        return route, status
