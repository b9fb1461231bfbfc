"""The ingestion worker: makes the index agree with the registry, a batch at a time.

Three things overlap, so that the embedder, which is the dearest part by far, seldom
waits: while one batch is embedded, the next is claimed, cleaned and cut, and what is
embedded already is written. Between two slices of a batch the worker looks for more
urgent documents, so that no big page keeps them waiting.

A suspect, which was at fault before, is parsed apart from the others, and embedded while
nothing else is in flight: should it take the worker with it, it takes no other document.
"""

import contextlib
import functools
import itertools
import os
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.errors import (
    ConfigurationError,
    EmbedderMismatch,
    NotFound,
    ReaktlyError,
    Unavailable,
)
from llamaindex_reaktly.ingestion.breaker import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Breaker,
)
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.parsing import (
    InlineParsing,
    Outcome,
    Parsing,
    ParsingFault,
    TransformationChain,
    load_transformations,
)
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, PreparedNode, Preparer
from llamaindex_reaktly.ingestion.presence import Presence
from llamaindex_reaktly.ingestion.pulse import Pulse
from llamaindex_reaktly.knowledge_base import KnowledgeBase, models_directory
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.ingestion_queue import MAX_ATTEMPTS
from llamaindex_reaktly.registry.visibility import Replaced
from llamaindex_reaktly.settings import Settings

log = structlog.get_logger(__name__)

# Chunks between two looks at the queue (DESIGN.md). Two seconds of embedding or less.
CHUNKS_PER_SLICE = 64
# A claim is bounded so that its chunks are about a slice's, however long the documents.
DOCUMENTS_PER_CLAIM = 64
CHARACTERS_PER_CLAIM = 100_000
# An embedding model that does not return for so long is taken for hung, and the worker ended.
EMBEDDING_SECONDS = 600.0
# How long an idle worker trusts the doorbell alone before it looks for itself: work that
# nobody rang for is that of a worker which died, and of other machines.
LOOK_SECONDS = 5.0
# Longer than any search takes, its repetitions for more candidates included.
REPLACED_GRACE_SECONDS = 30.0

# Something is wrong with one knowledge base alone, and will be the next time.
OF_ONE_BASE = (ConfigurationError, EmbedderMismatch, NotFound)


@dataclass(slots=True)
class _Batch:
    """Claimed documents, prepared or refused, not yet embedded."""

    prepared: list[PreparedDocument]
    refused: list[Verdict]
    rank: int

    @property
    def claims(self) -> list[Claim]:
        return [p.claim for p in self.prepared] + [v.claim for v in self.refused]


@dataclass(frozen=True, slots=True)
class _ParsedApart:
    """What came of a document in the slow lane."""

    claim: Claim
    embedder: str
    outcome: Outcome | ReaktlyError


