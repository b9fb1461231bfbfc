"""The filter language as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.errors import InvalidRequest
from llamaindex_reaktly.filters import And, Comparison, Not, Operator, Or, parse_filter


def test_a_bare_value_is_equality_and_several_fields_must_all_hold() -> None:
    assert parse_filter(
        {"sourceType": "PRODUCT", "sourceData.price": {"gte": 10, "lt": 20}}
    ) == And(
        (
            Comparison("sourceType", Operator.EQ, "PRODUCT"),
            Comparison("sourceData.price", Operator.GTE, 10),
            Comparison("sourceData.price", Operator.LT, 20),
        )
    )


def test_and_or_and_not_nest() -> None:
    tags = Comparison("tags", Operator.ANY, ("a", "b"))
    url = Comparison("url", Operator.EXISTS, True)
    raw = {"or": [{"not": {"tags": {"any": ["a", "b"]}}}, {"and": [{"url": {"exists": True}}]}]}
    assert parse_filter(raw) == Or((Not(tags), And((url,))))


@pytest.mark.parametrize("raw", [None, {}])
def test_no_filter_is_none(raw: object) -> None:
    assert parse_filter(raw) is None


def _nested(levels: int) -> dict[str, object]:
    inner: dict[str, object] = {"url": "x"}
    for _ in range(levels):
        inner = {"not": inner}
    return inner


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "filters"),
        ("x", "filters"),
        ({"price": 1}, "filters.price"),
        ({"sourceData.": 1}, "filters.sourceData."),
        ({"a' OR 1=1 --": 1}, "filters.a' OR 1=1 --"),
        ({"url": {"like": "x"}}, "filters.url"),
        ({"url": {}}, "filters.url"),
        ({"url": None}, "filters.url.eq"),
        ({"url": {"eq": {"x": 1}}}, "filters.url.eq"),
        ({"url": {"in": "x"}}, "filters.url.in"),
        ({"url": {"in": [["x"]]}}, "filters.url.in"),
        ({"url": {"exists": "yes"}}, "filters.url.exists"),
        ({"url": {"gt": True}}, "filters.url.gt"),
        ({"url": "a\x00b"}, "filters.url.eq"),
        ({"sourceData.x": float("nan")}, "filters.sourceData.x.eq"),
        ({"and": {}}, "filters.and"),
        ({"or": ["x"]}, "filters.or[0]"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_and_its_place_named(
    raw: object, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(raw)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "raw",
    [
        _nested(500),
        {"or": [{"url": str(i)} for i in range(1000)]},
        {"url": {"in": [str(i) for i in range(10_001)]}},
    ],
)
def test_a_filter_without_measure_is_refused(raw: object) -> None:
    with pytest.raises(InvalidRequest):
        parse_filter(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "url", "sourceData.x", "eq", "in", "nope"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_whatever_comes_is_parsed_or_refused_and_nothing_else(raw: object) -> None:
    try:
        parse_filter(raw)
    except InvalidRequest as error:
        json.dumps(error.message)
