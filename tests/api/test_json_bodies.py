import time
from contextlib import suppress

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.errors import InvalidRequest, ReaktlyError, TooLarge, UnsupportedMediaType
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api.json_bodies import BIG, SMALL, decode_object, gathered, require_json
from reaktly_api.json_pieces import MAX_VALUES

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            TEXT,
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.fixture
def knowledge_base(shared_knowledge_base: KnowledgeBase) -> KnowledgeBase:
    return shared_knowledge_base


@given(st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4))
def test_what_is_json_is_read_as_it_was_meant(value: dict[str, object]) -> None:
    assert decode_object(orjson.dumps(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(decode_object(body), dict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"a":1}{"b":2}',
        b'{"a":1}\n{"b":2}\n',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":"\x00"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80\xed\xb0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-16"),
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"{" + b'"' * 1_000_001,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_json_object_is_refused_naming_the_body(body: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises((InvalidRequest, TooLarge)) as refusal:
        decode_object(body)
    assert "body" in refusal.value.message
    assert time.perf_counter() - started < 5


@given(st.lists(st.integers(0, 3 * SMALL // 2), max_size=4))
@settings(max_examples=20)
def test_chunks_make_the_body_that_they_were_cut_from(sizes: list[int]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    whole = b"".join(chunks)
    assert bytes(gathered(chunks)) == whole


def test_a_body_is_read_the_same_from_bytes_and_from_memory() -> None:
    for size in (1, SMALL, BIG):
        body = b'\xef\xbb\xbf {"a":["' + b"x" * size + b'"], "b": [1, 2]}'
        assert decode_object(memoryview(body)) == decode_object(body)
        with pytest.raises(InvalidRequest, match="NUL"):
            decode_object(memoryview(body.replace(b"x", rb"\u0000", 1)))


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode_object(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (rb'{"a":"x\u0000"}', "a"),
        (rb'{"a":{"b":[1,"\u0000"]}}', "a.b[1]"),
        (rb'{"a":{"\u0000":1}}', "a"),
        (rb'{"\u0000":1}', "body"),
    ],
)
def test_a_nul_is_refused_naming_where_it_is(body: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        decode_object(body)
    assert refusal.value.field == field


@pytest.mark.parametrize("around", [0, SMALL, BIG - 8, BIG - 3, BIG, 2 * BIG + 1])
def test_a_nul_is_found_wherever_it_is_in_a_body_of_any_size(around: int) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        decode_object(b'{"a":"' + b"x" * around + rb"\\\u0000" + b"y" * around + b'"}')
    assert refusal.value.field == "a"
    decode_object(b'{"a":"' + b"x" * around + rb"\\u0000" + b"y" * around + b'"}')


def test_text_that_speaks_of_the_escape_is_no_nul() -> None:
    assert decode_object(rb'{"a":"write \\u0000"}') == {"a": r"write \u0000"}


@pytest.mark.parametrize(("depth", "accepted"), [(64, True), (65, False), (200, False)])
def test_nesting_has_a_limit(depth: int, accepted: bool) -> None:
    body = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
    if accepted:
        decode_object(body)
    else:
        with pytest.raises(InvalidRequest, match="deeper than 64"):
            decode_object(body)


def test_millions_of_tiny_values_are_refused_before_they_are_made() -> None:
    body = b'{"a":[' + b"[]," * (MAX_VALUES + 1) + b"[]]}"
    with pytest.raises(TooLarge, match="values"):
        decode_object(body)


def test_commas_and_brackets_of_the_text_do_not_count_as_values() -> None:
    text = 'a,[{\\"' * (MAX_VALUES // 2)
    assert decode_object(orjson.dumps({"a": text})) == {"a": text}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + rb"\"" * 3_000_000 + b"," * (MAX_VALUES + 1),
        b'"' * 2_000_000 + b"," * (MAX_VALUES + 1),
        b"\\" * 2_000_000 + b"," * (MAX_VALUES + 1),
    ],
    ids=["escaped quotes without an end", "quotes", "backslashes"],
)
def test_counting_values_takes_a_look_at_each_byte_once(body: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(ReaktlyError):
        decode_object(body)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/json; charset=utf8",
        "application/json; profile=x",
        "application/vnd.api+json",
    ],
)
def test_json_in_utf8_or_nothing_declared_is_read(header: str | None) -> None:
    require_json(header)


@pytest.mark.parametrize(
    "header",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=x-does-not-exist",
        "application/xml",
        "json",
        ";",
    ],
)
async def test_another_type_or_charset_is_a_415(client: httpx.AsyncClient, header: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        require_json(header)
    response = await client.post("/ingest", content=b"{}", headers={"content-type": header})
    assert response.status_code == 415
    assert response.json()["statusCode"] == 415
