"""The outermost handler: every error becomes its dialect's envelope here, and only here."""

import orjson
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llamaindex_reaktly.errors import InternalError, ReaktlyError
from reaktly_api.dialects import dialect_of, error_headers

log = structlog.get_logger(__name__)


class ErrorMiddleware:
    """Renders the errors of our tree; logs any other and says nothing of its cause."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the app's place when it raises before it has begun to answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = False

        async def watch(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return
        except ReaktlyError as error:
            if error.error_code.status >= 500:
                log.warning("request_unavailable", code=error.error_code.code, reason=error.message)
            if answering:
                raise
            await error_response(error, scope)(scope, receive, send)
        except Exception:
            log.exception("request_failed", method=scope["method"])
            if answering:
                raise
            internal = InternalError("something went wrong; the log has it under x-request-id")
            await error_response(internal, scope)(scope, receive, send)


def error_response(error: ReaktlyError, scope: Scope) -> Response:
    """An error in the envelope of the path's dialect."""
    dialect = dialect_of(scope["path"])
    error = dialect.worded(error)
    return Response(
        orjson.dumps(dialect.render(error)),
        status_code=error.error_code.status,
        headers=dict(error_headers(error)),
        media_type="application/json",
    )
