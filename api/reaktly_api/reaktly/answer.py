"""Asking a knowledge base for an answer: `/answer`."""

from collections.abc import Generator, Mapping, Sequence

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.domain import Answer, AnswerRequest, SearchHit
from llamaindex_reaktly.filters import parse_filter
from reaktly_api.access import CHAT
from reaktly_api.operations import Call, Example, Link, Operation, Stream, dump
from reaktly_api.reaktly.answers import integration_id
from reaktly_api.reaktly.requests import AnswerBody


class Cited(TypedDict):
    """Words of a document that the answer rests on; `marker` stands behind them in it."""

    marker: str
    documentId: str
    url: str | None
    title: str
    quote: str


class Source(TypedDict):
    """A document that was looked at; `cited` tells whether the answer rests on it."""

    documentId: str
    integrationId: str | None
    externalId: str
    title: str
    url: str | None
    relevance: float
    cited: bool


class Answered(TypedDict):
    """An answer with markers, what they stand for, and the five best documents."""

    answer: str
    answered: bool
    citations: Sequence[Cited]
    sources: Sequence[Source]


def answer(call: Call) -> Mapping[str, object] | Stream:
    """`POST /answer`."""
    body = call.body(AnswerBody)
    call.caller.require_reach(body.knowledge_base_id)
    found = call.knowledge_base.answer(
        AnswerRequest(body.knowledge_base_id, body.query, filters=parse_filter(body.filters))
    )
    return Stream(_events(found)) if body.stream else answered(found)


def _events(found: Answer) -> Generator[bytes, None, None]:
    """The answer's text in pieces, which put together are `answer`, then the whole."""
    for number, statement in enumerate(found.statements):
        text = " " * (number > 0) + statement.marked_text
        yield b"event: text\ndata: %b\n\n" % dump({"text": text})
    yield b"event: answer\ndata: %b\n\n" % dump(answered(found))


def answered(found: Answer) -> Answered:
    """The core's answer on the wire."""
    cited = {hit.document_id for hit in found.sources}
    return Answered(
        answer=found.marked_text,
        answered=found.answered,
        citations=[
            Cited(
                marker=one.marker,
                documentId=one.hit.document_id,
                url=one.hit.url,
                title=one.hit.title,
                quote=one.quote,
            )
            for one in found.citations
        ],
        sources=[_source(hit, cited=hit.document_id in cited) for hit in found.considered],
    )


def _source(hit: SearchHit, *, cited: bool) -> Source:
    return Source(
        documentId=hit.document_id,
        integrationId=integration_id(hit.key.source),
        externalId=hit.key.external_id,
        title=hit.title,
        url=hit.url,
        relevance=hit.relevance,
        cited=cited,
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/answer",
        name="answer",
        tag="Search",
        summary="Ask a knowledge base",
        description="Up to three sentences of the best documents, word for word, each followed "
        "by the marker of its citation. Where no document is relevant enough, `answered` is "
        "false, nothing is cited, and `sources` are the nearest documents. With `stream`, events "
        '`text` bring the answer in pieces (`{"text"}`), and a last event `answer` all of it.',
        run=answer,
        answer=Answered,
        scopes=frozenset({CHAT}),
        body=AnswerBody,
        examples=(
            Example(
                "A question", {"knowledgeBaseId": "kb_xyz789", "query": "How do I use the product?"}
            ),
            Example(
                "Of some documents",
                {
                    "knowledgeBaseId": "kb_xyz789",
                    "query": "What holds 1.5 litres?",
                    "filters": {"sourceType": "PRODUCT"},
                },
            ),
        ),
        errors=(404,),
        links=(Link("getDocument", "documentId", "/sources/0/documentId"),),
        streams=True,
    ),
)
