"""What the Reaktly dialect reads: these models validate, and they are the OpenAPI document.

Types are strict (a number is no string), unknown fields are ignored, and an optional
field may be null. Limits are ours; the seeds name none.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    DocumentState,
    JsonValue,
    Priority,
    SearchMode,
    SourceDocument,
    SourceType,
)
from reaktly_api.filter_schema import Filters
from reaktly_api.numbers import WHOLE
from reaktly_api.patterns import LANGUAGE_TAG, NO_CONTROLS, NO_CONTROLS_OR_EMPTY, NOT_BLANK

MAX_ID_LENGTH = 256
MAX_URL_LENGTH = 2_048
MAX_TITLE_LENGTH = 2_000
MAX_SUMMARY_LENGTH = 10_000
MAX_TAGS = 100
MAX_HASH_LENGTH = 512
MAX_ATTRIBUTES = 1_000
MAX_ATTRIBUTES_BYTES = 256 * 1024
MAX_QUERY_LENGTH = 10_000
MAX_OFFSET = 10_000
MAX_PAGE = 100

# A browser passes over blanks before a scheme; controls inside it are refused anyway.
_SCRIPTABLE = re.compile(r"\s*(javascript|data|vbscript|file)\s*:", re.IGNORECASE)


def _refuse_scriptable(url: str) -> str:
    # Stored urls are rendered as links by whoever shows the results.
    scheme = _SCRIPTABLE.match(url)
    if scheme is not None:
        msg = f"{scheme[1].lower()}: urls are not accepted"
        raise ValueError(msg)
    return url


def _refuse_bulky(attributes: dict[str, object]) -> dict[str, object]:
    if len(orjson.dumps(attributes)) > MAX_ATTRIBUTES_BYTES:
        msg = f"is larger than {MAX_ATTRIBUTES_BYTES} bytes as JSON"
        raise ValueError(msg)
    return attributes


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=NO_CONTROLS)]
Url = Annotated[
    str,
    Field(max_length=MAX_URL_LENGTH, pattern=NO_CONTROLS_OR_EMPTY),
    AfterValidator(_refuse_scriptable),
]
Tag = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROLS)]
Attributes = Annotated[
    dict[Id, object], Field(max_length=MAX_ATTRIBUTES), AfterValidator(_refuse_bulky)
]

INTEGRATION_PREFIX = "integration:"


def tags_among(attributes: Mapping[str, object]) -> tuple[str, ...]:
    """The strings of a list called `tags`, where attributes have one."""
    declared = attributes.get("tags")
    if not isinstance(declared, list):
        return ()
    tags = [tag.strip() for tag in declared if isinstance(tag, str)]
    return tuple(tag for tag in tags if 0 < len(tag) <= MAX_ID_LENGTH)[:MAX_TAGS]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class _Query(BaseModel):
    """A query string: everything arrives as text, so types are read, not demanded."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class DocumentReference(_Body):
    """Which document is meant."""

    integration_id: Id = Field(description="Your integration's id: any text, not only a UUID.")
    knowledge_base_id: Id = Field(description="The knowledge base's id.")
    external_id: Id = Field(description="The item's id in your system, unique per integration.")

    @property
    def key(self) -> DocumentKey:
        """The document's identity in the core."""
        return DocumentKey(
            self.knowledge_base_id, INTEGRATION_PREFIX + self.integration_id, self.external_id
        )

    @property
    def job_id(self) -> str:
        """The documented name of the item's job (seed 000)."""
        return f"{self.integration_id}-{self.external_id}"


class ItemData(_Body):
    """The item itself."""

    title: str = Field(
        max_length=MAX_TITLE_LENGTH, pattern=NOT_BLANK, description="Title; not blank."
    )
    content: str = Field(description="Main text: plain, HTML or Markdown.")
    url: Url | None = Field(
        default=None,
        description="Link to the original; absolute or root-relative. "
        "No `javascript:`, `data:`, `vbscript:` or `file:`.",
    )
    source_data: Attributes | None = Field(
        default=None,
        description="Structured metadata. Scalars and lists of strings are filterable as "
        "`sourceData.NAME`; at most 1,000 names and 256 KiB as JSON.",
    )
    hash: str | None = Field(
        default=None,
        max_length=MAX_HASH_LENGTH,
        description="Your content hash: an equal one means nothing changed. Without it, "
        "text and metadata are compared.",
    )
    content_type: Annotated[ContentType, Field(strict=False)] | None = Field(
        default=None,
        description="How `content` is written. Without it, content is HTML only with a doctype "
        "or a closed block element outside code.",
    )
    summary: str | None = Field(
        default=None, max_length=MAX_SUMMARY_LENGTH, description="Shown in results."
    )
    tags: list[Tag] | None = Field(
        default=None,
        max_length=MAX_TAGS,
        description="Count for relevance and filter as `tags`. "
        "Without them, a list of strings in `sourceData.tags` is taken.",
    )
    language: str | None = Field(
        default=None,
        max_length=35,
        pattern=LANGUAGE_TAG,
        description="BCP 47 tag of the content's language, such as `en` or `de-CH`.",
    )

    @property
    def effective_tags(self) -> tuple[str, ...]:
        """The declared tags, else those of `sourceData`."""
        if self.tags is not None:
            return tuple(self.tags)
        return tags_among(self.source_data or {})


