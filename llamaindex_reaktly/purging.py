"""Wiping what was deleted out of the files.

Deleting a row does not unwrite it: SQLite leaves copies of moved rows in the gaps of its
pages, `secure_delete` or not, so only rewriting a file removes every trace. That costs
time in proportion to the file, so it is rationed: single deletes are wiped at once, also
where no worker runs; those of a storm are left to the worker, who does one for many.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.slices import slices
from llamaindex_reaktly.stores.protocol import Store

# Rewriting may take this share of the time, so that a storm of deletes cannot keep the
# files locked against everybody else.
MAX_SHARE = 0.1
# What may be spent at once, when little was spent before: some dozens of deletes from a
# base of ordinary size.
BURST_SECONDS = 3.0


class Purger:
    """Rewrites the files of one data directory, for a tenth of the time in the long run."""

    def __init__(
        self, registry: Registry, store: Store, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        # Seconds that may be spent, as of a time; below zero after a rewrite that took longer.
        self._credit = BURST_SECONDS
        self._as_of = clock()

    def remove(self, by_base: Mapping[str, Collection[str]]) -> None:
        """Take deleted documents out of the index, others getting their turns in between."""
        for knowledge_base_id, ids in by_base.items():
            for some in slices(sorted(ids)):
                self._store.delete(knowledge_base_id, some)

    def purge(self, knowledge_base_ids: Iterable[str]) -> bool:
        """Wipe what was deleted in these knowledge bases; False: not now, try again later."""
        with self._lock:
            started = self._clock()
            self._credit += (started - self._as_of) * MAX_SHARE
            self._credit = min(self._credit, BURST_SECONDS)
            self._as_of = started
            if self._credit <= 0:
                return False
            try:
                for knowledge_base_id in knowledge_base_ids:
                    self._store.purge(knowledge_base_id)
                return self._registry.database.scrub()
            finally:
                self._credit -= self._clock() - started
