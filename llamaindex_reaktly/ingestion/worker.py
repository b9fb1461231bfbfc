"""The ingestion worker: makes the index agree with the registry, a batch at a time.

Three things overlap, so that the embedder, which is the dearest part by far, seldom
waits: while one batch is embedded, the next is claimed, cleaned and cut, and what is
embedded already is written. Between two slices of a batch the worker looks for more
urgent documents, so that no big page keeps them waiting.
"""

import contextlib
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.errors import (
    ConfigurationError,
    EmbedderMismatch,
    NotFound,
    ReaktlyError,
)
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, PreparedNode, Preparer
from llamaindex_reaktly.ingestion.pulse import Pulse
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.ingestion_queue import Claim, Verdict
from llamaindex_reaktly.settings import Settings

log = structlog.get_logger(__name__)

# Chunks between two looks at the queue (DESIGN.md). Two seconds of embedding or less.
CHUNKS_PER_SLICE = 64
# A claim is bounded so that its chunks are about a slice's, however long the documents.
DOCUMENTS_PER_CLAIM = 64
CHARACTERS_PER_CLAIM = 100_000
# How long an idle worker trusts the doorbell alone before it looks for itself: work that
# nobody rang for is that of a worker which died, and of other machines.
LOOK_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class _Batch:
    """Claimed documents, prepared or refused, not yet embedded."""

    prepared: list[PreparedDocument]
    refused: list[Verdict]
    rank: int

    @property
    def claims(self) -> list[Claim]:
        return [p.claim for p in self.prepared] + [v.claim for v in self.refused]


@dataclass(slots=True)
class _InFlight:
    """The claims that this worker answers for, kept alive by the heartbeat."""

    tokens: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, claims: Sequence[Claim]) -> None:
        with self.lock:
            for claim in claims:
                self.tokens[claim.token] = self.tokens.get(claim.token, 0) + 1

    def remove(self, claims: Sequence[Claim]) -> None:
        with self.lock:
            for claim in claims:
                left = self.tokens.get(claim.token, 0) - 1
                if left > 0:
                    self.tokens[claim.token] = left
                else:
                    self.tokens.pop(claim.token, None)

    def snapshot(self) -> list[str]:
        with self.lock:
            return list(self.tokens)


