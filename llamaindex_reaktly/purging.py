"""Wiping what was deleted out of the files.

Deleting a row does not unwrite it: SQLite leaves copies of moved rows in the gaps of its
pages, `secure_delete` or not, so only rewriting a file removes every trace. That costs
time in proportion to the file, so it is rationed: a rewrite comes at once when the last
one is long enough ago, else it is left to the worker, who does one for many deletes.
"""

import threading
import time
from collections.abc import Callable, Iterable

from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.stores.protocol import Store

# Rewriting may take this share of the time, so that a storm of deletes cannot keep the
# files locked against everybody else.
MAX_SHARE = 0.1


class Purger:
    """Rewrites the files of one data directory, at most a tenth of the time."""

    def __init__(
        self, registry: Registry, store: Store, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._resume_at = 0.0

    def purge(self, knowledge_base_ids: Iterable[str]) -> bool:
        """Wipe what was deleted in these knowledge bases; False: not now, try again later."""
        with self._lock:
            started = self._clock()
            if started < self._resume_at:
                return False
            for knowledge_base_id in knowledge_base_ids:
                self._store.purge(knowledge_base_id)
            wiped = self._registry.database.scrub()
            ended = self._clock()
            self._resume_at = ended + (ended - started) / MAX_SHARE
            return wiped