@dataclass(frozen=True, slots=True)
class _Debt:
    """Claims that could not be given back while the registry was away."""

    claims: Sequence[Claim]
    reason: str | None
    at_fault: bool


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
    """One claiming loop. `run` blocks until `stop` is called, from a signal or a thread.

    Without a `parsing`, documents are parsed in this process, without limits.
    """

    def __init__(
        self,
        settings: Settings,
        knowledge_base: KnowledgeBase | None = None,
        *,
        parsing: Parsing | None = None,
    ) -> None:
        self._settings = settings
        self._knowledge_base = knowledge_base or KnowledgeBase(settings)
        self._owns_knowledge_base = knowledge_base is None
        self._queue = self._knowledge_base.registry.queue
        self._store = self._knowledge_base.store
        self._preparer = Preparer(self._knowledge_base, threads=settings.embedding_threads)
        self._parsing = parsing or InlineParsing(
            TransformationChain(
                models_directory(settings), load_transformations(settings.transformations)
            )
        )
        self._apart: deque[_ParsedApart] = deque()
        self._owed: deque[_Debt] = deque()
        self._breaker = Breaker()
        self._presence = Presence(self._knowledge_base.data_dir / "workers")
        self._stopping = threading.Event()
        self._listener = self._knowledge_base.work_bell.listen()
        self._in_flight = _InFlight()
        self._journal = Journal()
        self._pulse = Pulse(
            self._knowledge_base.registry,
            self._presence.owner,
            settings.lease_seconds,
            tokens=self._in_flight.snapshot,
            counts=self._journal.take_counts,
        )
        self._ahead_pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._settle_pool = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._ahead: Future[_Batch | None] | None = None
        self._settling: Future[None] | None = None
        self._pause = 0.0
        self._next_look = 0.0
        self._has_ended_well = False

    def run(self) -> None:
        """Work until `stop` is called; what is claimed then is finished or given back."""
        log.info("worker_started", pid=os.getpid())
        with self._pulse.beating():
            while not self._stopping.is_set() and not self._parsing.is_lost:
                try:
                    self._give_back_what_is_owed()
                    self._take_from_the_dead()
                    if (apart := self._take_apart()) is not None:
                        self._finish_apart(apart)
                        continue
                    batch = self._take_ahead() or self._next_batch()
                    if batch is None:
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
            self._give_everything_back()
        self._has_ended_well = True
        log.info("worker_stopped", pid=os.getpid())

    def work_off_everything(self) -> None:
        """Process what is queued now and return; for programs without a worker process.

        Raises `Unavailable` when store or model of a knowledge base are away.
        """
        with self._pulse.beating():
            while True:
                if (apart := self._take_apart()) is not None:
                    self._finish_apart(apart)
                elif (batch := self._next_batch()) is not None:
                    self._work_off(batch)
                    self._settled()
                elif not self._apart:
                    break
            self._purge_deleted()
        for reason in self._breaker.away().values():
            raise Unavailable(reason)

    def record_crashes(self) -> None:
        """Have crashes leave a trace, by which other workers know; for a process of its own."""
        self._presence.record_crashes()

    def stop(self) -> None:
        """Make `run` return soon. May be called from a signal handler, and twice."""
        self._stopping.set()
        self._parsing.interrupt()
        self._listener.wake()

    def close(self) -> None:
        """Release everything. Call it after `run` returned."""
        self._parsing.interrupt()
        self._ahead_pool.shutdown()
        self._settle_pool.shutdown()
        self._parsing.close()
        left = bool(self._in_flight.snapshot())
        self._presence.close(claims_left=left, crashed=not self._has_ended_well)
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
        """The most urgent documents, parsed; None if there is nothing to do now."""
        while not self._stopping.is_set() and (claims := self._claim(above_rank)):
            batch = self._parse_all(claims)
            if batch.claims:
                return batch
        return None

    def _claim(self, above_rank: int | None) -> list[Claim]:
        """Documents of bases that are well, or a single one of a base that was not."""
        probed = self._breaker.due() if above_rank is None else None
        if probed is not None:
            if claims := self._claim_from(within=probed, limit=1):
                return claims
            self._breaker.worked(probed)
        return self._claim_from(above_rank=above_rank, without=self._breaker.away())

    def _claim_from(
        self,
        *,
        limit: int = DOCUMENTS_PER_CLAIM,
        above_rank: int | None = None,
        within: str | None = None,
        without: Collection[str] = (),
    ) -> list[Claim]:
        """Claim; a suspect only if the slow lane is free, which then is taken for it."""
        claims: list[Claim] = []
        is_lane_ours = self._parsing.take_slow_lane()
        try:
            claims = self._queue.claim(
                limit=limit,
                characters=CHARACTERS_PER_CLAIM,
                lease_seconds=self._settings.lease_seconds,
                above_rank=above_rank,
                suspects=is_lane_ours,
                within=within,
                without=without,
                owner=self._presence.owner,
            )
        finally:
            if is_lane_ours and not any(claim.is_suspect for claim in claims):
                self._parsing.free_slow_lane()
        self._in_flight.add(claims)
        self._journal.claimed(claims)
        return claims

    def _parse_all(self, claims: Sequence[Claim]) -> _Batch:
        """Parse claimed documents; those of bases that are away are given back."""
        started = time.monotonic()
        batch = _Batch([], [], claims[0].rank)
        away: dict[str, ReaktlyError] = {}
        unparsed: dict[str, list[Claim]] = {}
        try:
            for claim in claims:
                knowledge_base_id = claim.document.key.knowledge_base_id
                if knowledge_base_id not in away:
                    try:
                        self._parse(claim, batch)
                        continue
                    except ReaktlyError as error:
                        away[knowledge_base_id] = error
                unparsed.setdefault(knowledge_base_id, []).append(claim)
            parsed = len(claims) - sum(map(len, unparsed.values()))
            for knowledge_base_id in list(unparsed):
                some = unparsed.pop(knowledge_base_id)
                self._put_off(knowledge_base_id, some, away[knowledge_base_id])
            self._queue.count(
                {"documents_parsed": parsed, "busy_milliseconds": _milliseconds(started)}
            )
        except ReaktlyError as error:
            # To put one base's documents off may fail: the other bases' are still ours.
            self._release([*batch.claims, *itertools.chain(*unparsed.values())], error.message)
            raise
        return batch

    def _parse(self, claim: Claim, batch: _Batch) -> None:
        """Parse a document into the batch; a suspect, or what takes long, comes apart, later.

        Raises a `ReaktlyError` when something is away that its base needs.
        """
        if claim.is_suspect:
            self._parse_apart(claim)
            return
        started = time.time()
        try:
            embedder = self._preparer.embedder_for(claim)
            deliver = functools.partial(self._deliver, claim, embedder)
            outcome = self._parsing.parse(claim.document_id, claim.document, embedder, deliver)
            if outcome is not None:
                self._journal.done("parse", [claim], started)
                self._sort_in(claim, embedder, outcome, batch)
        except OF_ONE_BASE as error:
            batch.refused.append(Verdict(claim, error=error.message))

    def _parse_apart(self, claim: Claim) -> None:
        """Have a document parsed in the slow lane, which was taken for it."""
        embedder = ""
        try:
            embedder = self._preparer.embedder_for(claim)
            deliver = functools.partial(self._deliver, claim, embedder)
            self._parsing.parse_apart(claim.document_id, claim.document, embedder, deliver)
        except ReaktlyError as error:
            self._deliver(claim, embedder, error)

    def _deliver(self, claim: Claim, embedder: str, outcome: Outcome | ReaktlyError) -> None:
        self._apart.append(_ParsedApart(claim, embedder, outcome))
        self._listener.wake()

    def _sort_in(self, claim: Claim, embedder: str, outcome: Outcome, batch: _Batch) -> None:
        """Add what came of a document to the batch; one that is at fault may be tried again."""
        if not isinstance(outcome, ParsingFault):
            batch.prepared.append(self._preparer.complete(claim, embedder, outcome))
        elif outcome.is_final or claim.attempts >= MAX_ATTEMPTS:
            batch.refused.append(Verdict(claim, error=outcome.reason))
        else:
            log.warning(
                "document_at_fault",
                request_id=claim.origin.request_id,
                document_id=claim.document_id,
                attempts=claim.attempts,
                reason=outcome.reason,
            )
            self._release([claim], outcome.reason, at_fault=True)

    def _take_apart(self) -> _ParsedApart | None:
        return self._apart.popleft() if self._apart else None

    def _finish_apart(self, apart: _ParsedApart) -> None:
        """Go on with a document from the slow lane; a suspect's with nothing else in flight."""
        claim = apart.claim
        batch = _Batch([], [], claim.rank)
        try:
            try:
                if isinstance(apart.outcome, ReaktlyError):
                    raise apart.outcome
                self._journal.done("parse", [claim], claim.claimed_at)
                self._sort_in(claim, apart.embedder, apart.outcome, batch)
            except OF_ONE_BASE as error:
                batch.refused.append(Verdict(claim, error=error.message))
            except ReaktlyError as error:
                self._put_off(claim.document.key.knowledge_base_id, [claim], error)
            if claim.is_suspect:
                self._give_ahead_back()
                try:
                    self._settled()
                except ReaktlyError as error:
                    self._release(batch.claims, error.message)
                    raise
            if batch.claims:
                self._work_off(batch)
                self._settled()
        finally:
            self._parsing.free_slow_lane()

    def _put_off(
        self, knowledge_base_id: str, claims: Sequence[Claim], error: ReaktlyError
    ) -> None:
        """Give back documents of a base whose store or model is away, and leave it a while."""
        if self._stopping.is_set():
            self._release(claims)
            return
        self._journal.count("ingestion_pauses")
        seconds = self._breaker.failed(knowledge_base_id, error.message)
        log.warning(
            "ingestion_paused",
            knowledge_base_id=knowledge_base_id,
            reason=error.message,
            seconds=round(seconds, 2),
        )
        self._release(claims, error.message)
        self._queue.explain(knowledge_base_id, error.message)

    def _work_off(self, batch: _Batch) -> None:
        began = time.time()
        started = time.monotonic()
        waiting = list(batch.prepared)
        embedded = 0
        try:
            for nodes in _slices(batch.prepared):
                with self._presence.bounded(EMBEDDING_SECONDS):
                    self._preparer.embed(nodes)
                embedded += len(nodes)
                ready = list(itertools.takewhile(lambda p: p.is_embedded, waiting))
                self._journal.done("embed", [p.claim for p in ready], began)
                del waiting[: len(ready)]
                refused, batch.refused = batch.refused, []
                self._settle(ready, refused, embedded, started)
                started, embedded = time.monotonic(), 0
                if waiting and self._stopping.is_set():
                    break
                self._overtake(batch.rank)
            ready = [p for p in waiting if p.is_embedded]
            waiting = [p for p in waiting if not p.is_embedded]
            refused, batch.refused = batch.refused, []
            if ready or refused:
                self._settle(ready, refused, embedded, started)
        except ReaktlyError as error:
            self._release(_Batch(waiting, batch.refused, batch.rank).claims, error.message)
            raise
        if waiting:
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
            self._clean_up(fallen)
        except ReaktlyError as error:
            # To put one base's documents off may fail: the other bases' are still ours.
            left = _Batch(list(itertools.chain(*by_base.values())), verdicts, rank=0)
            self._release(left.claims, error.message)
            raise
        self._in_flight.remove([verdict.claim for verdict in verdicts])

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
            self._put_off(knowledge_base_id, [p.claim for p in ready], error)
            return []
        self._breaker.worked(knowledge_base_id)
        return [Verdict(p.claim, chunks=len(p.nodes)) for p in ready]

    def _clean_up(self, fallen: list[Claim]) -> None:
        """Take out again what was deleted while it was being put in."""
        for claim in fallen:
            status = self._knowledge_base.status(claim.document_id)
            if status is not None and status.state is not DocumentState.DELETED:
                continue
            knowledge_base_id = claim.document.key.knowledge_base_id
            try:
                self._store.delete(knowledge_base_id, [claim.document_id])
                if self._knowledge_base.purger.purge([knowledge_base_id]):
                    self._queue.mark_purged([claim.document_id], [claim.token])
            except ReaktlyError as error:  # left to the purge that comes later
                self._put_off(knowledge_base_id, [], error)

    def _purge_deleted(self) -> None:
        """Remove deleted documents that could not be removed when they were deleted."""
        by_base: dict[str, list[str]] = {}
        for knowledge_base_id, document_id in self._queue.unpurged():
            by_base.setdefault(knowledge_base_id, []).append(document_id)
        for knowledge_base_id, document_ids in by_base.items():
            if knowledge_base_id in self._breaker.away():
                continue
            try:
                self._knowledge_base.purger.remove({knowledge_base_id: document_ids})
                if self._knowledge_base.purger.purge([knowledge_base_id]):
                    self._queue.mark_purged(document_ids)
            except ReaktlyError as error:
                self._put_off(knowledge_base_id, [], error)
        if not self._store.replaces_at_once:
            self._remove_replaced()

    def _remove_replaced(self) -> None:
        """Remove versions from the index that no search still wants."""
        by_base: dict[str, list[Replaced]] = {}
        for one in self._knowledge_base.registry.visibility.replaced(REPLACED_GRACE_SECONDS):
            by_base.setdefault(one.knowledge_base_id, []).append(one)
        for knowledge_base_id, replaced in by_base.items():
            if knowledge_base_id in self._breaker.away():
                continue
            # In order of time, so that the last one of a document counts.
            successors = {one.document_id: one.successor for one in replaced}
            try:
                self._store.delete_older(knowledge_base_id, successors)
                self._knowledge_base.registry.visibility.forget_replaced(replaced)
            except ReaktlyError as error:
                self._put_off(knowledge_base_id, [], error)

    def _release(
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
        self._in_flight.remove(claims)

    def _take_from_the_dead(self) -> None:
        """Take back, now and then, what workers of this data directory died over."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        for dead in self._presence.dead():
            taken_back = self._queue.reclaim(dead.owner, crashed=dead.crashed)
            self._knowledge_base.registry.workers.forget(dead.owner)
            log.warning("worker_lost", crashed=dead.crashed, documents=taken_back)

    def _give_back_what_is_owed(self) -> None:
        for _ in range(len(self._owed)):
            debt = self._owed.popleft()
            self._release(debt.claims, debt.reason, at_fault=debt.at_fault)

    def _give_ahead_back(self) -> None:
        """Give back the batch that was prepared meanwhile, if there is one."""
        with contextlib.suppress(ReaktlyError):  # of which it has given back all itself
            if (left := self._take_ahead()) is not None:
                self._release(left.claims)

    def _give_everything_back(self) -> None:
        self._give_ahead_back()
        self._parsing.close()  # what is in the slow lane comes out now
        with contextlib.suppress(ReaktlyError):
            while (apart := self._take_apart()) is not None:
                self._release([apart.claim])
            self._give_back_what_is_owed()

    def _rest(self) -> None:
        self._purge_deleted()
        for reason in self._breaker.away().values():
            self._pulse.pause(reason)
            break
        else:
            self._pulse.resume()
        pause = self._breaker.seconds_until_due()
        self._listener.wait(LOOK_SECONDS if pause is None else min(pause, LOOK_SECONDS))

    def _back_off(self, error: ReaktlyError) -> None:
        """The registry is away: wait, longer each time, and try again."""
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
