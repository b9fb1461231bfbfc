"""The two weights of the ranking, compared on long manuals and on the sample content.

    python -m benchmarks.choose_weights [--data-dir DIR] [--only SET]...

Every question of our own is asked once of the product; its answers are then ranked with
each pair of weights. The choice is made on `git`, `sqlite` and `sample`; `apache`, `borg`
and `postfix` show whether it holds elsewhere. A first run embeds some 20,000 chunks; with
`--data-dir` a later run finds them unchanged.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calibrate_relevance import KB, Question, indexed, load_questions, sample_documents
from benchmarks.manuals import CHECKING, CHOOSING
from benchmarks.results import DataAbsent
from llamaindex_reaktly.domain import SearchMode
from llamaindex_reaktly.retrieval.ranking import score
from llamaindex_reaktly.stores.protocol import Candidate

SAMPLE = "sample"
MANUALS = {manual.name: manual for manual in (*CHOOSING, *CHECKING)}
SETS = (*(manual.name for manual in CHOOSING), SAMPLE, *(manual.name for manual in CHECKING))
LEXICAL_WEIGHTS = (0.5, 0.6, 0.65, 0.7, 0.8, 0.95)
DOCUMENT_SHARES = (0.0, 0.2, 0.4, 0.5)
CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the nodes that a search ranks."""

    question: Question
    evidence: Sequence[Candidate]

    def rank(self, mode: SearchMode, lexical_weight: float, document_share: float) -> float:
        """The place of the first document that answers; infinite where none was found."""
        best: dict[str, float] = {}
        for node in self.evidence:
            name = node.document.external_id
            value = score(node, mode, lexical_weight=lexical_weight, document_share=document_share)
            best[name] = max(value, best.get(name, value))
        found = [best[name] for name in self.question.relevant if name in best]
        if not found:
            return float("inf")
        return 1 + sum(value > max(found) for value in best.values())


def asked(name: str, data_dir: Path) -> list[Asked]:
    """Ask the questions of a set that have an answer."""
    if name == SAMPLE:
        documents, questions = sample_documents(), load_questions()
    else:
        documents = list(MANUALS[name].documents(KB))
        questions = MANUALS[name].questions()
    answerable = [question for question in questions if question.relevant]
    present = {document.key.external_id for document in documents}
    absent = {page for question in answerable for page in question.relevant} - present
    if absent:
        raise ValueError(f"{name} has no {', '.join(sorted(absent))}")
    with indexed(data_dir / name, documents) as base:
        return [Asked(question, base.evidence(question)) for question in answerable]


def figures(ranks: Iterable[float]) -> str:
    """Mean reciprocal rank, and how many are among the first ones."""
    known = list(ranks)
    hits = "/".join(str(sum(rank <= cutoff for rank in known)) for cutoff in CUTOFFS)
    return f"{sum(1 / rank for rank in known) / len(known):.3f} {hits}"


def report(name: str, answers: Sequence[Asked]) -> str:
    """A line a pair of weights: all questions, then those of each kind."""
    kinds = list(dict.fromkeys(answer.question.kind for answer in answers))
    heads = [f"all {len(answers)}"] + [
        f"{kind} {sum(answer.question.kind == kind for answer in answers)}" for kind in kinds
    ]
    lines = [
        f"{name}: mean reciprocal rank, and answers among the first {'/'.join(map(str, CUTOFFS))}",
        "  lexical share  " + "  ".join(f"{head:>19}" for head in heads),
    ]
    rows = [(SearchMode.TEXT, 0.0, 0.0)]
    rows += [(SearchMode.VECTOR, 0.0, share) for share in DOCUMENT_SHARES]
    rows += [
        (SearchMode.HYBRID, *pair) for pair in itertools.product(LEXICAL_WEIGHTS, DOCUMENT_SHARES)
    ]
    for mode, weight, share in rows:
        ranks = [answer.rank(mode, weight, share) for answer in answers]
        columns = [figures(ranks)] + [
            figures(r for r, a in zip(ranks, answers, strict=True) if a.question.kind == kind)
            for kind in kinds
        ]
        label = f"{weight:7.2f}" if mode is SearchMode.HYBRID else f"{mode.value:>7}"
        lines.append(f"  {label} {share:5.1f}  " + "  ".join(f"{text:>19}" for text in columns))
    return "\n".join(lines)


def main() -> int:
    """Print the figures of each set; 2 where its pages are absent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="data directories to use, and to keep")
    parser.add_argument(
        "--only", action="append", choices=SETS, help="compare on this set; may be repeated"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data_dir = arguments.data_dir or Path(directory)
        for name in arguments.only or SETS:
            try:
                print(report(name, asked(name, data_dir)), end="\n\n", flush=True)
            except DataAbsent as error:
                print(f"choose_weights: {error}", file=sys.stderr)
                return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
