from datetime import UTC, datetime

import pytest

from benchmarks.calibrate_relevance import Question
from benchmarks.choose_weights import (
    DOCUMENT_SHARES,
    LEXICAL_WEIGHTS,
    MANUALS,
    Asked,
    figures,
)
from llamaindex_reaktly.domain import SearchMode, SourceType
from llamaindex_reaktly.retrieval.ranking import DOCUMENT_SHARE, LEXICAL_WEIGHT
from llamaindex_reaktly.stores.protocol import Candidate, IndexedDocument


def node(document: str, cosine: float, document_cosine: float, bm25: float) -> Candidate:
    return Candidate(
        document=IndexedDocument(
            document_id=document,
            version=1,
            source="manual",
            external_id=document,
            source_type=SourceType.ARTICLE,
            title=document,
            url=None,
            summary=None,
            tags=(),
            language="en",
            attributes={},
            updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        node_id=f"{document}-{cosine}",
        ordinal=0,
        text="",
        headings=(),
        cosine=cosine,
        document_cosine=document_cosine,
        bm25=bm25,
        matched_idf=bm25,
        query_idf=10.0,
    )


def asked(*relevant: str) -> Asked:
    evidence = [
        node("near", 0.6, 0.1, 0.0),
        node("near", 0.2, 0.1, 0.0),
        node("about", 0.5, 0.5, 0.0),
        node("named", 0.1, 0.1, 9.0),
    ]
    return Asked(Question("semantic-1", "q", frozenset(relevant)), evidence)


@pytest.mark.parametrize(
    ("weight", "share", "first"),
    [(0.1, 0.0, "near"), (0.1, 0.5, "about"), (0.8, 0.5, "named")],
)
def test_the_weights_decide_which_document_comes_first(
    weight: float, share: float, first: str
) -> None:
    assert asked(first).rank(SearchMode.HYBRID, weight, share) == 1


def test_of_several_documents_that_answer_the_best_one_counts() -> None:
    assert asked("about", "named").rank(SearchMode.VECTOR, 0.0, 0.0) == 2
    assert asked("nowhere").rank(SearchMode.VECTOR, 0.0, 0.0) == float("inf")


def test_what_was_not_found_counts_as_nothing() -> None:
    assert figures([1, 2, float("inf"), 6]) == "0.417 1/2/3"


def test_the_weights_in_use_are_among_those_that_are_compared() -> None:
    assert LEXICAL_WEIGHT in LEXICAL_WEIGHTS
    assert DOCUMENT_SHARE in DOCUMENT_SHARES


@pytest.mark.parametrize("name", MANUALS)
def test_the_questions_to_a_manual_are_distinct_and_of_every_kind(name: str) -> None:
    questions = MANUALS[name].questions()
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.text.casefold() for question in questions}) == len(questions)
    assert all(question.relevant for question in questions)
    assert {question.kind for question in questions} == {
        "lexical", "semantic", "howto", "narrative",
    }  # fmt: skip
