"""A worker's signs of life: its leases, its row among the workers, its counts."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.registry.registry import Registry

log = structlog.get_logger(__name__)

BEATS_PER_LEASE = 3


class Pulse:
    """Beats three times a lease, in a thread of its own, while the worker is `beating`.

    `tokens` are the claims to keep alive; `counts` gives what is to be added to the
    registry's counters since it was last asked.
    """

    def __init__(
        self,
        registry: Registry,
        worker_id: str,
        lease_seconds: float,
        *,
        tokens: Callable[[], Collection[str]],
        counts: Callable[[], Mapping[str, int]],
    ) -> None:
        self._worker_id = worker_id
        self._registry = registry
        self._lease_seconds = lease_seconds
        self._tokens = tokens
        self._counts = counts
        self._reason: str | None = None
        self._over = threading.Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Be seen from here on, until the block ends."""
        self._over.clear()
        self._show()
        thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._try(lambda: self._registry.workers.forget(self._worker_id))
            self._try(self._flush)

    def pause(self, reason: str) -> None:
        """Let everybody know that nothing is claimed, and why."""
        if self._reason != reason:
            self._reason = reason
            self._show()

    def resume(self) -> None:
        """Let everybody know that work goes on."""
        if self._reason is not None:
            self._reason = None
            self._show()

    def _beat(self) -> None:
        while not self._over.wait(self._lease_seconds / BEATS_PER_LEASE):
            self._try(self._extend)
            self._show()
            self._try(self._flush)

    def _extend(self) -> None:
        if tokens := self._tokens():
            self._registry.queue.extend(tokens, self._lease_seconds)

    def _show(self) -> None:
        self._try(
            lambda: self._registry.workers.beat(
                self._worker_id, silence_seconds=self._lease_seconds, pause_reason=self._reason
            )
        )

    def _flush(self) -> None:
        if counts := self._counts():
            self._registry.queue.count(counts)

    def _try(self, say: Callable[[], None]) -> None:
        try:
            say()
        except ReaktlyError as error:
            log.warning("heartbeat_missed", reason=error.message)
