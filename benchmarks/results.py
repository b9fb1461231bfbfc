"""What a benchmark hands back, and the file that keeps it.

`RESULTS.md` has a section a benchmark. A run replaces the sections of what it ran and
leaves the others, so each section names its own day, commit and machine.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import Machine

FOLDER = Path(__file__).parent
RESULTS_FILE = FOLDER / "RESULTS.md"

_HEADING = re.compile(r"^## (?=\S)", re.MULTILINE)
_PREAMBLE = """\
# Results

Written by `python -m benchmarks` (`make bench`); see README.md there for what each
measures and how. Ratios are against the peer or the limit that the last column names,
both sides measured in turns in the same run: the median of the rounds' ratios, with
the lowest and the highest. Seconds and rates are this machine's; ratios carry over.
"""


class DataAbsent(Exception):
    """A benchmark's data is not on this machine; the message says what, and how to get it."""


class BenchmarkFailed(Exception):
    """A benchmark could not be measured to its end; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `target` and `holds` are None where it is only shown.

    `id` is stable from run to run; `detail` names the peer, the rounds and the range.
    """

    id: str
    what: str
    value: float
    unit: str
    target: str | None = None
    holds: bool | None = None
    detail: str = ""

    def figure(self) -> str:
        """The value with its unit, at a readable precision."""
        size = abs(self.value)
        digits = 0 if size >= 1_000 or self.value == int(self.value) else 1 if size >= 100 else 3
        if 10 <= size < 100:
            digits = 2
        return f"{self.value:,.{digits}f} {self.unit}".strip()

    def line(self) -> str:
        """The figure as a line for a terminal."""
        verdict = "" if self.target is None else f"  [{self.target}: {_VERDICT[self.holds]}]"
        detail = f"\n      {self.detail}" if self.detail else ""
        return f"  {self.what}: {self.figure()}{verdict}{detail}"


_VERDICT = {True: "holds", False: "MISSED", None: "not judged"}


def show(results: Sequence[Result]) -> int:
    """Print the results; 0 if every target holds, else 1."""
    for result in results:
        print(result.line(), flush=True)
    return 1 if any(result.holds is False for result in results) else 0


def section(name: str, about: str, results: Sequence[Result], machine: Machine) -> str:
    """A benchmark's section of the results file."""
    lines = [
        f"## {name}",
        "",
        about,
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_commit()}; {machine.sentence()}",
        "",
        "| | figure | target | | measured how |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(r.what)} | {r.figure()} | {r.target or 'shown'} "
        f"| {'' if r.target is None else _VERDICT[r.holds]} | {_cell(r.detail)} |"
        for r in results
    ]
    return "\n".join(lines) + "\n"


def write_sections(
    sections: Mapping[str, str], order: Sequence[str], file: Path = RESULTS_FILE
) -> None:
    """Put new sections in the place of those of the same name, in the given order.

    Sections that `order` does not name follow as they are.
    """
    old = file.read_text(encoding="utf-8") if file.is_file() else ""
    kept = {
        part.split("\n", 1)[0].strip(): f"## {part.rstrip()}\n" for part in _HEADING.split(old)[1:]
    }
    kept |= sections
    names = [name for name in order if name in kept]
    names += [name for name in kept if name not in order]
    file.write_text("\n".join((_PREAMBLE, *(kept[name] for name in names))), encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _commit() -> str:
    """The commit that was measured, and whether the tree differed from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return f"commit {head}" + (" with changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=FOLDER.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
