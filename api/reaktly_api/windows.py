"""Where requests are counted: in this process, or in a Redis that several share.

A moving window holds the time of each request of a key to an operation, so that no
stretch of its length ever sees more than the limit, nor fewer when more were asked for.
Times are those of the API's machine: machines that share a Redis need clocks in step.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import structlog

from llamaindex_reaktly.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from limits import RateLimitItem

log = structlog.get_logger(__name__)

# What a request may wait for Redis, and how long none tries once it did not answer.
ANSWERS_WITHIN = 0.25
RESTS = 1.0


class Window(Protocol):
    """Counts requests."""

    def hit(self, item: "RateLimitItem", key_id: str, operation: str) -> bool | None:
        """Count a request if the limit allows; whether it did, None where nobody counts."""

    def look(self, item: "RateLimitItem", key_id: str, operation: str) -> tuple[float, int]:
        """When the oldest counted request is forgotten (Unix time), and how many are left."""


class MemoryWindow:
    """Counts in this process, by a clock that nobody sets.

    The storage that `limits` brings starts a thread for almost each request, to forget, and
    may for a moment give two threads a lock of their own (5.8). What is kept here needs no
    forgetting: at most a limit's number of times, for each key and operation that has one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits: defaultdict[tuple[str, str, str], deque[float]] = defaultdict(deque)

    def hit(self, item: "RateLimitItem", key_id: str, operation: str) -> bool:
        """Count a request if the limit allows; whether it did."""
        with self._lock:
            now = time.monotonic()
            hits = self._remembered(item, key_id, operation, now)
            if len(hits) >= item.amount:
                return False
            hits.append(now)
            return True

    def look(self, item: "RateLimitItem", key_id: str, operation: str) -> tuple[float, int]:
        """When the oldest counted request is forgotten (Unix time), and how many are left."""
        with self._lock:
            now = time.monotonic()
            hits = self._remembered(item, key_id, operation, now)
            age = now - hits[0] if hits else item.get_expiry()
            return time.time() + item.get_expiry() - age, item.amount - len(hits)

    def _remembered(
        self, item: "RateLimitItem", key_id: str, operation: str, now: float
    ) -> deque[float]:
        hits = self._hits[key_id, operation, str(item)]
        while hits and hits[0] <= now - item.get_expiry():
            hits.popleft()
        return hits


class RedisWindow:
    """Counts in Redis, which does it in one step: any number of processes may share it.

    While Redis is away nobody counts and every request passes: a limit is there to spread
    load, and refusing all would be the outage that it should prevent.
    """

    def __init__(self, url: str, *, on_uncounted: Callable[[], None] = lambda: None) -> None:
        """Connects to nothing yet. Raises `ConfigurationError` without the client or for no URL."""
        try:
            import redis
        except ModuleNotFoundError:
            raise ConfigurationError(
                "REAKTLY_REDIS_URL: its client is not installed; "
                "install llamaindex-reaktly with the extra `redis`"
            ) from None
        from limits.errors import StorageError
        from limits.storage import RedisStorage
        from limits.strategies import MovingWindowRateLimiter
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            pool = redis.ConnectionPool.from_url(
                url,
                socket_timeout=ANSWERS_WITHIN,
                socket_connect_timeout=ANSWERS_WITHIN,
                # Once, for a connection that a restart of Redis cut; never after a timeout,
                # which would count twice.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except ValueError:
            raise ConfigurationError(
                "REAKTLY_REDIS_URL: must be an address such as redis://127.0.0.1:6379/0"
            ) from None
        self._client = redis.Redis(connection_pool=pool)
        self._limiter = MovingWindowRateLimiter(
            RedisStorage(url, pool, key_prefix="reaktly", wrap_exceptions=True)
        )
        self._errors = StorageError
        self._client_errors = redis.RedisError
        self._on_uncounted = on_uncounted
        self._lock = threading.Lock()
        self._away_until: float | None = None

    def hit(self, item: "RateLimitItem", key_id: str, operation: str) -> bool | None:
        """Count a request if the limit allows; whether it did, None while Redis is away."""
        if self._is_resting():
            self._on_uncounted()
            return None
        try:
            allowed = self._limiter.hit(item, key_id, operation)
        except self._errors as error:
            self._rest(error)
            self._on_uncounted()
            return None
        self._work_again()
        return allowed

    def look(self, item: "RateLimitItem", key_id: str, operation: str) -> tuple[float, int]:
        """When the oldest counted request is forgotten (Unix time), and how many are left.

        Should Redis have gone just now, the least that is certain: a whole window, and none.
        """
        try:
            stats = self._limiter.get_window_stats(item, key_id, operation)
        except self._errors as error:
            self._rest(error)
            return time.time() + item.get_expiry(), 0
        return stats.reset_time, stats.remaining

    def version(self) -> str:
        """The server's release. Raises `Unavailable` when it does not answer."""
        try:
            return str(self._client.info("server")["redis_version"])
        except self._client_errors as error:
            raise Unavailable(f"Redis does not answer: {type(error).__name__}") from None

    def close(self) -> None:
        """Close the connections."""
        self._client.connection_pool.disconnect()

    def _is_resting(self) -> bool:
        until = self._away_until
        if until is None:
            return False
        with self._lock:
            if self._away_until is None or time.monotonic() >= self._away_until:
                # One tries; the others go on without until it knows.
                self._away_until = time.monotonic() + RESTS
                return False
            return True

    def _rest(self, error: Exception) -> None:
        with self._lock:
            is_news = self._away_until is None
            self._away_until = time.monotonic() + RESTS
        if is_news:
            cause = error.__cause__ or error
            log.warning("rate_limits_not_counted", reason=type(cause).__name__)

    def _work_again(self) -> None:
        if self._away_until is None:
            return
        with self._lock:
            self._away_until = None
        log.info("rate_limits_counted_again")
