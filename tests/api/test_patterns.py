import re
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from reaktly_api.patterns import NOT_BLANK


def test_what_is_blank_is_so_to_pydantics_engine_and_to_pythons() -> None:
    adapter = TypeAdapter(Annotated[str, Field(pattern=NOT_BLANK)])

    def is_refused(text: str) -> bool:
        try:
            adapter.validate_python(text)
        except ValidationError:
            return True
        return False

    for character in map(chr, range(0x3100)):
        blank = not character.strip()
        assert is_refused(character) is blank
        assert (re.search(NOT_BLANK, character) is None) is blank
