"""Filters on a Weaviate that knows nothing of our fields: one list of tokens a node.

Every filterable value of a document is a token, or some, of the property `attr`, which is
tokenised as FIELD: a token matches as a whole and with its case. So any key can be filtered
by, without a schema that grows. Names and values are digests, or encoded, because FIELD
drops white space at the edges and LIKE has no escape for its wildcards.

    =DIGEST          field, kind and value: equality
    ]DIGEST          the same, of an item of a list
    xFIELD           the field has a value
    nFIELD HEX…      a number, as every prefix of its order-preserving bits in hexadecimal:
                     a range is some dozens of prefixes (a trie, as Lucene's points had it)
    sFIELD TEXT      a single string, for the strings that contain another
    SFIELD           a single string that is too long for that

What the tokens cannot decide (strings in order, parts of long strings, integers that no
double holds) is narrowed down by them, from above and from below, and settled by
`filter_match` on the documents that come back.
"""

import base64
import functools
import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from weaviate.classes.query import Filter as ServerFilter
from weaviate.collections.classes.filters import FilterReturn

from llamaindex_reaktly.filters import And, Comparison, Filter, Not, Operator, Or
from llamaindex_reaktly.stores.filter_sql import (
    CASEFOLDED,
    DOCUMENT_ID_FIELD,
    SOURCE_FIELD,
    FieldValue,
    SqlValue,
    field_values,
    operands,
)
from llamaindex_reaktly.stores.protocol import IndexedDocument

PROPERTY = "attr"
MAX_TEXT = 256
"""Longer strings are not indexed by their parts."""

_SHORT = 64
_NIBBLES = 16
_EXACT_DOUBLES = 2.0**53
# Two private characters stand for one that FIELD or LIKE would touch. The first and the
# second come from sets of their own, so no part of an encoding is another character's.
_FIRST, _SECOND, _END = 0x10FD00, 0x10FE00, 0x10FEFF
_TOUCHED = frozenset("*?\\")


# What is asked of the server, before it is put into its words.


@dataclass(frozen=True, slots=True)
class _Tokens:
    """At least one of these tokens."""

    tokens: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Like:
    """A token of this pattern."""

    pattern: str


@dataclass(frozen=True, slots=True)
class _All:
    parts: tuple["_Where", ...]


@dataclass(frozen=True, slots=True)
class _Any:
    parts: tuple["_Where", ...]


@dataclass(frozen=True, slots=True)
class _None:
    part: "_Where"


