"""What errors look like: an envelope and a renderer a dialect, over the one tree of errors.

Statuses come from the tree alone; a renderer chooses words, never statuses.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.errors import (
    Conflict,
    ErrorCode,
    InvalidRequest,
    NotFound,
    ReaktlyError,
    Unavailable,
    UnknownKnowledgeBase,
    UnknownModel,
)


class RefusedItem(TypedDict):
    """One item of a Reaktly batch that was not accepted, and why."""

    index: int
    externalId: str | None
    message: str


class EveryItemRefused(InvalidRequest):
    """Nothing of a batch was accepted; carries each item's refusal, as its dialect words it."""

    def __init__(self, refused: Sequence[Mapping[str, object]], *, field: str = "items") -> None:
        super().__init__(f"{field}: every item was refused", field=field)
        self.refused = refused


class NotReady(Unavailable):
    """A part that is needed is away; carries the state of each part."""

    def __init__(self, parts: Mapping[str, str], ailing: Sequence[str]) -> None:
        super().__init__("not ready: " + "; ".join(f"{p}: {parts[p]}" for p in ailing))
        self.parts = parts


class ReaktlyEnvelope(TypedDict):
    """What every error answers. The rest is there when it is known."""

    statusCode: int
    message: str
    error: str
    field: NotRequired[str]
    errors: NotRequired[Sequence[Mapping[str, object]]]
    candidates: NotRequired[Sequence[str]]
    parts: NotRequired[Mapping[str, str]]


class CodeAndMessage(TypedDict):
    """An error's code, for programs, and its message, for people."""

    code: str
    message: str


class QuantEnvelope(TypedDict):
    """What every error answers. `errors` is there when every page was refused."""

    error: CodeAndMessage
    errors: NotRequired[Sequence[Mapping[str, object]]]


class SmartTalkEnvelope(TypedDict):
    """What every error answers. `documents` is there when every document was refused."""

    success: bool
    error: CodeAndMessage
    documents: NotRequired[Sequence[Mapping[str, object]]]


class OpenAIError(TypedDict):
    """An error as the OpenAI SDKs read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class InkeepEnvelope(TypedDict):
    """What every error answers: OpenAI's envelope."""

    error: OpenAIError


def reaktly(error: ReaktlyError) -> ReaktlyEnvelope:
    """`{"statusCode", "message", "error"}`, with what the error knows beside."""
    code = error.error_code
    envelope = ReaktlyEnvelope(statusCode=code.status, message=error.message, error=code.phrase)
    if isinstance(error, InvalidRequest):
        envelope["field"] = error.field
    if isinstance(error, EveryItemRefused):
        envelope["errors"] = error.refused
    elif isinstance(error, NotReady):
        envelope["parts"] = error.parts
    elif isinstance(error, Conflict) and error.candidates:
        envelope["candidates"] = error.candidates
    return envelope


def quant(error: ReaktlyError) -> QuantEnvelope:
    """`{"error": {"code", "message"}}` with the tree's own codes."""
    envelope = QuantEnvelope(error={"code": error.error_code.code, "message": error.message})
    if isinstance(error, EveryItemRefused):
        envelope["errors"] = error.refused
    return envelope


# Seed 004 has the first six; for the other statuses the nearest of them, or one in their manner.
_SMARTTALK = {
    ErrorCode.UNAUTHENTICATED: "INVALID_TOKEN",
    ErrorCode.FORBIDDEN: "INVALID_TOKEN",
    ErrorCode.RATE_LIMITED: "RATE_LIMITED",
    ErrorCode.TOO_LARGE: "DOCUMENT_TOO_LARGE",
    ErrorCode.QUOTA_EXCEEDED: "QUOTA_EXCEEDED",
    ErrorCode.INVALID_REQUEST: "INVALID_REQUEST",
    ErrorCode.NOT_FOUND: "INVALID_REQUEST",
    ErrorCode.METHOD_NOT_ALLOWED: "INVALID_REQUEST",
    ErrorCode.CONFLICT: "INVALID_REQUEST",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "INVALID_REQUEST",
    ErrorCode.INTERNAL: "INTERNAL_ERROR",
    ErrorCode.UNAVAILABLE: "SERVICE_UNAVAILABLE",
    ErrorCode.STORAGE_FULL: "STORAGE_FULL",
}


def smarttalk(error: ReaktlyError) -> SmartTalkEnvelope:
    """`{"success": false, "error": {"code", "message"}}` with the vendor's codes."""
    unknown_model = isinstance(error, UnknownKnowledgeBase)
    code = "INVALID_MODEL_ID" if unknown_model else _SMARTTALK[error.error_code]
    envelope = SmartTalkEnvelope(success=False, error={"code": code, "message": error.message})
    if isinstance(error, EveryItemRefused):
        envelope["documents"] = error.refused
    return envelope


# Where OpenAI's own service has a word of its own; else type by status and our code.
_OPENAI: Mapping[ErrorCode, tuple[str, str]] = {
    ErrorCode.UNAUTHENTICATED: ("invalid_request_error", "invalid_api_key"),
    ErrorCode.QUOTA_EXCEEDED: ("insufficient_quota", "insufficient_quota"),
    ErrorCode.FORBIDDEN: ("invalid_request_error", "insufficient_permissions"),
    ErrorCode.RATE_LIMITED: ("requests", "rate_limit_exceeded"),
}


def inkeep(error: ReaktlyError) -> InkeepEnvelope:
    """`{"error": {"message", "type", "param", "code"}}`, as OpenAI's SDKs expect."""
    of_client = error.error_code.status < ErrorCode.INTERNAL.status
    kind, code = _OPENAI.get(
        error.error_code,
        ("invalid_request_error" if of_client else "server_error", error.error_code.code),
    )
    param = error.field if isinstance(error, InvalidRequest) else None
    if isinstance(error, UnknownModel):
        code, param = "model_not_found", "model"
    elif isinstance(error, UnknownKnowledgeBase):
        code = "knowledge_base_not_found"
    elif type(error) is NotFound:
        code = "unknown_url"
    return {"error": {"message": error.message, "type": kind, "param": param, "code": code}}
