"""A worker on real parts, in the test's own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url)


@pytest.fixture
def knowledge_base(settings: Settings) -> Iterator[KnowledgeBase]:
    with KnowledgeBase(settings) as knowledge_base:
        yield knowledge_base


@pytest.fixture
def worker(settings: Settings, knowledge_base: KnowledgeBase) -> Iterator[Worker]:
    worker = Worker(settings, knowledge_base)
    yield worker
    worker.close()
