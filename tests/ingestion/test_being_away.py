"""Stores and models that are away for longer than any retry."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    DocumentStatus,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.embeddings import minilm_tokenizer
from llamaindex_reaktly.errors import StorageFull, Unavailable
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Store
from tests.stores.faulty_store import REASON, FaultyStore

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Espresso machines", "Descale it monthly.")
ANOTHER = replace(DOCUMENT, key=replace(KEY, external_id="b"), content="Clean the steam wand.")
ELSEWHERE = replace(DOCUMENT, key=replace(KEY, knowledge_base_id="other"))
# The longest pause between two tries is five seconds.
SOON = 30.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@contextmanager
def working(settings: Settings, store: Store | None = None) -> Iterator[KnowledgeBase]:
    """A knowledge base with a worker at work on it."""
    with KnowledgeBase(settings, store=store) as knowledge_base:
        worker = Worker(settings, knowledge_base)
        running = threading.Thread(target=worker.run)
        running.start()
        try:
            yield knowledge_base
        finally:
            worker.stop()
            running.join()
            worker.close()


def status(knowledge_base: KnowledgeBase, document: SourceDocument) -> DocumentStatus:
    found = knowledge_base.status(document.key.document_id)
    assert found is not None
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_searchable(knowledge_base: KnowledgeBase, *documents: SourceDocument) -> None:
    ids = [document.key.document_id for document in documents]
    for settled in knowledge_base.wait_until_settled(ids, SOON):
        assert (settled.state, settled.error) == (DocumentState.COMPLETED, None)


def assert_waits(knowledge_base: KnowledgeBase, document: SourceDocument, reason: str) -> None:
    wait_for(lambda: reason in (status(knowledge_base, document).error or ""))
    # It may be at its next try just now, which costs no attempt either.
    wait_for(lambda: status(knowledge_base, document).state is DocumentState.QUEUED)
    assert status(knowledge_base, document).attempts == 0


def test_a_base_whose_store_is_away_waits_and_holds_up_no_other(settings: Settings) -> None:
    store = FaultyStore(EmbeddedStore(settings.data_dir / "index"))
    store.away = {"kb"}
    with working(settings, cast("Store", store)) as knowledge_base:
        knowledge_base.submit([DOCUMENT])
        assert_waits(knowledge_base, DOCUMENT, REASON)
        knowledge_base.submit([ANOTHER, ELSEWHERE])
        wait_until_searchable(knowledge_base, ELSEWHERE)
        assert_waits(knowledge_base, ANOTHER, REASON)
        store.away.clear()
        wait_until_searchable(knowledge_base, DOCUMENT, ANOTHER)


class _ReadOnlyStore(EmbeddedStore):
    """A store that can be read, and refuses to be written as often as it is told to."""

    refusals = 3

    def replace(self, *arguments: object, **named: object) -> None:
        """Refuse, or pass on."""
        self.refusals -= 1
        if self.refusals >= 0:
            raise Unavailable(REASON)
        super().replace(*arguments, **named)  # type: ignore[arg-type]


def test_documents_of_several_bases_are_given_back_when_index_and_registry_are_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _ReadOnlyStore(settings.data_dir / "index")
    store.refusals = 2
    with working(settings, store) as knowledge_base:
        queue = knowledge_base.registry.queue
        release = queue.release
        full = iter([True])

        def release_later(*arguments: object, **named: object) -> None:
            if next(full, False):
                raise StorageFull("the disk is full")
            release(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(queue, "release", release_later)
        # In one claim, so that the first base's trouble meets the second one's documents.
        knowledge_base.submit([DOCUMENT, ELSEWHERE])
        wait_until_searchable(knowledge_base, DOCUMENT, ELSEWHERE)


def test_what_could_not_be_written_is_not_embedded_again(settings: Settings) -> None:
    store = _ReadOnlyStore(settings.data_dir / "index")
    with working(settings, store) as knowledge_base:
        knowledge_base.submit([DOCUMENT])
        wait_until_searchable(knowledge_base, DOCUMENT)
        assert knowledge_base.metrics().counters["chunks_embedded"] == 1
        assert store.refusals < 0


def test_an_index_that_cannot_be_opened_is_waited_for(settings: Settings) -> None:
    index = settings.data_dir / "index"
    settings.data_dir.mkdir()
    index.write_text("in the way")
    with working(settings) as knowledge_base:
        knowledge_base.submit([DOCUMENT])
        assert_waits(knowledge_base, DOCUMENT, "the index cannot be opened")
        index.unlink()
        wait_until_searchable(knowledge_base, DOCUMENT)


def test_a_model_whose_files_are_gone_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = minilm_tokenizer.find_model()
    assert installed is not None
    monkeypatch.setattr(minilm_tokenizer, "DISTRIBUTION_PACKAGE", "no_such_distribution")
    with working(settings) as knowledge_base:
        knowledge_base.submit([DOCUMENT])
        assert_waits(knowledge_base, DOCUMENT, "reaktly model install")
        folder = settings.data_dir / "models"
        shutil.copytree(installed, folder / "coming")
        (folder / "coming").rename(folder / "minilm")
        wait_until_searchable(knowledge_base, DOCUMENT)