_Where = _Tokens | _Like | _All | _Any | _None
_EVERYTHING = _All(())
_NOTHING = _Any(())


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Holds for every document that `under` holds for, and for none that `over` does not."""

    over: _Where
    under: _Where


@dataclass(frozen=True, slots=True)
class ServerCondition:
    """A filter as the server can answer it.

    `where` is None where it admits everything; `admits_nothing` needs no server. Unless
    `is_exact`, what comes back must still be matched.
    """

    where: FilterReturn | None
    admits_nothing: bool
    is_exact: bool


def tokens_of(document: IndexedDocument) -> list[str]:
    """The tokens of everything that a filter can name, each once."""
    tokens: dict[str, None] = {}
    for value in field_values(document):
        tokens.update(dict.fromkeys(_tokens_of_value(value)))
    return list(tokens)


def _tokens_of_value(value: FieldValue) -> Iterable[str]:
    if isinstance(value.value, str) and len(value.value) > _SHORT:
        return _new_tokens(value)
    return _known_tokens(value)


# Most values are those of many documents: their languages, sources, tags, days.
@functools.lru_cache(maxsize=4_096)
def _known_tokens(value: FieldValue) -> tuple[str, ...]:
    return tuple(_new_tokens(value))


def _new_tokens(value: FieldValue) -> Iterator[str]:
    field = _field(value.field)
    yield f"={_digest(value.field, value.kind, value.value)}"
    if value.field in (DOCUMENT_ID_FIELD, SOURCE_FIELD):
        return  # our own, compared whole only
    yield f"x{field}"
    if value.in_list:
        yield f"]{_digest(value.field, value.kind, value.value)}"
    elif isinstance(value.value, str):
        text = _encoded(value.value)
        yield f"S{field}" if text is None or len(value.value) > MAX_TEXT else f"s{field}{text}"
    if value.kind in "nt" and not isinstance(value.value, str):
        key = f"{_ordered_bits(float(value.value)):016x}"
        for length in range(1, _NIBBLES + 1):
            yield f"n{field}{key[:length]}"


def compile_for_server(filter_: Filter) -> ServerCondition:
    """The filter for the server. Raises `InvalidRequest` for a value that cannot be compared."""
    bounds = _compile(filter_)
    return ServerCondition(
        where=None if bounds.over in (_EVERYTHING, _NOTHING) else _in_its_words(bounds.over),
        admits_nothing=bounds.over == _NOTHING,
        is_exact=bounds.over == bounds.under,
    )


def _compile(filter_: Filter) -> _Bounds:
    match filter_:
        case And(parts):
            bounds = [_compile(part) for part in parts]
            return _Bounds(_all(b.over for b in bounds), _all(b.under for b in bounds))
        case Or(parts):
            bounds = [_compile(part) for part in parts]
            return _Bounds(_any(b.over for b in bounds), _any(b.under for b in bounds))
        case Not(part):
            inner = _compile(part)
            return _Bounds(_none(inner.under), _none(inner.over))
        case Comparison():
            return _compared(filter_)


def _all(parts: Iterable[_Where]) -> _Where:
    kept: dict[_Where, None] = {}
    for part in parts:
        if part == _NOTHING:
            return _NOTHING
        kept.update(dict.fromkeys(part.parts if isinstance(part, _All) else (part,)))
    return next(iter(kept)) if len(kept) == 1 else _All(tuple(kept))


def _any(parts: Iterable[_Where]) -> _Where:
    kept: dict[_Where, None] = {}
    tokens: set[str] = set()
    for part in parts:
        if part == _EVERYTHING:
            return _EVERYTHING
        for one in part.parts if isinstance(part, _Any) else (part,):
            if isinstance(one, _Tokens):
                tokens |= one.tokens
            else:
                kept[one] = None
    joined: list[_Where] = [_Tokens(frozenset(tokens))] if tokens else []
    joined += kept
    return joined[0] if len(joined) == 1 else _Any(tuple(joined))


def _none(part: _Where) -> _Where:
    if part in (_EVERYTHING, _NOTHING):
        return _NOTHING if part == _EVERYTHING else _EVERYTHING
    return part.part if isinstance(part, _None) else _None(part)


def _in_its_words(where: _Where) -> FilterReturn:
    match where:
        case _Tokens(tokens):
            return ServerFilter.by_property(PROPERTY).contains_any(sorted(tokens))
        case _Like(pattern):
            return ServerFilter.by_property(PROPERTY).like(pattern)
        case _All(parts):
            return ServerFilter.all_of([_in_its_words(part) for part in parts])
        case _Any(parts):
            return ServerFilter.any_of([_in_its_words(part) for part in parts])
        case _None(_Tokens(tokens)):
            return ServerFilter.by_property(PROPERTY).contains_none(sorted(tokens))
        case _None(part):
            return ServerFilter.not_(_in_its_words(part))


# Comparisons


def _compared(comparison: Comparison) -> _Bounds:
    if comparison.field.startswith(CASEFOLDED):
        # A LlamaIndex operator that few use: the documents themselves are looked at.
        name = comparison.field.removeprefix(CASEFOLDED)
        operands(comparison)
        return _Bounds(_token(f"x{_field(name)}"), _NOTHING)
    return _COMPARISONS[comparison.operator](comparison)


def _exactly(where: _Where) -> _Bounds:
    return _Bounds(where, where)


def _token(token: str) -> _Where:
    return _Tokens(frozenset((token,)))


def _among(comparison: Comparison) -> _Bounds:
    found = (f"={_digest(comparison.field, *operand)}" for operand in operands(comparison))
    return _exactly(_any(_token(token) for token in found))


def _with_all(comparison: Comparison) -> _Bounds:
    found = (f"={_digest(comparison.field, *operand)}" for operand in operands(comparison))
    return _exactly(_all(_token(token) for token in found))


def _existing(comparison: Comparison) -> _Bounds:
    present = _token(f"x{_field(comparison.field)}")
    return _exactly(present if comparison.value else _none(present))


def _containing(comparison: Comparison) -> _Bounds:
    [(kind, value)] = operands(comparison)
    in_list = _token(f"]{_digest(comparison.field, kind, value)}")
    if not isinstance(value, str):
        return _exactly(in_list)
    field, text = _field(comparison.field), _encoded(value)
    too_long = _token(f"S{field}")
    if text is None:
        return _Bounds(_any((in_list, too_long)), in_list)
    part = _Like(f"s{field}*{text}*" if text else f"s{field}*")
    return _Bounds(_any((in_list, part, too_long)), _any((in_list, part)))


def _ordered(*, above: bool, inclusive: bool) -> Callable[[Comparison], _Bounds]:
    def compared(comparison: Comparison) -> _Bounds:
        [(_, value)] = operands(comparison)
        field = _field(comparison.field)
        if isinstance(value, str):
            return _Bounds(_token(f"x{field}"), _NOTHING)
        bound = float(value)
        over = _range(field, bound, above=above, inclusive=True)
        under = _range(field, bound, above=above, inclusive=False)
        if abs(bound) < _EXACT_DOUBLES:
            return _exactly(over if inclusive else under)
        # Integers beyond are rounded to doubles, the bound's neighbours onto the bound.
        return _Bounds(over, under)

    return compared


_COMPARISONS: Mapping[Operator, Callable[[Comparison], _Bounds]] = {
    Operator.EQ: _among,
    Operator.NE: lambda comparison: _exactly(_none(_among(comparison).over)),
    Operator.GT: _ordered(above=True, inclusive=False),
    Operator.GTE: _ordered(above=True, inclusive=True),
    Operator.LT: _ordered(above=False, inclusive=False),
    Operator.LTE: _ordered(above=False, inclusive=True),
    Operator.IN: _among,
    Operator.NIN: lambda comparison: _exactly(_none(_among(comparison).over)),
    Operator.CONTAINS: _containing,
    Operator.ANY: _among,
    Operator.ALL: _with_all,
    Operator.EXISTS: _existing,
}


# Tokens


def digest(*parts: str) -> str:
    """128 bits that name these parts and no others, without white space or wildcards."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big"))
        hashed.update(encoded)
    return base64.urlsafe_b64encode(hashed.digest()).decode().rstrip("=")


