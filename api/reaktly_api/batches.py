"""Reading the members of a batch one by one: what is wrong with one refuses only that."""

from typing import Protocol, Self, TypeVar

from pydantic import ValidationError

from llamaindex_reaktly.errors import DocumentTooLarge, InvalidRequest
from reaktly_api.operations import describe


class HasContent(Protocol):
    """A pydantic model of a document."""

    @property
    def content(self) -> str:
        """The text that the limit is on."""

    @classmethod
    def model_validate(cls, obj: object, /) -> Self:
        """Raises `ValidationError`."""


D = TypeVar("D", bound=HasContent)

NO_ROOM = "the knowledge base holds as much as it may"


def read_document(model: type[D], raw: object, place: str, max_bytes: int) -> D:
    """One document. Raises `InvalidRequest` or `DocumentTooLarge`, which name its place."""
    try:
        document = model.model_validate(raw)
    except ValidationError as error:
        field, sentences = describe(error)
        raise InvalidRequest(f"{place}: {sentences}", field=f"{place}.{field}") from None
    # A character takes four bytes at most: most texts need not be encoded to be measured.
    content = document.content
    if len(content) * 4 > max_bytes and len(content.encode()) > max_bytes:
        raise DocumentTooLarge(f"{place}.content: is larger than {max_bytes} bytes")
    return document


def own_name(raw: object, field: str, longest: int) -> str | None:
    """What a refused member calls itself, where that is short enough to repeat."""
    name = raw.get(field) if isinstance(raw, dict) else None
    return name if isinstance(name, str) and len(name) <= longest else None
