"""What a scenario ends with: a line of figures, and rows for the results file."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.results import Result
from torture.context import Context
from torture.oracle import Fault, Oracle, Violation
from torture.workload import Tally

_VIOLATIONS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario's figures and verdict. `notes` say what was done, `figures` are more rows."""

    scenario: str
    seed: int
    seconds: float
    documents: int
    acknowledged: int
    left_open: int
    violations: Sequence[Violation]
    tally: Tally = field(default_factory=Tally)
    kills: int = 0
    notes: tuple[str, ...] = ()
    figures: tuple[Result, ...] = ()

    @classmethod
    def of(
        cls,
        context: Context,
        oracle: Oracle,
        *,
        tally: Tally | None = None,
        kills: int = 0,
        notes: Sequence[str] = (),
        figures: Sequence[Result] = (),
    ) -> "Outcome":
        """The outcome that an oracle knows."""
        return cls(
            context.title,
            context.seed,
            time.monotonic() - context.begun,
            documents=len(oracle.names()),
            acknowledged=oracle.acknowledged(),
            left_open=oracle.left_open(),
            violations=oracle.violations(),
            tally=tally or Tally(),
            kills=kills,
            notes=tuple(notes),
            figures=tuple(figures),
        )

    @property
    def holds(self) -> bool:
        """Whether nothing was found that must not be, and every target is met."""
        return not self.violations and all(figure.holds is not False for figure in self.figures)

    def line(self) -> str:
        """All figures in one line."""
        counts = Counter(violation.fault for violation in self.violations)
        verdicts = ", ".join(f"{counts[fault]} {fault}" for fault in Fault)
        parts = [f"{self.kills} kills"] if self.kills else []
        parts += [
            f"{self.documents:,} documents",
            f"{self.tally.requests:,} requests ({self.tally.cut_off} cut off)",
            f"{self.tally.looks:,} looks",
            f"{self.acknowledged:,} writes acknowledged, {self.left_open} open",
            *self.notes,
        ]
        verdict = "HOLDS" if self.holds else "BROKEN"
        return (
            f"{verdict} {self.scenario} (seed {self.seed}, {self.seconds:.0f} s): "
            f"{', '.join(parts)}: {verdicts}"
        )

    def explanation(self) -> str:
        """The first of the violations, a line each."""
        lines = [f"  {violation}" for violation in self.violations[:_VIOLATIONS_SHOWN]]
        if (more := len(self.violations) - len(lines)) > 0:
            lines.append(f"  and {more} more")
        return "\n".join(lines)

    def results(self) -> list[Result]:
        """Rows for the results file; the first: how much is not as it must be."""
        notes = f"; {', '.join(self.notes)}" if self.notes else ""
        verdict = Result(
            id=self.scenario,
            what=f"{self.scenario}: documents lost, doubled, stuck, stale or undeleted",
            value=len(self.violations),
            unit="",
            target="0",
            holds=self.holds,
            detail=f"{self.kills} kills, {self.documents:,} documents, {self.tally.requests:,} "
            f"requests of which {self.tally.cut_off:,} cut off, {self.acknowledged:,} writes "
            f"acknowledged, {self.tally.looks:,} looks meanwhile; seed {self.seed}, "
            f"{self.seconds:.0f} s{notes}",
        )
        return [verdict, *self.figures]
