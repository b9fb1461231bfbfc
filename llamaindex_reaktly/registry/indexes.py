"""What the registry knows of each knowledge base's index: which one it is, and how far it got.

A store that loses an index, or goes back to an earlier state of it, does not say so by
itself. It is noticed because the registry remembers the mark of the last write. An index
that can't be trusted is given up once, whoever notices: the epoch fences.
"""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import UNFINISHED, documents, indexes
from llamaindex_reaktly.registry.slices import IDS_PER_STATEMENT
from llamaindex_reaktly.stores.protocol import IndexMark


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """One index. `mark` is None until something was written to it.

    `epoch` counts how often the base's index was given up; `rebuild_reason` says why the
    last time, for as long as documents that it held are not back. `lost_at` is when.
    """

    mark: IndexMark | None
    epoch: int
    rebuild_reason: str | None
    lost_at: float | None


_UNKNOWN = IndexRecord(None, 0, None, None)

_BY_ID = sa.select(
    indexes.c.index_id,
    indexes.c.change,
    indexes.c.epoch,
    indexes.c.rebuild_reason,
    indexes.c.lost_at,
).where(indexes.c.knowledge_base_id == sa.bindparam("id"))
_INDEXED = sa.and_(
    documents.c.knowledge_base_id == sa.bindparam("id"),
    documents.c.state != DocumentState.DELETED,
    documents.c.indexed_version.is_not(None),
)
_OF_BASE = (
    sa.select(documents.c.document_id)
    .where(
        documents.c.knowledge_base_id == sa.bindparam("id"),
        documents.c.state != DocumentState.DELETED,
    )
    .order_by(documents.c.document_id)
)
_COUNT_INDEXED = sa.select(sa.func.count()).select_from(documents).where(_INDEXED)
_REBUILDING = (
    sa.select(sa.func.count()).select_from(indexes).where(indexes.c.rebuild_reason.is_not(None))
)
# One is enough to know: the rest of the base need not be read.
_ANY_INDEXED = sa.select(documents.c.document_id).where(_INDEXED).limit(1)
_ANY_LOST = (
    sa.select(documents.c.document_id)
    .where(
        documents.c.knowledge_base_id == sa.bindparam("id"),
        documents.c.lost.is_(True),
        documents.c.state.in_([DocumentState.QUEUED, DocumentState.PROCESSING]),
        UNFINISHED,
    )
    .limit(1)
)


class Indexes:
    """The table of indexes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, knowledge_base_id: str) -> IndexRecord:
        """What is known of a knowledge base's index, which may be nothing."""
        rows = self._database.look_up(_BY_ID, id=knowledge_base_id)
        if not rows:
            return _UNKNOWN
        index_id, change, epoch, reason, lost_at = rows[0]
        mark = None if index_id is None else IndexMark(index_id, change)
        return IndexRecord(mark, epoch, reason, lost_at)

    def note(self, knowledge_base_id: str, mark: IndexMark) -> bool:
        """Remember that the index has come to that mark; False: it is another index."""
        new = self._database.insert(indexes).values(
            knowledge_base_id=knowledge_base_id,
            index_id=mark.index_id,
            change=mark.change,
            epoch=0,
        )
        later = sa.case(
            (indexes.c.change > new.excluded.change, indexes.c.change), else_=new.excluded.change
        )
        statement = new.on_conflict_do_update(
            index_elements=[indexes.c.knowledge_base_id],
            set_={"index_id": new.excluded.index_id, "change": later},
            where=sa.or_(indexes.c.index_id.is_(None), indexes.c.index_id == new.excluded.index_id),
        ).returning(indexes.c.epoch)
        return self._database.write(
            lambda connection: connection.execute(statement).first() is not None
        )

    def give_up(self, knowledge_base_id: str, *, epoch: int, reason: str) -> int | None:
        """Forget the index and queue all that it held; how many documents.

        None: somebody gave up the index of that epoch before, and nothing is done.
        """

        with self._database.read() as connection:
            ids = list(connection.execute(_OF_BASE, {"id": knowledge_base_id}).scalars())

        def update(connection: sa.Connection) -> int | None:
            now = self._database.now(connection)
            connection.execute(
                self._database.insert(indexes)
                .values(knowledge_base_id=knowledge_base_id, epoch=0)
                .on_conflict_do_nothing()
            )
            given_up = connection.execute(
                sa.update(indexes)
                .where(indexes.c.knowledge_base_id == knowledge_base_id, indexes.c.epoch == epoch)
                .values(
                    index_id=None,
                    change=None,
                    epoch=epoch + 1,
                    rebuild_reason=reason,
                    lost_at=now,
                )
            )
            if not given_up.rowcount:
                return None
            self._database.ring_on_commit("work")
            # Whatever their state: what was on its way may have been put into the one that goes.
            again = {
                "state": DocumentState.QUEUED,
                "queued_at": sa.case(
                    (documents.c.state == DocumentState.QUEUED, documents.c.queued_at), else_=now
                ),
                "lost": sa.or_(documents.c.lost, documents.c.indexed_version.is_not(None)),
                "indexed_version": None,
                "error": reason,
                "attempts": 0,
                "lease_token": None,
                "lease_until": None,
                "request_id": None,
                "traceparent": None,
            }
            return sum(
                connection.execute(
                    sa.update(documents)
                    .where(
                        documents.c.document_id.in_(ids[start : start + IDS_PER_STATEMENT]),
                        documents.c.state != DocumentState.DELETED,
                    )
                    .values(again)
                ).rowcount
                for start in range(0, len(ids), IDS_PER_STATEMENT)
            )

        # One transaction, however many documents: half of it would be a base that looks whole.
        return self._database.write(update, ids)

    def is_whole_again(self, knowledge_base_id: str, epoch: int) -> bool:
        """Whether everything that the index held before it was given up has been seen to."""
        if self._database.look_up(_ANY_LOST, id=knowledge_base_id):
            return False
        self._database.write(
            lambda connection: connection.execute(
                sa.update(indexes)
                .where(indexes.c.knowledge_base_id == knowledge_base_id, indexes.c.epoch == epoch)
                .values(rebuild_reason=None)
            )
        )
        return True

    def holds_documents(self, knowledge_base_id: str) -> bool:
        """Whether any document of the knowledge base should be in its index."""
        return bool(self._database.look_up(_ANY_INDEXED, id=knowledge_base_id))

    def count_documents(self, knowledge_base_id: str) -> int:
        """How many documents of the knowledge base should be in its index."""
        ((number,),) = self._database.look_up(_COUNT_INDEXED, id=knowledge_base_id)
        return int(number)

    def rebuilding(self) -> int:
        """How many indexes are being made again, or wait for it."""
        ((number,),) = self._database.look_up(_REBUILDING)
        return int(number)

    @staticmethod
    def seconds_since_lost(record: IndexRecord) -> float:
        """How long ago the index was given up; infinite if it never was."""
        return float("inf") if record.lost_at is None else time.time() - record.lost_at
