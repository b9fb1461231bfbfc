"""Documents that move to another external id, as searches see it."""

from dataclasses import replace

import pytest

from llamaindex_reaktly.domain import (
    DocumentKey,
    SearchHit,
    SearchRequest,
    SecondName,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase

pytestmark = pytest.mark.both_databases

OLD = DocumentKey("kb", "pages", "/old")
PAGE = SourceDocument(
    OLD,
    SourceType.PAGE,
    "Espresso machines",
    "Descale the boiler with citric acid monthly.",
    url="/old",
    is_renamable=True,
    second_name="node:1",
)
MOVED = replace(PAGE, key=replace(OLD, external_id="/new"), url="/new")


def search(knowledge_base: KnowledgeBase) -> list[SearchHit]:
    return list(knowledge_base.search(SearchRequest("kb", "boiler")).hits)


def test_a_page_that_moves_is_found_once_at_every_moment_and_embedded_once(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([PAGE])
    worker.work_off_everything()
    (before,) = search(knowledge_base)
    knowledge_base.submit([MOVED])
    (meanwhile,) = search(knowledge_base)
    assert (meanwhile.url, meanwhile.document_id) == ("/old", before.document_id)
    worker.work_off_everything()
    (after,) = search(knowledge_base)
    assert (after.url, after.key, after.document_id) == ("/new", MOVED.key, before.document_id)
    assert knowledge_base.metrics().counters["chunks_embedded"] == 1


def test_a_moved_page_is_deleted_by_its_new_names_only(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([PAGE])
    worker.work_off_everything()
    knowledge_base.submit([MOVED])
    worker.work_off_everything()
    assert knowledge_base.delete([OLD]) == 0
    assert len(search(knowledge_base)) == 1
    assert knowledge_base.delete([SecondName("kb", "pages", "node:1")]) == 1
    assert search(knowledge_base) == []


def test_a_page_that_another_moves_onto_is_gone_at_once(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    other = replace(PAGE, key=replace(OLD, external_id="/new"), url="/new", second_name=None)
    knowledge_base.submit([PAGE, replace(other, content="The boiler of another page.")])
    worker.work_off_everything()
    assert len(search(knowledge_base)) == 2
    knowledge_base.submit([MOVED])
    assert [hit.url for hit in search(knowledge_base)] == ["/new"]
    worker.work_off_everything()
    (hit,) = search(knowledge_base)
    assert (hit.url, hit.passages[0].text) == ("/new", PAGE.content)
    assert knowledge_base.registry.queue.unpurged() == []
