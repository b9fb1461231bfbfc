"""Which knowledge bases are left alone for now, because their store or model is away.

The others go on. One that is away is tried again with one document at a time, soon at
first and every few seconds in the end; when one of them works, the others are tried at
once, for what they waited for may well be the same.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from llamaindex_reaktly.errors import ConfigurationError, EmbedderMismatch, NotFound

FIRST_PAUSE_SECONDS = 0.5
# A try costs one document's parsing, and no embedding the second time.
LONGEST_PAUSE_SECONDS = 5.0

# Something is wrong with one knowledge base alone, and will be the next time: no pause helps.
OF_ONE_BASE = (ConfigurationError, EmbedderMismatch, NotFound)


@dataclass(slots=True)
class _Ailing:
    """A base that is away: why, the pause it is at, and when that is over."""

    reason: str
    pause: float
    until: float


class Breaker:
    """Safe to share between threads."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._ailing: dict[str, _Ailing] = {}

    def failed(self, knowledge_base_id: str, reason: str) -> float:
        """Leave a base alone for a while, longer each time; for how many seconds."""
        with self._lock:
            known = self._ailing.get(knowledge_base_id)
            pause = FIRST_PAUSE_SECONDS
            if known is not None:
                pause = min(known.pause * 2, LONGEST_PAUSE_SECONDS)
            seconds = pause * self._jitter()
            self._ailing[knowledge_base_id] = _Ailing(reason, pause, self._clock() + seconds)
            return seconds

    def worked(self, knowledge_base_id: str) -> None:
        """A base is well, or there is nothing to try in it."""
        with self._lock:
            if self._ailing.pop(knowledge_base_id, None) is not None:
                for other in self._ailing.values():
                    other.until = self._clock()

    def due(self) -> str | None:
        """A base that may be tried now, if there is one. The caller tries; nobody else does."""
        with self._lock:
            for knowledge_base_id, ailing in self._ailing.items():
                if ailing.until <= self._clock():
                    # Should the try end without an answer, it is repeated after this.
                    ailing.until = self._clock() + LONGEST_PAUSE_SECONDS
                    return knowledge_base_id
            return None

    def away(self) -> dict[str, str]:
        """The bases that are left alone, each with the reason."""
        with self._lock:
            return {name: ailing.reason for name, ailing in self._ailing.items()}

    def seconds_until_due(self) -> float | None:
        """How long until a base may be tried again; None if none is away."""
        with self._lock:
            if not self._ailing:
                return None
            first = min(ailing.until for ailing in self._ailing.values())
            return max(0.0, first - self._clock())
