"""Limits per key and operation: which one holds, and what is left of it."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamaindex_reaktly.errors import RateLimited
from reaktly_api.facade import Key
from reaktly_api.windows import MemoryWindow, RedisWindow, Window

if TYPE_CHECKING:
    from limits import RateLimitItem

ANY_OPERATION = "*"
UNLIMITED = "none"


@functools.lru_cache(maxsize=1024)
def parse_limit(rule: str) -> "RateLimitItem | None":
    """A limit such as `60/minute`; None for `none`. Raises `ValueError` for anything else."""
    if rule == UNLIMITED:
        return None
    import limits  # 0.2 s of import that a server without limits does not pay

    return limits.parse(rule)


def read_rule(text: str) -> tuple[str, str]:
    """Operation and limit of `search=60/minute`; `60/minute` is for every operation.

    Raises `ValueError` that says what is wrong.
    """
    operation, _, rule = text.rpartition("=")
    try:
        parse_limit(rule)
    except ValueError:
        msg = f"{rule!r} is not a limit such as 60/minute, nor {UNLIMITED}"
        raise ValueError(msg) from None
    return operation or ANY_OPERATION, rule


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit after a request; `reset` is in whole seconds from now."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> list[tuple[str, str]]:
        """The `RateLimit-*` header fields (IETF draft of that name)."""
        return [
            ("ratelimit-limit", str(self.limit)),
            ("ratelimit-remaining", str(self.remaining)),
            ("ratelimit-reset", str(self.reset)),
        ]


class LimitReached(RateLimited):
    """A key asked too often; carries what the header fields say."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            f"this API key is limited to {allowance.limit} of these requests; "
            f"try again in {allowance.reset} s",
            retry_after=allowance.reset,
        )
        self.allowance = allowance


class RateLimiter:
    """Counts requests, only where a limit is set.

    A key's own limit for the operation wins, then its `*`, then the operator's two, then
    what the operation's documentation says.
    """

    def __init__(
        self,
        defaults: Mapping[str, str],
        *,
        redis_url: str | None = None,
        on_uncounted: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises `ConfigurationError` for a Redis that cannot be spoken to as it is named."""
        self._defaults = defaults
        self._window: Window = (
            MemoryWindow()
            if redis_url is None
            else RedisWindow(redis_url, on_uncounted=on_uncounted)
        )

    def close(self) -> None:
        """Close the connections, if there are any."""
        if isinstance(self._window, RedisWindow):
            self._window.close()

    def charge(self, key: Key, operation: str, documented: str = UNLIMITED) -> Allowance | None:
        """Count one request; None where nothing is limited. Raises `LimitReached`."""
        item = parse_limit(
            self._rule(key.rate_limits, operation)
            or self._rule(self._defaults, operation)
            or documented
        )
        if item is None:
            return None
        allowed = self._window.hit(item, key.key_id, operation)
        if allowed is None:
            return None
        reset_at, remaining = self._window.look(item, key.key_id, operation)
        reset = max(1, math.ceil(reset_at - time.time()))
        allowance = Allowance(item.amount, remaining, reset)
        if not allowed:
            raise LimitReached(allowance)
        return allowance

    @staticmethod
    def _rule(rules: Mapping[str, str], operation: str) -> str | None:
        return rules.get(operation) or rules.get(ANY_OPERATION)
