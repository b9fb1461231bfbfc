"""From an accepted document to a search answer, on real parts."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    DocumentState,
    Priority,
    SearchHit,
    SearchMode,
    SearchRequest,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import EmbedderMismatch, NotFound, Unavailable
from llamaindex_reaktly.ingestion.parsing import ParsedDocument, TransformationChain
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Replacement

pytestmark = pytest.mark.both_databases

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(
    KEY, SourceType.ARTICLE, "Espresso machines", "Descale the boiler with citric acid monthly."
)


def search(
    knowledge_base: KnowledgeBase, query: str = "boiler", mode: SearchMode = SearchMode.HYBRID
) -> list[SearchHit]:
    return list(knowledge_base.search(SearchRequest("kb", query, mode=mode)).hits)


def work_done(knowledge_base: KnowledgeBase) -> tuple[int, int]:
    counters = knowledge_base.metrics().counters
    return counters.get("documents_parsed", 0), counters.get("chunks_embedded", 0)


def state(knowledge_base: KnowledgeBase, key: DocumentKey = KEY) -> DocumentState:
    status = knowledge_base.status(key.document_id)
    assert status is not None
    return status.state


@pytest.mark.parametrize("mode", SearchMode)
def test_an_accepted_document_becomes_searchable(
    knowledge_base: KnowledgeBase, worker: Worker, mode: SearchMode
) -> None:
    knowledge_base.submit([replace(DOCUMENT, attributes={"price": 3}, tags=("coffee",))])
    assert search(knowledge_base, mode=mode) == []
    worker.work_off_everything()
    (hit,) = search(knowledge_base, mode=mode)
    assert hit.key == KEY
    assert hit.passages[0].text == DOCUMENT.content
    assert (hit.attributes, hit.tags) == ({"price": 3}, ("coffee",))
    assert 0 < hit.relevance <= 1
    assert state(knowledge_base) is DocumentState.COMPLETED


def test_the_same_document_again_parses_and_embeds_nothing(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    before = work_done(knowledge_base)
    assert before == (1, 1)
    assert knowledge_base.submit([DOCUMENT])[0].unchanged
    worker.work_off_everything()
    assert work_done(knowledge_base) == before


@pytest.mark.requirement("R-12")
def test_a_forced_refresh_parses_and_embeds_again(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    knowledge_base.submit([replace(DOCUMENT, force_refresh=True)])
    worker.work_off_everything()
    assert work_done(knowledge_base) == (2, 2)


def test_a_changed_price_embeds_nothing_and_shows_at_once(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([replace(DOCUMENT, attributes={"price": 3})])
    worker.work_off_everything()
    knowledge_base.submit([replace(DOCUMENT, attributes={"price": 4})])
    worker.work_off_everything()
    assert work_done(knowledge_base) == (2, 1)
    assert search(knowledge_base)[0].attributes == {"price": 4}


def test_passages_from_before_a_delete_are_not_those_of_what_follows_it(
    knowledge_base: KnowledgeBase, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> int:
        raise Unavailable("the store is away")

    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    with monkeypatch.context() as patch:
        patch.setattr(knowledge_base.store, "delete", away)
        knowledge_base.delete([KEY])
    knowledge_base.submit([replace(DOCUMENT, content="Something else.")])

    assert knowledge_base.passages(KEY.document_id) == []
    worker.work_off_everything()
    assert [p.text for p in knowledge_base.passages(KEY.document_id)] == ["Something else."]


def page(sections: list[str]) -> SourceDocument:
    content = "\n\n".join(f"## Part {i}\n\n{text}" for i, text in enumerate(sections))
    return replace(DOCUMENT, content=content, content_type=ContentType.MARKDOWN)


def test_an_edit_in_one_section_embeds_that_sections_chunks_only(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    sections = [f"Sentence {n} of topic {i}. " * 40 for i in range(20) for n in [i * 7]]
    knowledge_base.submit([page(sections)])
    worker.work_off_everything()
    chunks = work_done(knowledge_base)[1]
    passages = knowledge_base.passages(KEY.document_id)
    assert len(passages) == chunks
    edited = [p for p in passages if p.headings[-1] == "Part 7"]
    sections[7] = sections[7].replace("topic", "subject")
    knowledge_base.submit([page(sections)])
    worker.work_off_everything()
    assert work_done(knowledge_base)[1] - chunks == len(edited)
    assert 0 < len(edited) < 5


def test_a_passage_that_a_page_repeats_is_embedded_once(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    again = "Descale the boiler with citric acid."
    text = "\n\n".join(("# Care", *["## Monthly\n\n" + again] * 200, "## Yearly\n\nRest."))
    knowledge_base.submit(
        [replace(DOCUMENT, content=text, content_type=ContentType.MARKDOWN, force_refresh=True)]
    )
    worker.work_off_everything()
    passages = knowledge_base.passages(KEY.document_id)
    assert [passage.text for passage in passages].count(again) == 200
    assert work_done(knowledge_base)[1] == len({(p.text, p.headings) for p in passages}) < 5
    assert search(knowledge_base, mode=SearchMode.VECTOR)[0].passages[0].text == again


def test_a_new_version_replaces_the_old_one(knowledge_base: KnowledgeBase, worker: Worker) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    knowledge_base.submit([replace(DOCUMENT, content="Replace the boiler's gasket every year.")])
    assert search(knowledge_base)[0].passages[0].text == DOCUMENT.content
    worker.work_off_everything()
    (hit,) = search(knowledge_base)
    assert [p.text for p in hit.passages] == ["Replace the boiler's gasket every year."]


@pytest.mark.requirement("S-39")
def test_html_is_cleaned_and_cut_by_its_headings(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    html = (
        "<!doctype html><html><body><nav>Home Cart</nav><main><h1>Care</h1><p>"
        + "Clean the steam wand after every use. " * 5
        + "</p><h2>Boiler</h2><p>"
        + "Descale the boiler monthly. " * 5
        + "</p></main><script>evil()</script></body></html>"
    )
    knowledge_base.submit([replace(DOCUMENT, content=html)])
    worker.work_off_everything()
    passages = knowledge_base.passages(KEY.document_id)
    text = "\n".join(p.text for p in passages)
    assert "steam wand" in text
    assert "evil" not in text
    assert passages[-1].headings[-1] == "Boiler"


def test_a_document_without_text_can_be_found_by_its_title(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([replace(DOCUMENT, content="")])
    worker.work_off_everything()
    assert state(knowledge_base) is DocumentState.COMPLETED
    assert [hit.key for hit in search(knowledge_base, "espresso machines")] == [KEY]


@pytest.mark.parametrize("progress", ["queued", "processing", "failed", "completed"])
def test_a_deleted_document_is_gone_at_once_with_no_worker_running(
    knowledge_base: KnowledgeBase, worker: Worker, settings: Settings, progress: str
) -> None:
    knowledge_base.submit([replace(DOCUMENT, content="Unmistakable quokka wisdom.")])
    if progress in ("processing", "failed", "completed"):
        worker.work_off_everything()
        knowledge_base.submit([replace(DOCUMENT, content="Unmistakable quokka folly.")])
    queue = knowledge_base.registry.queue
    if progress in ("processing", "failed"):
        claims = queue.claim(limit=1, characters=1, lease_seconds=60)
        if progress == "failed":
            from llamaindex_reaktly.registry.claims import Verdict

            queue.settle([Verdict(claims[0], error="bad")], {})
    if progress == "completed":
        worker.work_off_everything()
    assert state(knowledge_base) == progress
    assert knowledge_base.delete([KEY]) == 1
    assert knowledge_base.delete([KEY]) == 0
    assert knowledge_base.fetch(KEY.document_id) is None
    assert knowledge_base.passages(KEY.document_id) == []
    assert knowledge_base.list_documents("kb").items == []
    for mode in SearchMode:
        assert search(knowledge_base, "quokka", mode) == []
    for file in settings.data_dir.rglob("*"):
        if file.is_file():
            assert b"quokka" not in file.read_bytes(), file
            assert b"Espresso machines" not in file.read_bytes(), file


class _DeletingStore(EmbeddedStore):
    """Deletes a document in the very moment in which its worker has indexed it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.knowledge_base: KnowledgeBase | None = None

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        super().replace(knowledge_base_id, replacements, keep_older=keep_older)
        if self.knowledge_base is not None:
            self.knowledge_base.delete([KEY])
            super().replace(knowledge_base_id, replacements, keep_older=keep_older)


