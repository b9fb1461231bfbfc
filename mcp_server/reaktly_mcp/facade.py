"""What this door needs of the core, stated as types.

`llamaindex_reaktly.knowledge_base.KnowledgeBase` fulfils it, and so does a client of a
remote server. Every method blocks and is safe to call from any thread.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from llamaindex_reaktly.domain import (
    AnswerRequest,
    Citation,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Passage,
    Receipt,
    SearchRequest,
    SearchResult,
    SourceDocument,
    StoredContent,
)


class Key(Protocol):
    """An API key that has been recognised."""

    @property
    def key_id(self) -> str:
        """Public name of the key; never the secret."""

    @property
    def scopes(self) -> frozenset[str]:
        """What the key opens (`iq:import`, `iq:read`, …)."""

    @property
    def knowledge_bases(self) -> frozenset[str]:
        """Ids of the knowledge bases within reach; `*` stands for all."""

    @property
    def default_knowledge_base(self) -> str | None:
        """The one that is meant where none is named."""


class Page(Protocol):
    """One page of a listing."""

    @property
    def items(self) -> Sequence[DocumentStatus]:
        """The documents of this page."""

    @property
    def next_cursor(self) -> str | None:
        """Where the next page starts; None on the last."""


class Base(Protocol):
    """A knowledge base in a listing."""

    @property
    def knowledge_base_id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name, for people."""


class Answer(Protocol):
    """What a knowledge base says to a question."""

    @property
    def answered(self) -> bool:
        """Whether it knows."""

    @property
    def marked_text(self) -> str:
        """The answer as prose, with the markers of its citations."""

    @property
    def citations(self) -> Sequence[Citation]:
        """What the answer rests on."""


class Authenticator(Protocol):
    """Recognises API keys."""

    def authenticate(self, token: str) -> Key | None:
        """The key of a token; None when it is unknown, expired or revoked."""


class Facade(Protocol):
    """The core, as this door calls it."""

    def submit(self, documents: Sequence[SourceDocument]) -> Sequence[Receipt]:
        """Make documents durable; one receipt each, in order. All or nothing."""

    def delete(self, keys: Sequence[DocumentKey]) -> int:
        """Delete durably and at once; how many existed."""

    def status(self, document_id: str) -> DocumentStatus | None:
        """Where one document stands."""

    def list_documents(
        self,
        knowledge_base_id: str | None,
        *,
        state: DocumentState | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """A page of documents; raises `InvalidRequest` for a bad cursor."""

    def list_knowledge_bases(self) -> Sequence[Base]:
        """All knowledge bases, in and out of reach."""

    def fetch(self, document_id: str) -> StoredContent | None:
        """A document as accepted."""

    def passages(self, document_id: str) -> Sequence[Passage]:
        """The chunks of a document's current version, in reading order."""

    def search(self, request: SearchRequest) -> SearchResult:
        """Search one knowledge base."""

    def answer(self, request: AnswerRequest) -> Answer:
        """What a knowledge base says to a question, or that it does not know."""

    def wait_until_settled(
        self, document_ids: Collection[str], timeout: float
    ) -> Sequence[DocumentStatus]:
        """Block until all are completed, failed or deleted, or the time is over."""
