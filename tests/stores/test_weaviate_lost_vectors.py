"""A killed server keeps objects whose vectors it no longer finds; see `weaviate_tenant.put`.

A stand-in for the server, because a real one loses vectors in some kills only. `torture
store-kills` does the same to a real one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from weaviate.classes.data import DataObject

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores import weaviate_tenant
from llamaindex_reaktly.stores.weaviate_counts import Tenant
from llamaindex_reaktly.stores.weaviate_objects import StoredObject
from llamaindex_reaktly.stores.weaviate_schema import VECTOR

OBJECTS: list[StoredObject] = [
    DataObject(uuid=f"00000000-0000-0000-0000-{number:012}", properties={}, vector={VECTOR: [1.0]})
    for number in range(5)
]


@dataclass
class ForgetfulServer:
    """Keeps what it is sent, and finds no vector of an object that it `lost` until it is new."""

    lost: set[str]
    kept: set[str] = field(default_factory=set)
    never_finds: bool = False

    async def insert_many(self, objects: Sequence[StoredObject]) -> SimpleNamespace:
        self.kept |= {str(one.uuid) for one in objects}
        return SimpleNamespace(errors={})

    async def delete_many(self, _: object) -> SimpleNamespace:
        gone, self.lost = self.lost & self.kept, set()
        self.kept -= gone
        return SimpleNamespace(failed=0, matches=len(gone), successful=len(gone))

    async def near_vector(self, *_: object, **__: object) -> SimpleNamespace:
        found = set() if self.never_finds else self.kept - self.lost
        return SimpleNamespace(objects=[SimpleNamespace(uuid=one) for one in found])

    def tenant(self) -> Tenant:
        """What the store speaks to."""
        return cast("Tenant", SimpleNamespace(data=self, query=self))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weaviate_tenant, "_REMOVED_AFTER_S", 0.0)
    monkeypatch.setattr(weaviate_tenant, "_FOUND_WITHIN_S", 0.0)


def test_an_object_whose_vector_was_lost_is_removed_and_stored_anew() -> None:
    ids = {str(one.uuid) for one in OBJECTS}
    lost = set(sorted(ids)[:2])
    server = ForgetfulServer(lost=lost, kept=set(lost))
    asyncio.run(weaviate_tenant.put(server.tenant(), OBJECTS))
    assert server.kept == ids
    assert not server.lost


def test_what_is_not_found_after_that_either_is_not_taken_as_stored() -> None:
    server = ForgetfulServer(lost=set(), never_finds=True)
    with pytest.raises(Unavailable):
        asyncio.run(weaviate_tenant.put(server.tenant(), OBJECTS))
