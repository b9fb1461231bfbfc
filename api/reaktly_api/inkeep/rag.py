"""`inkeep-rag`: the documents that a search finds, as JSON in the answer's text (seed 003)."""

from collections.abc import Iterator, Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.domain import Passage, SearchHit, SearchRequest, SourceType
from reaktly_api.inkeep.conversation import Prompt, Said, estimate_tokens
from reaktly_api.operations import Call, dump

HEADINGS_JOINT = " > "


class Block(TypedDict):
    """A passage."""

    type: Literal["text"]
    text: str


class Source(TypedDict):
    """What a document says: at least one passage, best first."""

    type: Literal["content"]
    content: list[Block]


class Document(TypedDict):
    """A document that answers. `context` is the path of headings to its best passage."""

    type: Literal["document"]
    record_type: str
    url: str
    title: str
    source: Source
    context: NotRequired[str]


def answer(call: Call, knowledge_base_id: str, prompt: Prompt) -> Said:
    """The best documents with their passages, as many as the settings allow."""
    settings = call.house.settings
    result = call.knowledge_base.search(
        SearchRequest(knowledge_base_id, prompt.question, limit=settings.rag_documents)
    )
    documents = [
        dump(_document(hit, passages)).decode()
        for hit, passages in within(result.hits, settings.rag_tokens)
    ]
    return Said(tuple(_pieces(documents)))


def within(hits: Sequence[SearchHit], tokens: int) -> list[tuple[SearchHit, Sequence[Passage]]]:
    """The hits with those of their passages that fit; the best of all fits always.

    By relevance, so that a second passage of one document does not take the place of a
    better first one of another.
    """
    candidates = sorted(
        ((hit, passage) for hit in hits for passage in hit.passages),
        key=lambda candidate: -candidate[1].relevance,
    )
    chosen: dict[str, list[Passage]] = {}
    for hit, passage in candidates:
        cost = estimate_tokens(passage.text)
        if cost <= tokens or not chosen:
            chosen.setdefault(hit.document_id, []).append(passage)
            tokens -= cost
    return [(hit, chosen[hit.document_id]) for hit in hits if hit.document_id in chosen]


def record_type(hit: SearchHit) -> str:
    """What kind of record the document is: what its metadata say, else by its source type."""
    declared = hit.attributes.get("recordType")
    if isinstance(declared, str) and declared.strip():
        return declared
    return "documentation" if hit.source_type is SourceType.ARTICLE else "site"


def _document(hit: SearchHit, passages: Sequence[Passage]) -> Document:
    document = Document(
        type="document",
        record_type=record_type(hit),
        # The vendor's clients demand a string, so there is one where a document has no url.
        url=hit.url or "",
        title=hit.title,
        source=Source(
            type="content", content=[Block(type="text", text=passage.text) for passage in passages]
        ),
    )
    if passages[0].headings:
        document["context"] = HEADINGS_JOINT.join(passages[0].headings)
    return document


def _pieces(documents: Sequence[str]) -> Iterator[str]:
    """The JSON text in pieces for a stream, a document each."""
    yield '{"content":['
    for number, document in enumerate(documents):
        yield f",{document}" if number else document
    yield "]}"
