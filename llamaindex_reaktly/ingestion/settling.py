"""Writing what is embedded into the index, and the verdicts into the registry.

In a thread of its own, one batch at a time: meanwhile the next one is embedded.
"""

import itertools
import time
from concurrent.futures import Future, ThreadPoolExecutor

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.ingestion.breaker import OF_ONE_BASE, Breaker
from llamaindex_reaktly.ingestion.held_claims import HeldClaims
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, Preparer
from llamaindex_reaktly.ingestion.removal import Remover
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Verdict


class Settler:
    """Settles one worker's claims. Close it when the worker is done."""

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        preparer: Preparer,
        remover: Remover,
        *,
        held: HeldClaims,
        journal: Journal,
        breaker: Breaker,
    ) -> None:
        self._queue = knowledge_base.registry.queue
        self._store = knowledge_base.store
        self._preparer = preparer
        self._remover = remover
        self._held = held
        self._journal = journal
        self._breaker = breaker
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._settling: Future[None] | None = None

    def settle(
        self,
        ready: list[PreparedDocument],
        refused: list[Verdict],
        embedded: int,
        started: float,
    ) -> None:
        """Write to the index and the registry, behind the embedder's back.

        Waits for the batch before, and raises what that raised, this one given back.
        """
        try:
            self.wait()
        except ReaktlyError as error:
            self._held.release([p.claim for p in ready] + [v.claim for v in refused], error.message)
            raise
        counts = {
            "chunks_embedded": embedded,
            "busy_milliseconds": round((time.monotonic() - started) * 1000),
        }
        self._settling = self._pool.submit(self._write, ready, refused, counts)

    def wait(self) -> None:
        """Wait for what is being written; raises what it raised."""
        if self._settling is not None:
            settling, self._settling = self._settling, None
            settling.result()

    def _write(
        self, ready: list[PreparedDocument], refused: list[Verdict], counts: dict[str, int]
    ) -> None:
        started = time.time()
        verdicts = list(refused)
        by_base: dict[str, list[PreparedDocument]] = {}
        for prepared in ready:
            by_base.setdefault(prepared.knowledge_base_id, []).append(prepared)
        try:
            for knowledge_base_id in list(by_base):
                some = by_base.pop(knowledge_base_id)
                verdicts += self._write_base(knowledge_base_id, some)
            failed = sum(verdict.error is not None for verdict in verdicts)
            fallen = self._queue.settle(
                verdicts,
                {
                    **self._journal.take_counts(),
                    **counts,
                    "documents_indexed": len(verdicts) - failed,
                    "documents_failed": failed,
                },
                older_are_kept=not self._store.replaces_at_once,
            )
            self._journal.settled(verdicts, fallen, started)
            self._remover.undo(fallen)
        except ReaktlyError as error:
            # To put one base's documents off may fail: the other bases' are still ours.
            unwritten = itertools.chain(*by_base.values())
            claims = [p.claim for p in unwritten] + [v.claim for v in verdicts]
            self._held.release(claims, error.message)
            raise
        self._held.remove([verdict.claim for verdict in verdicts])

    def _write_base(self, knowledge_base_id: str, ready: list[PreparedDocument]) -> list[Verdict]:
        """Write documents of one base; none has a verdict when its store is away."""
        try:
            self._store.replace(
                knowledge_base_id, [p.replacement() for p in ready], keep_older=True
            )
        except OF_ONE_BASE as error:
            return [Verdict(p.claim, error=error.message) for p in ready]
        except ReaktlyError as error:
            self._journal.count("store_errors")
            self._preparer.keep_vectors(ready)
            self._held.put_off(knowledge_base_id, [p.claim for p in ready], error)
            return []
        self._breaker.worked(knowledge_base_id)
        return [Verdict(p.claim, chunks=len(p.nodes), found=p.found) for p in ready]

    def close(self) -> None:
        """End the thread, when it has written what it has."""
        self._pool.shutdown()
