"""The facade: what holds whichever door is used."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from llamaindex_reaktly import knowledge_base as facade
from llamaindex_reaktly.domain import DocumentKey, DocumentState, SourceDocument, SourceType
from llamaindex_reaktly.errors import StorageFull
from llamaindex_reaktly.ingestion import worker as ingestion
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Espresso", "Descale the boiler monthly.")


class Usage(NamedTuple):
    free: int


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[KnowledgeBase]:
    """The registry is not where the rest is."""
    (tmp_path / "elsewhere").mkdir()
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'registry.sqlite'}"
    settings = Settings(data_dir=tmp_path / "data", database_url=url)
    with KnowledgeBase(settings) as knowledge_base:
        (tmp_path / "data" / "index").mkdir(exist_ok=True)
        yield knowledge_base


@pytest.mark.parametrize("full", ["data", "data/index", "elsewhere"])
def test_nothing_is_accepted_once_any_disk_that_is_written_to_is_near_its_end(
    apart: KnowledgeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def usage(place: Path) -> Usage:
        return Usage(0 if place == tmp_path / full else 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(StorageFull):
        apart.submit([DOCUMENT])
    assert apart.status(KEY.document_id) is None
    assert apart.readiness()["disk"] != "ok"


@pytest.mark.both_databases
def test_accepting_wakes_the_worker_and_finishing_wakes_who_waits_without_a_look(
    tmp_path: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facade, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(ingestion, "LOOK_SECONDS", 3600.0)
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url)
    # Two, as in two processes: what wakes is not within one of them.
    with KnowledgeBase(settings) as accepting, KnowledgeBase(settings) as working:
        worker = Worker(settings, working)
        running = threading.Thread(target=worker.run)
        running.start()
        try:
            for text in ("First.", "Second."):  # the second finds the worker at rest
                accepting.submit([SourceDocument(KEY, SourceType.ARTICLE, "Espresso", text)])
                (status,) = accepting.wait_until_settled([KEY.document_id], 30)
                assert status.state is DocumentState.COMPLETED
        finally:
            worker.stop()
            running.join(30)
            worker.close()
