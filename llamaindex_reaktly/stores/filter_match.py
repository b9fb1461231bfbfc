"""Whether a filter holds for a document, decided from the document alone.

The meaning is that of `filter_sql`, whose field values it compares; a store whose server
can only narrow a filter down settles the rest with it.
"""

from collections.abc import Callable, Mapping, Sequence

from llamaindex_reaktly.filters import And, Comparison, Filter, Not, Operator, Or
from llamaindex_reaktly.stores.filter_sql import (
    CASEFOLDED,
    FieldValue,
    SqlValue,
    Typed,
    field_values,
    operands,
)
from llamaindex_reaktly.stores.protocol import IndexedDocument

Values = Mapping[str, Sequence[FieldValue]]


def values_by_field(document: IndexedDocument) -> Values:
    """What `holds` compares."""
    grouped: dict[str, list[FieldValue]] = {}
    for value in field_values(document):
        grouped.setdefault(value.field, []).append(value)
    return grouped


def holds(filter_: Filter, values: Values) -> bool:
    """Whether the document with these values satisfies the filter.

    Raises `InvalidRequest` for a value that cannot be compared.
    """
    match filter_:
        case And(parts):
            return all(holds(part, values) for part in parts)
        case Or(parts):
            return any(holds(part, values) for part in parts)
        case Not(part):
            return not holds(part, values)
        case Comparison():
            return _compares(filter_, values)


def _compares(comparison: Comparison, values: Values) -> bool:
    name = comparison.field.removeprefix(CASEFOLDED)
    have = values.get(name, ())
    if comparison.field != name:
        have = [_casefolded(value) for value in have]
    if comparison.operator is Operator.EXISTS:
        return bool(have) is comparison.value
    want = operands(comparison)
    test = _TESTS[comparison.operator]
    return test(have, want)


def _casefolded(value: FieldValue) -> FieldValue:
    if not isinstance(value.value, str):
        return value
    return FieldValue(value.field, value.kind, value.value.casefold(), value.in_list)


def _one_of(have: Sequence[FieldValue], want: Sequence[Typed]) -> bool:
    return any((value.kind, value.value) in want for value in have)


def _all_of(have: Sequence[FieldValue], want: Sequence[Typed]) -> bool:
    return all(_one_of(have, [one]) for one in want)


def _contains(have: Sequence[FieldValue], want: Sequence[Typed]) -> bool:
    [(kind, wanted)] = want

    def has(value: FieldValue) -> bool:
        if value.kind != kind:
            return False
        if value.in_list:
            return value.value == wanted
        return isinstance(value.value, str) and str(wanted) in value.value

    return any(map(has, have))


def _ordered(
    compare: Callable[[SqlValue, SqlValue], bool],
) -> Callable[[Sequence[FieldValue], Sequence[Typed]], bool]:
    def test(have: Sequence[FieldValue], want: Sequence[Typed]) -> bool:
        [(kind, bound)] = want
        return any(value.kind == kind and compare(value.value, bound) for value in have)

    return test


_TESTS: Mapping[Operator, Callable[[Sequence[FieldValue], Sequence[Typed]], bool]] = {
    Operator.EQ: _one_of,
    Operator.NE: lambda have, want: not _one_of(have, want),
    Operator.IN: _one_of,
    Operator.NIN: lambda have, want: not _one_of(have, want),
    Operator.ANY: _one_of,
    Operator.ALL: _all_of,
    Operator.CONTAINS: _contains,
    # Values of one kind: both are strings, or both are numbers.
    Operator.GT: _ordered(lambda value, bound: value > bound),  # type: ignore[operator]
    Operator.GTE: _ordered(lambda value, bound: value >= bound),  # type: ignore[operator]
    Operator.LT: _ordered(lambda value, bound: value < bound),  # type: ignore[operator]
    Operator.LTE: _ordered(lambda value, bound: value <= bound),  # type: ignore[operator]
}