def _digest(field: str, kind: str, value: SqlValue) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 5.0 equals 5
    return digest(field, kind, value if isinstance(value, str) else repr(value))


@functools.lru_cache(maxsize=4_096)
def _field(name: str) -> str:
    return digest(name)[:16]


def _encoded(text: str) -> str | None:
    """The text without what FIELD or LIKE would touch; None where it cannot be had."""
    if any(_FIRST <= ord(c) <= _END for c in text):
        return None
    return "".join(_encoded_character(c) if _is_touched(c) else c for c in text)


def _is_touched(character: str) -> bool:
    return (
        character in _TOUCHED
        or character.isspace()
        or (not character.isprintable() and ord(character) < 0x10000)
    )


def _encoded_character(character: str) -> str:
    code = ord(character)
    return chr(_FIRST + (code >> 8)) + chr(_SECOND + (code & 0xFF))


def _ordered_bits(number: float) -> int:
    """64 bits that compare as the numbers do."""
    # Adding nought makes -0.0 the other one.
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    return int(bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63))


def _range(field: str, bound: float, *, above: bool, inclusive: bool) -> _Where:
    key = _ordered_bits(bound)
    if above:
        low, high = key + (not inclusive), _ordered_bits(math.inf)
    else:
        low, high = _ordered_bits(-math.inf), key - (not inclusive)
    tokens = frozenset(f"n{field}{prefix}" for prefix in _cover(low, high))
    return _Tokens(tokens) if tokens else _NOTHING


def _cover(low: int, high: int) -> Iterator[str]:
    """The fewest prefixes whose numbers are just those from `low` to `high`."""
    while low <= high:
        length = _NIBBLES
        # As long as a block begins here and ends within, its prefix is one shorter.
        while length > 1:
            size = 1 << 4 * (_NIBBLES - length + 1)
            if low % size or low + size - 1 > high:
                break
            length -= 1
        yield f"{low:016x}"[:length]
        low += 1 << 4 * (_NIBBLES - length)
