"""What the tools answer. Absent values are empty, not null: schemas stay free of unions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import orjson
from mcp_types import CallToolResult, TextContent
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.domain import Citation, DocumentStatus, Passage, SearchHit

RESOURCE_PREFIX = "reaktly://documents/"

DocumentId = Annotated[str, Field(description="The document's id; `fetch` reads the whole of it.")]
Url = Annotated[str, Field(description="Link to cite.")]
Notice = Annotated[str, Field(description="How quoted text is marked.")]
Status = Annotated[
    str, Field(description="`queued`, `processing`, `completed` (searchable), `failed`, `deleted`.")
]


class Found(TypedDict):
    """A document that answers, with its best passage."""

    id: DocumentId
    title: str
    url: Url
    snippet: Annotated[str, Field(description="Its best passage, or the beginning of it.")]
    headings: Annotated[str, Field(description="The headings above the passage.")]
    relevance: Annotated[float, Field(description="0 to 1; the same from query to query.")]
    updated_at: str


class SearchResults(TypedDict):
    """Documents, best first."""

    notice: Notice
    results: list[Found]


class Cited(TypedDict):
    """Words of a document that the answer rests on."""

    marker: Annotated[str, Field(description="Stands in the answer for this.")]
    id: DocumentId
    title: str
    url: Url
    quote: str


class Answered(TypedDict):
    """An answer from the documents."""

    answered: Annotated[bool, Field(description="False: the knowledge base does not know.")]
    answer: str
    citations: list[Cited]
    notice: Notice


class Fetched(TypedDict):
    """A document, or a part of a long one."""

    id: DocumentId
    title: str
    text: str
    url: Url
    metadata: dict[str, object]
    notice: Notice
    next_offset: Annotated[
        int, Field(description="`offset` of the part that follows; 0 where none does.")
    ]


class Stored(TypedDict):
    """Where a document stands."""

    id: DocumentId
    title: str
    url: Url
    status: Status
    error: Annotated[str, Field(description="Why it failed; empty otherwise.")]


class Statuses(TypedDict):
    """Where documents stand."""

    documents: list[Stored]
    advice: Annotated[str, Field(description="What to do next.")]


class Listed(Stored):
    """A document in a listing."""

    knowledge_base: str
    updated_at: str


class Documents(TypedDict):
    """A page of a listing."""

    notice: Notice
    documents: list[Listed]
    next_cursor: Annotated[str, Field(description="`cursor` of the next page; empty on the last.")]


class Base(TypedDict):
    """A knowledge base."""

    id: Annotated[str, Field(description="What the tools take as `knowledge_base`.")]
    name: str


class Bases(TypedDict):
    """The knowledge bases within reach."""

    knowledge_bases: list[Base]


class Deleted(TypedDict):
    """What became of a deletion."""

    id: DocumentId
    deleted: Annotated[bool, Field(description="Whether it is gone. False: the user declined.")]


def result(content: Mapping[str, object]) -> CallToolResult:
    """A tool's result: structured, and once more as text for clients that read only that."""
    return CallToolResult(
        content=[TextContent(type="text", text=as_json(content))],
        structured_content=cast("dict[str, object]", content),
    )


def link(document_id: str, url: str | None) -> str:
    """The document's own url, else that of the resource it is here."""
    return url or RESOURCE_PREFIX + document_id


def found(hit: SearchHit, snippet: str) -> Found:
    """A hit, with what is shown of its best passage."""
    return {
        "id": hit.document_id,
        "title": hit.title,
        "url": link(hit.document_id, hit.url),
        "snippet": snippet,
        "headings": " > ".join(hit.passages[0].headings) if hit.passages else "",
        "relevance": round(hit.relevance, 4),
        "updated_at": hit.updated_at.isoformat(timespec="seconds"),
    }


def cited(citation: Citation, quote: str) -> Cited:
    """A citation, with its quote as it is shown."""
    return {
        "marker": citation.marker,
        "id": citation.hit.document_id,
        "title": citation.hit.title,
        "url": link(citation.hit.document_id, citation.hit.url),
        "quote": quote,
    }


def stored(status: DocumentStatus) -> Stored:
    """Where a document stands."""
    return {
        "id": status.document_id,
        "title": status.title,
        "url": link(status.document_id, status.url),
        "status": status.state.value,
        "error": status.error or "",
    }


def listed(status: DocumentStatus) -> Listed:
    """A document's line in a listing."""
    return {
        **stored(status),
        "knowledge_base": status.key.knowledge_base_id,
        "updated_at": status.updated_at.isoformat(timespec="seconds"),
    }


def reading(passages: Sequence[Passage]) -> str:
    """Passages as one Markdown text: headings where they change, no passage twice."""
    parts: list[str] = []
    shown: tuple[str, ...] = ()
    for passage in passages:
        for level, heading in enumerate(passage.headings):
            if shown[: level + 1] != passage.headings[: level + 1]:
                parts.append(f"{'#' * min(level + 1, 6)} {heading}")
        shown = passage.headings
        parts.append(passage.text)
    return "\n\n".join(parts)


def as_json(content: Mapping[str, object]) -> str:
    """The content as JSON text."""
    return orjson.dumps(content).decode()
