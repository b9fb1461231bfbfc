"""The claims that a worker answers for: kept alive, and in the end settled or given back."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.ingestion.breaker import Breaker
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.registry.claims import Claim
from llamaindex_reaktly.registry.ingestion_queue import IngestionQueue

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Debt:
    """Claims that could not be given back while the registry was away."""

    claims: Sequence[Claim]
    reason: str | None
    at_fault: bool


class HeldClaims:
    """One worker's claims. Its methods may be called from several threads.

    Once the worker is `stopping`, nothing is explained any more, only given back.
    """

    def __init__(
        self,
        queue: IngestionQueue,
        *,
        journal: Journal,
        breaker: Breaker,
        stopping: threading.Event,
    ) -> None:
        self._queue = queue
        self._journal = journal
        self._breaker = breaker
        self._stopping = stopping
        self._lock = threading.Lock()
        # How many documents are still held by each token.
        self._tokens: dict[str, int] = {}
        self._owed: deque[_Debt] = deque()

    def tokens(self) -> list[str]:
        """What the heartbeat keeps alive."""
        with self._lock:
            return list(self._tokens)

    def add(self, claims: Sequence[Claim]) -> None:
        """Answer for these from now on."""
        with self._lock:
            for claim in claims:
                self._tokens[claim.token] = self._tokens.get(claim.token, 0) + 1
        self._journal.claimed(claims)

    def remove(self, claims: Sequence[Claim]) -> None:
        """These are settled."""
        with self._lock:
            for claim in claims:
                left = self._tokens.get(claim.token, 0) - 1
                if left > 0:
                    self._tokens[claim.token] = left
                else:
                    self._tokens.pop(claim.token, None)

    def release(
        self, claims: Sequence[Claim], reason: str | None = None, *, at_fault: bool = False
    ) -> None:
        """Give claims back; later, if the registry is away."""
        if not claims:
            return
        self._journal.released(claims, reason)
        try:
            self._queue.release(claims, reason, at_fault=at_fault)
        except ReaktlyError:
            self._owed.append(_Debt(claims, reason, at_fault))
            raise
        self.remove(claims)

    def release_owed(self) -> None:
        """Give back what could not be given back when the registry was away."""
        for _ in range(len(self._owed)):
            debt = self._owed.popleft()
            self.release(debt.claims, debt.reason, at_fault=debt.at_fault)

    def put_off(self, knowledge_base_id: str, claims: Sequence[Claim], error: ReaktlyError) -> None:
        """Give back documents of a base whose store or model is away, and leave it a while."""
        if self._stopping.is_set():
            self.release(claims)
            return
        self._journal.count("ingestion_pauses")
        seconds = self._breaker.failed(knowledge_base_id, error.message)
        log.warning(
            "ingestion_paused",
            knowledge_base_id=knowledge_base_id,
            reason=error.message,
            seconds=round(seconds, 2),
        )
        self.release(claims, error.message)
        self._queue.explain(knowledge_base_id, error.message)
