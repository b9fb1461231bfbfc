"""Filters as SQL: one condition over the `documents` table, every value a bound parameter.

Every filterable value of a document is a row of `field_values`, so each comparison is a
set of documents, and what negates one is that set's complement. From this follows what
the filter language says of missing fields: they satisfy only `ne`, `nin`, `not` and
`exists: false` (and `all: []`, which asks nothing).

Values compare within their kind: strings by code point, numbers by value (5 equals 5.0),
booleans with booleans; `true` never equals 1 nor "5" 5. `updatedAt` is a time and is
compared with ISO 8601 dates or times, UTC where they name no zone. `contains` holds for
a list that has the value and for a single string that has it as a part. An empty list and
a null are as good as a missing field.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llamaindex_reaktly.domain import JsonValue
from llamaindex_reaktly.errors import InvalidRequest
from llamaindex_reaktly.filters import And, Comparison, Filter, Not, Operator, Or, Scalar
from llamaindex_reaktly.stores.protocol import IndexedDocument

INTEGRATION_SOURCE = "integration:"
DOCUMENT_ID_FIELD = "documentId"
SOURCE_FIELD = "source"
"""Filterable beside the fields of the filter language; callers' filters cannot name them."""

CASEFOLDED = "casefold "
"""Before a field's name: its strings are compared case folded (LlamaIndex's
`text_match_insensitive`); the caller folds the value. Callers' filters cannot name it."""

CASEFOLD_FUNCTION = "reaktly_casefold"

_MAX_PARAMETERS = 200_000  # SQLite's own limit is 250,000
_TIME_FIELD = "updatedAt"

SqlValue = str | int | float
Typed = tuple[str, SqlValue]


@dataclass(frozen=True, slots=True)
class FieldValue:
    """One value of one field of a document, as it is stored."""

    field: str
    kind: str
    value: SqlValue
    in_list: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """An SQL condition over `documents` with its parameters in order."""

    sql: str
    parameters: tuple[SqlValue, ...] = field(default=())


_TRUE = Condition("1")
_FALSE = Condition("0")


def field_values(document: IndexedDocument) -> list[FieldValue]:
    """Everything of a document that a filter can name, each value once."""
    fixed: dict[str, JsonValue] = {
        DOCUMENT_ID_FIELD: document.document_id,
        SOURCE_FIELD: document.source,
        "externalId": document.external_id,
        "sourceType": document.source_type.value,
        "url": document.url,
        "language": document.language,
        "tags": list(document.tags),
    }
    if document.source.startswith(INTEGRATION_SOURCE):
        fixed["integrationId"] = document.source.removeprefix(INTEGRATION_SOURCE)
    values: dict[tuple[str, str, SqlValue], bool] = {
        (_TIME_FIELD, "t", microseconds(document.updated_at)): False
    }
    for name, value in fixed.items():
        _collect(values, name, value)
    for name, value in document.attributes.items():
        _collect(values, f"sourceData.{name}", value)
    return [FieldValue(name, kind, value, many) for (name, kind, value), many in values.items()]


def _collect(values: dict[tuple[str, str, SqlValue], bool], name: str, value: JsonValue) -> None:
    in_list = isinstance(value, list)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str | int | float):
            kind, stored = _typed(item)
            if not (isinstance(stored, float) and math.isnan(stored)):
                values[name, kind, stored] = in_list


