"""The oracle: what may be seen of each document, given what was sent, answered and seen.

A document is a register that several clients write at once; a write is a version, or a
delete. A write that was answered took effect between its request and its answer. One whose
connection broke may have taken effect in that time, or not at all; once a read has shown
it, it has. From that follows exactly what a read may show:

- What the registry shows (fetch, listing, job) is the value of a write that no other,
  known to have taken effect, came after and ended before the read began.
- What the index shows (search, passages) may lag behind that, but never shows a version
  from before a delete that ended before the read began, never goes back behind what it
  showed before, and once it has shown a document it shows it until a delete may be on its
  way.

Times are those of one clock, in seconds; the oracle takes them itself.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from torture.documents import Name

# How many of a document's last showings in the index are remembered.
_SHOWINGS = 8


class Fault(StrEnum):
    """What can be wrong with an acknowledged document."""

    MISSING = "missing"
    DOUBLED = "doubled"
    STUCK = "stuck"
    WRONG_VERSION = "of the wrong version"
    UNDELETED = "found after its delete"
    FAILED = "failed"
    LEFT_BEHIND = "deleted but still on disk"
    ANSWER = "answered as no request may be"
    STRAY = "process left over"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be."""

    fault: Fault
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.subject}: {self.what}"


@dataclass(slots=True, eq=False)
class Write:
    """A version of a document that was sent, or a delete (None)."""

    name: Name
    version: str | None
    begun: float
    ended: float = math.inf
    took_effect: bool = False

    def precedes(self, other: "Write") -> bool:
        """Whether this one was over before the other began."""
        return self.ended < other.begun


@dataclass(frozen=True, slots=True)
class Reading:
    """When a read began and ended."""

    begun: float
    ended: float


@dataclass(slots=True)
class _Document:
    writes: list[Write]
    shown: list[tuple[str, Reading]] = field(default_factory=list)

    def of(self, version: str | None, before: float) -> list[Write]:
        return [w for w in self.writes if w.version == version and w.begun < before]

    def current(self, version: str | None, reading: Reading) -> list[Write]:
        """The writes of a version of which the registry may be, at that time."""
        over = [w for w in self.writes if w.took_effect and w.ended < reading.begun]
        return [
            write
            for write in self.of(version, reading.ended)
            if not any(write.precedes(later) for later in over)
        ]

    def not_deleted(self, version: str, reading: Reading) -> bool:
        """Whether some write of the version has no delete after it that was over by then."""
        deletes = [
            w
            for w in self.writes
            if w.version is None and w.took_effect and w.ended < reading.begun
        ]
        return any(
            not any(write.precedes(delete) for delete in deletes)
            for write in self.of(version, reading.ended)
        )

    def supersedes(self, newer: str, older: str, before: float) -> bool:
        """Whether each write of `newer` came after every one of `older`."""
        return all(
            old.precedes(new) for old in self.of(older, before) for new in self.of(newer, math.inf)
        )

    def may_be_deleted_between(self, shown: Reading, reading: Reading) -> bool:
        return any(
            w.version is None and w.ended >= shown.begun and w.begun <= reading.ended
            for w in self.writes
        )


