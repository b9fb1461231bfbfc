"""Errors on the wire: one tree, one table of statuses, one renderer a dialect.

A path's prefix chooses the dialect, for paths that do not exist too. A dialect adds a
line to `RENDERERS` and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.errors import (
    Conflict,
    ErrorCode,
    InvalidRequest,
    MethodNotAllowed,
    RateLimited,
    ReaktlyError,
    Unavailable,
)
from reaktly_api.rate_limits import LimitReached

Envelope = dict[str, object]
Renderer = Callable[[ReaktlyError], Envelope]


class RefusedItem(TypedDict):
    """One item of a batch that was not accepted, and why."""

    index: int
    externalId: str | None
    message: str


class EveryItemRefused(InvalidRequest):
    """Nothing of a batch was accepted; carries the reason of each item."""

    def __init__(self, refused: Sequence[RefusedItem]) -> None:
        super().__init__("items: every item was refused", field="items")
        self.refused = refused


class NotReady(Unavailable):
    """A part that is needed is away; carries the state of each part."""

    def __init__(self, parts: Mapping[str, str], ailing: Sequence[str]) -> None:
        super().__init__("not ready: " + "; ".join(f"{p}: {parts[p]}" for p in ailing))
        self.parts = parts


def reaktly_envelope(error: ReaktlyError) -> Envelope:
    """`{"statusCode", "message", "error"}`, with what the error knows beside."""
    code = error.error_code
    envelope: Envelope = {
        "statusCode": code.status,
        "message": error.message,
        "error": code.phrase,
    }
    if isinstance(error, InvalidRequest):
        envelope["field"] = error.field
    if isinstance(error, EveryItemRefused):
        envelope["errors"] = error.refused
    elif isinstance(error, NotReady):
        envelope["parts"] = error.parts
    elif isinstance(error, Conflict) and error.candidates:
        envelope["candidates"] = error.candidates
    return envelope


# First prefix that fits wins; the empty one, Reaktly's, comes last.
RENDERERS: Sequence[tuple[str, Renderer]] = (("", reaktly_envelope),)


def renderer_for(path: str) -> Renderer:
    """The renderer of the dialect that `path` belongs to."""
    for prefix, renderer in RENDERERS:
        if not prefix or path == prefix or path.startswith(prefix + "/"):
            return renderer
    return reaktly_envelope


def error_headers(error: ReaktlyError) -> list[tuple[str, str]]:
    """The header fields that belong to an error, in whatever dialect."""
    if isinstance(error, MethodNotAllowed):
        return [("allow", ", ".join(error.allowed))]
    if isinstance(error, LimitReached):
        return [("retry-after", str(error.retry_after)), *error.allowance.headers()]
    if isinstance(error, RateLimited):
        return [("retry-after", str(error.retry_after))]
    if error.error_code is ErrorCode.UNAUTHENTICATED:
        return [("www-authenticate", "Bearer")]
    return []
