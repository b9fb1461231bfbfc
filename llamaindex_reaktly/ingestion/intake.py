"""Claiming documents and having them parsed, up to batches that are ready to be embedded.

What takes long to parse, or was at fault before, goes through a slow lane and comes out
by itself, later.
"""

import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.ingestion.breaker import OF_ONE_BASE, Breaker
from llamaindex_reaktly.ingestion.held_claims import HeldClaims
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.parsing import Outcome, Parsing, ParsingFault
from llamaindex_reaktly.ingestion.preparation import PreparedDocument, Preparer
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.registry.ingestion_queue import MAX_ATTEMPTS, IngestionQueue

log = structlog.get_logger(__name__)

# A claim is bounded so that its chunks are about a slice's, however long the documents.
DOCUMENTS_PER_CLAIM = 64
CHARACTERS_PER_CLAIM = 100_000


@dataclass(slots=True)
class Batch:
    """Claimed documents, prepared or refused, not yet embedded."""

    prepared: list[PreparedDocument]
    refused: list[Verdict]
    rank: int

    @property
    def claims(self) -> list[Claim]:
        """All that is in it."""
        return [p.claim for p in self.prepared] + [v.claim for v in self.refused]


@dataclass(frozen=True, slots=True)
class ParsedApart:
    """What came of a document in the slow lane."""

    claim: Claim
    embedder: str
    outcome: Outcome | ReaktlyError


class Intake:
    """What one worker takes in, under its `owner`'s name; nothing more when it is `stopping`.

    `wake` is called, from any thread, when something came out of the slow lane.
    """

    def __init__(
        self,
        queue: IngestionQueue,
        preparer: Preparer,
        parsing: Parsing,
        *,
        owner: str,
        lease_seconds: float,
        held: HeldClaims,
        journal: Journal,
        breaker: Breaker,
        stopping: threading.Event,
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._preparer = preparer
        self._parsing = parsing
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._held = held
        self._journal = journal
        self._breaker = breaker
        self._stopping = stopping
        self._wake = wake
        self._apart: deque[ParsedApart] = deque()

    def next_batch(self, above_rank: int | None = None) -> Batch | None:
        """The most urgent documents, parsed; None if there is nothing to do now."""
        while not self._stopping.is_set() and (claims := self._claim(above_rank)):
            batch = self._parse_all(claims)
            if batch.claims:
                return batch
        return None

    @property
    def has_apart(self) -> bool:
        """Whether something came out of the slow lane that nobody took yet."""
        return bool(self._apart)

    def take_apart(self) -> ParsedApart | None:
        """What came out of the slow lane, if anything did."""
        return self._apart.popleft() if self._apart else None

    def batch_of(self, apart: ParsedApart) -> Batch:
        """A document from the slow lane, to go on with; empty if it was given back."""
        claim = apart.claim
        batch = Batch([], [], claim.rank)
        try:
            if isinstance(apart.outcome, ReaktlyError):
                raise apart.outcome
            self._journal.done("parse", [claim], claim.claimed_at)
            self._sort_in(claim, apart.embedder, apart.outcome, batch)
        except OF_ONE_BASE as error:
            batch.refused.append(Verdict(claim, error=error.message))
        except ReaktlyError as error:
            self._held.put_off(claim.document.key.knowledge_base_id, [claim], error)
        return batch

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
                lease_seconds=self._lease_seconds,
                above_rank=above_rank,
                suspects=is_lane_ours,
                within=within,
                without=without,
                owner=self._owner,
            )
        finally:
            if is_lane_ours and not any(claim.is_suspect for claim in claims):
                self._parsing.free_slow_lane()
        self._held.add(claims)
        return claims

    def _parse_all(self, claims: Sequence[Claim]) -> Batch:
        """Parse claimed documents; those of bases that are away are given back."""
        started = time.monotonic()
        batch = Batch([], [], claims[0].rank)
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
                self._held.put_off(knowledge_base_id, some, away[knowledge_base_id])
            self._queue.count(
                {
                    "documents_parsed": parsed,
                    "busy_milliseconds": round((time.monotonic() - started) * 1000),
                }
            )
        except ReaktlyError as error:
            # To put one base's documents off may fail: the other bases' are still ours.
            self._held.release([*batch.claims, *itertools.chain(*unparsed.values())], error.message)
            raise
        return batch

    def _parse(self, claim: Claim, batch: Batch) -> None:
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
        self._apart.append(ParsedApart(claim, embedder, outcome))
        self._wake()

    def _sort_in(self, claim: Claim, embedder: str, outcome: Outcome, batch: Batch) -> None:
        """Add what came of a document to the batch; one that is at fault may be tried again."""
        if not isinstance(outcome, ParsingFault):
            if outcome.found is not None:
                self._journal.count("documents_extracted")
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
            self._held.release([claim], outcome.reason, at_fault=True)
