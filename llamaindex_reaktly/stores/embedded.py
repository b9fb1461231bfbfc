"""The embedded store: one SQLite file a knowledge base, vectors scanned in memory.

Several processes may share the directory. A write is one transaction, durable on
return; a search reads one snapshot, vectors included.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.errors import EmbedderMismatch, IndexDamaged, Unavailable
from llamaindex_reaktly.filters import Filter
from llamaindex_reaktly.stores import rows, verification
from llamaindex_reaktly.stores.bases import OpenBases, OpenFile
from llamaindex_reaktly.stores.filter_sql import Condition, compile_filter
from llamaindex_reaktly.stores.lexical import (
    Evidence,
    LexicalQuery,
    distinct_terms,
    lexical_query,
    matching_nodes,
    term_frequency,
)
from llamaindex_reaktly.stores.protocol import (
    NEWEST,
    Candidate,
    IndexedNode,
    IndexedVersion,
    IndexMark,
    Replacement,
    Store,
    StoreCounts,
    StoreQuery,
    Vector,
)
from llamaindex_reaktly.stores.sqlite import engine_errors, sqlite3
from llamaindex_reaktly.stores.vector_view import (
    Rows,
    State,
    VectorView,
    brought_up_to_date,
    read_state,
)

_PURGE_TIMEOUT_S = 30.0
_MOST_FREQUENCIES = 10_000
_MOST_SNAPSHOTS = 1_000
_MOST_DOCUMENTS = 10_000

_T = TypeVar("_T")


class EmbeddedStore(Store):
    """A `Store` in a directory, which is made when the first document comes.

    `max_open` bounds the knowledge bases that are open at once, and so the files and
    their number of connections; the least recently used one is closed for the next. What
    all of them hold in memory is bounded by `max_vector_bytes` (a base of 50,000 chunks of
    384 dimensions takes 77 MB), but for the base that is searched.
    """

    replaces_at_once = True

    def __init__(
        self, directory: Path, *, max_open: int = 64, max_vector_bytes: int = 2**30
    ) -> None:
        self.directory = directory
        self._bases = OpenBases(directory, max_open, max_vector_bytes)

    @property
    def open_bases(self) -> int:
        """How many knowledge bases' files are open."""
        return len(self._bases)

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        self._bases.close()

    # Writing

    def check(self) -> None:
        """Nothing: files are there, or say what is wrong with them when they are opened."""

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,  # noqa: ARG002 - nobody can meet an older version here
    ) -> None:
        """Put each document's new version in the place of any older one, in one transaction.

        Of several versions of a document the highest stays, the last one of equals; a
        version equal to the one in the index replaces it. Raises `EmbedderMismatch` for a
        vector of another dimension than those in the base.
        """
        latest: dict[str, Replacement] = {}
        for replacement in replacements:
            known = latest.get(replacement.document.document_id)
            if known is None or known.document.version <= replacement.document.version:
                latest[replacement.document.document_id] = replacement
        if not latest:
            return
        with engine_errors():
            self.directory.mkdir(parents=True, exist_ok=True)
        with self._writing(knowledge_base_id) as connection:
            assert connection is not None
            rows.replace_documents(connection, list(latest.values()))

    def delete(self, knowledge_base_id: str, document_ids: Collection[str]) -> int:
        """Remove documents with all their nodes; how many there were.

        Copies of their text may stay in the gaps of the file until `purge` rewrites it.
        """
        with self._writing(knowledge_base_id, create=False) as connection:
            if connection is None:
                return 0
            return rows.delete_documents(connection, document_ids)

    def delete_matching(self, knowledge_base_id: str, filter_: Filter) -> int:
        """Remove the documents that the filter holds for, as `delete` does."""
        condition = compile_filter(filter_)
        with self._writing(knowledge_base_id, create=False) as connection:
            if connection is None:
                return 0
            found = rows.matching_documents(connection, condition)
            return rows.delete_documents(connection, found)

    def delete_older(self, knowledge_base_id: str, current: Mapping[str, int]) -> None:
        """Nothing: `replace` leaves no older version."""

    def drop(self, knowledge_base_id: str) -> None:
        """Empty a knowledge base's index.

        Its file stays, without content: other processes may have it open, and what they
        wrote to an unlinked file would be lost.
        """
        with self._writing(knowledge_base_id, create=False) as connection:
            if connection is None:
                return
            rows.delete_everything(connection)
        self.purge(knowledge_base_id)

    def purge(self, knowledge_base_id: str) -> None:
        """Wipe every trace of deleted and replaced text from the files.

        Rewrites the file if there may be any, which takes a time and a memory that grow
        with it. Waits for searches that began before; raises `Unavailable` if they don't
        end.
        """
        base = self._bases.get(knowledge_base_id)
        deadline = time.monotonic() + _PURGE_TIMEOUT_S
        with base.writing, base.connection(create=False) as (connection, _):
            if connection is None:
                return
            if rows.traces_left(connection):
                rows.wipe_traces(connection)
            # The log still holds pages from before; only an empty one holds nothing.
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise Unavailable("the index is being read without a pause; try again")
                time.sleep(0.005)

    # Reading

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        """The union of both legs' best nodes with exact evidence, read from one snapshot.

        Raises `EmbedderMismatch` for a vector of another dimension than the base's.
        """
        condition = compile_filter(query.filter) if query.filter is not None else None

        def read(
            connection: sqlite3.Connection, state: State, file: OpenFile
        ) -> list[Candidate] | None:
            return _searched(connection, state, file, query, condition)

        # Vectors of a later state than the snapshot send the search back for a new snapshot.
        nothing: list[Candidate] | None = []
        for _ in range(_MOST_SNAPSHOTS):
            found = self._reading(knowledge_base_id, read, otherwise=nothing)
            if found is not None:
                self._bases.bound_memory()
                return found
        raise IndexDamaged("the index has gone back to an earlier state")

    def known_vectors(
        self, knowledge_base_id: str, document_ids: Collection[str]
    ) -> dict[str, Vector]:
        """`content_digest` → vector of every node that these documents have in the index."""
        return self._reading(
            knowledge_base_id,
            lambda connection, *_: rows.known_vectors(connection, document_ids),
            otherwise={},
        )

    def nodes(
        self,
        knowledge_base_id: str,
        document_id: str,
        *,
        from_version: int = 0,
        to_version: int = NEWEST,
    ) -> list[IndexedNode]:
        """A document's nodes in order, if its version is between these two."""
        return self._reading(
            knowledge_base_id,
            lambda connection, *_: rows.nodes_of(connection, document_id, from_version, to_version),
            otherwise=[],
        )

    def select(self, knowledge_base_id: str, filter_: Filter | None) -> list[Replacement]:
        """The documents that the filter holds for (None: all), each with its nodes."""
        condition = compile_filter(filter_) if filter_ is not None else None
        return self._reading(
            knowledge_base_id,
            lambda connection, *_: rows.documents(connection, condition),
            otherwise=[],
        )

    def languages(self, knowledge_base_id: str) -> tuple[str, ...]:
        """The languages of the documents in the index, most frequent first."""
        return self._reading(knowledge_base_id, _languages, otherwise=())

    def count(self, knowledge_base_id: str) -> StoreCounts:
        """How many documents and nodes the index holds; zeros if there is none."""
        return self._reading(
            knowledge_base_id,
            lambda _, state, __: StoreCounts(documents=state.documents, nodes=state.nodes),
            otherwise=StoreCounts(documents=0, nodes=0),
        )

    def versions(self, knowledge_base_id: str) -> list[IndexedVersion]:
        """What is in the index, document by document, for verification."""
        return self._reading(
            knowledge_base_id, lambda connection, *_: rows.versions(connection), otherwise=[]
        )

    def mark(self, knowledge_base_id: str) -> IndexMark:
        """The state that the index is in; one that no index has, if there is none."""
        return self._reading(
            knowledge_base_id,
            lambda _, state, __: IndexMark(state.index_id, state.change),
            otherwise=IndexMark("", 0),
        )

    def problems(self, knowledge_base_id: str) -> list[str]:
        """What is wrong with the index, in sentences; reads all of it."""
        return self._reading(
            knowledge_base_id,
            lambda connection, state, _: verification.problems(connection, state),
            otherwise=[],
        )

    def renew(self, knowledge_base_id: str, index_id: str | None) -> None:
        """Put a new, empty index in the place of the one of that id (None: of any)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        base = self._bases.get(knowledge_base_id)
        with base.writing, engine_errors():
            base.renew(index_id)

    def _reading(
        self,
        knowledge_base_id: str,
        read: Callable[[sqlite3.Connection, State, OpenFile], _T],
        *,
        otherwise: _T,
    ) -> _T:
        """What `read` makes of one snapshot; `otherwise` if there is no such base."""
        base = self._bases.get(knowledge_base_id)
        with base.connection(create=False) as (connection, file):
            if connection is None or file is None:
                return otherwise
            # An error closes the connection, and the transaction with it.
            connection.execute("BEGIN")
            result = read(connection, read_state(connection), file)
            connection.execute("COMMIT")
            return result

    @contextmanager
    def _writing(
        self, knowledge_base_id: str, *, create: bool = True
    ) -> Iterator[sqlite3.Connection | None]:
        """A transaction; None if there is no such base and none is to be made."""
        base = self._bases.get(knowledge_base_id)
        with base.writing, base.connection(create=create) as (connection, _):
            if connection is None:
                yield None
                return
            connection.execute("BEGIN IMMEDIATE")
            # An error closes the connection, which rolls the transaction back.
            yield connection
            connection.execute("COMMIT")


def _searched(
    connection: sqlite3.Connection,
    state: State,
    file: OpenFile,
    query: StoreQuery,
    condition: Condition | None,
) -> list[Candidate] | None:
    if not state.nodes or query.candidates < 1:
        return []
    # The lexical leg first: the query's vector may still be on its way.
    matching: list[int] = []
    lexical: LexicalQuery | None = None
    if query.terms is not None and (terms := distinct_terms(query.terms)):
        lexical = lexical_query(
            query.terms,
            _frequencies(file, connection, state, terms),
            nodes=state.nodes,
            total_terms=state.terms,
        )
        expression = lexical.match_expression(state.nodes)
        if expression is not None:
            matching = matching_nodes(connection, expression, condition, query.candidates)
    view: VectorView | None = None
    scores: Vector | None = None
    nearest: Rows = np.empty(0, dtype=np.int64)
    vector = query.vector
    if vector is not None:
        if len(vector) != state.dimension:
            raise EmbedderMismatch(
                f"the knowledge base holds vectors of {state.dimension} dimensions,"
                f" not of {len(vector)}"
            )
        view = _view(file, connection, state)
        if view is None:
            return None
        allowed = None
        if condition is not None:
            allowed = view.mask(rows.node_ranges(connection, condition))
        scores = view.scores(vector)
        nearest = view.best(scores, query.candidates, allowed)
    nodes = nearest
    evidence: Evidence | None = None
    if lexical is not None:
        nodes = np.union1d(nearest, np.array(matching, dtype=np.int64))
        evidence = lexical.evidence(connection, nodes)
        kept = np.isin(nodes, nearest)
        kept[_best_matches(evidence, np.isin(nodes, matching), query.candidates)] = True
        nodes, evidence = nodes[kept], evidence.of(kept)
    nodes = np.sort(nodes) if evidence is None else nodes
    cosines = np.zeros(len(nodes), dtype=np.float32)
    if view is not None and scores is not None:
        cosines = scores[view.positions(nodes)]

    def document_cosine(first_node: int, count: int) -> float:
        if view is None or scores is None:
            return 0.0
        return view.document_cosine(scores, first_node, count)

    found, new = rows.candidates(
        connection, nodes, cosines, document_cosine, evidence, file.documents
    )
    with file.lock:
        if len(file.documents) > _MOST_DOCUMENTS:
            file.documents = {}
        file.documents.update(new)
    return found


def _best_matches(evidence: Evidence, matching: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Where the best of the matching nodes are, equal ones in order of node."""
    positions = np.flatnonzero(matching & (evidence.bm25 > 0))
    order = np.lexsort((positions, -evidence.bm25[positions]))[:count]
    return positions[order]


def _view(file: OpenFile, connection: sqlite3.Connection, state: State) -> VectorView | None:
    """The vectors of this very state; None if a later state's are already in memory."""
    with file.view_lock:
        view = file.view
        if view is None or view.change < state.change:
            view = file.view = brought_up_to_date(view, connection, state)
    return view if view.change == state.change else None


def _frequencies(
    file: OpenFile, connection: sqlite3.Connection, state: State, terms: set[str]
) -> dict[str, int]:
    """How many nodes have each term; remembered for as long as the state lasts."""
    with file.lock:
        change, remembered = file.frequencies
        known = {term: remembered[term] for term in terms if term in remembered}
    if change != state.change:
        known = {}
    for term in terms - known.keys():
        known[term] = term_frequency(connection, term)
    with file.lock:
        if file.frequencies[0] != state.change or len(file.frequencies[1]) > _MOST_FREQUENCIES:
            file.frequencies = (state.change, {})
        file.frequencies[1].update(known)
    return known


def _languages(connection: sqlite3.Connection, state: State, file: OpenFile) -> tuple[str, ...]:
    with file.lock:
        change, languages = file.languages
    if change != state.change:
        languages = rows.languages(connection)
        with file.lock:
            file.languages = (state.change, languages)
    return languages
