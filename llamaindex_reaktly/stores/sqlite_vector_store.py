"""`ReaktlySQLiteVectorStore`: a knowledge base of the embedded store as LlamaIndex sees one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.llama_index_nodes import (
    chosen,
    documents_of,
    nodes_of,
    of_documents,
    plan_of,
    replacement_of,
    result_of,
)


class ReaktlySQLiteVectorStore(BasePydanticVectorStore):
    """A vector store in a directory, with full text, filters and no server.

    `path` is the directory, which several processes may share; `knowledge_base_id` names
    the part of it that this store reads and writes. `language` (ISO 639-1) is that of
    nodes whose metadata has no `language`.

    Modes: DEFAULT (cosine), TEXT_SEARCH and SPARSE (BM25), HYBRID (`alpha` · cosine +
    (1 - `alpha`) · BM25 / the query's idf; `alpha` .5 unless given), MMR. Others are
    refused with a `ValueError`, as are embeddings of another dimension than those already
    there (`EmbedderMismatch`).
    """

    stores_text: bool = True
    flat_metadata: bool = False
    path: str
    knowledge_base_id: str = "default"
    language: str = "en"

    _store: EmbeddedStore = PrivateAttr()
    _analyzer: Analyzer = PrivateAttr()

    def __init__(
        self,
        path: str | Path,
        knowledge_base_id: str = "default",
        *,
        language: str = "en",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path=str(path), knowledge_base_id=knowledge_base_id, language=language, **kwargs
        )
        self._store = EmbeddedStore(Path(path))
        self._analyzer = Analyzer()

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised configurations."""
        return "ReaktlySQLiteVectorStore"

    @property
    def client(self) -> EmbeddedStore:
        """The embedded store."""
        return self._store

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        self._store.close()

    # Writing

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:  # noqa: ARG002 (LlamaIndex's signature)
        """Store nodes with their embeddings, in one transaction; a known id is replaced."""
        self._store.replace(
            self.knowledge_base_id,
            [replacement_of(node, self._analyzer, self.language) for node in nodes],
        )
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:  # noqa: ARG002 (LlamaIndex's signature)
        """Delete every node of a source document; `purge` wipes its traces."""
        self._store.delete_matching(self.knowledge_base_id, of_documents([ref_doc_id]))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,  # noqa: ARG002 (LlamaIndex's signature)
    ) -> None:
        """Delete the nodes that have one of the ids and satisfy the filters.

        Nothing is deleted when neither is given: `clear` does that.
        """
        wanted = chosen(node_ids=node_ids, filters=filters)
        if wanted is not None:
            self._store.delete_matching(self.knowledge_base_id, wanted)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def purge(self) -> None:
        """Wipe what deleted and replaced nodes left in the files, which rewrites them."""
        self._store.purge(self.knowledge_base_id)

    def clear(self) -> None:
        """Delete everything, without a trace."""
        self._store.drop(self.knowledge_base_id)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await asyncio.to_thread(self.clear)

    # Reading

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes that have one of the ids and satisfy the filters; all if neither is given."""
        wanted = chosen(node_ids=node_ids, filters=filters)
        return nodes_of(self._store.select(self.knowledge_base_id, wanted))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ARG002 (LlamaIndex's signature)
        """The best nodes by the query's mode, best first, with their scores."""
        plan = plan_of(query)
        languages = () if plan.text is None else self._store.languages(self.knowledge_base_id)
        question = plan.store_query(self._analyzer, languages)
        ranked = plan.ranked(self._store.search(self.knowledge_base_id, question))
        if plan.variety is not None:
            stored = self._store.select(self.knowledge_base_id, documents_of(ranked))
            ranked = plan.varied(ranked, stored)
        return result_of(ranked)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)
