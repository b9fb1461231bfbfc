"""A knowledge base for AI assistants, and the LlamaIndex pieces it is made of.

Names are loaded when they are first used (PEP 562): importing this package costs
nothing, and only the pieces that are LlamaIndex's import LlamaIndex.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamaindex_reaktly.answers.reaktly_query_engine import ReaktlyQueryEngine
    from llamaindex_reaktly.content.html_cleaner import HtmlCleaner
    from llamaindex_reaktly.domain import (
        ContentType,
        DocumentKey,
        DocumentStatus,
        Receipt,
        SearchHit,
        SearchMode,
        SearchRequest,
        SearchResult,
        SourceDocument,
        SourceType,
    )
    from llamaindex_reaktly.embeddings.minilm_embedding import MiniLMEmbedding
    from llamaindex_reaktly.errors import ReaktlyError
    from llamaindex_reaktly.knowledge_base import KnowledgeBase
    from llamaindex_reaktly.node_parser.section_node_parser import SectionNodeParser
    from llamaindex_reaktly.readers.quant_pages_reader import QuantPagesReader
    from llamaindex_reaktly.readers.reaktly_reader import ReaktlyReader
    from llamaindex_reaktly.retrieval.reaktly_retriever import ReaktlyRetriever
    from llamaindex_reaktly.settings import Settings
    from llamaindex_reaktly.stores.sqlite_vector_store import ReaktlySQLiteVectorStore
    from llamaindex_reaktly.stores.weaviate_vector_store import ReaktlyWeaviateVectorStore

__all__ = [
    "ContentType",
    "DocumentKey",
    "DocumentStatus",
    "HtmlCleaner",
    "KnowledgeBase",
    "MiniLMEmbedding",
    "QuantPagesReader",
    "ReaktlyError",
    "ReaktlyQueryEngine",
    "ReaktlyReader",
    "ReaktlyRetriever",
    "ReaktlySQLiteVectorStore",
    "ReaktlyWeaviateVectorStore",
    "Receipt",
    "SearchHit",
    "SearchMode",
    "SearchRequest",
    "SearchResult",
    "SectionNodeParser",
    "Settings",
    "SourceDocument",
    "SourceType",
]

_MODULES = {
    "HtmlCleaner": "content.html_cleaner",
    "KnowledgeBase": "knowledge_base",
    "MiniLMEmbedding": "embeddings.minilm_embedding",
    "QuantPagesReader": "readers.quant_pages_reader",
    "ReaktlyError": "errors",
    "ReaktlyQueryEngine": "answers.reaktly_query_engine",
    "ReaktlyReader": "readers.reaktly_reader",
    "ReaktlyRetriever": "retrieval.reaktly_retriever",
    "ReaktlySQLiteVectorStore": "stores.sqlite_vector_store",
    "ReaktlyWeaviateVectorStore": "stores.weaviate_vector_store",
    "SectionNodeParser": "node_parser.section_node_parser",
    "Settings": "settings",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'domain')}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