class Worker:
    """One claiming loop. `run` blocks until `stop` is called, from a signal or a thread."""

    def __init__(self, settings: Settings, knowledge_base: KnowledgeBase | None = None) -> None:
        self._settings = settings
        self._knowledge_base = knowledge_base or KnowledgeBase(settings)
        self._owns_knowledge_base = knowledge_base is None
        self._queue = self._knowledge_base.registry.queue
        self._store = self._knowledge_base.store
        self._preparer = Preparer(self._knowledge_base, threads=settings.embedding_threads)
        self._stopping = threading.Event()
        self._listener = self._knowledge_base.work_bell.listen()
        self._in_flight = _InFlight()
        self._journal = Journal()
        self._pulse = Pulse(
            self._knowledge_base.registry,
            settings.lease_seconds,
            tokens=self._in_flight.snapshot,
            counts=self._journal.take_counts,
        )
        self._ahead_pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._settle_pool = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._ahead: Future[_Batch | None] | None = None
        self._settling: Future[None] | None = None
        self._pause = 0.0

    def run(self) -> None:
        """Work until `stop` is called; what is claimed then is finished or given back."""
        log.info("worker_started", pid=os.getpid())
        with self._pulse.beating():
            while not self._stopping.is_set():
                try:
                    batch = self._take_ahead() or self._next_batch()
                    if batch is None:
                        self._pulse.resume()
                        self._rest()
                        continue
                    self._ahead = self._ahead_pool.submit(self._next_batch)
                    self._work_off(batch)
                    self._settled()
                    self._purge_deleted()
                    self._pause = 0.0
                    self._pulse.resume()
                except ReaktlyError as error:
                    self._back_off(error)
            with contextlib.suppress(ReaktlyError):
                if (left := self._take_ahead()) is not None:
                    self._release(left.claims)
        log.info("worker_stopped", pid=os.getpid())

    def work_off_everything(self) -> None:
        """Process what is queued now and return; for programs without a worker process."""
        with self._pulse.beating():
            while (batch := self._next_batch()) is not None:
                self._work_off(batch)
                self._settled()
            self._purge_deleted()

    def stop(self) -> None:
        """Make `run` return soon. May be called from a signal handler, and twice."""
        self._stopping.set()
        self._listener.wake()

    def close(self) -> None:
        """Release everything. Call it after `run` returned."""
        self._ahead_pool.shutdown()
        self._settle_pool.shutdown()
        self._listener.close()
        self._preparer.close()
        if self._owns_knowledge_base:
            self._knowledge_base.close()

    # -- the loop's parts ------------------------------------------------------------

    def _take_ahead(self) -> _Batch | None:
        """The batch that was prepared meanwhile; waits for it, and raises what it raised."""
        ahead, self._ahead = self._ahead, None
        return None if ahead is None else ahead.result()

    def _next_batch(self, above_rank: int | None = None) -> _Batch | None:
        claims = self._queue.claim(
            limit=DOCUMENTS_PER_CLAIM,
            characters=CHARACTERS_PER_CLAIM,
            lease_seconds=self._settings.lease_seconds,
            above_rank=above_rank,
        )
        if not claims:
            return None
        self._in_flight.add(claims)
        self._journal.claimed(claims)
        started = time.monotonic()
        prepared: list[PreparedDocument] = []
        refused: list[Verdict] = []
        try:
            for claim in claims:
                outcome = self._prepare(claim)
                if isinstance(outcome, Verdict):
                    refused.append(outcome)
                else:
                    prepared.append(outcome)
        except ReaktlyError as error:
            self._release(claims, error.message)
            raise
        self._queue.count(
            {"documents_parsed": len(claims), "busy_milliseconds": _milliseconds(started)}
        )
        return _Batch(prepared, refused, claims[0].rank)

    def _prepare(self, claim: Claim) -> PreparedDocument | Verdict:
        started = time.time()
        try:
            prepared = self._preparer.prepare(claim)
            self._journal.done("parse", [claim], started)
            return prepared
        except (ConfigurationError, EmbedderMismatch, NotFound) as error:
            # Something is wrong with this knowledge base alone: the others go on.
            return Verdict(claim, error=error.message)
        except ReaktlyError:
            raise
        except Exception:
            # The boundary of one document: whatever is wrong with it holds up no other.
            log.exception("document_refused", document_id=claim.document_id)
            return Verdict(claim, error="the content could not be processed")

    def _work_off(self, batch: _Batch) -> None:
        began = time.time()
        started = time.monotonic()
        waiting = list(batch.prepared)
        embedded = 0
        try:
            for nodes in _slices(batch.prepared):
                self._preparer.embed(nodes)
                embedded += len(nodes)
                ready = list(itertools.takewhile(lambda p: p.is_embedded, waiting))
                self._journal.done("embed", [p.claim for p in ready], began)
                del waiting[: len(ready)]
                self._settle(ready, batch.refused, embedded, started)
                started, embedded, batch.refused = time.monotonic(), 0, []
                if waiting and self._stopping.is_set():
                    break
                self._overtake(batch.rank)
            ready = [p for p in waiting if p.is_embedded]
            waiting = [p for p in waiting if not p.is_embedded]
            if ready or batch.refused:
                self._settle(ready, batch.refused, embedded, started)
        except ReaktlyError as error:
            self._settled()
            self._release([p.claim for p in waiting], error.message)
            raise
        if waiting:
            self._settled()
            self._release([p.claim for p in waiting])

    def _overtake(self, rank: int) -> None:
        """Process whatever is more urgent than `rank` before going on."""
        while rank > 0 and not self._stopping.is_set():
            batch = self._urgent_ahead(rank) or self._next_batch(above_rank=rank)
            if batch is None:
                return
            self._work_off(batch)

    def _urgent_ahead(self, rank: int) -> _Batch | None:
        """The batch prepared ahead, if it is ready and more urgent than `rank`."""
        if self._ahead is None or not self._ahead.done():
            return None
        batch = self._ahead.result()
        return self._take_ahead() if batch is not None and batch.rank < rank else None

    def _settle(
        self,
        ready: list[PreparedDocument],
        refused: list[Verdict],
        embedded: int,
        started: float,
    ) -> None:
        """Write to the index and the registry, behind the embedder's back."""
        try:
            self._settled()
        except ReaktlyError as error:
            self._release([p.claim for p in ready] + [v.claim for v in refused], error.message)
            raise
        counts = {"chunks_embedded": embedded, "busy_milliseconds": _milliseconds(started)}
        self._settling = self._settle_pool.submit(self._write, ready, refused, counts)

    def _settled(self) -> None:
        """Wait for what is being written; raises what it raised."""
        if self._settling is not None:
            settling, self._settling = self._settling, None
            settling.result()

    def _write(
        self, ready: list[PreparedDocument], refused: list[Verdict], counts: dict[str, int]
    ) -> None:
        claims = [p.claim for p in ready] + [v.claim for v in refused]
        started = time.time()
        try:
            by_base: dict[str, list[PreparedDocument]] = {}
            for prepared in ready:
                by_base.setdefault(prepared.knowledge_base_id, []).append(prepared)
            for knowledge_base_id, some in by_base.items():
                self._replace(knowledge_base_id, some)
            verdicts = refused + [Verdict(p.claim, chunks=len(p.nodes)) for p in ready]
            fallen = self._queue.settle(
                verdicts,
                {
                    **self._journal.take_counts(),
                    **counts,
                    "documents_indexed": len(ready),
                    "documents_failed": len(refused),
                },
            )
            self._journal.settled(verdicts, fallen, started)
            self._clean_up(fallen)
        except ReaktlyError as error:
            self._release(claims, error.message)
            raise
        self._in_flight.remove(claims)

    def _replace(self, knowledge_base_id: str, prepared: Sequence[PreparedDocument]) -> None:
        try:
            self._store.replace(knowledge_base_id, [p.replacement() for p in prepared])
        except ReaktlyError:
            self._journal.count("store_errors")
            raise

    def _clean_up(self, fallen: list[Claim]) -> None:
        """Take out again what was deleted while it was being put in."""
        for claim in fallen:
            status = self._knowledge_base.status(claim.document_id)
            if status is None or status.state is DocumentState.DELETED:
                knowledge_base_id = claim.document.key.knowledge_base_id
                self._store.delete(knowledge_base_id, [claim.document_id])
                if self._knowledge_base.purger.purge([knowledge_base_id]):
                    self._queue.mark_purged([claim.document_id], [claim.token])

    def _purge_deleted(self) -> None:
        """Remove deleted documents that could not be removed when they were deleted."""
        by_base: dict[str, list[str]] = {}
        for knowledge_base_id, document_id in self._queue.unpurged():
            by_base.setdefault(knowledge_base_id, []).append(document_id)
        for knowledge_base_id, document_ids in by_base.items():
            self._store.delete(knowledge_base_id, document_ids)
        if by_base and self._knowledge_base.purger.purge(by_base):
            self._queue.mark_purged([i for ids in by_base.values() for i in ids])

    def _release(self, claims: Sequence[Claim], reason: str | None = None) -> None:
        if claims:
            self._journal.released(claims, reason)
            try:
                self._queue.release(claims, reason)
            finally:
                self._in_flight.remove(claims)

    def _rest(self) -> None:
        self._purge_deleted()
        self._listener.wait(LOOK_SECONDS)

    def _back_off(self, error: ReaktlyError) -> None:
        """Store, model or registry are away: wait, longer each time, and try again."""
        self._journal.count("ingestion_pauses")
        self._pulse.pause(error.message)
        self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        seconds = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads workers
        log.warning("ingestion_paused", reason=error.message, seconds=round(seconds, 2))
        self._stopping.wait(seconds)


def _slices(prepared: list[PreparedDocument]) -> Iterator[list[PreparedNode]]:
    """What has to be embedded, in even parts of at most `CHUNKS_PER_SLICE`, in order."""
    missing = [node for document in prepared for node in document.missing]
    parts = -(-len(missing) // CHUNKS_PER_SLICE)
    size = -(-len(missing) // parts) if parts else 1
    for start in range(0, len(missing), size):
        yield missing[start : start + size]


def _milliseconds(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
