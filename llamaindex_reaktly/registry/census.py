"""How many documents are where, and for how long: cheap enough to be asked all the time.

What waits, is worked on or has failed is counted from the queue's index each time. The
settled rest may be all of a large table: it is counted again only when so much time has
passed that counting stays a trifle.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentState, Priority
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import documents

UNSETTLED = (DocumentState.QUEUED, DocumentState.PROCESSING, DocumentState.FAILED)
SETTLED = (DocumentState.COMPLETED, DocumentState.DELETED)
# Counting what is settled takes at most this share of the time, however often it is asked: at
# 100,000 documents (5 ms here) that is twice a minute, at a thousand every half second.
SETTLED_SHARE = 1 / 5000


@dataclass(frozen=True, slots=True)
class Census:
    """Documents by state, and how long ago the oldest of each unsettled state was queued."""

    documents: Mapping[DocumentState, int]
    oldest_seconds: Mapping[DocumentState, float]

    @property
    def oldest_waiting_seconds(self) -> float:
        """Age of the oldest document that is to become searchable; 0 when none is."""
        return max(
            self.oldest_seconds[state] for state in (DocumentState.QUEUED, DocumentState.PROCESSING)
        )


def _counts(states: tuple[DocumentState, ...]) -> sa.Select[str, int]:
    return (
        sa.select(documents.c.state, sa.func.count())
        .where(documents.c.state.in_(states))
        .group_by(documents.c.state)
    )


_UNSETTLED_COUNTS = _counts(UNSETTLED)
_SETTLED_COUNTS = _counts(SETTLED)
# The index is by state, rank and age: the first entry of each pair, not a walk of them all.
_OLDEST = sa.union_all(
    *(
        sa.select(sa.literal(state.value), sa.func.min(documents.c.queued_at)).where(
            documents.c.state == state, documents.c.queue_rank == Priority.HIGH - priority
        )
        for state in UNSETTLED
        for priority in Priority
    )
)


class CensusTaker:
    """Counts, and remembers what is dear to count."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._settled: dict[DocumentState, int] = {}
        self._count_again_at = float("-inf")

    def take(self) -> Census:
        """The documents of all knowledge bases; those that are settled as lately counted."""
        with self._database.read() as connection:
            counts = dict.fromkeys(UNSETTLED, 0)
            counts |= {
                DocumentState(state): number
                for state, number in connection.execute(_UNSETTLED_COUNTS)
            }
            queued_at: dict[DocumentState, float] = {}
            for name, first in connection.execute(_OLDEST):
                if first is not None:
                    state = DocumentState(name)
                    queued_at[state] = min(first, queued_at.get(state, first))
            now = self._database.now(connection)
            if self._clock() >= self._count_again_at:
                self._count_settled(connection)
        ages = {
            state: max(0.0, now - queued_at[state]) if state in queued_at else 0.0
            for state in UNSETTLED
        }
        return Census(counts | self._settled, ages)

    def _count_settled(self, connection: sa.Connection) -> None:
        started = self._clock()
        found = {
            DocumentState(state): number for state, number in connection.execute(_SETTLED_COUNTS)
        }
        self._settled = dict.fromkeys(SETTLED, 0) | found
        ended = self._clock()
        self._count_again_at = ended + (ended - started) / SETTLED_SHARE
