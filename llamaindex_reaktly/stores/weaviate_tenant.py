"""What is done to the objects of one knowledge base on a Weaviate.

Callers repeat a call that failed: ids follow from what is stored, so sending all of it
again changes nothing that had arrived.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import structlog
from weaviate.classes.query import Filter, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.collections.classes.internal import Object
from weaviate.collections.classes.types import WeaviateProperties

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores import weaviate_filters
from llamaindex_reaktly.stores.weaviate_connection import translation
from llamaindex_reaktly.stores.weaviate_counts import Tenant
from llamaindex_reaktly.stores.weaviate_objects import (
    Ref,
    StoredObject,
    document_token,
    head_token,
    read_ref,
)
from llamaindex_reaktly.stores.weaviate_schema import VECTOR

log = structlog.get_logger(__name__)

T = TypeVar("T")
Found = Object[WeaviateProperties, None]

MAX_RESULTS = 10_000
"""What a server answers with at most, offset included, unless told otherwise."""

# Objects of one request and requests under way: more brought nothing (measured).
BATCH = 100
_BATCHES_AT_ONCE = 3
_IDS_A_REQUEST = 500
# With ASYNC_INDEXING, vectors are found about a second after they were acknowledged.
_FOUND_WITHIN_S = 45.0
# A server that was killed may have lost a vector of an object that it kept, and does not index
# it again when the same is sent again: what is not found by then is removed and sent anew.
_REMOVED_AFTER_S = 5.0
_NOTHING = "#nothing"
_PROBES_AT_ONCE = 4
_NEIGHBOURS = 10
_SAME = 1e-4


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def together(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run calls at once; the first failure ends the others, and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def has_token(token: str) -> FilterReturn:
    """Objects with a token."""
    return Filter.by_property(weaviate_filters.PROPERTY).equal(token)


def has_any_token(tokens: Collection[str]) -> FilterReturn:
    """Objects with at least one of these tokens."""
    return Filter.by_property(weaviate_filters.PROPERTY).contains_any(sorted(tokens))


async def put(tenant: Tenant, objects: Sequence[StoredObject]) -> None:
    """Store objects and see that they, and their vectors, are found. Any fault fails it all."""
    limit = asyncio.Semaphore(_BATCHES_AT_ONCE)

    async def store(batch: Sequence[StoredObject]) -> None:
        async with limit:
            await _insert(tenant, batch)
            lost = await _unseen(tenant, batch, within=_REMOVED_AFTER_S)
            if lost:
                log.warning("weaviate_vectors_lost", objects=len(lost))
                await remove(tenant, Filter.by_id().contains_any([str(one.uuid) for one in lost]))
                await _insert(tenant, lost)
                if await _unseen(tenant, lost, within=_FOUND_WITHIN_S):
                    raise Unavailable("Weaviate does not find vectors that it acknowledged")

    await together(store(batch) for batch in slices(objects, BATCH))


async def _insert(tenant: Tenant, batch: Sequence[StoredObject]) -> None:
    answer = await tenant.data.insert_many(batch)
    # A single error may stand for the whole batch, whatever ids are given back.
    for error in answer.errors.values():
        log.warning("weaviate_refused", message=error.message[:500])
        raise translation(error.message)


async def _unseen(
    tenant: Tenant, batch: Sequence[StoredObject], *, within: float
) -> list[StoredObject]:
    """The objects whose vectors are not found in that time, in seconds."""
    by_vector = [one for one in batch if isinstance(one.vector, dict)]
    others = [str(one.uuid) for one in batch if not isinstance(one.vector, dict)]
    if others:
        there = await fetch(tenant, others, return_properties=[])
        if len(there) < len(others):
            raise Unavailable("Weaviate did not keep what it acknowledged; it is sent again")
    if not by_vector:
        return []
    assert isinstance(by_vector[0].vector, dict)
    probe = by_vector[0].vector[VECTOR]
    chosen = Filter.by_id().contains_any([str(one.uuid) for one in by_vector])
    deadline = time.monotonic() + within
    while True:
        found = await tenant.query.near_vector(
            probe,
            target_vector=VECTOR,
            filters=chosen,
            limit=len(by_vector),
            return_properties=[],
        )
        seen = {str(one.uuid) for one in found.objects}
        if len(seen) == len(by_vector):
            return []
        if time.monotonic() > deadline:
            return [one for one in by_vector if str(one.uuid) not in seen]
        await asyncio.sleep(0.05)


async def fetch(
    tenant: Tenant,
    ids: Sequence[str],
    *,
    return_properties: list[str],
    include_vector: bool = False,
) -> list[Found]:
    """The objects of these ids that there are."""
    answers = await asyncio.gather(
        *(
            tenant.query.fetch_objects_by_ids(
                some,
                limit=len(some),
                return_properties=return_properties,
                include_vector=include_vector,
            )
            for some in slices(ids, _IDS_A_REQUEST)
        )
    )
    return [found for answer in answers for found in answer.objects]


async def matching(
    tenant: Tenant, where: FilterReturn | None, *, return_properties: list[str]
) -> list[Found]:
    """The objects that satisfy a condition, at most as many as a server gives out."""
    found: list[Found] = []
    while len(found) < MAX_RESULTS:
        page = await tenant.query.fetch_objects(
            filters=where,
            limit=_IDS_A_REQUEST,
            offset=len(found),
            return_properties=return_properties,
        )
        found += page.objects
        if len(page.objects) < _IDS_A_REQUEST:
            break
    return found


async def pages(tenant: Tenant, properties: list[str]) -> AsyncIterator[list[Found]]:
    """All objects with their vectors, so many at a time."""
    page: list[Found] = []
    async for one in tenant.iterator(return_properties=properties, include_vector=True):
        page.append(one)
        if len(page) == BATCH:
            yield page
            page = []
    yield page


async def findable(tenant: Tenant, objects: Sequence[Found]) -> set[str]:
    """The ids of those objects that a search by their own vectors brings up."""
    limit = asyncio.Semaphore(_PROBES_AT_ONCE)

    async def probe(one: Found) -> bool:
        vector = one.vector.get(VECTOR)
        if not vector:
            return False
        async with limit:
            answer = await tenant.query.near_vector(
                vector,
                target_vector=VECTOR,
                limit=_NEIGHBOURS,
                return_properties=[],
                return_metadata=MetadataQuery(distance=True),
            )
        distances = [found.metadata.distance or 0.0 for found in answer.objects]
        # Among many of the same text, each is found as well as any other.
        is_one_of_many = len(distances) == _NEIGHBOURS and max(distances) < _SAME
        return is_one_of_many or any(found.uuid == one.uuid for found in answer.objects)

    found = await asyncio.gather(*(probe(one) for one in objects))
    return {str(one.uuid) for one, is_found in zip(objects, found, strict=True) if is_found}


async def heads(tenant: Tenant, document_ids: Collection[str]) -> dict[str, list[Ref]]:
    """The whole versions that there are of these documents, the newest last."""
    versions: dict[str, list[Ref]] = {}
    for some in slices(sorted(document_ids), _IDS_A_REQUEST):
        where = has_any_token([head_token(document_id) for document_id in some])
        for found in await matching(tenant, where, return_properties=["ref"]):
            ref = read_ref(found.properties)
            versions.setdefault(ref.document_id, []).append(ref)
    return {document_id: sorted(refs) for document_id, refs in versions.items()}


async def remove_documents(tenant: Tenant, document_ids: Collection[str]) -> None:
    """Remove every object of these documents."""
    for some in slices(sorted(document_ids), _IDS_A_REQUEST):
        await remove(tenant, has_any_token([document_token(one) for one in some]))


async def remove(tenant: Tenant, where: FilterReturn) -> None:
    """Remove every object that satisfies a condition; the server does so many at a time.

    The last request finds nothing, which is also what `flush` asks for.
    """
    while True:
        answer = await tenant.data.delete_many(where)
        if answer.failed or (answer.matches and not answer.successful):
            raise translation("the store is read-only, or refuses to delete")
        if not answer.matches:
            return


async def flush(tenant: Tenant) -> None:
    """Have the server write out its log of vectors.

    It leaves the log's tail in a buffer until its next write, and forgets that if it is
    killed before (measured: up to 43 of 2,000 vectors not found again). A removal of
    nothing is such a write.
    """
    await remove(tenant, has_token(_NOTHING))
