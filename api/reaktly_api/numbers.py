"""Whole numbers as JSON Schema means them: `10.0` is one, `"10"` is not."""

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Last in `Annotated[int, Field(ge=1), WHOLE]`: before bounds, pydantic leaves them out of
# the schema.
WHOLE = BeforeValidator(_whole)
