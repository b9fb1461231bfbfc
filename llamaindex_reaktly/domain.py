"""The words that every part of the system shares.

Dialects translate their wire formats to and from these objects and to nothing
else; the core knows no dialect's names.
"""

import enum
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from llamaindex_reaktly.filters import Filter

JsonScalar = str | int | float | bool | None
JsonValue = JsonScalar | list["JsonValue"] | dict[str, "JsonValue"]


class SourceType(enum.StrEnum):
    """What kind of thing a document describes (seed 000, `sourceType`)."""

    PRODUCT = "PRODUCT"
    ARTICLE = "ARTICLE"
    PAGE = "PAGE"
    SERVICE = "SERVICE"
    PERSON = "PERSON"


class ContentType(enum.StrEnum):
    """How a document's content is written."""

    TEXT = "text/plain"
    HTML = "text/html"
    MARKDOWN = "text/markdown"


class Priority(enum.IntEnum):
    """Order in the queue: every document of a higher priority goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class DocumentState(enum.StrEnum):
    """Where a document stands between being accepted and being searchable."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DELETED = "deleted"


class Outcome(enum.StrEnum):
    """What the last push of a document came to."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    DELETED = "deleted"


class SearchMode(enum.StrEnum):
    """Which evidence a search ranks by."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """Identity of a document: its id inside a source inside a knowledge base.

    `source` is `integration:<id>` for a Reaktly integration and a bare word for
    a dialect that has one fixed source, so that an integration which happens to
    be called like one never meets it.
    """

    knowledge_base_id: str
    source: str
    external_id: str

    @property
    def document_id(self) -> str:
        """`doc_` and 128 bits of a digest of the three parts, each preceded by its length.

        Lengths, not separators: no choice of characters lets two keys meet.
        """
        whole = _of_source(self.knowledge_base_id, self.source) + _with_length(self.external_id)
        number = int.from_bytes(hashlib.sha256(whole).digest()[:16], "big") << 2
        return "doc_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


@dataclass(frozen=True, slots=True)
class SecondName:
    """Another name for a document inside its source, beside its external id.

    A document has at most one. Sent with another external id, it moves its document there.
    """

    knowledge_base_id: str
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Documents of a knowledge base: those of these ids, and of a source by url or title."""

    knowledge_base_id: str
    document_ids: frozenset[str] = frozenset()
    source: str = ""
    urls: frozenset[str] = frozenset()
    titles: frozenset[str] = frozenset()


# Base32 (RFC 4648, in lower case) two characters at a time: each push of an unchanged
# document pays for its id, and the standard library's encoder is the larger part of that.
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
_SHIFTS = range(120, -1, -10)


def _with_length(part: str) -> bytes:
    encoded = part.encode()
    return len(encoded).to_bytes(8, "big") + encoded


@functools.lru_cache(maxsize=1024)
def _of_source(knowledge_base_id: str, source: str) -> bytes:
    return _with_length(knowledge_base_id) + _with_length(source)


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that something came by: its id in the logs, and its trace.

    `traceparent` is a W3C trace context (w3.org/TR/trace-context), None without tracing.
    """

    request_id: str | None = None
    traceparent: str | None = None


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document as its owner declared it."""

    key: DocumentKey
    source_type: SourceType
    title: str
    content: str
    content_type: ContentType | None = None
    url: str | None = None
    summary: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None
    attributes: Mapping[str, JsonValue] = field(default_factory=dict)
    client_hash: str | None = None
    priority: Priority = Priority.NORMAL
    force_refresh: bool = False
    # Whether documents of its source may have second names, and so other external ids than
    # the ones that they came with.
    is_renamable: bool = False
    second_name: str | None = None
    # Whether title, summary and tags are to be found where they are missing.
    fill_missing: bool = False


@dataclass(frozen=True, slots=True)
class FoundMetadata:
    """What was found for a document whose owner left it out; `methods` says how, by field."""

    title: str | None = None
    summary: str | None = None
    tags: tuple[str, ...] = ()
    methods: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Answer to a submission, given once it is durable."""

    document_id: str
    key: DocumentKey
    version: int
    unchanged: bool


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """One row of the registry, without the content."""

    document_id: str
    key: DocumentKey
    source_type: SourceType
    title: str
    url: str | None
    state: DocumentState
    last_outcome: Outcome | None
    attempts: int
    chunks: int | None
    error: str | None
    version: int
    queued_at: datetime
    finished_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search of one knowledge base. `limit` counts documents, not passages."""

    knowledge_base_id: str
    query: str
    limit: int = 10
    offset: int = 0
    mode: SearchMode = SearchMode.HYBRID
    filters: Filter | None = None
    min_relevance: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk of a document; `relevance` is in 0..1 and 0 where nothing was asked."""

    node_id: str
    text: str
    headings: tuple[str, ...]
    relevance: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One document that answers a search, with its best passages, best first."""

    document_id: str
    key: DocumentKey
    version: int
    source_type: SourceType
    title: str
    url: str | None
    summary: str | None
    tags: tuple[str, ...]
    attributes: Mapping[str, JsonValue]
    updated_at: datetime
    relevance: float
    passages: tuple[Passage, ...]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, sorted by relevance."""

    hits: tuple[SearchHit, ...]


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A question to one knowledge base; `max_tokens` (of its embedder) bounds the answer."""

    knowledge_base_id: str
    question: str
    filters: Filter | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """What a statement rests on: `quote` is `text[start:end]` of one of the hit's passages."""

    marker: str
    hit: SearchHit
    passage: Passage
    start: int
    end: int

    @property
    def quote(self) -> str:
        """The words as they stand in the passage."""
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Statement:
    """A part of an answer with what it rests on."""

    text: str
    citations: tuple[Citation, ...] = ()

    @property
    def marked_text(self) -> str:
        """The text with the markers of its citations behind it."""
        return " ".join([self.text, *(citation.marker for citation in self.citations)])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a knowledge base says to a question, or that it does not know (`answered`).

    `considered` are the documents that were looked at, best first; where there is no answer,
    they are the nearest that there is.
    """

    answered: bool
    statements: tuple[Statement, ...]
    considered: tuple[SearchHit, ...]

    @property
    def text(self) -> str:
        """The answer as prose."""
        return " ".join(statement.text for statement in self.statements)

    @property
    def marked_text(self) -> str:
        """The answer with the markers of its citations behind each statement."""
        return " ".join(statement.marked_text for statement in self.statements)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """All citations in the order of the answer."""
        return tuple(one for statement in self.statements for one in statement.citations)

    @property
    def sources(self) -> tuple[SearchHit, ...]:
        """The documents that the answer rests on, one entry each; none without an answer."""
        cited = {citation.hit.document_id: citation.hit for citation in self.citations}
        return tuple(sorted(cited.values(), key=lambda hit: -hit.relevance))


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A document as accepted, with where it stands."""

    status: DocumentStatus
    document: SourceDocument
    found: FoundMetadata | None = None

    @property
    def shown(self) -> SourceDocument:
        """The document with what was found where nothing was declared."""
        if self.found is None:
            return self.document
        return replace(
            self.document,
            title=self.document.title or self.found.title or "",
            summary=self.document.summary or self.found.summary,
            tags=self.document.tags or self.found.tags,
        )
