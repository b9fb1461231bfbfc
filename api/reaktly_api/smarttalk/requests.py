"""What the AI SmartTalk dialect reads: these models validate, and are the OpenAPI document.

Types are strict, unknown fields are ignored, and an optional field may be null: the seed's own
samples send `"url": null`.
"""

import base64
import hashlib
import re
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    JsonValue,
    SourceDocument,
    SourceType,
)
from reaktly_api.filter_schema import Filters
from reaktly_api.numbers import WHOLE
from reaktly_api.patterns import LANGUAGE_TAG, NOT_BLANK
from reaktly_api.reaktly.requests import (
    MAX_QUERY_LENGTH,
    MAX_TITLE_LENGTH,
    Attributes,
    Id,
    Url,
    tags_among,
)

SOURCE = "smarttalk"
"""Of all documents that come by this dialect; no integration's source is a bare word."""

MAX_DOCUMENTS = 100
MAX_DELETED = 10_000
FILTERS = (
    "Filters as of `POST /search`: fields `url`, `tags`, `language`, `sourceType`, `updatedAt`, "
    "and `sourceData.NAME` for `metadata`."
)

_LANGUAGE = re.compile(LANGUAGE_TAG)
_MAX_LANGUAGE_LENGTH = 35

ChatModelId = Annotated[Id, Field(description="The knowledge base's id.")]
Query = Annotated[
    str,
    Field(max_length=MAX_QUERY_LENGTH, pattern=NOT_BLANK, description="A question; not blank."),
]
OptionalFilters = Annotated[Filters | None, Field(description=FILTERS)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class ImportedDocument(_Body):
    """One document; it replaces the one of the same title and url, or of the same `id`."""

    title: str = Field(
        max_length=MAX_TITLE_LENGTH, pattern=NOT_BLANK, description="Title; not blank."
    )
    content: str = Field(description="Full text: plain, HTML or Markdown; 1 MB at most.")
    url: Url | None = Field(default=None, description="Link to the original.")
    metadata: Attributes | None = Field(
        default=None,
        description="Your own key-value pairs, filterable as `sourceData.NAME`. A `language` tag "
        "and a list of `tags` are also understood as such.",
    )
    id: Id | None = Field(
        default=None,
        description="Your own id (ours to offer): with it, title and url may change without "
        "making another document.",
    )
    content_type: Annotated[ContentType, Field(strict=False)] | None = Field(
        default=None, description="How `content` is written (ours to offer); told by itself else."
    )

    def key(self, knowledge_base_id: str) -> DocumentKey:
        """The document's identity: the client's id, else the pair of title and url."""
        if self.id is not None:
            return DocumentKey(knowledge_base_id, SOURCE, own_id(self.id))
        pair = hashlib.sha256()
        for part in (self.title, self.url or ""):
            encoded = part.encode()
            pair.update(len(encoded).to_bytes(8, "big") + encoded)
        name = base64.b32encode(pair.digest()).decode().rstrip("=").lower()
        return DocumentKey(knowledge_base_id, SOURCE, f"page:{name}")

    def document(self, knowledge_base_id: str) -> SourceDocument:
        """The document as the core knows it."""
        metadata = cast("dict[str, JsonValue]", self.metadata or {})
        return SourceDocument(
            key=self.key(knowledge_base_id),
            source_type=SourceType.ARTICLE,
            title=self.title,
            content=self.content,
            content_type=self.content_type,
            url=self.url or None,
            tags=tags_among(metadata),
            language=_language(metadata.get("language")),
            attributes=metadata,
        )


class ImportBody(_Body):
    """Documents for one knowledge base; each is validated on its own, refused ones are named."""

    chat_model_id: ChatModelId
    documents: list[ImportedDocument] = Field(max_length=MAX_DOCUMENTS)


class ImportHead(_Body):
    """What of an import is validated before its documents are."""

    chat_model_id: ChatModelId
    documents: list[object]


class DocumentSearchBody(_Body):
    """A search of one knowledge base."""

    chat_model_id: ChatModelId
    query: Query
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] | None = Field(
        default=None, description="Most documents; 10 else."
    )
    filters: OptionalFilters = None


class QueryOptions(_Body):
    """How to answer."""

    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None,
        description="Bounds the answer, in tokens of the knowledge base's embedder.",
    )
    temperature: float | None = Field(
        default=None, description="Read and without effect: the answer is quoted, not written."
    )


class QueryBody(_Body):
    """A question to one knowledge base."""

    chat_model_id: ChatModelId
    query: Query
    options: QueryOptions | None = None
    filters: OptionalFilters = None


class DocumentDeleteBody(_Body):
    """Which documents to delete; at least one of the lists is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "array"}}}
                for name in ("ids", "urls", "titles")
            ]
        }
    )

    chat_model_id: ChatModelId
    ids: list[Id] | None = Field(
        default=None,
        max_length=MAX_DELETED,
        description="Ids as the import gave them, of any document here, or your own.",
    )
    urls: list[Url] | None = Field(
        default=None, max_length=MAX_DELETED, description="Exact urls of imported documents."
    )
    titles: list[str] | None = Field(
        default=None, max_length=MAX_DELETED, description="Exact titles of imported documents."
    )

    @model_validator(mode="after")
    def _require_a_list(self) -> "DocumentDeleteBody":
        if self.ids is None and self.urls is None and self.titles is None:
            msg = "ids, urls or titles must say what to delete"
            raise ValueError(msg)
        return self


def own_id(name: str) -> str:
    """The external id of a document that its client named; never that of a title and url."""
    return f"id:{name}"


def _language(declared: JsonValue) -> str | None:
    if not isinstance(declared, str) or len(declared) > _MAX_LANGUAGE_LENGTH:
        return None
    return declared if _LANGUAGE.fullmatch(declared) else None
