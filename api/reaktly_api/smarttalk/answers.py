"""What the AI SmartTalk dialect answers: the seed's fields, and nothing beside them."""

from collections.abc import Sequence
from typing import NotRequired  # pydantic needs this one before 3.12

from typing_extensions import TypedDict

from llamaindex_reaktly.domain import Answer, SearchHit
from reaktly_api.envelopes import CodeAndMessage


class Imported(TypedDict):
    """A document of an import: `processing`, `completed` where unchanged, or `failed`.

    A refused one has no id, and an `error`.
    """

    id: str | None
    title: str | None
    status: str
    error: NotRequired[CodeAndMessage]


class ImportAnswer(TypedDict):
    """The accepted documents are durable; all are listed, in order."""

    success: bool
    imported: int
    documents: list[Imported]


class FoundDocument(TypedDict):
    """A document that matches; `content` holds its best passages."""

    id: str
    title: str
    content: str
    relevance: float


class DocumentSearchAnswer(TypedDict):
    """Documents by falling `relevance`, between 0 and 1."""

    success: bool
    documents: Sequence[FoundDocument]


class QuerySource(TypedDict):
    """A document that the answer rests on."""

    documentId: str
    title: str
    relevance: float


class QueryAnswer(TypedDict):
    """An answer with its sources; where the base does not know, there are none."""

    success: bool
    response: str
    sources: Sequence[QuerySource]


class DocumentDeleteAnswer(TypedDict):
    """How many of the documents existed; none of them is found any more."""

    success: bool
    deleted: int


def found(hit: SearchHit) -> FoundDocument:
    """A search hit."""
    return FoundDocument(
        id=hit.document_id,
        title=hit.title,
        content="\n\n".join(passage.text for passage in hit.passages),
        relevance=hit.relevance,
    )


def answered(answer: Answer) -> QueryAnswer:
    """The core's answer."""
    return QueryAnswer(
        success=True,
        response=answer.text,
        sources=[
            QuerySource(documentId=hit.document_id, title=hit.title, relevance=hit.relevance)
            for hit in answer.sources
        ],
    )
