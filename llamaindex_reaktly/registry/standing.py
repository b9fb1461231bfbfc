"""How the knowledge bases stand, for a person who asks: reads the whole table, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import documents, knowledge_bases

# What is called lately: long enough to say something of the pace, short enough to be now.
LATELY_SECONDS = 600.0

_WAITING = (DocumentState.QUEUED, DocumentState.PROCESSING)


@dataclass(frozen=True, slots=True)
class BaseStanding:
    """A knowledge base's documents by state.

    `oldest_seconds` is the age of the oldest that is to become searchable (0: none is),
    `indexed_lately` how many did in the last `LATELY_SECONDS`.
    """

    knowledge_base_id: str
    documents: Mapping[DocumentState, int]
    oldest_seconds: float
    last_indexed_at: datetime | None
    indexed_lately: int

    @property
    def waiting(self) -> int:
        """Documents that are to become searchable."""
        return sum(self.documents[state] for state in _WAITING)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why documents are where they are, how many, and one of them."""

    text: str
    documents: int
    example_id: str


class Standing:
    """The registry's answers to `reaktly status`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_bases(self, knowledge_base_id: str | None = None) -> list[BaseStanding]:
        """Each knowledge base's standing by id, empty ones too; or that of one alone."""
        bases = sa.select(knowledge_bases.c.knowledge_base_id)
        if knowledge_base_id is not None:
            bases = bases.where(knowledge_bases.c.knowledge_base_id == knowledge_base_id)
        with self._database.read() as connection:
            now = self._database.now(connection)
            lately = sa.case((documents.c.finished_at > now - LATELY_SECONDS, 1), else_=0)
            query = sa.select(
                documents.c.knowledge_base_id,
                documents.c.state,
                sa.func.count(),
                sa.func.min(documents.c.queued_at),
                sa.func.max(documents.c.finished_at),
                sa.func.sum(lately),
            ).group_by(documents.c.knowledge_base_id, documents.c.state)
            if knowledge_base_id is not None:
                query = query.where(documents.c.knowledge_base_id == knowledge_base_id)
            ids = sorted(connection.execute(bases).scalars())
            rows = connection.execute(query).all()
        found: dict[str, dict[DocumentState, tuple[int, float, float | None, int]]] = {}
        for one, state, number, queued, finished, late in rows:
            found.setdefault(one, {})[DocumentState(state)] = (number, queued, finished, int(late))
        return [_standing(one, found.get(one, {}), now) for one in ids]

    def reasons(
        self, state: DocumentState, knowledge_base_id: str | None = None, *, limit: int = 100
    ) -> list[Reason]:
        """Why documents of a state are in it, the most frequent reason first."""
        number = sa.func.count().label("number")
        query = (
            sa.select(documents.c.error, number, sa.func.min(documents.c.document_id))
            .where(documents.c.state == state, documents.c.error.is_not(None))
            .group_by(documents.c.error)
            .order_by(number.desc(), documents.c.error)
            .limit(limit)
        )
        if knowledge_base_id is not None:
            query = query.where(documents.c.knowledge_base_id == knowledge_base_id)
        with self._database.read() as connection:
            return [Reason(*row) for row in connection.execute(query)]


def _standing(
    knowledge_base_id: str,
    by_state: Mapping[DocumentState, tuple[int, float, float | None, int]],
    now: float,
) -> BaseStanding:
    waiting = [by_state[state][1] for state in _WAITING if state in by_state]
    _, _, indexed_at, lately = by_state.get(DocumentState.COMPLETED, (0, 0.0, None, 0))
    return BaseStanding(
        knowledge_base_id,
        {state: by_state[state][0] if state in by_state else 0 for state in DocumentState},
        max(0.0, now - min(waiting)) if waiting else 0.0,
        None if indexed_at is None else datetime.fromtimestamp(indexed_at, UTC),
        lately,
    )
