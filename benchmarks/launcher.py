"""`reaktly serve` with two more routes: a bare one, and a probe of the event loop.

    python -m benchmarks.launcher serve --port 8000

Everything else is the command line's own: the routes are given to the application the
way the command line mounts others.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import reaktly_api.app
from llamaindex_reaktly import cli
from reaktly_api.facade import Facade
from reaktly_api.settings import ApiSettings

BARE_PATH = "/benchmark/bare"
PROBE_PATH = "/benchmark/loop"
TICK_SECONDS = 0.002


async def bare(request: Request) -> Response:
    """Read the body, answer so many bytes: what any route of this server costs."""
    await request.body()
    size = int(request.query_params["bytes"])
    return Response(b"x" * size, media_type="application/json")


class LoopProbe:
    """A task that wants its turn every two milliseconds and notes the longest wait for it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._longest = 0.0

    async def read(self, _: Request) -> Response:
        """The longest wait since the last reading, in seconds; the first starts the task."""
        if self._task is None:
            self._task = asyncio.create_task(self._tick())
        longest, self._longest = self._longest, 0.0
        return Response(orjson.dumps({"longestGap": longest}), media_type="application/json")

    async def _tick(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            self._longest = max(self._longest, now - before - TICK_SECONDS)
            before = now


def main() -> None:
    """Run the command line with an application that has the routes."""
    probe = LoopProbe()
    routes: list[BaseRoute] = [
        Route(BARE_PATH, bare, methods=["POST"]),
        Route(PROBE_PATH, probe.read, methods=["POST"]),
    ]
    create_app = reaktly_api.app.create_app

    def with_routes(
        knowledge_base: Facade,
        settings: ApiSettings,
        mounts: Sequence[BaseRoute],
        mounts_lifespan: Callable[[], AbstractAsyncContextManager[None]],
    ) -> Starlette:
        return create_app(knowledge_base, settings, (*routes, *mounts), mounts_lifespan)

    setattr(reaktly_api.app, "create_app", with_routes)  # noqa: B010 (mypy knows a function)
    sys.argv[0] = "reaktly"
    cli.main()


if __name__ == "__main__":
    main()
