"""The filter language: one small tree, parsed from JSON at the edge, compiled by each store.

    {"field": value}                      equality
    {"field": {"gte": 10, "lt": 20}}      operators, all of which must hold
    {"and": [...]}, {"or": [...]}, {"not": {...}}
    {"a": 1, "b": 2}                      several fields: all must hold

A document without a field satisfies only `ne`, `nin`, `not` and `exists: false`.
A list-valued field (tags, or a list of strings in `sourceData`) satisfies `eq`,
`in`, `gt`… when one of its values does.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

from llamaindex_reaktly.errors import InvalidRequest

FIXED_FIELDS = frozenset(
    {"integrationId", "externalId", "sourceType", "url", "tags", "language", "updatedAt"}
)
ATTRIBUTE_PREFIX = "sourceData."
MAX_DEPTH = 16
MAX_CONDITIONS = 256
MAX_VALUES = 10_000
# Of a path in a refusal: its names are the caller's.
MAX_PATH = 256

Scalar = str | int | float | bool


class Operator(enum.StrEnum):
    """How a field is compared. `any` and `all` compare a list-valued field with a list."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    ANY = "any"
    ALL = "all"
    EXISTS = "exists"


LIST_OPERATORS = frozenset({Operator.IN, Operator.NIN, Operator.ANY, Operator.ALL})
ORDER_OPERATORS = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; `value` is a tuple exactly for the list operators."""

    field: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All of the operands hold (true when there are none)."""

    operands: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the operands holds (false when there are none)."""

    operands: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The operand does not hold."""

    operand: "Filter"


Filter = Comparison | And | Or | Not


def parse_filter(raw: object, *, path: str = "filters") -> Filter | None:
    """Build a `Filter` from decoded JSON; None for an absent or empty filter.

    Raises `InvalidRequest` naming the offending path.
    """
    if raw is None or raw == {}:
        return None
    budget = [MAX_CONDITIONS]
    return _parse_object(raw, path, depth=0, budget=budget)


def _wrong(path: str, what: str) -> InvalidRequest:
    path = path[:MAX_PATH]
    return InvalidRequest(f"{path}: {what}", field=path)


def _parse_object(raw: object, path: str, *, depth: int, budget: list[int]) -> Filter:
    if not isinstance(raw, Mapping):
        raise _wrong(path, "must be an object")
    if depth > MAX_DEPTH:
        raise _wrong(path, f"filters are nested deeper than {MAX_DEPTH} levels")
    parts: list[Filter] = []
    for name, value in raw.items():
        inner = f"{path}.{name}"
        if name in ("and", "or"):
            if not isinstance(value, list):
                raise _wrong(inner, "must be a list of filters")
            operands = tuple(
                _parse_object(item, f"{inner}[{i}]", depth=depth + 1, budget=budget)
                for i, item in enumerate(value)
            )
            parts.append(And(operands) if name == "and" else Or(operands))
        elif name == "not":
            parts.append(Not(_parse_object(value, inner, depth=depth + 1, budget=budget)))
        else:
            parts.extend(_parse_field(name, value, inner, budget))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_field(name: object, value: object, path: str, budget: list[int]) -> list[Filter]:
    if not isinstance(name, str) or not _is_known_field(name):
        known = ", ".join(sorted(FIXED_FIELDS))
        raise _wrong(path, f"unknown field; use one of {known} or sourceData.NAME")
    conditions = value if isinstance(value, Mapping) else {Operator.EQ.value: value}
    if not conditions:
        raise _wrong(path, "has no operator")
    budget[0] -= len(conditions)
    if budget[0] < 0:
        raise _wrong(path, f"filters hold more than {MAX_CONDITIONS} conditions")
    return [_parse_comparison(name, key, operand, path) for key, operand in conditions.items()]


def _is_known_field(name: str) -> bool:
    return name in FIXED_FIELDS or (
        name.startswith(ATTRIBUTE_PREFIX) and len(name) > len(ATTRIBUTE_PREFIX)
    )


def _parse_comparison(name: str, key: object, operand: object, path: str) -> Comparison:
    try:
        operator = Operator(str(key))
    except ValueError:
        known = ", ".join(Operator)
        raise _wrong(path, f"unknown operator; use one of {known}") from None
    inner = f"{path}.{operator}"
    if operator in LIST_OPERATORS:
        if not isinstance(operand, list):
            raise _wrong(inner, "must be a list")
        if len(operand) > MAX_VALUES:
            raise _wrong(inner, f"holds more than {MAX_VALUES} values")
        return Comparison(name, operator, tuple(_scalar(item, inner) for item in operand))
    if operator is Operator.EXISTS and not isinstance(operand, bool):
        raise _wrong(inner, "must be true or false")
    scalar = _scalar(operand, inner)
    if operator in ORDER_OPERATORS and isinstance(scalar, bool):
        raise _wrong(inner, "must be a number or a string")
    return Comparison(name, operator, scalar)


def _scalar(value: object, path: str) -> Scalar:
    if isinstance(value, str | bool | int | float):
        if isinstance(value, str) and "\x00" in value:
            raise _wrong(path, "holds a NUL character")
        if isinstance(value, float) and not math.isfinite(value):
            raise _wrong(path, "must be a finite number")
        return value
    raise _wrong(path, "must be a string, a number or a boolean")
