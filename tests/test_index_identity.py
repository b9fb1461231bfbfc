"""A registry and an index that do not belong together."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.index_identity import require_own_index, take_over
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.properties import INDEX
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.settings import Settings


def settings(data_dir: Path, database: Path | None = None) -> Settings:
    url = None if database is None else SecretStr(f"sqlite:///{database}")
    return Settings(data_dir=data_dir, database_url=url)


def test_one_registry_serves_no_two_embedded_indexes(tmp_path: Path) -> None:
    database = tmp_path / "shared.sqlite"
    here, there = settings(tmp_path / "a", database), settings(tmp_path / "b", database)
    KnowledgeBase(here).close()
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_DATA_DIR: .*rebuild --take-over"):
        KnowledgeBase(there)
    KnowledgeBase(here).close()
    KnowledgeBase(there, take_over=True).close()
    KnowledgeBase(there).close()
    with pytest.raises(ConfigurationError):
        KnowledgeBase(here)


def test_several_processes_share_one_data_directory(tmp_path: Path) -> None:
    shared = settings(tmp_path / "a", tmp_path / "shared.sqlite")
    with ThreadPoolExecutor(8) as pool:
        for opened in [pool.submit(KnowledgeBase, shared) for _ in range(8)]:
            opened.result().close()
    assert [path.name for path in (tmp_path / "a").glob("index.id*")] == ["index.id"]


def test_a_data_directory_may_be_moved(tmp_path: Path) -> None:
    database = tmp_path / "shared.sqlite"
    KnowledgeBase(settings(tmp_path / "a", database)).close()
    (tmp_path / "a").rename(tmp_path / "b")
    KnowledgeBase(settings(tmp_path / "b", database)).close()


def test_a_registry_put_back_into_a_new_data_directory_is_taken(tmp_path: Path) -> None:
    KnowledgeBase(settings(tmp_path / "a")).close()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "registry.sqlite").rename(tmp_path / "b" / "registry.sqlite")
    KnowledgeBase(settings(tmp_path / "b")).close()
    KnowledgeBase(settings(tmp_path / "b")).close()


def test_another_kind_of_store_is_named(registry: Registry, tmp_path: Path) -> None:
    registry.properties.settle(INDEX, "weaviate Reaktly")
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_STORE: .* indexed in the weaviate"):
        require_own_index(registry, settings(tmp_path))


def test_another_prefix_on_weaviate_is_refused(registry: Registry, tmp_path: Path) -> None:
    def on_weaviate(prefix: str) -> Settings:
        return Settings(
            data_dir=tmp_path,
            store="weaviate",
            weaviate_url="http://127.0.0.1:8080",
            weaviate_prefix=prefix,
        )

    require_own_index(registry, on_weaviate("Docs"))
    require_own_index(registry, on_weaviate("Docs"))
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_WEAVIATE_PREFIX: .* under 'Docs'"):
        require_own_index(registry, on_weaviate("Other"))
    take_over(registry, on_weaviate("Other"))
    require_own_index(registry, on_weaviate("Other"))
