"""MCP over HTTP: one endpoint, each request by itself, each with its key."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from starlette.authentication import AuthCredentials, AuthenticationBackend
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reaktly_mcp.access import Access
from reaktly_mcp.facade import Authenticator, Facade
from reaktly_mcp.server import KnowledgeServer

MAX_TOKEN_LENGTH = 512
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERY_HOST = "*"
NOBODY = Access(scopes=frozenset(), reach=frozenset())


class Core(Facade, Authenticator, Protocol):
    """The core with its keys."""


class McpEndpoint:
    """An ASGI application for the path `/mcp`.

    Its `lifespan` must be running while it serves. `allowed_hosts` are names under which
    browsers may reach it beside those of this machine (`*`: any), with or without a port;
    `allowed_origins` are the origins whose pages may.
    """

    def __init__(
        self,
        core: Core,
        *,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        max_body_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        server = KnowledgeServer(core, _access_of_request)
        server.streamable_http_app(
            stateless_http=True,
            max_request_body_size=max_body_bytes,
            transport_security=_security(allowed_hosts, allowed_origins),
        )
        self._sessions = server.session_manager
        self._app = AuthenticationMiddleware(
            AuthContextMiddleware(RequireAuthMiddleware(StreamableHTTPASGIApp(self._sessions), [])),
            backend=_KeyBackend(core),
        )

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Serve within this; may be entered once."""
        async with self._sessions.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; without sessions, there is nothing to GET or to DELETE."""
        if scope["type"] == "http" and scope["method"] != "POST":
            await Response(status_code=405, headers={"allow": "POST"})(scope, receive, send)
            return
        # A value is what stands between the blanks (RFC 9110, 5.5); not every server trims.
        headers = [(name, value.strip()) for name, value in scope.get("headers", ())]
        await self._app({**scope, "headers": headers}, receive, send)


class _KeyToken(AccessToken):
    access: Access


class _KeyBackend(AuthenticationBackend):
    """Recognises a key each time it is shown, so that a revoked one is refused at once."""

    def __init__(self, keys: Authenticator) -> None:
        self._keys = keys

    async def authenticate(
        self, conn: HTTPConnection
    ) -> tuple[AuthCredentials, AuthenticatedUser] | None:
        token = conn.headers.get("x-api-key", "").strip()
        if not token:
            scheme, _, rest = conn.headers.get("authorization", "").partition(" ")
            token = rest.strip() if scheme.lower() == "bearer" else ""
        if not token or len(token) > MAX_TOKEN_LENGTH:
            return None
        key = await anyio.to_thread.run_sync(self._keys.authenticate, token)
        if key is None:
            return None
        recognised = _KeyToken(
            token="",  # nobody behind this needs the secret
            client_id=key.key_id,
            scopes=sorted(key.scopes),
            access=Access.of_key(key, conn.headers.get("x-knowledge-base")),
        )
        return AuthCredentials(recognised.scopes), AuthenticatedUser(recognised)


def _access_of_request() -> Access:
    token = get_access_token()
    return token.access if isinstance(token, _KeyToken) else NOBODY


def _security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    """Against pages that reach for this machine under a name of their own (DNS rebinding)."""
    names = (*LOOPBACK, *hosts)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=EVERY_HOST not in hosts,
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[
            *(f"http://{name}{port}" for name in LOOPBACK for port in ("", ":*")),
            *origins,
        ],
    )
