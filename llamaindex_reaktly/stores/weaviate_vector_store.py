"""`ReaktlyWeaviateVectorStore`: a knowledge base on a Weaviate as LlamaIndex sees one.

A subclass of LlamaIndex's own store, so that type checks and configurations carry over;
nothing of what that does to a server is inherited (a test lists its methods).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NoReturn, TypeVar

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.stores.llama_index_nodes import (
    chosen,
    documents_of,
    nodes_of,
    plan_of,
    replacement_of,
    result_of,
)
from llamaindex_reaktly.stores.weaviate import DEFAULT_PREFIX, WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress, consistency_level
from llamaindex_reaktly.stores.weaviate_tenant import slices, together

T = TypeVar("T")

# Nodes that are analysed and written together, while others are analysed.
_PART = 500
_PARTS_AT_ONCE = 2

_OWN_SCHEMA = "this store has a schema of its own, in which properties are no columns"


class ReaktlyWeaviateVectorStore(WeaviateVectorStore):
    """A vector store on a Weaviate server whose answers are not taken on trust.

    `url` is where REST answers, `grpc_url` where gRPC does (port 50051 of the same host
    unless given), `index_name` begins the names of the collections, `knowledge_base_id`
    names the tenant that this store reads and writes. `language` (ISO 639-1) is that of
    nodes whose metadata has no `language`. Nothing is asked of the server before the first
    call; close the store when done.

    Modes and filters are those of `ReaktlySQLiteVectorStore`, in the same numbers. What the
    server did not keep, or cannot be found again, is an error (`Unavailable`), never an id.
    """

    knowledge_base_id: str = "default"
    language: str = "en"

    _store: WeaviateStore = PrivateAttr()
    _analyzer: Analyzer = PrivateAttr()

    def __init__(
        self,
        url: str,
        knowledge_base_id: str = "default",
        *,
        api_key: str | None = None,
        grpc_url: str | None = None,
        index_name: str = DEFAULT_PREFIX,
        language: str = "en",
        replication_factor: int = 1,
        consistency: Literal["one", "quorum", "all"] = "quorum",
        query_timeout: float = 5.0,
        insert_timeout: float = 600.0,
    ) -> None:
        # Past the stock constructor, which connects and creates a collection of its own kind.
        super(WeaviateVectorStore, self).__init__(
            stores_text=True,
            url=url,
            index_name=index_name,
            text_key="text",
            knowledge_base_id=knowledge_base_id,
            language=language,
        )
        self._client = self._aclient = None  # type: ignore[assignment]  # as its own does
        self._collection_initialized = True
        self._is_self_created_weaviate_client = False
        self._custom_batch = self._property_types = None
        self._store = WeaviateStore(
            WeaviateAddress(url, grpc_url, api_key, query_timeout, insert_timeout),
            prefix=index_name,
            replication_factor=replication_factor,
            consistency=consistency_level(consistency),
        )
        self._analyzer = Analyzer()

    def __del__(self) -> None:
        """Nothing: `close` is for those who opened it."""

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised configurations."""
        return "ReaktlyWeaviateVectorStore"

    @property
    def client(self) -> WeaviateStore:  # type: ignore[override]  # a client reads no such index
        """The store on the server."""
        return self._store

    @property
    def async_client(self) -> WeaviateStore:  # type: ignore[override]
        """The same: it serves both."""
        return self._store

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._store.close()

    # Writing

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:  # noqa: ARG002 (LlamaIndex's signature)
        """Store nodes with their embeddings; a known id is replaced.

        Raises `Unavailable` unless all are stored and found again, and may then be repeated.
        """
        return self._now(self._add(nodes), writes=True)

    async def async_add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:  # noqa: ARG002 (LlamaIndex's signature)
        """As `add`."""
        return await self._later(self._add(nodes), writes=True)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete every node of a source document, however many; `filter` narrows them."""
        self._now(self._delete(ref_doc_id, delete_kwargs.get("filter")), writes=True)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await self._later(self._delete(ref_doc_id, delete_kwargs.get("filter")), writes=True)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ARG002 (LlamaIndex's signature)
    ) -> None:
        """Delete the nodes that have one of the ids and satisfy the filters.

        Nothing is deleted when neither is given: `clear` does that.
        """
        self._now(self._delete_nodes(node_ids, filters), writes=True)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ARG002 (LlamaIndex's signature)
    ) -> None:
        """As `delete_nodes`."""
        await self._later(self._delete_nodes(node_ids, filters), writes=True)

    def clear(self) -> None:
        """Delete everything in the knowledge base."""
        self._now(self._clear, writes=True)

    async def aclear(self) -> None:
        """As `clear`."""
        await self._later(self._clear, writes=True)

    def delete_index(self) -> None:
        """As `clear`: collections are shared with other knowledge bases."""
        self.clear()

    # Reading

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes that have one of the ids and satisfy the filters; all if neither is given."""
        return self._now(self._get_nodes(node_ids, filters), writes=True)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        return await self._later(self._get_nodes(node_ids, filters), writes=True)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ARG002 (LlamaIndex's signature)
        """The best nodes by the query's mode, best first, with their scores."""
        return self._now(self._query(query), writes=False)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ARG002 (LlamaIndex's signature)
        """As `query`."""
        return await self._later(self._query(query), writes=False)

    def get_query_parameters(self, *_: Any, **__: Any) -> NoReturn:
        """Not used: a query is answered by `query` alone."""
        raise NotImplementedError(_OWN_SCHEMA)

    def parse_query_result(self, *_: Any, **__: Any) -> NoReturn:
        """Not used: a query is answered by `query` alone."""
        raise NotImplementedError(_OWN_SCHEMA)

    def _get_property_types(self) -> NoReturn:
        raise NotImplementedError(_OWN_SCHEMA)

    async def _aget_property_types(self) -> NoReturn:
        raise NotImplementedError(_OWN_SCHEMA)

    # What both faces do, as calls for the connection's loop

    def _now(self, call: Callable[[], Coroutine[Any, Any, T]], *, writes: bool) -> T:
        connection = self._store.connection
        return connection.write(call) if writes else connection.read(call)

    async def _later(self, call: Callable[[], Coroutine[Any, Any, T]], *, writes: bool) -> T:
        connection = self._store.connection
        address = connection.address
        seconds = address.write_timeout if writes else address.read_timeout
        return await asyncio.wrap_future(connection.submit(call, seconds))

    def _add(self, nodes: Sequence[BaseNode]) -> Callable[[], Coroutine[Any, Any, list[str]]]:
        # A node that is named twice is the last one, in whichever order parts are written.
        latest = list({node.node_id: node for node in nodes}.values())
        first, *others = slices(latest, _PART) if latest else [[]]
        at_once = asyncio.Semaphore(_PARTS_AT_ONCE)

        async def write(part: Sequence[BaseNode]) -> None:
            async with at_once:
                replacements = await asyncio.to_thread(
                    lambda: [replacement_of(node, self._analyzer, self.language) for node in part]
                )
                await self._store.index.replace(
                    self.knowledge_base_id, replacements, keep_older=False
                )

        async def call() -> list[str]:
            # The first part makes the place that the others go to, some analysed meanwhile.
            await write(first)
            await together(write(part) for part in others)
            return [node.node_id for node in nodes]

        return call

    def _delete(
        self, ref_doc_id: str, filters: MetadataFilters | None
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        wanted = chosen(doc_ids=[ref_doc_id], filters=filters)
        assert wanted is not None
        return lambda: self._store.index.delete_matching(self.knowledge_base_id, wanted)

    def _delete_nodes(
        self, node_ids: list[str] | None, filters: MetadataFilters | None
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        wanted = chosen(node_ids=node_ids, filters=filters)

        async def call() -> None:
            if wanted is not None:
                await self._store.index.delete_matching(self.knowledge_base_id, wanted)

        return call

    async def _clear(self) -> None:
        await self._store.index.drop(self.knowledge_base_id)

    def _get_nodes(
        self, node_ids: list[str] | None, filters: MetadataFilters | None
    ) -> Callable[[], Coroutine[Any, Any, list[BaseNode]]]:
        wanted = chosen(node_ids=node_ids, filters=filters)

        async def call() -> list[BaseNode]:
            return nodes_of(await self._store.index.select(self.knowledge_base_id, wanted))

        return call

    def _query(
        self, query: VectorStoreQuery
    ) -> Callable[[], Coroutine[Any, Any, VectorStoreQueryResult]]:
        plan = plan_of(query)
        index = self._store.index

        async def call() -> VectorStoreQueryResult:
            languages: Sequence[str] = ()
            if plan.text is not None:
                languages = await index.languages(self.knowledge_base_id)
            question = plan.store_query(self._analyzer, languages)
            ranked = plan.ranked(await index.search(self.knowledge_base_id, question))
            if plan.variety is not None and ranked:
                stored = await index.select(self.knowledge_base_id, documents_of(ranked))
                ranked = plan.varied(ranked, stored)
            return result_of(ranked)

        return call
