"""A knowledge base's vectors in memory, exactly as one state of its file has them.

A view is immutable, so any number of searches scan it while the next one is made. Views
that follow each other share one buffer: a newer view writes only behind the rows that
an older one knows of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.errors import IndexDamaged
from llamaindex_reaktly.stores.checksums import joined_vectors, of_row, require
from llamaindex_reaktly.stores.protocol import Vector
from llamaindex_reaktly.stores.sqlite import sqlite3

_DEAD_SHARE = 0.25
_SPARE_SHARE = 1.25
_SPARE_ROWS = 256

Rows = NDArray[np.int64]


class State(NamedTuple):
    """The one row of the `state` table; `index_id` and `change` name the file's state."""

    index_id: str
    change: int
    log_start: int
    last_document: int
    last_node: int
    dimension: int | None
    documents: int
    nodes: int
    terms: int


def read_state(connection: sqlite3.Connection) -> State:
    """The state as the connection's transaction sees it; `IndexDamaged` if it cannot be."""
    row = connection.execute(
        "SELECT index_id, change, log_start, last_document, last_node, dimension,"
        " documents, nodes, terms, checksum FROM state"
    ).fetchone()
    if row is None:
        raise IndexDamaged("the index has lost its state")
    *state, checksum = row
    require(of_row(*state), checksum)
    return State(*state)


@dataclass(frozen=True, slots=True)
class VectorView:
    """`vectors` (n, dimension) f32 belong to the nodes `rows` (n,), ascending.

    `alive` (n,) tells the nodes that are still there; None when all are. `lengths` are those
    of documents' summed vectors, by first node, as far as they were asked for: nodes never
    change, so views that follow each other share them.
    """

    change: int
    last_node: int
    rows: Rows
    vectors: Vector
    alive: NDArray[np.bool_] | None
    lengths: dict[int, float]

    def scores(self, query: Vector) -> Vector:
        """The cosine (n,) of every row with a unit vector, those that are gone included."""
        # Not `@`: BLAS would spread the product over threads that spin for each other,
        # 20 ms instead of .2 for 7,500 rows when the processors are busy (measured).
        scores: Vector = np.vecdot(self.vectors, query)
        return scores

    def best(self, scores: Vector, count: int, allowed: NDArray[np.bool_] | None) -> Rows:
        """The nodes of the highest scores (n,), best first, equal ones in order of node.

        `allowed` (n,) restricts the search.
        """
        mask = self.alive if allowed is None else allowed
        if self.alive is not None and allowed is not None:
            mask = self.alive & allowed
        positions = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
        if len(positions) > count:
            # Every score that ties with the last one stays in, for the order to decide.
            within = scores[positions]
            least = np.partition(within, len(within) - count)[len(within) - count]
            positions = positions[within >= least]
        order = np.lexsort((positions, -scores[positions]))[:count]
        return self.rows[positions[order]]

    def positions(self, nodes: Rows) -> NDArray[np.intp]:
        """Where these nodes are in the view, which has all of them."""
        return np.searchsorted(self.rows, nodes)

    def document_cosine(self, scores: Vector, first_node: int, nodes: int) -> float:
        """The cosine of the vector that `scores` are of with the mean of a document's nodes.

        The nodes are contiguous.
        """
        start = int(np.searchsorted(self.rows, first_node))
        length = self.lengths.get(first_node)
        if length is None:
            total = self.vectors[start : start + nodes].sum(axis=0)
            length = self.lengths[first_node] = float(np.linalg.norm(total))
        return float(scores[start : start + nodes].sum()) / length if length else 0.0

    def mask(self, ranges: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
        """(n,) true for the nodes in the ranges (first node, number of nodes)."""
        mask = np.zeros(len(self.rows), dtype=np.bool_)
        _mark(mask, self.rows, ranges, value=True)
        return mask


def _mark(
    mask: NDArray[np.bool_], rows: Rows, ranges: Sequence[tuple[int, int]], *, value: bool
) -> None:
    if not ranges:
        return
    first, counts = np.array(ranges, dtype=np.int64).T
    starts = np.searchsorted(rows, first)
    ends = np.searchsorted(rows, first + counts)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        mask[start:end] = value


def brought_up_to_date(
    view: VectorView | None, connection: sqlite3.Connection, state: State
) -> VectorView:
    """The view of the state that the connection's transaction sees.

    `view` is of an earlier state, or None: what was added since is read from the file,
    what was removed is found in its log; where the log no longer reaches back to the
    view, everything is read. Raises `IndexDamaged` when vectors are missing or not as they
    were written.
    """
    if view is None or view.change < state.log_start:
        newer = _loaded(connection, state)
    else:
        newer = _followed(view, connection, state)
    alive = len(newer.rows) if newer.alive is None else np.count_nonzero(newer.alive)
    if alive != state.nodes:
        raise IndexDamaged("the index does not hold a vector for each of its nodes")
    return newer


def _followed(view: VectorView, connection: sqlite3.Connection, state: State) -> VectorView:
    removed = connection.execute(
        "SELECT first_node, nodes FROM removals WHERE change > ?", (view.change,)
    ).fetchall()
    alive, lengths = view.alive, view.lengths
    added_rows, added = _read(connection, view.last_node, state.dimension)
    vectors = _appended(view.vectors, added) if len(added_rows) else view.vectors
    rows = np.concatenate([view.rows, added_rows]) if len(added_rows) else view.rows
    if removed or (alive is not None and len(added_rows)):
        kept = np.ones(len(rows), dtype=np.bool_)
        if alive is not None:
            kept[: len(alive)] = alive
        _mark(kept, rows, removed, value=False)
        alive = kept
        if np.count_nonzero(kept) < (1 - _DEAD_SHARE) * len(kept):
            rows, vectors, alive, lengths = rows[kept], vectors[kept], None, {}
    return VectorView(state.change, state.last_node, rows, vectors, alive, lengths)


def _loaded(connection: sqlite3.Connection, state: State) -> VectorView:
    rows, vectors = _read(connection, 0, state.dimension)
    return VectorView(state.change, state.last_node, rows, vectors, None, {})


def _read(connection: sqlite3.Connection, after: int, dimension: int | None) -> tuple[Rows, Vector]:
    found = connection.execute(
        "SELECT node, vector, checksum FROM vectors WHERE node > ? ORDER BY node", (after,)
    ).fetchall()
    rows = np.fromiter((row[0] for row in found), dtype=np.int64, count=len(found))
    buffer = joined_vectors([row[1] for row in found], [row[2] for row in found], dimension or 0)
    vectors = np.frombuffer(buffer, dtype="<f4").reshape(len(found), dimension or 0)
    return rows, vectors


def _appended(vectors: Vector, added: Vector) -> Vector:
    """Both, in the older one's buffer where that has room behind it."""
    if not len(vectors):
        return added
    total = len(vectors) + len(added)
    buffer = vectors.base
    if (
        isinstance(buffer, np.ndarray)
        and buffer.flags.writeable
        and buffer.dtype == vectors.dtype
        and buffer.ndim == 2
        and len(buffer) >= total
    ):
        buffer[len(vectors) : total] = added
    else:
        capacity = int(total * _SPARE_SHARE) + _SPARE_ROWS
        buffer = np.empty((capacity, vectors.shape[1]), dtype=np.float32)
        buffer[: len(vectors)] = vectors
        buffer[len(vectors) : total] = added
    extended: Vector = buffer[:total]
    return extended
