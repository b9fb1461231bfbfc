import math

import pytest

from benchmarks.relevance import Sortedness, auc, largest_difference
from benchmarks.retrieval import Column, ndcg


def test_the_ideal_ranking_holds_what_was_not_found_too() -> None:
    assert ndcg(["a", "b"], {"a", "b"}) == 1
    assert ndcg(["a"], {"a", "b"}) == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert ndcg(["x", "a"], {"a"}) == pytest.approx(1 / math.log2(3))
    assert ndcg(["x"] * 10 + ["a"], {"a"}) == 0
    assert ndcg([str(n) for n in range(10)], {str(n) for n in range(30)}) == pytest.approx(1)


@pytest.mark.parametrize(
    ("hybrid", "target", "holds"), [(12, None, True), (11, None, False), (12, 13, False)]
)
def test_a_count_may_be_one_below_the_better_leg_but_not_below_its_target(
    hybrid: int, target: int | None, holds: bool
) -> None:
    column = Column("x", {"hybrid": hybrid, "vector": 13, "text": 2}, 13, target)
    assert column.result().holds is holds


def test_a_mean_may_be_a_hundredth_below_the_better_leg() -> None:
    values = {"vector": 0.5, "text": 0.55}
    assert Column("x", {"hybrid": 0.54, **values}).result().holds
    assert not Column("x", {"hybrid": 0.539, **values}).result().holds
    assert not Column("x", {"hybrid": 0.6, **values}, target=0.61).result().holds


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    assert auc([0.9, 0.8], [0.1, 0.2]) == 1
    assert auc([0.1], [0.9]) == 0
    assert auc([0.5, 0.9], [0.5]) == 0.75


def test_differences_are_taken_of_what_both_found() -> None:
    assert largest_difference({"a": 0.5, "b": 0.1}, {"a": 0.75, "c": 0.9}) == 0.25


@pytest.mark.parametrize(
    ("documents", "passages"),
    [([0.4, 0.5], [[0.4], [0.5]]), ([0.5], [[0.5, 0.6]]), ([1.5], [[1.5]]), ([0.5], [[0.4]])],
)
def test_a_search_out_of_order_is_seen(documents: list[float], passages: list[list[float]]) -> None:
    sortedness = Sortedness()
    sortedness.check("good", [{"relevance": 0.5, "passages": [{"relevance": 0.5}]}])
    assert sortedness.unsorted == []
    results = [
        {"relevance": relevance, "passages": [{"relevance": r} for r in of]}
        for relevance, of in zip(documents, passages, strict=True)
    ]
    sortedness.check("bad", results)
    assert (sortedness.searches, sortedness.unsorted) == (2, ["bad"])
