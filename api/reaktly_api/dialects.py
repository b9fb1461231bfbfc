"""The four dialects: whose a path is, and what differs between them outside their handlers.

A path's prefix chooses the dialect, for paths that do not exist too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llamaindex_reaktly.errors import (
    ErrorCode,
    KnowledgeBaseOutOfReach,
    MethodNotAllowed,
    RateLimited,
    ReaktlyError,
    UnknownKnowledgeBase,
)
from reaktly_api import envelopes
from reaktly_api.rate_limits import LimitReached
from reaktly_api.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Dialect:
    """A vendor's way of speaking to us."""

    name: str
    prefixes: Sequence[str]
    render: Callable[[ReaktlyError], Mapping[str, object]]
    envelope: type
    """What `render` gives, for the documentation."""
    max_body_bytes: Callable[[ApiSettings], int]
    conceals_reach: bool = False
    """Whether a knowledge base out of reach answers as one that nobody made."""

    def worded(self, error: ReaktlyError) -> ReaktlyError:
        """The error that this dialect answers with."""
        if self.conceals_reach and isinstance(error, KnowledgeBaseOutOfReach):
            return UnknownKnowledgeBase(error.knowledge_base_id)
        return error


def _body(settings: ApiSettings) -> int:
    return settings.max_body_bytes


def _batch_body(settings: ApiSettings) -> int:
    return settings.max_batch_body_bytes


REAKTLY = Dialect("reaktly", ("",), envelopes.reaktly, envelopes.ReaktlyEnvelope, _body)
QUANT = Dialect(
    "quant",
    # The vendor's Drupal client is given a base that ends in /api.
    tuple(
        f"{base}{family}"
        for base in ("", "/api")
        for family in ("/organisations", "/sites", "/public")
    ),
    envelopes.quant,
    envelopes.QuantEnvelope,
    _batch_body,
    conceals_reach=True,
)
SMARTTALK = Dialect(
    "smarttalk",
    ("/v1/documents", "/v1/chat/query"),
    envelopes.smarttalk,
    envelopes.SmartTalkEnvelope,
    _batch_body,
    conceals_reach=True,
)
INKEEP = Dialect("inkeep", ("/v1",), envelopes.inkeep, envelopes.InkeepEnvelope, _body)
# The first with a prefix that fits wins; Reaktly's, which is empty, fits the rest.
DIALECTS = (QUANT, SMARTTALK, INKEEP, REAKTLY)


def dialect_of(path: str) -> Dialect:
    """The dialect that `path` belongs to, whether there is something at it or not."""
    for dialect in DIALECTS:
        for prefix in dialect.prefixes:
            if not prefix or path == prefix or path.startswith(prefix + "/"):
                return dialect
    return REAKTLY


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
