"""The two constants per search mode that turn a score into `relevance`.

    python -m benchmarks.calibrate_relevance

A search ranks by a score and shows `relevance` = 1 / (1 + exp(-slope · (score - midpoint))).
The constants are those of the greatest likelihood on the sample content of `demo/content`:
each question in `benchmarks/calibration/questions.jsonl` is asked, and each of the first
`FITTED_HITS` documents either is in the question's list of answers or is not.

So a relevance of 0.5 means: among the first three documents that questions like these
bring up, those with this score answer as often as not. That is a statement about single
documents, and about the mixture of questions: where fewer have an answer than here,
0.5 promises too much. The balance of the classes is left as it is found, and printed.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.relevance import auc
from demo.content import load_documents
from llamaindex_reaktly.domain import SearchMode, SearchRequest, SourceDocument
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.retrieval.ranking import score
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Candidate, StoreQuery
from reaktly_api.reaktly.requests import IngestItem

QUESTIONS_FILE = Path(__file__).parent / "calibration" / "questions.jsonl"
KB = "calibration"
ASKED_HITS = 10
# What a caller reads first. Deeper hits are nearly all wrong, and so many that they would
# decide about the curve.
FITTED_HITS = 3
BINS = 10
# Of the standardised slope: keeps it finite where a score separates the classes, and moves
# it by less than a hundredth where it does not.
RIDGE = 1e-2
NEWTON_STEPS = 50
CONVERGED = 1e-10

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and the external ids of all documents that answer it; empty: none does."""

    id: str
    text: str
    relevant: frozenset[str]

    @property
    def kind(self) -> str:
        """`answerable`, or why nothing answers it: `far`, `neighbour` or `near`."""
        return self.id.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Hit:
    """One document that a search returned."""

    external_id: str
    score: float
    relevance: float
    answers: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with its hits, best first."""

    question: Question
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A logistic curve over scores: `midpoint` is where it is 0.5, `slope` how steep."""

    slope: float
    midpoint: float

    def relevance(self, score: float) -> float:
        """The probability that a document with this score answers."""
        return 0.5 * (1.0 + math.tanh(0.5 * self.slope * (score - self.midpoint)))


def load_questions(file: Path = QUESTIONS_FILE) -> list[Question]:
    """All questions, in the file's order."""
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [Question(line["id"], line["text"], frozenset(line["relevant"])) for line in lines]


class _ListeningStore(EmbeddedStore):
    """The product's store; remembers the evidence of the last search, which hits don't show."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.last: dict[str, Candidate] = {}

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        found = super().search(knowledge_base_id, query)
        self.last = {candidate.node_id: candidate for candidate in found}
        return found


class Sample:
    """Content that is searchable."""

    def __init__(self, knowledge_base: KnowledgeBase, store: _ListeningStore) -> None:
        self._knowledge_base = knowledge_base
        self._store = store

    def evidence(self, question: Question) -> list[Candidate]:
        """The nodes that a hybrid search ranks."""
        self._knowledge_base.search(SearchRequest(KB, question.text, limit=ASKED_HITS))
        return list(self._store.last.values())

    def ask(self, question: Question, mode: SearchMode) -> Answer:
        """Search as a caller does, and look up the score of each document's best node."""
        request = SearchRequest(KB, question.text, limit=ASKED_HITS, mode=mode)
        hits = self._knowledge_base.search(request).hits
        return Answer(
            question,
            tuple(
                Hit(
                    hit.key.external_id,
                    score(self._store.last[hit.passages[0].node_id], mode),
                    hit.relevance,
                    hit.key.external_id in question.relevant,
                )
                for hit in hits
            ),
        )


def sample_documents() -> list[SourceDocument]:
    """The sample content, as pushing it through the API would declare it."""
    items = [
        document.ingest_item(knowledge_base_id=KB, integration_id="demo")
        for document in load_documents()
    ]
    return [IngestItem.model_validate_json(orjson.dumps(item)).document() for item in items]


@contextmanager
def indexed(data_dir: Path, documents: Sequence[SourceDocument]) -> Iterator[Sample]:
    """Index documents in a directory, with the product's own worker."""
    settings = Settings(data_dir=data_dir)
    store = _ListeningStore(data_dir / "index")
    with KnowledgeBase(settings, store=store) as knowledge_base:
        knowledge_base.submit(documents)
        worker = Worker(settings, knowledge_base)
        try:
            worker.work_off_everything()
        finally:
            worker.close()
        yield Sample(knowledge_base, store)


