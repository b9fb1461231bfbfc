"""Bodies that are read piece by piece say what they say to orjson in one go."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.errors import InvalidRequest
from reaktly_api import json_pieces
from reaktly_api.json_bodies import BIG, decode_object
from reaktly_api.json_pieces import (
    COST_OF_A_VALUE,
    LONGEST_CHARACTER,
    PIECE_COST,
    read_in_pieces,
    structure,
)

# What structure is made of, what hides it, and what must not be cut.
TEXT = st.lists(
    st.sampled_from(
        ["a", "ä", "€", "\U0001f642", '"', "\\", "\n", ",", "[", "]", "{", "}", ":", "\u2028"]
    ),
    max_size=40,
).map("".join)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**12) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)
DAMAGE = st.sampled_from(
    [
        b'"',
        b"\\",
        b",",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b" ",
        b"\n",
        b"\x00",
        b"\xff",
        b"1",
        b"\\ud800",
    ]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    return json.dumps(
        draw(VALUE),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", " :\t")])),
    ).encode()


@contextmanager
def tiny_pieces(cost: int, window: int) -> Iterator[None]:
    with (
        mock.patch.object(json_pieces, "PIECE_COST", cost),
        mock.patch.object(json_pieces, "COST_OF_A_VALUE", cost // 10),
        mock.patch.object(json_pieces, "WINDOW", window),
    ):
        yield


COST, WINDOW = st.integers(LONGEST_CHARACTER + 1, 200), st.integers(1, 100)


@given(body=bodies(), cost=COST, window=WINDOW)
@settings(deadline=None)
def test_pieces_say_together_what_the_whole_says(body: bytes, cost: int, window: int) -> None:
    with tiny_pieces(cost, window):
        assert read_in_pieces(body, structure(body)) == orjson.loads(body)


@given(
    body=bodies(),
    damages=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2), DAMAGE), max_size=3),
    cost=COST,
    window=WINDOW,
)
@settings(deadline=None)
def test_what_orjson_refuses_in_one_go_is_refused_in_pieces(
    body: bytes, damages: list[tuple[int, int, bytes]], cost: int, window: int
) -> None:
    for place, removed, added in damages:
        body = body[:place] + added + body[place + removed :]
    with tiny_pieces(cost, window):
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            with pytest.raises(InvalidRequest, match="body: is not valid JSON in UTF-8"):
                read_in_pieces(body, structure(body))
        else:
            assert read_in_pieces(body, structure(body)) == said


ITEMS = b",\n".join(b'{"content": "%s \xc3\xa4"}' % (b"word " * 200) for _ in range(2_000))


@pytest.mark.parametrize("wrong", [b'{"a": 1,}', b'"\xc3"', b"tru", b'"\n"', b"1 2"])
def test_a_mistake_in_a_big_body_is_told_with_its_place(wrong: bytes) -> None:
    body = b'{"items": [' + ITEMS + b", " + wrong + b", " + ITEMS + b"]}"
    with pytest.raises(orjson.JSONDecodeError) as told:
        orjson.loads(body)
    with pytest.raises(InvalidRequest) as refusal:
        decode_object(body)
    if told.value.pos:  # of bad UTF-8 orjson tells no place
        assert refusal.value.message == f"body: is not valid JSON in UTF-8: {told.value}"


@pytest.mark.parametrize(
    "items",
    [ITEMS + b",", b"," + ITEMS, ITEMS + b",," + ITEMS, ITEMS + b"}", ITEMS + b"]", b"[" + ITEMS],
    ids=["comma behind", "comma before", "two commas", "brace", "too few", "too many"],
)
def test_a_big_list_that_is_none_is_refused(items: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_object(b'{"items": [' + items + b"]}")


@pytest.mark.parametrize(
    "text",
    ["word " * 1_000_000, "a\n" * 1_000_000, "\U0001f642" * 400_000, '\\"' * 800_000],
    ids=["plain", "escapes", "surrogates", "quotes"],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_single_huge_string_is_read_whole(text: str, ensure_ascii: bool) -> None:
    body = json.dumps({"a": [{"b" * 300_000: text}], "c": 1}, ensure_ascii=ensure_ascii).encode()
    assert decode_object(body) == {"a": [{"b" * 300_000: text}], "c": 1}


def test_much_space_between_values_is_passed_over() -> None:
    space = b" \n" * (BIG // 4)
    assert decode_object(b"{" + space + b'"a"' + space + b":[" + space + b"]}" + space) == {"a": []}


def test_of_two_big_members_of_one_name_the_last_counts() -> None:
    body = b'{"a": [' + ITEMS + b'], "b": 0, "a": [1], "a": [' + ITEMS + b",2]}"
    read = decode_object(body)
    assert list(read) == ["a", "b"]
    assert isinstance(read["a"], list)
    assert read["a"][-1] == 2


@pytest.mark.parametrize(
    "value",
    [
        {"items": [{"data": {"content": "word " * 500}}] * 1_000},
        {"items": [{"data": {"content": "word \n" * 400_000}}]},
        {"a": {"b": {"c": [[number] * 10 for number in range(40_000)]}}},
        {"a": {f"name {number}": "word" for number in range(120_000)}},
        {"a": [[]] * 200_000},
    ],
    ids=["items", "string", "deep list", "object", "many in few bytes"],
)
def test_no_piece_keeps_the_interpreter_for_long(value: dict[str, object]) -> None:
    body = orjson.dumps(value)
    with mock.patch.object(json_pieces, "orjson", wraps=orjson) as spied:
        spied.JSONDecodeError = orjson.JSONDecodeError
        assert decode_object(body) == value
    pieces = [call.args[0] for call in spied.loads.call_args_list]
    costs = [len(piece) + COST_OF_A_VALUE * piece.count(b",") for piece in pieces]
    assert len(pieces) > 1
    assert max(costs) <= PIECE_COST + LONGEST_CHARACTER
