"""Whole numbers as JSON Schema means them: `10.0` is one, `"10"` is not."""

from typing import Annotated

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole)]
