"""What a check of `reaktly doctor` comes to."""

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """How a check ended. A warning leaves the exit code at 0."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One part: what was found, and what to do about it (empty if nothing)."""

    part: str
    verdict: Verdict
    found: str
    advice: str = ""
