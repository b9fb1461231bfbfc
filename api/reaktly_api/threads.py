"""The one place where a request leaves the event loop.

The core blocks (SQL, embedding, numpy). A request makes one hop: authentication,
parsing, the core's work and the rendering of the answer run in one function in one
thread. Waiting for ingestion has threads of its own, so that a hundred patient
clients never keep a search waiting.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Two bounded pools; `close` gives them back. No thread exists before it is needed."""

    def __init__(self, *, workers: int, waiters: int) -> None:
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="reaktly-api")
        self._waiters = ThreadPoolExecutor(waiters, thread_name_prefix="reaktly-wait")
        self._free_waiters = waiters

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, with this request's context (its id is in the logs)."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._workers, context.run, work)

    async def wait(self, work: Callable[[], T]) -> T | None:
        """Run patient `work`; None at once when every waiter is taken.

        Waiting is a courtesy: what was asked for is durable already.
        """
        if self._free_waiters == 0:
            return None
        self._free_waiters -= 1
        context = contextvars.copy_context()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._waiters, context.run, work
            )
        finally:
            self._free_waiters += 1

    def close(self) -> None:
        """Let running work end, drop what has not begun."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._waiters.shutdown(wait=True, cancel_futures=True)
