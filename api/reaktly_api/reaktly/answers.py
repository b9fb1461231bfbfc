"""What the Reaktly dialect answers: the wire's own names, and the OpenAPI document's models."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.domain import (
    DocumentState,
    DocumentStatus,
    JsonValue,
    Passage,
    SearchHit,
    SourceType,
    StoredContent,
)
from reaktly_api.envelopes import RefusedItem
from reaktly_api.reaktly.requests import INTEGRATION_PREFIX


class Ingested(TypedDict):
    """An item is durable. `status` is `queued` unless one waited."""

    status: str
    jobId: str
    error: NotRequired[str | None]


class IngestedBatch(TypedDict):
    """The accepted items are durable. `completed` and `failed` are there when one waited."""

    status: str
    jobCount: int
    estimatedTime: str
    jobIds: list[str]
    completed: NotRequired[int]
    failed: NotRequired[int]
    errors: NotRequired[list[RefusedItem]]


class Deleted(TypedDict):
    """How many of the documents existed; none of them is found any more."""

    status: str
    deleted: int
    errors: NotRequired[list[RefusedItem]]


class Job(TypedDict):
    """Where a document stands."""

    jobId: str
    documentId: str
    integrationId: str | None
    knowledgeBaseId: str
    externalId: str
    status: str
    lastOutcome: str | None
    attempts: int
    chunks: int | None
    error: str | None
    queuedAt: datetime
    finishedAt: datetime | None


class Jobs(TypedDict):
    """A page of jobs."""

    jobs: list[Job]
    nextCursor: str | None


class DocumentEntry(TypedDict):
    """A document in a listing."""

    documentId: str
    knowledgeBaseId: str
    integrationId: str | None
    externalId: str
    sourceType: SourceType
    title: str
    url: str | None
    status: str
    chunks: int | None
    updatedAt: datetime


class Documents(TypedDict):
    """A page of documents."""

    documents: list[DocumentEntry]
    nextCursor: str | None


class Document(DocumentEntry):
    """A whole document, as it was accepted.

    `extracted` says of title, summary and tags that were missing how they were found.
    """

    content: str
    contentType: str | None
    summary: str | None
    tags: Sequence[str]
    language: str | None
    sourceData: dict[str, object]
    extracted: dict[str, str]
    hash: str | None
    lastOutcome: str | None
    error: str | None


class DocumentPassage(TypedDict):
    """A passage as it is indexed, with the headings above it."""

    text: str
    headings: Sequence[str]


class Passages(TypedDict):
    """The passages of a document, in reading order; none before it is indexed."""

    documentId: str
    passages: list[DocumentPassage]


class FoundPassage(DocumentPassage):
    """A passage that answers."""

    relevance: float


class Found(TypedDict):
    """A document that answers, with its best passages; `text` is the best one's."""

    documentId: str
    integrationId: str | None
    externalId: str
    sourceType: SourceType
    title: str
    url: str | None
    summary: str | None
    relevance: float
    text: str
    passages: list[FoundPassage]
    sourceData: dict[str, object]
    tags: Sequence[str]
    updatedAt: datetime


class SearchAnswer(TypedDict):
    """Documents by falling `relevance`, 0 to 1, which means the same from query to query."""

    query: str
    results: list[Found]
    timingMs: float


def integration_id(source: str) -> str | None:
    """The Reaktly integration that a source stands for; None for other dialects' sources."""
    prefix, found, rest = source.partition(INTEGRATION_PREFIX)
    return rest if found and not prefix else None


def job_id(status: DocumentStatus) -> str:
    """The documented name of a document's job."""
    source = status.key.source
    return f"{source.removeprefix(INTEGRATION_PREFIX)}-{status.key.external_id}"


def job(status: DocumentStatus) -> Job:
    """A document's standing as a job."""
    return {
        "jobId": job_id(status),
        "documentId": status.document_id,
        "integrationId": integration_id(status.key.source),
        "knowledgeBaseId": status.key.knowledge_base_id,
        "externalId": status.key.external_id,
        "status": status.state.value,
        "lastOutcome": status.last_outcome,
        "attempts": status.attempts,
        "chunks": status.chunks,
        "error": status.error,
        "queuedAt": status.queued_at,
        "finishedAt": status.finished_at,
    }


def document_entry(status: DocumentStatus) -> DocumentEntry:
    """A document's line in a listing."""
    return {
        "documentId": status.document_id,
        "knowledgeBaseId": status.key.knowledge_base_id,
        "integrationId": integration_id(status.key.source),
        "externalId": status.key.external_id,
        "sourceType": status.source_type,
        "title": status.title,
        "url": status.url,
        "status": status.state.value,
        "chunks": status.chunks,
        "updatedAt": status.updated_at,
    }


def document(stored: StoredContent) -> Document:
    """A document with its content."""
    source, status = stored.shown, stored.status
    return {
        **document_entry(status),
        "content": source.content,
        "contentType": source.content_type,
        "summary": source.summary,
        "tags": source.tags,
        "extracted": {} if stored.found is None else dict(stored.found.methods),
        "language": source.language,
        "sourceData": plain(source.attributes),
        "hash": source.client_hash,
        "lastOutcome": status.last_outcome,
        "error": status.error,
    }


def passage(found: Passage) -> DocumentPassage:
    """A passage of a document."""
    return {"text": found.text, "headings": found.headings}


def found(hit: SearchHit) -> Found:
    """A search hit."""
    passages: list[FoundPassage] = [
        {"text": p.text, "headings": p.headings, "relevance": p.relevance} for p in hit.passages
    ]
    return {
        "documentId": hit.document_id,
        "integrationId": integration_id(hit.key.source),
        "externalId": hit.key.external_id,
        "sourceType": hit.source_type,
        "title": hit.title,
        "url": hit.url,
        "summary": hit.summary,
        "relevance": hit.relevance,
        "text": passages[0]["text"] if passages else "",
        "passages": passages,
        "sourceData": plain(hit.attributes),
        "tags": hit.tags,
        "updatedAt": hit.updated_at,
    }


def plain(attributes: Mapping[str, JsonValue]) -> dict[str, object]:
    """Attributes as a dict, which is what the JSON encoder takes."""
    return dict(attributes)


def overall(statuses: Sequence[DocumentStatus]) -> str:
    """One word for many documents: `queued` until all are settled, `failed` if one failed."""
    states = {status.state for status in statuses}
    if not states or states & {DocumentState.QUEUED, DocumentState.PROCESSING}:
        return DocumentState.QUEUED.value
    return (
        DocumentState.FAILED if DocumentState.FAILED in states else DocumentState.COMPLETED
    ).value
