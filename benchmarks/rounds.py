"""Comparing two things on a machine that is never quite the same twice.

Both sides are measured in turns, in each round in the other order, and compared round
by round: what slows the machine for a while slows both.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FEWEST_ROUNDS = 5

Measurement = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float
    rounds: int

    def text(self, digits: int = 2) -> str:
        """Median, range and count, for a report."""
        return f"{self.median:,.{digits}f} ({self.range(digits)})"

    def range(self, digits: int = 2) -> str:
        """Range and count, for beside a median that is shown already."""
        return f"{self.low:,.{digits}f} to {self.high:,.{digits}f} in {self.rounds} rounds"


def spread(values: Sequence[float]) -> Spread:
    """The spread of values, one a round."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the rounds' ratios."""
    return spread([n / d for n, d in zip(numerators, denominators, strict=True)])


def in_turns(sides: Mapping[str, Measurement], rounds: int) -> dict[str, list[float]]:
    """What each side measures in each round; a side is given the round's number.

    Raises `ValueError` for fewer rounds than a median with a range can stand on.
    """
    if rounds < FEWEST_ROUNDS:
        raise ValueError(f"at least {FEWEST_ROUNDS} rounds are needed")
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)
        for name in names if number % 2 == 0 else reversed(names):
            measured[name].append(sides[name](number))
    return measured
