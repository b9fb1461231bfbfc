"""The ingestion worker: makes the index agree with the registry, a batch at a time.

Three things overlap, so that the embedder, which is the dearest part by far, seldom
waits: while one batch is embedded, the next is claimed, cleaned and cut, and what is
embedded already is written. Between two slices of a batch the worker looks for more
urgent documents, so that no big page keeps them waiting.

A suspect, which was at fault before, is parsed apart from the others, and embedded while
nothing else is in flight: should it take the worker with it, it takes no other document.
"""

import contextlib
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from llamaindex_reaktly.errors import ReaktlyError, Unavailable
from llamaindex_reaktly.ingestion.breaker import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Breaker,
)
from llamaindex_reaktly.ingestion.held_claims import HeldClaims
from llamaindex_reaktly.ingestion.intake import Batch, Intake, ParsedApart
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.parsing import (
    InlineParsing,
    Parsing,
    TransformationChain,
    load_transformations,
)
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, PreparedNode, Preparer
from llamaindex_reaktly.ingestion.presence import Presence
from llamaindex_reaktly.ingestion.pulse import Pulse
from llamaindex_reaktly.ingestion.removal import Remover
from llamaindex_reaktly.ingestion.settling import Settler
from llamaindex_reaktly.knowledge_base import KnowledgeBase, models_directory
from llamaindex_reaktly.settings import Settings

log = structlog.get_logger(__name__)

