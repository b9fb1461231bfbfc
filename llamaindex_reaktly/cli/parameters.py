"""Arguments and options that several commands share, checked as they are read."""

import unicodedata
from typing import Annotated

import typer

MAX_ID_LENGTH = 256


def opaque_id(value: str | None) -> str | None:
    """An id as it is, if it is one: 1 to 256 characters, no control characters among them."""
    if value is not None:
        problem = id_problem(value)
        if problem:
            raise typer.BadParameter(problem)
    return value


def opaque_ids(values: list[str] | None) -> list[str] | None:
    """Each value as `opaque_id` has it."""
    for value in values or ():
        opaque_id(value)
    return values


def id_problem(value: str) -> str | None:
    """What keeps a text from being an id; None if nothing does."""
    if not 1 <= len(value) <= MAX_ID_LENGTH:
        return f"an id has 1 to {MAX_ID_LENGTH} characters"
    # Lone surrogates are how Python shows bytes of a name that are not UTF-8.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return "an id holds no control characters and is valid Unicode"
    return None


KnowledgeBaseId = Annotated[
    str, typer.Argument(metavar="KB", help="Id of the knowledge base.", callback=opaque_id)
]
OptionalKnowledgeBaseId = Annotated[
    str | None,
    typer.Argument(
        metavar="[KB]", help="Id of a knowledge base; all of them without it.", callback=opaque_id
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