def test_a_document_deleted_while_it_is_indexed_leaves_nothing_behind(settings: Settings) -> None:
    store = _DeletingStore(settings.data_dir / "index")
    with KnowledgeBase(settings, store=store) as knowledge_base:
        store.knowledge_base = knowledge_base
        knowledge_base.submit([DOCUMENT])
        worker = Worker(settings, knowledge_base)
        worker.work_off_everything()
        worker.close()
        assert store.count("kb").documents == 0
        assert knowledge_base.registry.queue.unpurged() == []
        assert state(knowledge_base) is DocumentState.DELETED


class _AwayStore(EmbeddedStore):
    """A store that refuses for a while."""

    refusals = 2

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the store is away")
        super().replace(knowledge_base_id, replacements, keep_older=keep_older)


def test_documents_wait_while_the_store_is_away_and_pass_when_it_is_back(
    settings: Settings,
) -> None:
    store = _AwayStore(settings.data_dir / "index")
    with KnowledgeBase(settings, store=store) as knowledge_base:
        knowledge_base.submit([DOCUMENT])
        worker = Worker(settings, knowledge_base)
        with pytest.raises(Unavailable):
            worker.work_off_everything()
        waiting = knowledge_base.status(KEY.document_id)
        assert waiting is not None
        assert (waiting.state, waiting.attempts) == (DocumentState.QUEUED, 0)
        assert waiting.error == "the store is away"
        running = threading.Thread(target=worker.run)
        running.start()
        (done,) = knowledge_base.wait_until_settled([KEY.document_id], timeout=30)
        worker.stop()
        running.join(30)
        worker.close()
        assert (done.state, done.error) == (DocumentState.COMPLETED, None)


