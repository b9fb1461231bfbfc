"""What an operator can set about the HTTP door; `llamaindex_reaktly.settings` embeds it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MEBIBYTE = 1024 * 1024


class ApiSettings(BaseModel):
    """Limits and switches of the HTTP door. Frozen: read once, at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: int = Field(
        default=32 * MEBIBYTE, ge=1024, description="Largest request body, after decompression."
    )
    max_batch_body_bytes: int = Field(
        default=112 * MEBIBYTE,
        ge=1024,
        description="The same for Quant Search and AI SmartTalk, whose batches may be larger.",
    )
    max_document_bytes: int = Field(
        default=MEBIBYTE, ge=1024, description="Largest content of a document in those two."
    )
    rag_documents: int = Field(
        default=10, ge=1, le=100, description="Most documents of an `inkeep-rag` answer."
    )
    rag_tokens: int = Field(
        default=10_000,
        ge=1,
        description="Most tokens of their texts; four bytes of UTF-8 count as one.",
    )
    quant_answer_seconds: float = Field(
        default=4.0, gt=0, le=30, description="Longest time before Quant Search's answer to pages."
    )
    quant_wait_seconds: float = Field(
        default=280.0, gt=0, le=280, description="The same with `?wait=true`."
    )
    max_bulk_items: int = Field(default=10_000, ge=1, description="Most items of a bulk request.")
    max_wait_seconds: float = Field(
        default=30.0, gt=0, le=280, description="Longest time that `?wait=true` waits."
    )
    threads: int = Field(
        default=32, ge=1, le=256, description="Requests that are worked on at the same time."
    )
    waiters: int = Field(
        default=32, ge=1, le=256, description="Requests that may wait for ingestion at once."
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Origins that browsers may call from; none by default."
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="When set, `/metrics` wants it as a bearer token."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Where processes count together; each by itself without it."
    )
    rate_limits: Mapping[str, str] = Field(
        default_factory=dict,
        description="Operation name, or `*` for each of the others, to a limit like `60/minute` "
        "or to `none`.",
    )
