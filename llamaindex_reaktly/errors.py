"""Every error this package raises on purpose, and what each means on the wire.

    ReaktlyError
    ├── InvalidRequest            400  the caller's words; names the field
    ├── Unauthenticated           401  no key, or one that is wrong, expired or revoked
    ├── QuotaExceeded             402  the knowledge base is full
    ├── Forbidden                 403  a key without the scope
    │   └── KnowledgeBaseOutOfReach    or without the knowledge base; some dialects say 404
    ├── NotFound                  404
    │   ├── UnknownKnowledgeBase       nobody made it, or the caller may not know of it
    │   └── UnknownModel               a name of a model that is not served
    ├── MethodNotAllowed          405
    ├── Conflict                  409
    ├── TooLarge                  413  names the limit
    │   └── DocumentTooLarge           of one document
    ├── UnsupportedMediaType      415
    ├── RateLimited               429  carries the seconds to wait
    ├── InternalError             500  never with the cause's words
    ├── Unavailable               503  store, model or registry is away; worth a retry
    │   ├── ModelMissing               the embedder's weights are not installed
    │   │   └── ModelUntrusted             what was fetched is not what is pinned
    │   ├── EmbedderMismatch           the base was embedded by another model build
    │   └── IndexDamaged               the base's index is not as it was written
    ├── StorageFull               507
    └── ConfigurationError             a setting is wrong; stops the start

`ErrorCode` is the one table of code and HTTP status; a dialect renders it into
its own envelope and adds nothing of its own.
"""

from enum import Enum


class ErrorCode(Enum):
    """A stable machine-readable code with its HTTP status."""

    INVALID_REQUEST = ("invalid_request", 400, "Bad Request")
    UNAUTHENTICATED = ("unauthenticated", 401, "Unauthorized")
    QUOTA_EXCEEDED = ("quota_exceeded", 402, "Payment Required")
    FORBIDDEN = ("forbidden", 403, "Forbidden")
    NOT_FOUND = ("not_found", 404, "Not Found")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, "Method Not Allowed")
    CONFLICT = ("conflict", 409, "Conflict")
    TOO_LARGE = ("too_large", 413, "Payload Too Large")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415, "Unsupported Media Type")
    RATE_LIMITED = ("rate_limited", 429, "Too Many Requests")
    INTERNAL = ("internal", 500, "Internal Server Error")
    UNAVAILABLE = ("unavailable", 503, "Service Unavailable")
    STORAGE_FULL = ("storage_full", 507, "Insufficient Storage")

    def __init__(self, code: str, status: int, phrase: str) -> None:
        self.code = code
        self.status = status
        self.phrase = phrase


class ReaktlyError(Exception):
    """Root of the tree. `message` is written for the caller and holds no internals."""

    error_code = ErrorCode.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(ReaktlyError):
    """The request's content is wrong. `field` is its path (`data.title`), `body` or a header."""

    error_code = ErrorCode.INVALID_REQUEST

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(ReaktlyError):
    """No key, or one that is unknown, expired or revoked (never says which)."""

    error_code = ErrorCode.UNAUTHENTICATED


class QuotaExceeded(ReaktlyError):
    """The knowledge base has reached the documents or characters it may hold."""

    error_code = ErrorCode.QUOTA_EXCEEDED


class Forbidden(ReaktlyError):
    """The key lacks a scope, or does not reach the knowledge base."""

    error_code = ErrorCode.FORBIDDEN


class KnowledgeBaseOutOfReach(Forbidden):
    """The key does not reach the knowledge base, be it there or not."""

    def __init__(self, knowledge_base_id: str) -> None:
        super().__init__("this API key does not reach the knowledge base")
        self.knowledge_base_id = knowledge_base_id


class NotFound(ReaktlyError):
    """The thing does not exist, or the caller may not know that it does."""

    error_code = ErrorCode.NOT_FOUND


class UnknownKnowledgeBase(NotFound):
    """Nobody made the knowledge base, or the caller may not know that it is there."""

    def __init__(self, knowledge_base_id: str) -> None:
        super().__init__(f"there is no knowledge base {knowledge_base_id!r}")


class UnknownModel(NotFound):
    """The request names a model that is not served."""


class MethodNotAllowed(ReaktlyError):
    """The path exists, the method does not. `allowed` lists those that do."""

    error_code = ErrorCode.METHOD_NOT_ALLOWED

    def __init__(self, message: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(ReaktlyError):
    """The request is ambiguous or contradicts the state. `candidates` may list the choices."""

    error_code = ErrorCode.CONFLICT

    def __init__(self, message: str, *, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class TooLarge(ReaktlyError):
    """A documented limit on size or count is passed; the message names it."""

    error_code = ErrorCode.TOO_LARGE


class DocumentTooLarge(TooLarge):
    """One document's content is larger than a document may be."""


class UnsupportedMediaType(ReaktlyError):
    """A content type or content encoding that is not served."""

    error_code = ErrorCode.UNSUPPORTED_MEDIA_TYPE


class RateLimited(ReaktlyError):
    """Too many requests; `retry_after` is in whole seconds."""

    error_code = ErrorCode.RATE_LIMITED

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InternalError(ReaktlyError):
    """Something failed that should not; the log has it under the request id."""

    error_code = ErrorCode.INTERNAL


class Unavailable(ReaktlyError):
    """A part the request needs is away; the same request may pass later."""

    error_code = ErrorCode.UNAVAILABLE


class ModelMissing(Unavailable):
    """The embedder's weights are not installed; the message says how to get them."""


class ModelUntrusted(ModelMissing):
    """Something was fetched in place of the pinned weights; nothing was installed."""


class EmbedderMismatch(Unavailable):
    """A knowledge base was embedded by another model, build or dimension than is loaded."""


class IndexDamaged(Unavailable):
    """A knowledge base's index is not what was written to it; it can be made again."""


class StorageFull(ReaktlyError):
    """The disk is at its limit; nothing was accepted."""

    error_code = ErrorCode.STORAGE_FULL


class ConfigurationError(ReaktlyError):
    """A setting is missing or wrong; the message names the variable and what it may be."""