def test_a_running_worker_hears_of_a_new_document_and_stops_when_told(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    running = threading.Thread(target=worker.run)
    running.start()
    knowledge_base.submit([DOCUMENT])
    (status,) = knowledge_base.wait_until_settled([KEY.document_id], timeout=30)
    assert status.state is DocumentState.COMPLETED
    worker.stop()
    running.join(30)
    assert not running.is_alive()


@pytest.mark.requirement("R-13")
@pytest.mark.timeout(120)
def test_a_high_document_overtakes_a_queue_of_a_thousand_low_ones(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    low = [
        replace(
            DOCUMENT,
            key=replace(KEY, external_id=f"low{i}"),
            content=f"Low {i}. " + "Words that take their time. " * 30,
            priority=Priority.LOW,
        )
        for i in range(1000)
    ]
    knowledge_base.submit(low)
    running = threading.Thread(target=worker.run)
    running.start()
    knowledge_base.wait_until_settled([low[0].key.document_id], timeout=60)
    knowledge_base.submit([replace(DOCUMENT, priority=Priority.HIGH)])
    (status,) = knowledge_base.wait_until_settled([KEY.document_id], timeout=60)
    assert status.state is DocumentState.COMPLETED
    assert knowledge_base.metrics().queue_documents["queued"] > 700
    worker.stop()
    running.join(60)


def test_a_big_page_does_not_keep_an_urgent_document_waiting(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    big = page([f"Sentence {i} of a very long page. " * 30 for i in range(200)])
    big = replace(big, key=replace(KEY, external_id="big"), priority=Priority.LOW)
    finished: list[str] = []
    store = knowledge_base.store
    original = store.replace

    def recording(
        knowledge_base_id: str, replacements: list[Replacement], *, keep_older: bool
    ) -> None:
        original(knowledge_base_id, replacements, keep_older=keep_older)
        finished.extend(r.document.external_id for r in replacements)

    store.replace = recording  # type: ignore[method-assign,assignment]
    knowledge_base.submit([big])
    running = threading.Thread(target=worker.run)
    running.start()
    while knowledge_base.metrics().counters.get("documents_parsed", 0) < 1:
        pass
    knowledge_base.submit([replace(DOCUMENT, priority=Priority.HIGH)])
    ids = [KEY.document_id, big.key.document_id]
    knowledge_base.wait_until_settled(ids, timeout=50)
    worker.stop()
    running.join(30)
    assert finished == ["a", "big"]


def test_a_document_that_cannot_be_processed_fails_alone(
    knowledge_base: KnowledgeBase, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TransformationChain.parse

    def refusing(
        self: TransformationChain, document_id: str, document: SourceDocument, embedder: str
    ) -> ParsedDocument:
        if document.key == KEY:
            raise RuntimeError("secret detail")
        return original(self, document_id, document, embedder)

    monkeypatch.setattr(TransformationChain, "parse", refusing)
    other = replace(DOCUMENT, key=replace(KEY, external_id="b"))
    knowledge_base.submit([DOCUMENT, other])
    worker.work_off_everything()
    status = knowledge_base.status(KEY.document_id)
    assert status is not None
    assert (status.state, status.error) == (
        DocumentState.FAILED,
        "the content could not be processed",
    )
    assert state(knowledge_base, other.key) is DocumentState.COMPLETED
    assert knowledge_base.retry(KEY.document_id).state is DocumentState.QUEUED
    monkeypatch.undo()
    worker.work_off_everything()
    assert state(knowledge_base) is DocumentState.COMPLETED


def test_a_base_of_another_models_vectors_holds_up_no_other(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    elsewhere = replace(DOCUMENT, key=replace(KEY, knowledge_base_id="other"))
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    foreign = EmbedderIdentity("minilm", "another build", 384)
    knowledge_base.registry.knowledge_bases.reset_embedder("kb", "minilm")
    knowledge_base.registry.knowledge_bases.adopt("kb", foreign)
    knowledge_base.submit([replace(DOCUMENT, content="Changed."), elsewhere])
    worker.work_off_everything()
    assert state(knowledge_base) is DocumentState.FAILED
    assert state(knowledge_base, elsewhere.key) is DocumentState.COMPLETED
    with pytest.raises(EmbedderMismatch):
        search(knowledge_base)
    assert [hit.key for hit in search(knowledge_base, mode=SearchMode.TEXT)] == [KEY]


def test_a_rebuild_makes_the_index_again_from_the_registry(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    assert knowledge_base.rebuild("kb") == 1
    with pytest.raises(Unavailable, match="being made again"):
        search(knowledge_base)
    worker.work_off_everything()
    assert len(search(knowledge_base)) == 1


def test_an_unknown_knowledge_base_is_not_found(
    settings: Settings, knowledge_base: KnowledgeBase
) -> None:
    with pytest.raises(NotFound):
        search(knowledge_base)
    closed = settings.model_copy(update={"auto_create_knowledge_bases": False})
    with KnowledgeBase(closed) as strict, pytest.raises(NotFound):
        strict.submit([DOCUMENT])


def test_a_deleted_knowledge_base_leaves_nothing(
    knowledge_base: KnowledgeBase, worker: Worker, settings: Settings
) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    knowledge_base.delete_knowledge_base("kb")
    assert knowledge_base.status(KEY.document_id) is None
    for file in settings.data_dir.rglob("*"):
        if file.is_file():
            assert b"citric" not in file.read_bytes(), file
