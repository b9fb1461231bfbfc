"""Readiness names the part that suffers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.bases import file_name


@pytest.fixture
def knowledge_base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with KnowledgeBase(Settings(data_dir=tmp_path)) as knowledge_base:
        yield knowledge_base


def test_an_empty_server_is_ready(knowledge_base: KnowledgeBase) -> None:
    assert knowledge_base.readiness() == dict.fromkeys(
        ("registry", "disk", "store", "indexes", "embedder"), "ok"
    )


def test_an_index_that_cannot_be_opened_is_told(
    knowledge_base: KnowledgeBase, tmp_path: Path
) -> None:
    knowledge_base.registry.knowledge_bases.create("kb", embedder="minilm")
    (tmp_path / "index" / file_name("kb")).mkdir(parents=True)

    assert knowledge_base.readiness()["store"] == "the index cannot be opened"
