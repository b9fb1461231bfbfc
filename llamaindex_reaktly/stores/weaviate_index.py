"""The index of many knowledge bases on a Weaviate server, or a cluster, as coroutines.

A version of a document is written whole before its head is, which makes it appear; older
versions are removed afterwards. So a search may meet two versions of a document, each of
them whole. Nothing is taken as stored because the server did not complain: every batch is
found again by its vectors before the next step, and any complaint fails the whole call,
which may then be made again.

The coroutines run on the connection's loop.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from weaviate.classes.config import ConsistencyLevel
from weaviate.classes.query import Filter as ServerFilter
from weaviate.exceptions import WeaviateBaseError

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import EmbedderMismatch, Unavailable
from llamaindex_reaktly.filters import Filter
from llamaindex_reaktly.stores import weaviate_counts, weaviate_tenant
from llamaindex_reaktly.stores.filter_match import holds, values_by_field
from llamaindex_reaktly.stores.protocol import (
    Candidate,
    IndexedDocument,
    IndexedNode,
    IndexedVersion,
    Replacement,
    StoreCounts,
    StoreQuery,
)
from llamaindex_reaktly.stores.weaviate_connection import WeaviateConnection
from llamaindex_reaktly.stores.weaviate_counts import Known, Tenant
from llamaindex_reaktly.stores.weaviate_filters import compile_for_server
from llamaindex_reaktly.stores.weaviate_objects import (
    OWN_MARK,
    document_token,
    language_object,
    node_of,
    object_id,
    objects_of,
    read_head,
    read_node,
    read_ref,
)
from llamaindex_reaktly.stores.weaviate_schema import VECTOR, Collections, Home
from llamaindex_reaktly.stores.weaviate_search import Hit, Kept, Records, gathered, read_hits

T = TypeVar("T")

# What a server says of a tenant or a collection that was removed behind our back.
_GONE = ("tenant not found", "could not find class", "non-existing index", "class not found")
_MOST_TENANTS = 1_000


class WeaviateIndex:
    """What `WeaviateStore` and the LlamaIndex face do on a server."""

    def __init__(
        self,
        connection: WeaviateConnection,
        *,
        prefix: str,
        replication_factor: int,
        consistency: ConsistencyLevel,
        identity_of: Callable[[str], EmbedderIdentity | None],
    ) -> None:
        self._connection = connection
        self.prefix = prefix
        self._replication_factor = replication_factor
        self._consistency = consistency
        self._identity_of = identity_of
        self._homes: Kept[str, Home] = Kept(_MOST_TENANTS)
        self._known: Kept[str, Known] = Kept(_MOST_TENANTS)
        self._records = Records()

    async def check(self) -> None:
        """Raise `Unavailable` unless the server says that it is ready."""
        self._connection.doubt()
        await self._connection.client()

    # Writing

    async def replace(
        self, knowledge_base_id: str, replacements: Sequence[Replacement], *, keep_older: bool
    ) -> None:
        """Put each document's new version beside any older one, then remove that.

        Of several versions of a document the highest stays, the last one of equals; a
        version equal to the one in the index replaces it. Raises `EmbedderMismatch` for a
        vector of another dimension than those in the base.
        """
        latest: dict[str, Replacement] = {}
        for replacement in replacements:
            known = latest.get(replacement.document.document_id)
            if known is None or known.document.version <= replacement.document.version:
                latest[replacement.document.document_id] = replacement
        dimensions = {len(node.vector) for one in latest.values() for node in one.nodes}
        if not latest:
            return
        home = await self.home(knowledge_base_id)
        expected = {home.dimension} if home else dimensions
        if len(dimensions | expected) > 1:
            raise EmbedderMismatch(
                f"the knowledge base holds vectors of {min(expected)} dimensions,"
                f" not of {min((dimensions - expected) or dimensions)}"
            )
        if home is None:
            if not dimensions:
                return  # an index without a single node
            await self._make_home(knowledge_base_id, *dimensions)

        async def write(tenant: Tenant) -> bool:
            await self._write(
                tenant, knowledge_base_id, list(latest.values()), keep_older=keep_older
            )
            return True

        if not await self._on_tenant(knowledge_base_id, write, otherwise=False):
            raise Unavailable("the knowledge base's index was dropped meanwhile")

    async def _write(
        self,
        tenant: Tenant,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool,
    ) -> None:
        there = await weaviate_tenant.heads(
            tenant, {one.document.document_id for one in replacements}
        )
        newest = {document_id: refs[-1].version for document_id, refs in there.items()}
        wanted = [
            one
            for one in replacements
            if newest.get(one.document.document_id, -1) <= one.document.version
        ]
        if not wanted:
            return
        objects = await asyncio.to_thread(lambda: [objects_of(one) for one in wanted])
        languages = {one.document.language for one in wanted}
        self._forget(knowledge_base_id)
        rest = [language_object(language) for language in sorted(languages)]
        rest += [one for of_one in objects for one in of_one[1:]]
        await weaviate_tenant.put(tenant, rest)
        await weaviate_tenant.put(tenant, [of_one[0] for of_one in objects])
        for one in wanted:
            # A node that LlamaIndex adds again is its document's only one, as before.
            if one.document.version and one.document.version == newest.get(
                one.document.document_id
            ):
                await self._remove_surplus(tenant, one)
        if not keep_older:
            older = {
                one.document.document_id: one.document.version
                for one in wanted
                if newest.get(one.document.document_id, one.document.version) < one.document.version
            }
            await self._remove_older(tenant, older)
        await weaviate_tenant.flush(tenant)
        self._forget(knowledge_base_id)

    async def _remove_surplus(self, tenant: Tenant, replacement: Replacement) -> None:
        """Remove what the same version had beyond its nodes, when it was written before."""
        document = replacement.document
        await weaviate_tenant.remove(
            tenant,
            ServerFilter.all_of(
                [
                    weaviate_tenant.has_token(document_token(document.document_id)),
                    ServerFilter.by_property("version").equal(document.version),
                    ServerFilter.by_property("ordinal").greater_or_equal(
                        max(len(replacement.nodes), 1)
                    ),
                ]
            ),
        )

    async def _remove_older(self, tenant: Tenant, current: Mapping[str, int]) -> None:
        by_version: dict[int, list[str]] = defaultdict(list)
        for document_id, version in current.items():
            by_version[version].append(document_token(document_id))
        for version, tokens in by_version.items():
            for some in weaviate_tenant.slices(tokens, weaviate_tenant.BATCH):
                older = ServerFilter.by_property("version").less_than(version)
                await weaviate_tenant.remove(tenant, weaviate_tenant.has_any_token(some) & older)

    async def delete_older(self, knowledge_base_id: str, current: Mapping[str, int]) -> None:
        """Remove every version of these documents that is older than the one named."""

        async def remove(tenant: Tenant) -> None:
            await self._remove_older(tenant, current)
            self._forget(knowledge_base_id)

        await self._on_tenant(knowledge_base_id, remove, otherwise=None)

    async def delete(self, knowledge_base_id: str, document_ids: Collection[str]) -> int:
        """Remove documents with all their nodes; how many there were."""

        async def remove(tenant: Tenant) -> int:
            there = await weaviate_tenant.heads(tenant, document_ids)
            await weaviate_tenant.remove_documents(tenant, document_ids)
            self._forget(knowledge_base_id)
            return len(there)

        return await self._on_tenant(knowledge_base_id, remove, otherwise=0)

    async def delete_matching(self, knowledge_base_id: str, filter_: Filter) -> None:
        """Remove the documents that the filter holds for."""
        condition = compile_for_server(filter_)
        if condition.admits_nothing:
            return
        if not condition.is_exact:
            found = await self.select(knowledge_base_id, filter_)
            await self.delete(knowledge_base_id, {one.document.document_id for one in found})
            return
        where = weaviate_tenant.has_token(OWN_MARK)
        if condition.where is not None:
            where = where & condition.where

        async def remove(tenant: Tenant) -> None:
            await weaviate_tenant.remove(tenant, where)
            self._forget(knowledge_base_id)

        await self._on_tenant(knowledge_base_id, remove, otherwise=None)

    async def drop(self, knowledge_base_id: str) -> None:
        """Remove a knowledge base's tenant, and with it all its files on the server."""
        await (await self._collections()).remove(knowledge_base_id)
        self._homes.pop(knowledge_base_id)
        self._forget(knowledge_base_id)

    async def drop_all_but(self, knowledge_base_ids: Callable[[], Collection[str]]) -> int:
        """Remove the tenants of all other knowledge bases; how many there were."""
        return await (await self._collections()).remove_all_but(knowledge_base_ids)

    # Reading

    async def search(self, knowledge_base_id: str, query: StoreQuery) -> list[Candidate]:
        """The union of both legs' best nodes with exact evidence, of every whole version.

        Raises `EmbedderMismatch` for a vector of another dimension than the base's.
        """
        home = await self.home(knowledge_base_id)
        if home is None:
            return []

        async def ask(tenant: Tenant) -> list[Candidate]:
            known = self._knowledge(knowledge_base_id)
            return await gathered(tenant, home.dimension, query, known, self._records)

        return await self._on_tenant(knowledge_base_id, ask, otherwise=list[Candidate]())

    async def nodes(
        self, knowledge_base_id: str, document_id: str, *, from_version: int, to_version: int
    ) -> list[IndexedNode]:
        """The nodes, in order, of the newest whole version between these two."""

        async def read(tenant: Tenant) -> list[IndexedNode]:
            there = await weaviate_tenant.heads(tenant, [document_id])
            versions = [ref.version for ref in there.get(document_id, ())]
            wanted = [one for one in versions if from_version <= one <= to_version]
            if not wanted:
                return []
            version = wanted[-1]
            found = await weaviate_tenant.fetch(
                tenant, [object_id(document_id, version, 0)], return_properties=["head"]
            )
            head = read_head(found[0].properties) if found else None
            if head is None:
                return []
            ids = [object_id(document_id, version, place) for place in range(head.nodes)]
            objects = await weaviate_tenant.fetch(
                tenant, ids, return_properties=["payload", "terms"], include_vector=True
            )
            nodes = []
            for one in objects:
                record = read_node(one.properties, one.vector.get(VECTOR))
                if record is not None:
                    nodes.append(node_of(record, str(one.properties["terms"])))
            return sorted(nodes, key=lambda node: node.ordinal)

        return await self._on_tenant(knowledge_base_id, read, otherwise=list[IndexedNode]())

    async def select(self, knowledge_base_id: str, filter_: Filter | None) -> list[Replacement]:
        """The documents that the filter holds for (None: all), each with its nodes.

        Of the nodes' terms nothing is read.
        """
        condition = None if filter_ is None else compile_for_server(filter_)
        if condition is not None and condition.admits_nothing:
            return []

        async def read(tenant: Tenant) -> list[Replacement]:
            where = weaviate_tenant.has_token(OWN_MARK)
            if condition is not None and condition.where is not None:
                where = where & condition.where
            found = await weaviate_tenant.matching(tenant, where, return_properties=["ref"])
            hits = [Hit(str(one.uuid), read_ref(one.properties)) for one in found]
            if len(found) >= weaviate_tenant.MAX_RESULTS:
                # More than the server lists by condition: everything is gone through.
                hits = [
                    Hit(str(one.uuid), read_ref(one.properties))
                    async for one in tenant.iterator(return_properties=["ref"])
                    if one.properties.get("ref")
                ]
            documents: dict[tuple[str, int], IndexedDocument] = {}
            nodes: dict[tuple[str, int], list[IndexedNode]] = defaultdict(list)
            for one in (await read_hits(tenant, hits, self._records)).values():
                document = one.head.document
                if filter_ is None or holds(filter_, values_by_field(document)):
                    key = (document.document_id, document.version)
                    documents[key] = document
                    nodes[key].append(node_of(one.node, ""))
            return [
                Replacement(document, sorted(nodes[key], key=lambda node: node.ordinal))
                for key, document in sorted(documents.items())
            ]

        return await self._on_tenant(knowledge_base_id, read, otherwise=list[Replacement]())

    async def languages(self, knowledge_base_id: str) -> tuple[str, ...]:
        """The languages of the documents in the index, most frequent first."""

        async def read(tenant: Tenant) -> tuple[str, ...]:
            return await weaviate_counts.languages(tenant, self._knowledge(knowledge_base_id))

        return await self._on_tenant(knowledge_base_id, read, otherwise=())

    async def count(self, knowledge_base_id: str) -> StoreCounts:
        """How many documents and nodes the index holds, older versions included."""

        async def read(tenant: Tenant) -> StoreCounts:
            of_tenant = await weaviate_counts.counts(tenant, Known())
            return StoreCounts(documents=of_tenant.documents, nodes=of_tenant.nodes)

        nothing = StoreCounts(documents=0, nodes=0)
        return await self._on_tenant(knowledge_base_id, read, otherwise=nothing)

    async def versions(self, knowledge_base_id: str) -> list[IndexedVersion]:
        """Every whole version with the nodes that a search by their own vectors brings up.

        Reads all objects and makes a search for each node. A killed server may have vectors
        that it does not find again; their documents then come out as not having all nodes.
        """

        async def read(tenant: Tenant) -> list[IndexedVersion]:
            nodes: dict[tuple[str, int], int] = defaultdict(int)
            whole: set[tuple[str, int]] = set()
            async for page in weaviate_tenant.pages(tenant, ["ref", "nodes", "length"]):
                found = await weaviate_tenant.findable(tenant, page)
                for one in page:
                    if not one.properties.get("ref"):
                        continue  # says that there is a language
                    ref = read_ref(one.properties)
                    nodes[ref.document_id, ref.version] += str(one.uuid) in found
                    if one.properties.get("nodes") is not None:
                        whole.add((ref.document_id, ref.version))
            return [IndexedVersion(*version, nodes[version]) for version in sorted(whole)]

        return await self._on_tenant(knowledge_base_id, read, otherwise=list[IndexedVersion]())

    # Places

    async def _collections(self) -> Collections:
        # A server that starts denies what it has: it is asked whether it is ready each time.
        self._connection.doubt()
        client = await self._connection.client()
        return Collections(client, self.prefix, self._replication_factor)

    async def home(self, knowledge_base_id: str) -> Home | None:
        """Where the knowledge base is; None if nothing of it was ever stored."""
        home = self._homes.get(knowledge_base_id)
        if home is None:
            home = await (await self._collections()).find(knowledge_base_id)
            if home is not None:
                self._homes.put(knowledge_base_id, home)
        return home

    async def _make_home(self, knowledge_base_id: str, dimension: int) -> None:
        identity = self._identity_of(knowledge_base_id)
        if identity is None:
            identity = EmbedderIdentity("vectors", "", dimension)
        home = await (await self._collections()).make(knowledge_base_id, identity)
        self._homes.put(knowledge_base_id, home)

    async def _on_tenant(
        self, knowledge_base_id: str, call: Callable[[Tenant], Awaitable[T]], *, otherwise: T
    ) -> T:
        """What `call` makes of the knowledge base's tenant; `otherwise` if it has none."""
        for is_last in (False, True):
            home = await self.home(knowledge_base_id)
            if home is None:
                return otherwise
            client = await self._connection.client()
            collection = client.collections.use(home.alias)
            tenant = collection.with_tenant(home.tenant).with_consistency_level(self._consistency)
            try:
                return await call(tenant)
            except WeaviateBaseError as error:
                if is_last or not any(mark in str(error) for mark in _GONE):
                    raise
                # Another process dropped it, and may have made it anew elsewhere.
                self._homes.pop(knowledge_base_id)
        raise AssertionError("unreachable")

    def _knowledge(self, knowledge_base_id: str) -> Known:
        known = self._known.get(knowledge_base_id)
        if known is None:
            known = Known()
            self._known.put(knowledge_base_id, known)
        return known

    def _forget(self, knowledge_base_id: str) -> None:
        self._known.pop(knowledge_base_id)
