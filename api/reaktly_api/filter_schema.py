"""The filter language (llamaindex_reaktly.filters) as a schema, for the OpenAPI document."""

import re
from typing import Annotated, Any

from pydantic import WithJsonSchema

from llamaindex_reaktly.filters import (
    ATTRIBUTE_PREFIX,
    FIXED_FIELDS,
    LIST_OPERATORS,
    ORDER_OPERATORS,
    Operator,
)

Json = dict[str, Any]

NAME = "Filter"
# Stands for the schema until the document is put together: pydantic knows no recursion here.
PLACEHOLDER: Json = {"title": NAME}
Filters = Annotated[dict[str, object], WithJsonSchema(PLACEHOLDER)]
"""A filter as it comes; `parse_filter` validates it."""

_SCALAR: Json = {"type": ["string", "number", "boolean"]}
_ORDERED: Json = {"type": ["string", "number"]}
_MOMENT: Json = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
_TIME_FIELD = "updatedAt"


def filter_schema(reference: str) -> Json:
    """The schema; `reference` leads to itself."""
    again = {"$ref": reference}
    words = "|".join(sorted(FIXED_FIELDS - {_TIME_FIELD}))
    attribute = re.escape(ATTRIBUTE_PREFIX) + r"[^\u0000]"
    return {
        "type": "object",
        "description": "Conditions that must all hold: a field's value, or operators with what "
        "they compare it with. `and`, `or` and `not` combine filters, up to 16 levels deep. "
        f"Fields: {', '.join(f'`{name}`' for name in sorted(FIXED_FIELDS))}, `sourceData.NAME`.",
        "properties": {
            "and": {"type": "array", "items": again},
            "or": {"type": "array", "items": again},
            "not": again,
            _TIME_FIELD: _condition(_MOMENT, _MOMENT),
        },
        "patternProperties": {f"^(({words})$|{attribute})": _condition(_SCALAR, _ORDERED)},
        "additionalProperties": False,
    }


def _condition(value: Json, ordered: Json) -> Json:
    operands = {operator.value: value for operator in Operator}
    operands |= {operator.value: ordered for operator in ORDER_OPERATORS}
    operands |= {operator.value: {"type": "array", "items": value} for operator in LIST_OPERATORS}
    operands[Operator.EXISTS.value] = {"type": "boolean"}
    comparisons: Json = {
        "type": "object",
        "properties": operands,
        "minProperties": 1,
        "additionalProperties": False,
    }
    return {"anyOf": [value, comparisons]}
