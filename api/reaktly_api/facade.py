"""What this door needs of the core, stated as types.

`llamaindex_reaktly.knowledge_base.KnowledgeBase` is the one implementation; the
tests have a second, in memory. Every method blocks and is safe to call from any
thread. Naming only what is used here keeps the door importable without the core's
own imports.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    Choice,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Passage,
    Receipt,
    SearchRequest,
    SearchResult,
    SecondName,
    SourceDocument,
    StoredContent,
)
from llamaindex_reaktly.measurements import Distribution


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
    def implied_knowledge_base(self) -> str | None:
        """The knowledge base that a request means when it names none."""

    @property
    def rate_limits(self) -> Mapping[str, str]:
        """Operation name (or `*`) to a limit such as `60/minute`."""


class Usage(Protocol):
    """What a knowledge base holds."""

    @property
    def documents(self) -> int:
        """Documents that are not deleted."""

    @property
    def characters(self) -> int:
        """Characters of their content."""


class Quota(Protocol):
    """What a knowledge base may hold; None: any amount."""

    @property
    def documents(self) -> int | None:
        """Most documents."""

    @property
    def characters(self) -> int | None:
        """Most characters of their content."""


class KnowledgeBase(Protocol):
    """A knowledge base that somebody made."""

    @property
    def knowledge_base_id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def organisation(self) -> str | None:
        """Whose it is; None for nobody's yet."""


class Holding(Protocol):
    """What a knowledge base has of a source."""

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """The knowledge base."""

    @property
    def documents(self) -> int:
        """How many documents are there, of that source."""

    @property
    def url(self) -> str | None:
        """The address of one of them."""


class Page(Protocol):
    """One page of a listing."""

    @property
    def items(self) -> Sequence[DocumentStatus]:
        """The documents of this page."""

    @property
    def next_cursor(self) -> str | None:
        """Where the next page starts; None on the last."""


class Snapshot(Protocol):
    """The core's counts at one moment."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Ever-growing counts by name (`documents_parsed`, …)."""

    @property
    def queue_documents(self) -> Mapping[str, int]:
        """Documents by state."""

    @property
    def queue_oldest_seconds(self) -> float:
        """Age of the oldest document that waits; 0 when none does."""

    @property
    def state_oldest_seconds(self) -> Mapping[str, float]:
        """The same by state, for the states that documents should not stay in."""

    @property
    def workers(self) -> Mapping[str, int]:
        """Workers by how they are."""

    @property
    def stage_seconds(self) -> Mapping[str, Distribution]:
        """What documents spent in each stage of their ingestion."""

    @property
    def gauges(self) -> Mapping[str, float]:
        """Numbers of this moment by name."""

    @property
    def accept_seconds(self) -> Distribution:
        """What it took to make the documents of a request durable."""

    @property
    def commit_sizes(self) -> Distribution:
        """How many writes shared a commit."""


class Facade(Protocol):
    """The core, as this door calls it."""

    def submit(self, documents: Sequence[SourceDocument]) -> Sequence[Receipt]:
        """Make documents durable; one receipt each, in order. All or nothing."""

    def submit_fitting(self, documents: Sequence[SourceDocument]) -> Sequence[Receipt | None]:
        """The same without those that a quota has no room for; None stands for each of them."""

    def usage(self, knowledge_base_ids: Collection[str] | None) -> Mapping[str, Usage]:
        """What knowledge bases hold, those of these that exist; None: all."""

    @property
    def quota(self) -> Quota:
        """What each knowledge base may hold."""

    def delete(self, names: Sequence[DocumentKey | SecondName]) -> int:
        """Delete durably and at once; how many existed."""

    def delete_source(self, knowledge_base_id: str, source: str) -> int:
        """Delete all documents of a source durably and at once; how many existed."""

    def delete_chosen(self, choice: Choice) -> int:
        """Delete durably and at once what is as chosen; how many there were."""

    def status(self, document_id: str) -> DocumentStatus | None:
        """Where one document stands."""

    def find_jobs(
        self, job_id: str, knowledge_base_ids: Collection[str] | None
    ) -> Sequence[DocumentStatus]:
        """Documents whose `<integration>-<external id>` reads like this; None: in any base."""

    def list_documents(
        self,
        knowledge_base_id: str | None,
        *,
        knowledge_base_ids: Collection[str] | None = None,
        state: DocumentState | None = None,
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """A page of documents; raises `InvalidRequest` for a bad cursor."""

    def fetch(self, document_id: str) -> StoredContent | None:
        """A document as accepted."""

    def passages(self, document_id: str) -> Sequence[Passage]:
        """The chunks of a document's current version, in reading order."""

    def search(self, request: SearchRequest) -> SearchResult:
        """Search one knowledge base."""

    def answer(self, request: AnswerRequest) -> Answer:
        """Answer a question from one knowledge base."""

    def retry(self, document_id: str) -> DocumentStatus:
        """Queue a failed document again."""

    def estimate_seconds(self, documents: int) -> float:
        """Seconds until as many more documents are searchable."""

    def wait_until_settled(
        self, document_ids: Collection[str], timeout: float
    ) -> Sequence[DocumentStatus]:
        """Block until all are completed, failed or deleted, or the time is over."""

    def authenticate(self, token: str) -> Key | None:
        """The key of a token; None when it is unknown, expired or revoked."""

    def knowledge_base_exists(self, knowledge_base_id: str) -> bool:
        """Whether somebody made this knowledge base."""

    def enter(self, knowledge_base_id: str, organisation: str, *, create: bool = False) -> None:
        """Bind a base to the first organisation that names it; `UnknownKnowledgeBase` to others."""

    def holdings(self, source: str, ids: Collection[str] | None = None) -> Sequence[Holding]:
        """Knowledge bases (None: all) with what they have of a source."""

    def readiness(self) -> Mapping[str, str]:
        """Part to `ok` or a sentence."""

    def metrics(self) -> Snapshot:
        """The counts of this moment."""
