"""Distributions: how often something took how long, or was how large.

Workers are processes of their own, so theirs travel through the registry's counters:
one counter a stage and bound, named here and read back here.
"""

import bisect
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

_SEPARATOR = "|"
_STAGE = "stage"
_MILLISECONDS = "ms"

# Upper bounds in seconds of what a document spends in a stage of its ingestion.
STAGE_BOUNDS = (
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    math.inf,
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many values lie up to each upper bound but above the one before, and their sum.

    Bounds ascend and end with infinity.
    """

    counts: Mapping[float, int]
    total: float

    def cumulative(self) -> list[tuple[float, int]]:
        """How many values lie at or below each bound."""
        so_far, steps = 0, []
        for bound, count in self.counts.items():
            so_far += count
            steps.append((bound, so_far))
        return steps


class Histogram:
    """Gathers a distribution; may be told values by several threads."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = dict.fromkeys(bounds, 0)
        self._total = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Add a value."""
        bound = self._bounds[bisect.bisect_left(self._bounds, value)]
        with self._lock:
            self._counts[bound] += 1
            self._total += value

    def distribution(self) -> Distribution:
        """What was gathered so far."""
        with self._lock:
            return Distribution(dict(self._counts), self._total)


def distribution(values: Mapping[int, int], bounds: tuple[float, ...]) -> Distribution:
    """Of counts by exact value; `bounds` ascend and end with infinity."""
    counts = dict.fromkeys(bounds, 0)
    for value, count in values.items():
        counts[next(bound for bound in bounds if value <= bound)] += count
    return Distribution(counts, sum(value * count for value, count in values.items()))


def stage_count(stage: str, bound: float) -> str:
    """The counter of documents that spent up to `bound` seconds in a stage."""
    return _SEPARATOR.join((_STAGE, stage, str(bound)))


def stage_milliseconds(stage: str) -> str:
    """The counter of milliseconds that documents spent in a stage."""
    return _SEPARATOR.join((_STAGE, stage, _MILLISECONDS))


def split_stages(
    counters: Mapping[str, int],
) -> tuple[dict[str, int], dict[str, Distribution]]:
    """The registry's counters without those of the stages, and the stages' distributions."""
    plain: dict[str, int] = {}
    counts: dict[str, dict[float, int]] = {}
    totals: dict[str, float] = {}
    for name, value in counters.items():
        kind, *rest = name.split(_SEPARATOR)
        if kind != _STAGE or len(rest) != 2:
            plain[name] = value
            continue
        stage, bound = rest
        if bound == _MILLISECONDS:
            totals[stage] = value / 1000
        else:
            counts.setdefault(stage, dict.fromkeys(STAGE_BOUNDS, 0))[float(bound)] = value
    return plain, {
        stage: Distribution(by_bound, totals.get(stage, 0.0)) for stage, by_bound in counts.items()
    }
