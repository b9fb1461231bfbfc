"""Settings: read once, at start, from the environment and a `.env` file.

A wrong value stops the start with a sentence that names the variable and what it
may be; an unknown `REAKTLY_` name is a warning with the nearest known one.
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llamaindex_reaktly.embeddings.catalogue import embedder_names
from llamaindex_reaktly.errors import ConfigurationError

PREFIX = "REAKTLY_"

# A lease that ends later than this from now was given before the clock was set back.
LONGEST_LEASE_SECONDS = 600.0

# The clients' own names (seed 001); the server passes over them in silence.
CLIENT_VARIABLES = frozenset(
    {
        "REAKTLY_API_KEY",
        "REAKTLY_BASE_URL",
        "REAKTLY_INTEGRATION_ID",
        "REAKTLY_KB_ID",
    }
)


class Settings(BaseSettings):
    """Everything that can be set; each field's name in upper case follows `REAKTLY_`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path(".reaktly"), description="Where the registry, the indexes and models live."
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="Port that the API listens on; 0 picks a free one."
    )
    database_url: SecretStr | None = Field(
        default=None, description="The registry's database; SQLite in the data directory if unset."
    )
    workers: Annotated[int, Field(ge=0, le=64)] = Field(
        default=1, description="Ingestion processes that `reaktly serve` starts."
    )
    embedding_threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="Sequences that one worker embeds at a time; the cores by default.",
    )
    parse_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="Longest that parsing a million characters may take."
    )
    parse_memory_bytes: Annotated[int, Field(ge=16 * 1024 * 1024)] = Field(
        default=1024 * 1024 * 1024, description="Most memory that parsing a document may need."
    )
    transformations: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="LlamaIndex components between node parser and embedding, each "
        "`module:Name`, separated by commas.",
    )
    auto_create_knowledge_bases: bool = Field(
        default=True, description="Whether a first ingest creates its knowledge base."
    )
    store: Literal["embedded", "weaviate"] = Field(
        default="embedded", description="Where nodes live: in files here, or on a Weaviate server."
    )
    weaviate_url: str | None = Field(
        default=None,
        validate_default=True,
        description="Where Weaviate answers, such as `http://127.0.0.1:8080`.",
    )
    weaviate_grpc_url: str | None = Field(
        default=None, description="Where its gRPC answers; port 50051 of the same host if unset."
    )
    weaviate_api_key: SecretStr | None = Field(
        default=None, description="Key that Weaviate wants, if it wants one."
    )
    weaviate_replication_factor: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="Copies that a cluster keeps; for collections yet to be made."
    )
    weaviate_consistency: Literal["one", "quorum", "all"] = Field(
        default="quorum", description="Copies that must answer a read or a write."
    )
    weaviate_search_timeout_seconds: Annotated[float, Field(ge=0.1, le=10)] = Field(
        default=5.0, description="After this long without an answer, a search is refused."
    )
    weaviate_write_timeout_seconds: Annotated[float, Field(ge=1, le=600)] = Field(
        default=60.0, description="After this long, a batch is given up and sent again later."
    )
    weaviate_prefix: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{0,31}$")] = Field(
        default="Reaktly", description="Begins the names of our collections on the server."
    )
    embedder: str = Field(default="minilm", description="Embedder of new knowledge bases.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is colour on a terminal and JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    lease_seconds: Annotated[float, Field(ge=5, le=LONGEST_LEASE_SECONDS)] = Field(
        default=60.0, description="How long a worker's silence is taken for work."
    )
    free_disk_bytes: Annotated[int, Field(ge=0)] = Field(
        default=64 * 1024 * 1024, description="Below this much free disk, nothing is accepted."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=32 * 1024 * 1024, description="Largest request body, after decompression."
    )
    max_batch_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=112 * 1024 * 1024,
        description="The same for Quant Search and AI SmartTalk, whose batches may be larger.",
    )
    max_document_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=1024 * 1024,
        description="Largest content of one document in those two, in bytes of UTF-8.",
    )
    quant_answer_seconds: Annotated[float, Field(gt=0, le=30)] = Field(
        default=4.0,
        description="Longest time that Quant Search's answer to pages waits for them; those that "
        "are not done are counted as queued.",
    )
    quant_wait_seconds: Annotated[float, Field(gt=0, le=280)] = Field(
        default=280.0, description="The same with `?wait=true`."
    )
    rag_documents: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Most documents of an `inkeep-rag` answer."
    )
    rag_tokens: Annotated[int, Field(ge=1)] = Field(
        default=10_000,
        description="Most tokens of their texts, the best passages first; four bytes of UTF-8 "
        "count as one.",
    )
    max_bulk_items: Annotated[int, Field(ge=1)] = Field(
        default=10_000, description="Most items of one bulk request."
    )
    max_documents: int | None = Field(
        default=None, ge=0, description="Most documents of one knowledge base; any number if unset."
    )
    max_characters: int | None = Field(
        default=None,
        ge=0,
        description="Most characters of content of one knowledge base; any number if unset.",
    )
    rate_limit: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Requests that a key may make to each endpoint, such as `60/minute`, or to "
        "one, such as `search=60/minute`; `none` lifts a documented limit. Separated by commas.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis in which several API processes count together for the limits, such as "
        "`redis://127.0.0.1:6379/0`; without it each counts for itself.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins that browsers may call from, separated by commas."
    )
    mcp_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names under which `/mcp` is reached, beside this machine's own, "
        "separated by commas; `*` for any.",
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="When set, `/metrics` wants it as a bearer token."
    )

    @field_validator("weaviate_url", "weaviate_grpc_url")
    @classmethod
    def _require_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            if info.field_name == "weaviate_url" and info.data.get("store") == "weaviate":
                raise ValueError("is needed where REAKTLY_STORE is weaviate")
        elif not value.startswith(("http://", "https://")):
            raise ValueError("must be an address such as http://127.0.0.1:8080")
        return value

    @field_validator("port", mode="before")
    @classmethod
    def _refuse_service_links(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "looks like a Kubernetes service link, not a port; rename the service or set "
                "enableServiceLinks: false"
            )
        return value

    @field_validator("embedder")
    @classmethod
    def _require_known_embedder(cls, value: str) -> str:
        if value not in embedder_names():
            raise ValueError(f"there is no embedder {value!r}; use {', '.join(embedder_names())}")
        return value

    @field_validator("cors_origins", "rate_limit", "transformations", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("transformations")
    @classmethod
    def _require_module_and_name(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            module, _, attribute = name.partition(":")
            if not attribute.isidentifier() or not all(map(str.isidentifier, module.split("."))):
                raise ValueError(f"{name!r} is not of the form module:Name")
        return value

    @property
    def registry_url(self) -> str:
        """SQLAlchemy URL of the registry's database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'registry.sqlite'}"


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` (from the command line) win over the environment.

    Raises `ConfigurationError` whose message names each wrong variable.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_input=False):
        name = PREFIX + str(problem["loc"][0] if problem["loc"] else "").upper()
        parts.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A sentence for each `REAKTLY_` name that no setting answers to."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    sentences = []
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in known or name in CLIENT_VARIABLES:
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        sentences.append(f"{name} is not a setting; did you mean {nearest[0]}?")
    return sentences


def complete_opentelemetry_variables() -> None:
    """Add the `OTEL_` lines of the working directory's `.env` file to the environment.

    OpenTelemetry reads its standard variables there and nowhere else.
    """
    for name, value in dotenv_values(".env").items():
        if name.startswith("OTEL_") and value is not None:
            os.environ.setdefault(name, value)


def variables_in_use() -> list[str]:
    """Names set in the environment or in the working directory's `.env` file."""
    return sorted({*os.environ, *dotenv_values(".env")})
