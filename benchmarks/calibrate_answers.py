"""From which relevance on a knowledge base is said to know.

    python -m benchmarks.calibrate_answers

Asks the questions of `benchmarks/calibration/questions.jsonl` of the sample content and prints,
for each threshold on the best document's relevance, how many questions that have an answer
would be refused with it, and how many that have none. The threshold to take is the highest
that refuses at most `ALLOWED_LOSS` of the first; it belongs into
`llamaindex_reaktly/answers/extractive.py`.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calibrate_relevance import (
    Answer,
    indexed,
    load_questions,
    sample_documents,
    top_relevances,
)
from llamaindex_reaktly.domain import SearchMode

ALLOWED_LOSS = 0.1
STEPS = [number / 100 for number in range(2, 62, 2)]


def refused(tops: Sequence[float], threshold: float) -> float:
    """The share of these top relevances that the threshold refuses."""
    return sum(top < threshold for top in tops) / len(tops)


def choose(answerable: Sequence[float]) -> float:
    """The highest step that refuses at most the allowed share of questions with an answer."""
    return max(step for step in STEPS if refused(answerable, step) <= ALLOWED_LOSS)


def report(answers: Sequence[Answer]) -> str:
    """What each threshold does, and the one to take."""
    known = top_relevances(answers, answerable=True)
    kinds = ("far", "neighbour", "near")
    unknown = {
        kind: top_relevances([a for a in answers if a.question.kind == kind], answerable=False)
        for kind in kinds
    }
    lines = ["refused with  " + "".join(f"{kind:>11}" for kind in ("answerable", *kinds))]
    for step in STEPS:
        shares = [refused(tops, step) for tops in (known, *unknown.values())]
        lines.append(f"        {step:.2f}  " + "".join(f"{share:11.1%}" for share in shares))
    lines.append(f"to take: {choose(known):.2f}")
    return "\n".join(lines)


def main() -> int:
    """Index the sample, ask everything, print the table."""
    with (
        tempfile.TemporaryDirectory() as directory,
        indexed(Path(directory), sample_documents()) as sample,
    ):
        print(report([sample.ask(question, SearchMode.HYBRID) for question in load_questions()]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