def fit(scores: Sequence[float], answers: Sequence[bool]) -> Curve:
    """The curve under which these answers are likeliest (logistic regression, Newton).

    Raises ValueError when both kinds are not there, or when a higher score does not make
    an answer likelier: such a score cannot be shown as relevance.
    """
    raw, outcomes = np.asarray(scores, np.float64), np.asarray(answers, np.float64)
    if not 0 < outcomes.sum() < len(outcomes):
        raise ValueError("a curve needs hits that answer and hits that don't")
    centre, spread = float(raw.mean()), float(raw.std())
    if spread == 0:
        raise ValueError("all scores are the same")
    design = np.column_stack([(raw - centre) / spread, np.ones_like(raw)])
    penalty = np.array([RIDGE, 0.0])
    weights = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        probabilities = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (outcomes - probabilities) - penalty * weights
        variance = probabilities * (1.0 - probabilities)
        hessian = (design * variance[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        # A full step may overshoot where nearly everything is decided: halve it until it helps.
        before = _penalised_likelihood(design, outcomes, penalty, weights)
        while (
            np.abs(step).max() > CONVERGED
            and _penalised_likelihood(design, outcomes, penalty, weights + step) < before
        ):
            step = step / 2
        weights = weights + step
        if np.abs(step).max() <= CONVERGED:
            break
    if weights[0] <= 0:
        raise ValueError("a higher score does not make an answer likelier")
    slope = float(weights[0]) / spread
    return Curve(slope, centre - float(weights[1]) / slope)


def _penalised_likelihood(
    design: Floats, outcomes: Floats, penalty: Floats, weights: Floats
) -> float:
    logits = design @ weights
    likelihood = outcomes @ logits - np.logaddexp(0.0, logits).sum()
    return float(likelihood - 0.5 * penalty @ weights**2)


def fitted_hits(answers: Sequence[Answer]) -> list[Hit]:
    """The hits that the curve is fitted on: the first three of each question."""
    return [hit for answer in answers for hit in answer.hits[:FITTED_HITS]]


def fit_answers(answers: Sequence[Answer]) -> Curve:
    """The curve of one mode."""
    hits = fitted_hits(answers)
    return fit([hit.score for hit in hits], [hit.answers for hit in hits])


def log_loss(hits: Sequence[Hit]) -> float:
    """The mean of -log of the probability that the relevance gave to what was the case."""
    floor = 1e-12
    chances = (hit.relevance if hit.answers else 1.0 - hit.relevance for hit in hits)
    return -sum(math.log(max(chance, floor)) for chance in chances) / len(hits)


def reliability(hits: Sequence[Hit]) -> list[tuple[int, float, float] | None]:
    """Per tenth of relevance: hits, their mean relevance, and the share that answers."""
    bins: list[list[Hit]] = [[] for _ in range(BINS)]
    for hit in hits:
        bins[min(int(hit.relevance * BINS), BINS - 1)].append(hit)
    return [
        (
            len(held),
            sum(hit.relevance for hit in held) / len(held),
            sum(hit.answers for hit in held) / len(held),
        )
        if held
        else None
        for held in bins
    ]


def rescored(answers: Sequence[Answer], curve: Curve) -> list[Answer]:
    """The same answers, with the relevance that this curve gives."""
    return [
        replace(
            answer,
            hits=tuple(replace(hit, relevance=curve.relevance(hit.score)) for hit in answer.hits),
        )
        for answer in answers
    ]


def shown_difference(answers: Sequence[Answer], curve: Curve) -> float:
    """The largest difference between the relevance that the product showed and the curve's."""
    return max(
        abs(hit.relevance - curve.relevance(hit.score)) for answer in answers for hit in answer.hits
    )


def top_relevances(answers: Sequence[Answer], *, answerable: bool) -> list[float]:
    """The first hit's relevance of each question of that sort; 0 where nothing was found."""
    return [
        answer.hits[0].relevance if answer.hits else 0.0
        for answer in answers
        if bool(answer.question.relevant) is answerable
    ]


def report(mode: SearchMode, answers: Sequence[Answer]) -> str:
    """All figures of one mode, as text."""
    curve = fit_answers(answers)
    fitted = rescored(answers, curve)
    hits = fitted_hits(fitted)
    deep = [hit for answer in fitted for hit in answer.hits]
    known = top_relevances(fitted, answerable=True)
    unknown = top_relevances(fitted, answerable=False)
    first = sum(bool(answer.hits) and answer.hits[0].answers for answer in fitted)
    lines = [
        f"{mode.value}: slope {curve.slope:.3f}, midpoint {curve.midpoint:.4f}",
        f"  fitted on {len(hits)} hits, {sum(hit.answers for hit in hits) / len(hits):.1%} answer",
        f"  log loss {log_loss(hits):.4f}; of all first {ASKED_HITS} hits {log_loss(deep):.4f}",
        f"  largest difference to what the product shows {shown_difference(answers, curve):.4f}",
        f"  first hit answers {first} of {len(known)} questions that have an answer",
        f"  AUC of the top relevance {auc(known, unknown):.4f}",
        f"  top above 0.5: {_share(known, above=True):.1%} of {len(known)} with an answer",
        f"  top below 0.5: {_share(unknown, above=False):.1%} of {len(unknown)} without",
    ]
    for kind in ("far", "neighbour", "near"):
        tops = top_relevances([a for a in fitted if a.question.kind == kind], answerable=False)
        lines.append(f"    {kind}: {_share(tops, above=False):.1%} of {len(tops)}")
    lines.append("  relevance   hits   mean  answer")
    for number, row in enumerate(reliability(hits)):
        label = f"  {number / BINS:.1f} to {(number + 1) / BINS:.1f} "
        lines.append(label + (f"{row[0]:6d} {row[1]:6.3f} {row[2]:7.3f}" if row else "     -"))
    return "\n".join(lines)


def _share(tops: Sequence[float], *, above: bool) -> float:
    return sum((top > 0.5) is above for top in tops) / len(tops)


def main() -> int:
    """Index the sample, ask everything in each mode, print constants and figures."""
    questions = load_questions()
    with (
        tempfile.TemporaryDirectory() as directory,
        indexed(Path(directory), sample_documents()) as sample,
    ):
        for mode in SearchMode:
            print(report(mode, [sample.ask(question, mode) for question in questions]), end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