# Chunks between two looks at the queue (DESIGN.md). Two seconds of embedding or less.
CHUNKS_PER_SLICE = 64
# An embedding model that does not return for so long is taken for hung, and the worker ended.
EMBEDDING_SECONDS = 600.0
# How long an idle worker trusts the doorbell alone before it looks for itself: work that
# nobody rang for is that of a worker which died, and of other machines.
LOOK_SECONDS = 5.0


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
        self._knowledge_base = knowledge_base or KnowledgeBase(settings)
        self._owns_knowledge_base = knowledge_base is None
        self._preparer = Preparer(self._knowledge_base, threads=settings.embedding_threads)
        self._parsing = parsing or InlineParsing(
            TransformationChain(
                models_directory(settings), load_transformations(settings.transformations)
            )
        )
        self._breaker = Breaker()
        self._presence = Presence(self._knowledge_base.data_dir / "workers")
        self._stopping = threading.Event()
        self._listener = self._knowledge_base.work_bell.listen()
        self._journal = Journal()
        self._held = HeldClaims(
            self._knowledge_base.registry.queue,
            journal=self._journal,
            breaker=self._breaker,
            stopping=self._stopping,
        )
        self._intake = Intake(
            self._knowledge_base.registry.queue,
            self._preparer,
            self._parsing,
            owner=self._presence.owner,
            lease_seconds=settings.lease_seconds,
            held=self._held,
            journal=self._journal,
            breaker=self._breaker,
            stopping=self._stopping,
            wake=self._listener.wake,
        )
        self._remover = Remover(self._knowledge_base, held=self._held, breaker=self._breaker)
        self._settler = Settler(
            self._knowledge_base,
            self._preparer,
            self._remover,
            held=self._held,
            journal=self._journal,
            breaker=self._breaker,
        )
        self._pulse = Pulse(
            self._knowledge_base.registry,
            self._presence.owner,
            settings.lease_seconds,
            tokens=self._held.tokens,
            counts=self._journal.take_counts,
        )
        self._ahead_pool = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._ahead: Future[Batch | None] | None = None
        self._pause = 0.0
        self._next_look = 0.0
        self._has_ended_well = False

    def run(self) -> None:
        """Work until `stop` is called; what is claimed then is finished or given back."""
        log.info("worker_started", pid=os.getpid())
        with self._pulse.beating():
            while not self._stopping.is_set() and not self._parsing.is_lost:
                try:
                    self._held.release_owed()
                    self._take_from_the_dead()
                    if (apart := self._intake.take_apart()) is not None:
                        self._finish_apart(apart)
                        continue
                    batch = self._take_ahead() or self._intake.next_batch()
                    if batch is None:
                        self._rest()
                        continue
                    self._ahead = self._ahead_pool.submit(self._intake.next_batch)
                    self._work_off(batch)
                    self._settler.wait()
                    self._remover.remove_what_is_left()
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
                if (apart := self._intake.take_apart()) is not None:
                    self._finish_apart(apart)
                elif (batch := self._intake.next_batch()) is not None:
                    self._work_off(batch)
                    self._settler.wait()
                elif not self._intake.has_apart:
                    break
            self._remover.remove_what_is_left()
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
        self._settler.close()
        self._parsing.close()
        left = bool(self._held.tokens())
        self._presence.close(claims_left=left, crashed=not self._has_ended_well)
        self._listener.close()
        self._preparer.close()
        if self._owns_knowledge_base:
            self._knowledge_base.close()

    # -- the loop's parts ------------------------------------------------------------

    def _take_ahead(self) -> Batch | None:
        """The batch that was prepared meanwhile; waits for it, and raises what it raised."""
        ahead, self._ahead = self._ahead, None
        return None if ahead is None else ahead.result()

    def _finish_apart(self, apart: ParsedApart) -> None:
        """Go on with a document from the slow lane; a suspect's with nothing else in flight."""
        try:
            batch = self._intake.batch_of(apart)
            if apart.claim.is_suspect:
                self._give_ahead_back()
                try:
                    self._settler.wait()
                except ReaktlyError as error:
                    self._held.release(batch.claims, error.message)
                    raise
            if batch.claims:
                self._work_off(batch)
                self._settler.wait()
        finally:
            self._parsing.free_slow_lane()

    def _work_off(self, batch: Batch) -> None:
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
                self._settler.settle(ready, refused, embedded, started)
                started, embedded = time.monotonic(), 0
                if waiting and self._stopping.is_set():
                    break
                self._overtake(batch.rank)
            ready = [p for p in waiting if p.is_embedded]
            waiting = [p for p in waiting if not p.is_embedded]
            refused, batch.refused = batch.refused, []
            if ready or refused:
                self._settler.settle(ready, refused, embedded, started)
        except ReaktlyError as error:
            self._held.release(Batch(waiting, batch.refused, batch.rank).claims, error.message)
            raise
        if waiting:
            self._held.release([p.claim for p in waiting])

    def _overtake(self, rank: int) -> None:
        """Process whatever is more urgent than `rank` before going on."""
        while rank > 0 and not self._stopping.is_set():
            batch = self._urgent_ahead(rank) or self._intake.next_batch(above_rank=rank)
            if batch is None:
                return
            self._work_off(batch)

    def _urgent_ahead(self, rank: int) -> Batch | None:
        """The batch prepared ahead, if it is ready and more urgent than `rank`."""
        if self._ahead is None or not self._ahead.done():
            return None
        batch = self._ahead.result()
        return self._take_ahead() if batch is not None and batch.rank < rank else None

    def _take_from_the_dead(self) -> None:
        """Take back, now and then, what workers of this data directory died over."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        for dead in self._presence.dead():
            taken_back = self._knowledge_base.registry.queue.reclaim(
                dead.owner, crashed=dead.crashed
            )
            self._knowledge_base.registry.workers.forget(dead.owner)
            log.warning("worker_lost", crashed=dead.crashed, documents=taken_back)

    def _give_ahead_back(self) -> None:
        """Give back the batch that was prepared meanwhile, if there is one."""
        with contextlib.suppress(ReaktlyError):  # of which it has given back all itself
            if (left := self._take_ahead()) is not None:
                self._held.release(left.claims)

    def _give_everything_back(self) -> None:
        self._give_ahead_back()
        self._parsing.close()  # what is in the slow lane comes out now
        with contextlib.suppress(ReaktlyError):
            while (apart := self._intake.take_apart()) is not None:
                self._held.release([apart.claim])
            self._held.release_owed()

    def _rest(self) -> None:
        self._remover.remove_what_is_left()
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
