from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.calibrate_answers import choose
from benchmarks.calibrate_relevance import (
    Answer,
    Curve,
    Hit,
    Question,
    Sample,
    fit,
    fit_answers,
    fitted_hits,
    indexed,
    load_questions,
    log_loss,
    reliability,
    sample_documents,
    shown_difference,
    top_relevances,
)
from demo.content import load_documents
from llamaindex_reaktly.answers.extractive import KNOWS_FROM
from llamaindex_reaktly.domain import SearchMode

# The constants are written with three digits, and a vector's last digits may differ
# between processors; either moves a relevance by less than a hundredth.
SHOWN_TOLERANCE = 0.02


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with indexed(tmp_path_factory.mktemp("sample") / "data", sample_documents()) as sample:
        yield sample


def test_every_question_has_a_name_and_a_text_of_its_own() -> None:
    questions = load_questions()
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.text.casefold() for question in questions}) == len(questions)
    assert all(question.text == question.text.strip() != "" for question in questions)


def test_only_documents_of_the_sample_answer_and_each_answers_something() -> None:
    answering = frozenset().union(*(question.relevant for question in load_questions()))
    assert answering == {document.external_id for document in load_documents()}


def test_there_are_enough_questions_of_each_kind() -> None:
    questions = load_questions()
    kinds = Counter(question.kind for question in questions)
    assert kinds.keys() == {"answerable", "far", "neighbour", "near"}
    assert kinds.pop("answerable") >= 110
    assert min(kinds.values()) >= 30
    assert all(bool(question.relevant) is (question.kind == "answerable") for question in questions)


@pytest.mark.parametrize("curve", [Curve(8.0, 0.6), Curve(0.25, 12.0), Curve(40.0, -0.1)])
def test_the_fit_finds_the_curve_that_the_answers_were_drawn_from(curve: Curve) -> None:
    random = np.random.default_rng(7)
    scores = curve.midpoint + random.normal(-1.0, 2.0, 20_000) / curve.slope
    chances = [curve.relevance(score) for score in scores.tolist()]
    answers = (random.random(len(scores)) < chances).tolist()
    found = fit(scores.tolist(), answers)
    # Five standard errors of the estimates at this size.
    assert found.slope == pytest.approx(curve.slope, rel=0.07)
    assert (found.midpoint - curve.midpoint) * curve.slope == pytest.approx(0, abs=0.12)


def test_classes_that_a_score_separates_leave_the_slope_finite() -> None:
    found = fit([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [False] * 3 + [True] * 3)
    assert found.midpoint == pytest.approx(0.5)
    assert 0 < found.slope < 100


@pytest.mark.parametrize(
    ("scores", "answers"),
    [
        ([0.1, 0.2], [True, True]),
        ([0.1, 0.2], [False, False]),
        ([0.3, 0.3], [True, False]),
        ([0.9, 0.8, 0.2, 0.1], [False, False, True, True]),
    ],
)
def test_a_score_that_tells_nothing_cannot_be_fitted(
    scores: list[float], answers: list[bool]
) -> None:
    with pytest.raises(ValueError, match=r"answer|same"):
        fit(scores, answers)


def test_the_figures_are_taken_from_the_hits() -> None:
    hits = (Hit("a", 2.0, 0.75, True), Hit("b", 1.0, 0.75, False), Hit("c", 0.0, 1.0, True))
    deep = Hit("d", 0.0, 0.0, False)
    asked = Question("answerable-1", "q", frozenset({"a", "c"}))
    answers = [Answer(asked, (*hits, deep)), Answer(Question("far-1", "r", frozenset()), ())]
    assert fitted_hits(answers) == list(hits)
    assert log_loss(hits) == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 3)
    rows = reliability(hits)
    assert (rows[7], rows[9]) == ((2, 0.75, 0.5), (1, 1.0, 1.0))
    assert [row for row in rows if row] == [rows[7], rows[9]]
    assert top_relevances(answers, answerable=True) == [0.75]
    assert top_relevances(answers, answerable=False) == [0.0]
    assert shown_difference([Answer(asked, hits[:1])], Curve(1.0, 2.0)) == pytest.approx(0.25)


@pytest.mark.parametrize("mode", SearchMode)
def test_the_product_shows_the_relevance_that_the_fit_gives(
    sample: Sample, mode: SearchMode
) -> None:
    answers = [sample.ask(question, mode) for question in load_questions()]
    curve = fit_answers(answers)
    assert shown_difference(answers, curve) <= SHOWN_TOLERANCE, curve


def test_the_threshold_of_knowing_is_the_one_that_the_questions_give(sample: Sample) -> None:
    answers = [sample.ask(question, SearchMode.HYBRID) for question in load_questions()]
    assert choose(top_relevances(answers, answerable=True)) == KNOWS_FROM
