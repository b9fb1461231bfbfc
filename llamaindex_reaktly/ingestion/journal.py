"""What happened to each document between its acceptance and its being searchable.

Kept while a worker has it, told once when that is over: a line in the log, a span in the
trace of the request that the document came by, and counts for the metrics. What came by
a bulk has a line for each batch of it; its documents' own lines are for `debug`.
"""

import bisect
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import structlog

from llamaindex_reaktly.measurements import STAGE_BOUNDS, stage_count, stage_milliseconds
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.tracing import Interval, record

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Trail:
    """One claimed document: what was done, from when to when."""

    claim: Claim
    stages: dict[str, Interval] = field(default_factory=dict)

    def add(self, stage: str, started: float, ended: float) -> None:
        self.stages[stage] = Interval(stage, started, max(started, ended))

    def whole(self, ended: float) -> Interval:
        return Interval("ingest", self.claim.queued_at, max(self.claim.queued_at, ended))


class Journal:
    """One worker's journal. Its methods may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trails: dict[tuple[str, str], _Trail] = {}
        self._counts: Counter[str] = Counter()

    def claimed(self, claims: Sequence[Claim]) -> None:
        """These are the worker's now; until then they waited."""
        with self._lock:
            for claim in claims:
                trail = self._trails[_key(claim)] = _Trail(claim)
                trail.add("claim", claim.queued_at, claim.claimed_at)
            again = sum(claim.attempts > 1 for claim in claims)
            self._counts += Counter(documents_claimed=len(claims), documents_claimed_again=again)
        for claim in claims:
            tell = log.debug if claim.attempts == 1 else log.info
            tell("document_claimed", **_names(claim), attempt=claim.attempts)

    def done(self, stage: str, claims: Sequence[Claim], started: float) -> None:
        """That stage (`parse`, `embed`) of these took from `started` until now."""
        ended = time.time()
        for claim in claims:
            with self._lock:
                if (trail := self._trails.get(_key(claim))) is not None:
                    trail.add(stage, started, ended)
            log.debug("document_stage", **_names(claim), stage=stage, ms=_ms(started, ended))

    def released(self, claims: Sequence[Claim], reason: str | None) -> None:
        """These were given back untried."""
        with self._lock:
            for claim in claims:
                self._trails.pop(_key(claim), None)
            self._counts["documents_released"] += len(claims)
        for claim in claims:
            log.debug("document_released", **_names(claim), reason=reason)

    def settled(
        self, verdicts: Sequence[Verdict], fallen: Collection[Claim], started: float
    ) -> None:
        """The registry has these verdicts but for those of `fallen` claims, written since then."""
        ended = time.time()
        overtaken = {_key(claim) for claim in fallen}
        searchable: dict[str | None, list[tuple[Verdict, _Trail]]] = {}
        for verdict in verdicts:
            with self._lock:
                trail = self._trails.pop(_key(verdict.claim), None) or _Trail(verdict.claim)
                trail.add("settle", started, ended)
                if _key(verdict.claim) in overtaken:
                    self._counts["documents_superseded"] += 1
                    log.debug("document_superseded", **_names(verdict.claim))
                    continue
                self._measure(trail, ended)
            self._trace(verdict, trail, ended)
            if verdict.error is None:
                searchable.setdefault(verdict.claim.origin.request_id, []).append((verdict, trail))
            else:
                log.warning(
                    "document_failed",
                    **_names(verdict.claim),
                    reason=verdict.error,
                    attempt=verdict.claim.attempts,
                )
        for request_id, some in searchable.items():
            _tell_searchable(request_id, some, ended)

    def take_counts(self) -> dict[str, int]:
        """What to add to the registry's counters since this was last asked."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)

    def count(self, name: str) -> None:
        """Add one to a counter."""
        with self._lock:
            self._counts[name] += 1

    def _measure(self, trail: _Trail, ended: float) -> None:
        for name, stage in {**trail.stages, "all": trail.whole(ended)}.items():
            seconds = stage.ended - stage.started
            bound = STAGE_BOUNDS[bisect.bisect_left(STAGE_BOUNDS, seconds)]
            self._counts[stage_count(name, bound)] += 1
            self._counts[stage_milliseconds(name)] += round(seconds * 1000)

    @staticmethod
    def _trace(verdict: Verdict, trail: _Trail, ended: float) -> None:
        claim = verdict.claim
        attributes: dict[str, str | int] = {
            "document_id": claim.document_id,
            "knowledge_base_id": claim.document.key.knowledge_base_id,
            "version": claim.version,
            "attempt": claim.attempts,
            "chunks": verdict.chunks,
        }
        if claim.origin.request_id is not None:
            attributes["request_id"] = claim.origin.request_id
        record(
            trail.whole(ended),
            trail.stages.values(),
            parent=claim.origin.traceparent,
            failed=verdict.error is not None,
            **attributes,
        )


def _tell_searchable(
    request_id: str | None, some: Sequence[tuple[Verdict, _Trail]], ended: float
) -> None:
    # What nobody asked for over HTTP (the command line, a rebuild) has no id to look for.
    tell = log.debug if request_id is None else log.info
    if len(some) > 1:
        tell(
            "documents_searchable",
            request_id=request_id,
            documents=len(some),
            chunks=sum(verdict.chunks for verdict, _ in some),
            total_ms=max(_ms(trail.claim.queued_at, ended) for _, trail in some),
        )
        tell = log.debug
    for verdict, trail in some:
        stages = {f"{s.name}_ms": _ms(s.started, s.ended) for s in trail.stages.values()}
        tell(
            "document_searchable",
            **_names(verdict.claim),
            chunks=verdict.chunks,
            **stages,
            total_ms=_ms(trail.claim.queued_at, ended),
        )


def _key(claim: Claim) -> tuple[str, str]:
    return claim.document_id, claim.token


def _names(claim: Claim) -> dict[str, object]:
    return {
        "request_id": claim.origin.request_id,
        "document_id": claim.document_id,
        "version": claim.version,
    }


def _ms(started: float, ended: float) -> int:
    return round(max(0.0, ended - started) * 1000)
