"""The documents that `ingest` takes."""

import hashlib
from typing import Annotated, Literal, cast

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    JsonValue,
    SourceDocument,
    SourceType,
)

SOURCE_PREFIX = "integration:"
# Documents that an agent makes, in listings and on the command line.
DEFAULT_SOURCE = "mcp"
NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"
NOT_BLANK = r"\S"
SCRIPTABLE = ("javascript:", "data:", "vbscript:", "file:")
MAX_ID_LENGTH = 256
MAX_METADATA_BYTES = 256 * 1024


def _refuse_scriptable(url: str) -> str:
    # Stored urls are rendered as links by whoever shows the results.
    if url.lstrip().lower().startswith(SCRIPTABLE):
        msg = "must not be a script or a file"
        raise ValueError(msg)
    return url


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        msg = "must not hold NUL characters"
        raise ValueError(msg)
    return text


def _refuse_bulky(metadata: dict[str, object]) -> dict[str, object]:
    if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
        msg = f"must not be larger than {MAX_METADATA_BYTES:,} bytes as JSON"
        raise ValueError(msg)
    return metadata


Text = AfterValidator(_refuse_nul)


class DocumentInput(BaseModel):
    """A document to put into a knowledge base."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[
        str, Text, Field(min_length=1, max_length=2_000, pattern=NOT_BLANK, description="Title.")
    ]
    content: Annotated[
        str, Text, Field(min_length=1, description="The whole text: plain, Markdown or HTML.")
    ]
    url: Annotated[
        str,
        Text,
        AfterValidator(_refuse_scriptable),
        Field(max_length=2_048, pattern=NO_CONTROLS, description="Link to the original, to cite."),
    ] = ""
    document_id: Annotated[
        str,
        Text,
        Field(
            max_length=MAX_ID_LENGTH,
            description="To replace a document that `search` or `list_documents` named: its id.",
        ),
    ] = ""
    external_id: Annotated[
        str,
        Text,
        Field(
            max_length=MAX_ID_LENGTH,
            pattern=NO_CONTROLS,
            description="A name of your own for the document; ingesting under it again replaces "
            "it. Without one, the url is its name, else the title.",
        ),
    ] = ""
    summary: Annotated[
        str, Text, Field(max_length=10_000, description="Shown in results; made if absent.")
    ] = ""
    tags: Annotated[
        list[Annotated[str, Text, Field(min_length=1, max_length=256, pattern=NO_CONTROLS)]],
        Field(max_length=100, description="Words to find and filter it by."),
    ] = Field(default_factory=list)
    source_type: Annotated[
        Literal["ARTICLE", "PAGE", "PRODUCT", "SERVICE", "PERSON"],
        Field(description="What the document describes."),
    ] = "ARTICLE"
    content_type: Annotated[
        Literal["", "text/plain", "text/markdown", "text/html"],
        Field(description="How `content` is written; told from the text if absent."),
    ] = ""
    metadata: Annotated[
        dict[str, object],
        AfterValidator(_refuse_bulky),
        Field(
            max_length=1_000,
            description="Named values; `search` can filter by them as `sourceData.NAME`.",
        ),
    ] = Field(default_factory=dict)

    def key(self, knowledge_base_id: str) -> DocumentKey:
        """The document's identity, where it replaces none that is already known by its id."""
        name = self.external_id or self.url or self.title
        if len(name) > MAX_ID_LENGTH:
            name = hashlib.sha256(name.encode()).hexdigest()
        return DocumentKey(knowledge_base_id, SOURCE_PREFIX + DEFAULT_SOURCE, name)

    def document(self, key: DocumentKey) -> SourceDocument:
        """The document as the core knows it."""
        return SourceDocument(
            key=key,
            source_type=SourceType(self.source_type),
            title=self.title,
            content=self.content,
            content_type=ContentType(self.content_type) if self.content_type else None,
            url=self.url or None,
            summary=self.summary or None,
            tags=tuple(self.tags),
            attributes=cast("dict[str, JsonValue]", self.metadata),
        )
