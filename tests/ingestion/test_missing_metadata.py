"""Metadata that a document's owner left out, from accepting to every answer."""

from collections.abc import Set
from dataclasses import replace
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import (
    DocumentKey,
    FoundMetadata,
    SearchRequest,
    SourceDocument,
    SourceType,
    StoredContent,
)
from llamaindex_reaktly.extractors.local import CleanText
from llamaindex_reaktly.ingestion.parsing import TransformationChain
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase

pytestmark = pytest.mark.both_databases

KEY = DocumentKey("kb", "pages", "/coffee")
BARE = SourceDocument(
    KEY,
    SourceType.PAGE,
    "",
    "<!doctype html><title>Espresso machines</title><h1>Espresso machines</h1>"
    "<p>Descale the boiler with citric acid every month. A boiler full of lime is slow.</p>",
    url="/coffee",
    fill_missing=True,
)
WHOLE = replace(
    BARE, title="Coffee", content="Descale it monthly.", summary="On lime.", tags=("descaling",)
)


def extracted(knowledge_base: KnowledgeBase) -> int:
    return knowledge_base.metrics().counters.get("documents_extracted", 0)


def stored(knowledge_base: KnowledgeBase) -> StoredContent:
    found = knowledge_base.fetch(KEY.document_id)
    assert found is not None
    return found


@pytest.mark.requirement("Q-10")
def test_what_is_missing_is_found_shown_and_searched_by(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([BARE])
    worker.work_off_everything()
    (hit,) = knowledge_base.search(SearchRequest("kb", "boiler")).hits
    assert hit.title == "Espresso machines"
    assert hit.summary is not None
    assert hit.summary.startswith("Descale the boiler with citric acid every month.")
    assert "boiler" in hit.tags
    assert extracted(knowledge_base) == 1
    kept = stored(knowledge_base)
    assert kept.found == FoundMetadata(
        hit.title,
        hit.summary,
        hit.tags,
        {"title": "page", "summary": "lead-sentences", "tags": "keywords"},
    )
    assert kept.status.title == "Espresso machines"
    assert kept.document == BARE, "what was declared stays what it was"
    assert kept.shown == replace(BARE, title=hit.title, summary=hit.summary, tags=hit.tags)


@pytest.mark.requirement("Q-13")
def test_a_text_with_title_summary_and_tags_runs_no_extractor(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit(
        [WHOLE, replace(BARE, key=replace(KEY, external_id="x"), fill_missing=False)]
    )
    worker.work_off_everything()
    assert extracted(knowledge_base) == 0
    assert stored(knowledge_base).found is None
    (hit,) = knowledge_base.search(SearchRequest("kb", "descaling")).hits[:1]
    assert (hit.title, hit.summary, hit.tags) == ("Coffee", "On lime.", ("descaling",))


def test_only_what_is_missing_is_found(knowledge_base: KnowledgeBase, worker: Worker) -> None:
    knowledge_base.submit([replace(WHOLE, summary=None)])
    worker.work_off_everything()
    found = stored(knowledge_base).found
    assert found == FoundMetadata(
        summary="Descale it monthly.", methods={"summary": "lead-sentences"}
    )
    (hit,) = knowledge_base.search(SearchRequest("kb", "descaling")).hits
    assert (hit.title, hit.summary, hit.tags) == ("Coffee", "Descale it monthly.", ("descaling",))


def test_what_was_found_is_not_taken_for_declared_when_it_is_sent_again(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([BARE])
    worker.work_off_everything()
    assert knowledge_base.submit([BARE])[0].unchanged
    knowledge_base.rebuild("kb")
    worker.work_off_everything()
    assert extracted(knowledge_base) == 2
    knowledge_base.submit([replace(BARE, content="Grinders\n\nA burr grinder is best for it.")])
    assert stored(knowledge_base).found is None
    worker.work_off_everything()
    assert stored(knowledge_base).status.title == "Grinders"


class Guess:
    """An extractor as a language model's would be."""

    def extract(self, document: CleanText, wanted: Set[str]) -> FoundMetadata:
        assert document.page_title == "Espresso machines"
        assert wanted == {"title", "summary", "tags"}
        return FoundMetadata("Guessed", "A guess.", ("guess",), dict.fromkeys(wanted, "llm"))


def test_another_extractor_takes_the_place_of_the_local_one(tmp_path: Path) -> None:
    chain = TransformationChain(tmp_path, extractor=Guess())
    parsed = chain.parse(KEY.document_id, BARE, "minilm")
    assert parsed.found is not None
    assert parsed.found.methods["tags"] == "llm"
    assert "guess" in parsed.chunks[0].terms.split()
    assert parsed.chunks[0].embedded_text.startswith("Guessed")