class Oracle:
    """Knows all that was sent and answered, and judges what is seen. Safe for threads.

    `afterwards` is how long after a connection broke its request may still take effect:
    nothing where the process that carries it out is dead by then, a moment where another
    process, such as PostgreSQL's, may be in the midst of its commit.
    """

    def __init__(
        self, *, afterwards: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._afterwards = afterwards
        self._clock = clock
        self._lock = threading.Lock()
        self._documents: dict[Name, _Document] = {}
        self._violations: list[Violation] = []

    # -- what is sent ----------------------------------------------------------------

    def begin(self, versions: Mapping[Name, str | None]) -> list[Write]:
        """Note what is about to be sent, a delete as None."""
        with self._lock:
            now = self._clock()
            writes = [Write(name, version, now) for name, version in versions.items()]
            for write in writes:
                self._document(write.name).writes.append(write)
            return writes

    def acknowledge(self, writes: Iterable[Write]) -> None:
        """They were answered as done."""
        with self._lock:
            now = self._clock()
            for write in writes:
                write.took_effect = True
                write.ended = min(write.ended, now)

    def refuse(self, writes: Iterable[Write]) -> None:
        """They did not take effect: never sent, or answered so."""
        with self._lock:
            for write in writes:
                self._document(write.name).writes.remove(write)

    def leave_open(self, writes: Iterable[Write]) -> None:
        """Nobody answered, and by now nobody will: they took effect, or did not."""
        with self._lock:
            now = self._clock() + self._afterwards
            for write in writes:
                write.ended = min(write.ended, now)

    # -- what is seen ----------------------------------------------------------------

    def start_reading(self) -> float:
        """When a read begins; to be handed back with what it shows."""
        return self._clock()

    def see_registry(self, name: Name, version: str | None, begun: float, where: str) -> None:
        """A fetch, a listing or a job showed this version of the document, or none (None)."""
        with self._lock:
            reading = Reading(begun, self._clock())
            document = self._document(name)
            writes = document.current(version, reading)
            if not writes:
                self._add(self._fault(document, version, reading), name, where, version)
            elif len(writes) == 1:
                _prove(writes[0], reading)

    def see_index(self, name: Name, version: str | None, begun: float, where: str) -> None:
        """A search or the passages showed this version of the document, or none (None)."""
        with self._lock:
            reading = Reading(begun, self._clock())
            document = self._document(name)
            before = [(v, r) for v, r in document.shown if r.ended < begun]
            if version is None:
                if any(not document.may_be_deleted_between(r, reading) for _, r in before):
                    self._add(Fault.MISSING, name, where, version)
                return
            writes = document.of(version, reading.ended)
            if len(writes) == 1:
                _prove(writes[0], reading)
            if not writes:
                self._add(Fault.WRONG_VERSION, name, f"{where}, never sent", version)
            elif not document.not_deleted(version, reading):
                self._add(Fault.UNDELETED, name, where, version)
            elif any(document.supersedes(v, version, reading.ended) for v, _ in before):
                self._add(Fault.WRONG_VERSION, name, f"{where}, after a newer one", version)
            document.shown = [*document.shown, (version, reading)][-_SHOWINGS:]

    def accuse(self, fault: Fault, subject: object, what: str) -> None:
        """Note something that must not be and that needs no history to know it."""
        with self._lock:
            self._violations.append(Violation(fault, str(subject), what))

    # -- what is known ---------------------------------------------------------------

    def names(self) -> list[Name]:
        """All documents that were ever sent, sorted."""
        with self._lock:
            return sorted(name for name, d in self._documents.items() if len(d.writes) > 1)

    def may_be(self, name: Name) -> frozenset[str | None]:
        """The versions that the registry may show now; None for none."""
        with self._lock:
            now = self._clock()
            reading = Reading(now, now)
            document = self._document(name)
            return frozenset(
                w.version for w in document.writes if document.current(w.version, reading)
            )

    def versions_of(self, name: Name) -> frozenset[str]:
        """Every version that was ever sent."""
        with self._lock:
            return frozenset(w.version for w in self._document(name).writes if w.version)

    def violations(self) -> Sequence[Violation]:
        """All that must not be and was, in the order in which it was seen."""
        with self._lock:
            return list(self._violations)

    def acknowledged(self) -> int:
        """How many writes are known to have taken effect."""
        with self._lock:
            return sum(w.took_effect for d in self._documents.values() for w in d.writes[1:])

    def left_open(self) -> int:
        """How many writes may have taken effect or not."""
        with self._lock:
            return sum(not w.took_effect for d in self._documents.values() for w in d.writes)

    def _document(self, name: Name) -> _Document:
        document = self._documents.get(name)
        if document is None:
            # Before anything was sent, there was nothing.
            nothing = Write(name, None, -math.inf, -math.inf, took_effect=True)
            document = self._documents[name] = _Document([nothing])
        return document

    def _fault(self, document: _Document, version: str | None, reading: Reading) -> Fault:
        if version is None:
            return Fault.MISSING
        if not document.of(version, reading.ended) or document.not_deleted(version, reading):
            return Fault.WRONG_VERSION
        return Fault.UNDELETED

    def _add(self, fault: Fault, name: Name, where: str, version: str | None) -> None:
        self._violations.append(Violation(fault, str(name), f"{where} showed {version or 'none'}"))


def _prove(write: Write, reading: Reading) -> None:
    """What was seen took effect, and no later than it was seen."""
    write.took_effect = True
    write.ended = min(write.ended, reading.ended)
