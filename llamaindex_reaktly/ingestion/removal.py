"""Taking out of the index what no search wants: deleted documents, replaced versions."""

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.errors import ReaktlyError
from llamaindex_reaktly.ingestion.breaker import Breaker
from llamaindex_reaktly.ingestion.held_claims import HeldClaims
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Claim
from llamaindex_reaktly.registry.visibility import Replaced

# Longer than any search takes, its repetitions for more candidates included.
REPLACED_GRACE_SECONDS = 30.0


class Remover:
    """Removes for one worker; a base whose store is away is left alone, and comes later."""

    def __init__(
        self, knowledge_base: KnowledgeBase, *, held: HeldClaims, breaker: Breaker
    ) -> None:
        self._knowledge_base = knowledge_base
        self._queue = knowledge_base.registry.queue
        self._visibility = knowledge_base.registry.visibility
        self._store = knowledge_base.store
        self._held = held
        self._breaker = breaker

    def undo(self, fallen: list[Claim]) -> None:
        """Take out again what was deleted while it was being put in."""
        for claim in fallen:
            status = self._knowledge_base.status(claim.document_id)
            if status is not None and status.state is not DocumentState.DELETED:
                continue
            knowledge_base_id = claim.document.key.knowledge_base_id
            try:
                self._store.delete(knowledge_base_id, [claim.document_id])
                if self._knowledge_base.purger.purge([knowledge_base_id]):
                    self._queue.mark_purged([claim.document_id], [claim.token])
            except ReaktlyError as error:  # left to the purge that comes later
                self._held.put_off(knowledge_base_id, [], error)

    def remove_what_is_left(self) -> None:
        """Remove what could not be removed when it was deleted or replaced."""
        by_base: dict[str, list[str]] = {}
        for knowledge_base_id, document_id in self._queue.unpurged():
            by_base.setdefault(knowledge_base_id, []).append(document_id)
        for knowledge_base_id, document_ids in by_base.items():
            if knowledge_base_id in self._breaker.away():
                continue
            try:
                self._knowledge_base.purger.remove({knowledge_base_id: document_ids})
                if self._knowledge_base.purger.purge([knowledge_base_id]):
                    self._queue.mark_purged(document_ids)
            except ReaktlyError as error:
                self._held.put_off(knowledge_base_id, [], error)
        if not self._store.replaces_at_once:
            self._remove_replaced()

    def _remove_replaced(self) -> None:
        """Remove versions from the index that no search still wants."""
        by_base: dict[str, list[Replaced]] = {}
        for one in self._visibility.replaced(REPLACED_GRACE_SECONDS):
            by_base.setdefault(one.knowledge_base_id, []).append(one)
        for knowledge_base_id, replaced in by_base.items():
            if knowledge_base_id in self._breaker.away():
                continue
            # In order of time, so that the last one of a document counts.
            successors = {one.document_id: one.successor for one in replaced}
            try:
                self._store.delete_older(knowledge_base_id, successors)
                self._visibility.forget_replaced(replaced)
            except ReaktlyError as error:
                self._held.put_off(knowledge_base_id, [], error)
