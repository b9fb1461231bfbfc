"""A store whose indexes are compared with what the registry knows of them.

The registry remembers the mark of the last write to each index. An index that is missing,
exchanged, older than its mark or damaged is given up by whoever notices, once: the store
starts an empty one, the registry queues what the old one held, and until that is back,
searches of the base are refused instead of answered with a part of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from llamaindex_reaktly.errors import IndexDamaged, Unavailable
from llamaindex_reaktly.registry.indexes import Indexes, IndexRecord
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

log = structlog.get_logger(__name__)

# A disk that damages whatever is written to it must not keep a worker busy for ever.
PAUSE_SECONDS = 60.0

_NOT_THE_ONE = "the index is not the one that was written"


class WatchedStore(Store):
    """`store`, with its indexes under watch."""

    def __init__(self, store: Store, indexes: Indexes) -> None:
        self._store = store
        self._indexes = indexes
        self.replaces_at_once = store.replaces_at_once

    def rebuild(self, knowledge_base_id: str, reason: str) -> int:
        """Have the index made again, sound or not; how many documents are queued for it."""
        record = self._indexes.get(knowledge_base_id)
        self._store.renew(knowledge_base_id, None)
        queued = self._indexes.give_up(knowledge_base_id, epoch=record.epoch, reason=reason)
        return queued or 0

    def require_whole(self, knowledge_base_id: str) -> None:
        """Raise `Unavailable` while the index is being made again, or if it has to be."""
        record = self._whole(knowledge_base_id)
        with self._watch(knowledge_base_id, record):
            self._compare(knowledge_base_id, record)

    # -- the store's own -------------------------------------------------------------

    def check(self) -> None:
        """As the store has it."""
        self._store.check()

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        """As the store has it; the registry then knows how far the index has come."""
        record = self._indexes.get(knowledge_base_id)
        with self._watch(knowledge_base_id, record):
            self._store.replace(knowledge_base_id, replacements, keep_older=keep_older)
            if replacements:
                self._note(knowledge_base_id, record)

    def delete_older(self, knowledge_base_id: str, current: Mapping[str, int]) -> None:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            self._store.delete_older(knowledge_base_id, current)

    def delete(self, knowledge_base_id: str, document_ids: Collection[str]) -> int:
        """As the store has it; the registry then knows how far the index has come."""
        record = self._indexes.get(knowledge_base_id)
        with self._watch(knowledge_base_id, record):
            deleted = self._store.delete(knowledge_base_id, document_ids)
            if deleted:
                self._note(knowledge_base_id, record)
            return deleted

    def purge(self, knowledge_base_id: str) -> None:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            self._store.purge(knowledge_base_id)

    def drop(self, knowledge_base_id: str) -> None:
        """As the store has it; of a damaged index nothing is kept either."""
        try:
            self._store.drop(knowledge_base_id)
        except IndexDamaged:
            self._store.renew(knowledge_base_id, None)

    def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        """As the store has it, or `Unavailable`: never from a part of what was written."""
        record = self._whole(knowledge_base_id)
        with self._watch(knowledge_base_id, record):
            found = self._store.search(knowledge_base_id, query)
            # Afterwards: what was sound then was so when the search read it.
            self._compare(knowledge_base_id, record)
            return found

    def known_vectors(
        self, knowledge_base_id: str, document_ids: Collection[str]
    ) -> dict[str, Vector]:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.known_vectors(knowledge_base_id, document_ids)

    def nodes(
        self,
        knowledge_base_id: str,
        document_id: str,
        *,
        from_version: int = 0,
        to_version: int = NEWEST,
    ) -> list[IndexedNode]:
        """As the store has it, or `Unavailable`."""
        record = self._whole(knowledge_base_id)
        with self._watch(knowledge_base_id, record):
            found = self._store.nodes(
                knowledge_base_id, document_id, from_version=from_version, to_version=to_version
            )
            self._compare(knowledge_base_id, record)
            return found

    def languages(self, knowledge_base_id: str) -> tuple[str, ...]:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.languages(knowledge_base_id)

    def count(self, knowledge_base_id: str) -> StoreCounts:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.count(knowledge_base_id)

    def versions(self, knowledge_base_id: str) -> list[IndexedVersion]:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.versions(knowledge_base_id)

    def mark(self, knowledge_base_id: str) -> IndexMark | None:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.mark(knowledge_base_id)

    def problems(self, knowledge_base_id: str) -> list[str]:
        """As the store has it."""
        with self._watch(knowledge_base_id):
            return self._store.problems(knowledge_base_id)

    def renew(self, knowledge_base_id: str, index_id: str | None) -> None:
        """As the store has it."""
        self._store.renew(knowledge_base_id, index_id)

    def close(self) -> None:
        """Close the store. Idempotent."""
        self._store.close()

    # -- the watch -------------------------------------------------------------------

    def _whole(self, knowledge_base_id: str) -> IndexRecord:
        record = self._indexes.get(knowledge_base_id)
        if record.rebuild_reason is not None and not self._indexes.is_whole_again(
            knowledge_base_id, record.epoch
        ):
            raise Unavailable(f"{record.rebuild_reason}; try again when that is done")
        return record

    def _compare(self, knowledge_base_id: str, record: IndexRecord) -> None:
        """Raise `IndexDamaged` unless the index is at the registry's mark or later."""
        mark = self._store.mark(knowledge_base_id)
        if mark is None:
            return
        if record.mark is None:
            # Nothing was written yet, or by a release that remembered no mark.
            if self._indexes.holds_documents(knowledge_base_id):
                expected = self._indexes.count_documents(knowledge_base_id)
                if self._store.count(knowledge_base_id).documents < expected:
                    raise IndexDamaged("the index does not hold all that was written to it")
                self._indexes.note(knowledge_base_id, mark)
        elif mark.index_id != record.mark.index_id or mark.change < record.mark.change:
            raise IndexDamaged(_NOT_THE_ONE)

    def _note(self, knowledge_base_id: str, record: IndexRecord) -> None:
        mark = self._store.mark(knowledge_base_id)
        if mark is None:
            return
        # What was noted before a write is behind it, or the index has gone back meanwhile.
        gone_back = record.mark is not None and mark.change <= record.mark.change
        if gone_back or not self._indexes.note(knowledge_base_id, mark):
            raise IndexDamaged(_NOT_THE_ONE)

    @contextmanager
    def _watch(self, knowledge_base_id: str, record: IndexRecord | None = None) -> Iterator[None]:
        # As it is before: what is noticed now must not be held against a later index.
        before = record or self._indexes.get(knowledge_base_id)
        try:
            yield
        except IndexDamaged as error:
            reason = self._give_up(knowledge_base_id, before, error)
            raise IndexDamaged(f"{reason}; try again when that is done") from error

    def _give_up(self, knowledge_base_id: str, record: IndexRecord, error: IndexDamaged) -> str:
        reason = "the index was damaged and is being made again from what was accepted"
        if self._indexes.seconds_since_lost(record) < PAUSE_SECONDS:
            log.error(
                "index_damaged_again", knowledge_base_id=knowledge_base_id, reason=error.message
            )
            return reason
        # The file first: what is queued then is never written into the one that goes.
        index_id = None if record.mark is None else record.mark.index_id
        self._store.renew(knowledge_base_id, index_id)
        queued = self._indexes.give_up(knowledge_base_id, epoch=record.epoch, reason=reason)
        if queued is not None:
            log.error(
                "index_given_up",
                knowledge_base_id=knowledge_base_id,
                reason=error.message,
                documents_queued=queued,
            )
        return reason
