"""A name for every request, in the answer and in the logs."""

import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

HEADER = b"x-request-id"
_SANE = re.compile(rb"[\x21-\x7e]{1,128}")


class RequestIdMiddleware:
    """Keeps a caller's `x-request-id` of 1 to 128 visible ASCII characters, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the id into the log context and on the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        incoming = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = (
            incoming.decode("ascii") if _SANE.fullmatch(incoming) else secrets.token_hex(16)
        )

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (HEADER, request_id.encode("ascii")),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)
