"""Any store, and on demand none: for tests of what happens while a store is away."""

import functools
from typing import Any

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.protocol import Store

REASON = "the store is away"


class FaultyStore:
    """Passes every call on to `store`, but raises for the knowledge bases in `away`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        @functools.wraps(attribute)
        def call(*arguments: object, **named: object) -> object:
            if self.away.intersection(map(str, arguments[:1])):
                raise Unavailable(REASON)
            return attribute(*arguments, **named)

        return call
