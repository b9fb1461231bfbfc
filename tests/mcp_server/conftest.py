"""A server on a real core without a worker, spoken to by the SDK's own client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.errors import ModelMissing
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings


def no_embedder(name: str) -> TextEmbedder:
    raise ModelMissing(f"{name} is not installed here")


@contextmanager
def opened(directory: Path) -> Iterator[KnowledgeBase]:
    settings = Settings(data_dir=directory, auto_create_knowledge_bases=False)
    with KnowledgeBase(settings, embedder_loader=no_embedder) as core:
        for name in ("kb", "other"):
            core.registry.knowledge_bases.ensure(name, embedder="minilm")
        yield core


@pytest.fixture
def core(tmp_path: Path) -> Iterator[KnowledgeBase]:
    """Holds the knowledge bases `kb` and `other`, both empty; nobody indexes anything."""
    with opened(tmp_path / "data") as knowledge_base:
        yield knowledge_base


@pytest.fixture
def put(core: KnowledgeBase) -> Callable[..., str]:
    """Accepts a document, and gives its id."""

    def put_one(content: str = "Water in the morning.", base: str = "kb", name: str = "a") -> str:
        document = SourceDocument(
            key=DocumentKey(base, "integration:int", name),
            source_type=SourceType.ARTICLE,
            title=f"Title of {name}",
            content=content,
        )
        return core.submit([document])[0].document_id

    return put_one