def microseconds(moment: datetime) -> int:
    """Since 1970; a time without a zone is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _typed(value: Scalar) -> Typed:
    if isinstance(value, bool):
        return "b", int(value)
    if isinstance(value, str):
        return "s", value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            return "n", float(value)
        except OverflowError:
            return "n", math.copysign(math.inf, value)
    return "n", value


def compile_filter(filter_: Filter) -> Condition:
    """The filter as a condition. Raises `InvalidRequest` for a value that cannot be compared."""
    condition = _compile(filter_)
    if len(condition.parameters) > _MAX_PARAMETERS:
        raise InvalidRequest(
            f"filters: hold more than {_MAX_PARAMETERS} values in all", field="filters"
        )
    return condition


def _compile(filter_: Filter) -> Condition:
    match filter_:
        case And(operands):
            return _joined([_compile(operand) for operand in operands], "AND", _TRUE, _FALSE)
        case Or(operands):
            return _joined([_compile(operand) for operand in operands], "OR", _FALSE, _TRUE)
        case Not(operand):
            return _negated(_compile(operand))
        case Comparison():
            return _COMPARISONS[filter_.operator](filter_)


def _joined(
    conditions: Iterable[Condition], word: str, neutral: Condition, absorbing: Condition
) -> Condition:
    parts = [condition for condition in conditions if condition != neutral]
    if not parts:
        return neutral
    if absorbing in parts:
        return absorbing
    # A balanced tree: SQLite refuses expressions deeper than 1,000.
    while len(parts) > 1:
        parts = [
            Condition(
                f"({parts[i].sql} {word} {parts[i + 1].sql})",
                parts[i].parameters + parts[i + 1].parameters,
            )
            if i + 1 < len(parts)
            else parts[i]
            for i in range(0, len(parts), 2)
        ]
    return parts[0]


def _negated(condition: Condition) -> Condition:
    if condition in (_TRUE, _FALSE):
        return _FALSE if condition == _TRUE else _TRUE
    return Condition(f"(NOT {condition.sql})", condition.parameters)


def _documents_where(name: str, sql: str, parameters: Iterable[SqlValue]) -> Condition:
    return Condition(
        f"(documents.id IN (SELECT document FROM field_values WHERE field = ? AND {sql}))",  # noqa: S608 (fixed names; values are bound)
        (name.removeprefix(CASEFOLDED), *parameters),
    )


def _column(name: str) -> str:
    return f"{CASEFOLD_FUNCTION}(value)" if name.startswith(CASEFOLDED) else "value"


def operands(comparison: Comparison) -> list[Typed]:
    """What to compare with, each value once. Raises `InvalidRequest` for a time that is none."""
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    if comparison.field != _TIME_FIELD:
        return list(dict.fromkeys(_typed(value) for value in values))
    return list(dict.fromkeys(("t", _moment(value)) for value in values))


def _moment(value: Scalar) -> int:
    if isinstance(value, str):
        try:
            return microseconds(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            pass
    path = f"filters.{_TIME_FIELD}"
    raise InvalidRequest(f"{path}: is compared with an ISO 8601 date or time", field=path)


def _ordered(sign: str) -> Callable[[Comparison], Condition]:
    def compiled(comparison: Comparison) -> Condition:
        [(kind, value)] = operands(comparison)
        return _documents_where(
            comparison.field, f"kind = ? AND {_column(comparison.field)} {sign} ?", (kind, value)
        )

    return compiled


def _among(comparison: Comparison) -> Condition:
    wanted = operands(comparison)
    if not wanted:
        return _FALSE
    sql, parameters = _value_is_one_of(wanted, _column(comparison.field))
    return _documents_where(comparison.field, sql, parameters)


def _with_all(comparison: Comparison) -> Condition:
    wanted = operands(comparison)
    if not wanted:
        return _TRUE
    sql, parameters = _value_is_one_of(wanted, _column(comparison.field))
    return _documents_where(
        comparison.field,
        f"{sql} GROUP BY document HAVING count(*) = ?",
        (*parameters, len(wanted)),
    )


def _value_is_one_of(wanted: list[Typed], column: str) -> tuple[str, list[SqlValue]]:
    by_kind: Mapping[str, list[SqlValue]] = defaultdict(list)
    for kind, value in wanted:
        by_kind[kind].append(value)
    alternatives = [
        f"(kind = ? AND {column} IN ({', '.join('?' * len(values))}))"
        for values in by_kind.values()
    ]
    parameters = [item for kind, values in by_kind.items() for item in (kind, *values)]
    return f"({' OR '.join(alternatives)})", parameters


def _containing(comparison: Comparison) -> Condition:
    [(kind, value)] = operands(comparison)
    column = _column(comparison.field)
    return _documents_where(
        comparison.field,
        f"kind = ? AND CASE WHEN in_list THEN {column} = ?"
        f" ELSE kind = 's' AND instr({column}, ?) > 0 END",
        (kind, value, value),
    )


def _existing(comparison: Comparison) -> Condition:
    present = _documents_where(comparison.field, "1", ())
    return present if comparison.value else _negated(present)


_COMPARISONS: Mapping[Operator, Callable[[Comparison], Condition]] = {
    Operator.EQ: _ordered("="),
    Operator.NE: lambda comparison: _negated(_ordered("=")(comparison)),
    Operator.GT: _ordered(">"),
    Operator.GTE: _ordered(">="),
    Operator.LT: _ordered("<"),
    Operator.LTE: _ordered("<="),
    Operator.IN: _among,
    Operator.NIN: lambda comparison: _negated(_among(comparison)),
    Operator.CONTAINS: _containing,
    Operator.ANY: _among,
    Operator.ALL: _with_all,
    Operator.EXISTS: _existing,
}