class IngestOptions(_Body):
    """How to treat the push."""

    force_refresh: bool | None = Field(
        default=None, description="Process again even if nothing changed."
    )
    priority: Literal["high", "low"] | None = Field(
        default=None, description="`high` overtakes, `low` waits; between them without."
    )


PRIORITIES = {"high": Priority.HIGH, "low": Priority.LOW, None: Priority.NORMAL}


class IngestItem(DocumentReference):
    """One item to put into a knowledge base; it replaces what was there under its id."""

    source_type: Annotated[SourceType, Field(strict=False)] = Field(
        description="What the item describes."
    )
    data: ItemData
    options: IngestOptions | None = None

    def document(self) -> SourceDocument:
        """The item as the core knows it."""
        data, options = self.data, self.options
        return SourceDocument(
            key=self.key,
            source_type=self.source_type,
            title=data.title,
            content=data.content,
            content_type=data.content_type,
            url=data.url or None,
            summary=data.summary or None,
            tags=data.effective_tags,
            language=data.language,
            attributes=cast("dict[str, JsonValue]", data.source_data or {}),
            client_hash=data.hash or None,
            priority=PRIORITIES[options.priority if options else None],
            force_refresh=bool(options and options.force_refresh),
        )


class IngestBatch(_Body):
    """Many items at once; each is validated on its own, and refused ones are named."""

    items: list[IngestItem] = Field(max_length=10_000)


class DeleteBatch(_Body):
    """Many documents to delete."""

    items: list[DocumentReference] = Field(max_length=10_000)


class WaitQuery(_Query):
    """Whether to answer at once."""

    wait: bool = Field(
        default=False,
        description="Answer when the items are searchable or failed, or after 30 s.",
    )


class JobQuery(_Query):
    """Narrows a job id that several documents share."""

    knowledge_base_id: Id | None = Field(default=None, description="Only in this knowledge base.")
    integration_id: Id | None = Field(default=None, description="Only of this integration.")


class UsageQuery(_Query):
    """Which knowledge bases are meant."""

    knowledge_base_id: Id | None = Field(
        default=None, description="Only this knowledge base; without it, all that the key reaches."
    )


class _PageQuery(UsageQuery):
    cursor: str | None = Field(
        default=None, max_length=2_048, description="`nextCursor` of the page before."
    )
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Entries a page.")


class JobsQuery(_PageQuery):
    """Which jobs to list."""

    status: DocumentState | None = Field(default=None, description="Only those in this state.")


class DocumentsQuery(_PageQuery):
    """Which documents to list."""


class _Question(_Body):
    """What is asked, of which documents."""

    knowledge_base_id: Id = Field(description="Where to search.")
    query: str = Field(
        max_length=MAX_QUERY_LENGTH,
        pattern=NOT_BLANK,
        description="Words or a question; not blank.",
    )
    filters: Filters | None = Field(
        default=None,
        description='`{"field": value}`; `{"field": {"eq"|"ne"|"gt"|"gte"|"lt"|"lte"|"in"|"nin"|'
        '"contains"|"any"|"all"|"exists": …}}`; `{"and": […]}`, `{"or": […]}`, `{"not": {…}}`. '
        "Fields: `integrationId`, `externalId`, `sourceType`, `url`, `tags`, `language`, "
        "`updatedAt`, `sourceData.NAME`.",
    )


class AnswerBody(_Question):
    """A question to be answered by one knowledge base."""

    stream: bool = Field(default=False, description="Answer with server-sent events.")


class SearchBody(_Question):
    """A question to one knowledge base."""

    limit: Annotated[int, WHOLE] = Field(
        default=10, ge=1, le=100, description="Most documents to answer with."
    )
    offset: Annotated[int, WHOLE] = Field(
        default=0, ge=0, le=MAX_OFFSET, description="Documents to pass over."
    )
    mode: Annotated[SearchMode, Field(strict=False)] = Field(
        default=SearchMode.HYBRID, description="Which evidence to rank by."
    )
    min_relevance: float = Field(
        default=0.0, ge=0, le=1, description="Leave out documents below this relevance."
    )
