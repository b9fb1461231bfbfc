"""`/mcp` in the server's application, loaded when the server is up.

The SDK takes half a second of processor time to import, which would come on top of each
start: the API answers before that.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from llamaindex_reaktly.knowledge_base import KnowledgeBase
    from llamaindex_reaktly.settings import Settings
    from reaktly_mcp import McpEndpoint


class MountedMcp:
    """An ASGI application that makes the real one for the first request.

    Serves within its `lifespan`.
    """

    def __init__(self, settings: "Settings", knowledge_base: "KnowledgeBase") -> None:
        self._settings = settings
        self._knowledge_base = knowledge_base
        self._endpoint: McpEndpoint | None = None
        self._is_wanted = anyio.Event()
        self._is_there = anyio.Event()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Serve within this."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        self._is_wanted.set()
        await self._is_there.wait()
        assert self._endpoint is not None
        await self._endpoint(scope, receive, send)

    async def _run(self) -> None:
        await self._is_wanted.wait()
        endpoint = await anyio.to_thread.run_sync(self._made)
        async with endpoint.lifespan():
            self._endpoint = endpoint
            self._is_there.set()
            await anyio.sleep_forever()

    def _made(self) -> "McpEndpoint":
        from reaktly_mcp import McpEndpoint

        return McpEndpoint(
            self._knowledge_base,
            allowed_hosts=self._settings.mcp_allowed_hosts,
            allowed_origins=self._settings.cors_origins,
            max_body_bytes=self._settings.max_body_bytes,
        )
