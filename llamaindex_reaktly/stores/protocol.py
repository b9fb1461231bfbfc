"""What a store must do for us, whichever engine is behind it.

A store is an index: everything in it can be made again from the registry. It
holds, per knowledge base, the nodes of documents, each with its vector and its
analysed terms. It does not decide what is visible; the registry does.

All methods block and may be called from several threads at once; callers on an
event loop use a thread.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.domain import JsonValue, SourceType
from llamaindex_reaktly.filters import Filter

Vector = NDArray[np.float32]

NEWEST = 2**63 - 1
"""As high as a version can be."""


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """The searchable face of one version of a document: what filters and results show."""

    document_id: str
    version: int
    source: str
    external_id: str
    source_type: SourceType
    title: str
    url: str | None
    summary: str | None
    tags: tuple[str, ...]
    language: str
    attributes: Mapping[str, JsonValue]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class IndexedNode:
    """One chunk of a document.

    `text` is what a reader is shown, `headings` the path above it. `terms` are the
    space-separated results of the core's text analysis over the title, the headings
    and the text, repetitions kept. `vector` is f32, unit length. `content_digest`
    identifies the text as embedded, so that the same text is never embedded twice.
    `extra` is whatever a LlamaIndex face needs to give the node back whole (JSON).
    """

    node_id: str
    ordinal: int
    text: str
    headings: tuple[str, ...]
    terms: str
    vector: Vector
    content_digest: str
    extra: str | None = None


class StoreQuery:
    """Both legs of a search. A leg that is None is not asked.

    `terms` maps a language to the query's analysed terms in it, repetitions kept: a
    document matches by the terms of its own language. `candidates` bounds how many
    nodes each leg contributes.
    """

    __slots__ = ("_vector", "candidates", "filter", "terms")

    def __init__(
        self,
        vector: Vector | Callable[[], Vector] | None = None,
        terms: Mapping[str, Sequence[str]] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the field's word
        candidates: int = 100,
    ) -> None:
        self._vector = vector
        self.terms = terms
        self.filter = filter
        self.candidates = candidates

    @property
    def vector(self) -> Vector | None:
        """The query's vector.

        It may still be on its way: reading it waits, and raises what the embedder raised.
        A store that has other work to do for the search does that first.
        """
        return self._vector() if callable(self._vector) else self._vector


@dataclass(frozen=True, slots=True)
class Candidate:
    """One node that a leg brought up, with the exact evidence of both legs.

    `cosine` is 0 where no vector was asked, as is `document_cosine`: that of the mean of
    all vectors of the node's document, the same for each of its nodes. `bm25` is the sum
    of idf · saturated term frequency (k1 .9, b .4); `matched_idf` the idf of the query's
    terms that the node holds; `query_idf` that of all the query's terms: 0 where no terms were
    asked. A query's repeated terms count as often as they are repeated.
    """

    document: IndexedDocument
    node_id: str
    ordinal: int
    text: str
    headings: tuple[str, ...]
    cosine: float
    document_cosine: float
    bm25: float
    matched_idf: float
    query_idf: float
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """How much a knowledge base's index holds."""

    documents: int
    nodes: int


@dataclass(frozen=True, slots=True)
class IndexedVersion:
    """What the index holds of one document, for comparison with the registry."""

    document_id: str
    version: int
    nodes: int


@dataclass(frozen=True, slots=True)
class IndexMark:
    """A state of an index: which index it is, and how many changes it has seen."""

    index_id: str
    change: int


@dataclass(frozen=True, slots=True)
class Replacement:
    """A document's new version with all its nodes (none: the document has no text)."""

    document: IndexedDocument
    nodes: Sequence[IndexedNode] = field(default_factory=tuple)


class Store(Protocol):
    """One index for many knowledge bases, which never see each other.

    `replaces_at_once` says that a search never meets two versions of a document. A store
    that cannot promise it returns the candidates of each whole version that is there, and
    who searches tells the versions apart.
    """

    replaces_at_once: bool

    def check(self) -> None:
        """Raise `Unavailable` where no search can be answered now."""
        ...

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        """Put each document's new version in the place of any older one, whole or not at all.

        Durable on return. A version lower than the one in the index is ignored. With
        `keep_older`, a store that does not replace at once leaves older versions to be
        found until `delete_older`, so that a search which began before finds them.
        """
        ...

    def delete_older(self, knowledge_base_id: str, current: Mapping[str, int]) -> None:
        """Remove every version of these documents that is older than the one named."""
        ...

    def delete(self, knowledge_base_id: str, document_ids: Collection[str]) -> int:
        """Remove documents with all their nodes; how many there were. Durable on return."""
        ...

    def purge(self, knowledge_base_id: str) -> None:
        """Wipe every trace of deleted and replaced text from what the store keeps.

        May take a time in proportion to the index, and blocks its writers meanwhile.
        """
        ...

    def drop(self, knowledge_base_id: str) -> None:
        """Remove a knowledge base's whole index and every trace of it. No error if none."""
        ...

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        """The union of both legs' best nodes, unordered, read from one snapshot."""
        ...

    def known_vectors(
        self, knowledge_base_id: str, document_ids: Collection[str]
    ) -> dict[str, Vector]:
        """`content_digest` → vector of every node that these documents have in the index."""
        ...

    def nodes(
        self,
        knowledge_base_id: str,
        document_id: str,
        *,
        from_version: int = 0,
        to_version: int = NEWEST,
    ) -> list[IndexedNode]:
        """The nodes, in order, of the newest version between these two, both included."""
        ...

    def languages(self, knowledge_base_id: str) -> tuple[str, ...]:
        """The languages of the documents in the index, most frequent first."""
        ...

    def count(self, knowledge_base_id: str) -> StoreCounts:
        """How many documents and nodes the index holds; zeros if there is none."""
        ...

    def versions(self, knowledge_base_id: str) -> list[IndexedVersion]:
        """What is in the index, document by document, for verification."""
        ...

    def mark(self, knowledge_base_id: str) -> IndexMark | None:
        """The state that the index is in, `IndexMark("", 0)` if there is no index.

        A later write has a higher change of the same index id, so that whoever remembers a
        mark notices when the index is lost, exchanged or gone back to an earlier state.
        None: the store answers for that itself.
        """
        ...

    def problems(self, knowledge_base_id: str) -> list[str]:
        """What is wrong with the index in itself, in sentences; may read all of it."""
        ...

    def renew(self, knowledge_base_id: str, index_id: str | None) -> None:
        """Put a new, empty index in the place of one that can't be trusted.

        `index_id` is the id by which it is known, None if by none. Where a sound index of
        another id is there already, somebody was first, and nothing is done.
        """
        ...

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        ...
