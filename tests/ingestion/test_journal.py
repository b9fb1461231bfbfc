"""What is told of a document between its acceptance and its being searchable."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.ingestion.journal import Journal
from llamaindex_reaktly.ingestion.parsing import ParsedDocument, TransformationChain
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.measurements import STAGE_BOUNDS, Distribution, split_stages
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.registry.ingestion_queue import MAX_ATTEMPTS
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Replacement

pytestmark = pytest.mark.both_databases

KEY = DocumentKey("kb", "integration:int", "a")
DOCUMENT = SourceDocument(KEY, SourceType.ARTICLE, "Espresso machines", "Descale it monthly.")


def told(logs: Sequence[EventDict], event: str) -> list[EventDict]:
    return [entry for entry in logs if entry["event"] == event]


def submit(knowledge_base: KnowledgeBase, *documents: SourceDocument) -> None:
    """As the HTTP door does, under the id of a request."""
    with bound_contextvars(request_id="r-1"):
        knowledge_base.submit(documents)


def numbered(count: int) -> list[SourceDocument]:
    return [replace(DOCUMENT, key=replace(KEY, external_id=str(i))) for i in range(count)]


def stages(knowledge_base: KnowledgeBase) -> dict[str, Distribution]:
    return split_stages(knowledge_base.registry.queue.counters())[1]


def test_one_line_under_the_requests_id_says_when_a_document_is_searchable_and_what_took_long(
    knowledge_base: KnowledgeBase, worker: Worker, logs: list[EventDict]
) -> None:
    submit(knowledge_base, DOCUMENT)
    worker.work_off_everything()
    (line,) = told(logs, "document_searchable")
    assert (line["request_id"], line["log_level"]) == ("r-1", "info")
    assert (line["document_id"], line["version"], line["chunks"]) == (KEY.document_id, 1, 1)
    parts = [line[f"{stage}_ms"] for stage in ("claim", "parse", "embed", "settle")]
    assert all(0 <= part <= line["total_ms"] for part in parts)
    followed = [entry["event"] for entry in logs if entry.get("request_id") == "r-1"]
    assert followed == [
        "document_accepted",
        "document_claimed",
        "document_stage",
        "document_stage",
        "document_searchable",
    ]
    assert "Espresso" not in str(logs)
    assert "Descale" not in str(logs)


def test_what_came_by_a_bulk_has_a_line_a_batch_and_the_rest_for_debug(
    knowledge_base: KnowledgeBase, worker: Worker, logs: list[EventDict]
) -> None:
    submit(knowledge_base, *numbered(5))
    worker.work_off_everything()
    (line,) = told(logs, "documents_searchable")
    assert (line["request_id"], line["documents"], line["log_level"]) == ("r-1", 5, "info")
    each = told(logs, "document_searchable")
    assert [entry["log_level"] for entry in each] == ["debug"] * 5
    assert {entry["request_id"] for entry in each} == {"r-1"}


def test_what_came_by_no_request_is_told_for_debug_only(
    knowledge_base: KnowledgeBase, worker: Worker, logs: list[EventDict]
) -> None:
    knowledge_base.submit([DOCUMENT])
    worker.work_off_everything()
    assert {entry["log_level"] for entry in logs} == {"debug"}


def test_a_failure_is_told_with_its_reason_and_its_request(
    knowledge_base: KnowledgeBase,
    worker: Worker,
    logs: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(
        self: TransformationChain, document_id: str, document: SourceDocument, embedder: str
    ) -> ParsedDocument:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(TransformationChain, "parse", refuse)
    submit(knowledge_base, DOCUMENT)
    worker.work_off_everything()
    (line,) = told(logs, "document_failed")
    assert (line["request_id"], line["document_id"]) == ("r-1", KEY.document_id)
    assert (line["reason"], line["attempt"]) == ("the content could not be processed", 1)
    assert line["log_level"] == "warning"


def test_a_version_that_was_overtaken_is_not_called_searchable(
    knowledge_base: KnowledgeBase, logs: list[EventDict]
) -> None:
    submit(knowledge_base, DOCUMENT)
    queue = knowledge_base.registry.queue
    (claim,) = queue.claim(limit=1, characters=1, lease_seconds=60)
    journal = Journal()
    journal.claimed([claim])
    submit(knowledge_base, replace(DOCUMENT, content="Something newer."))
    verdict = Verdict(claim, chunks=1)
    fallen = queue.settle([verdict], {})
    journal.settled([verdict], fallen, 0.0)
    assert told(logs, "document_searchable") == []
    assert len(told(logs, "document_superseded")) == 1
    assert journal.take_counts()["documents_superseded"] == 1
    assert journal.take_counts() == {}


def test_a_second_attempt_is_told_aloud(
    knowledge_base: KnowledgeBase, logs: list[EventDict]
) -> None:
    submit(knowledge_base, DOCUMENT)
    queue = knowledge_base.registry.queue
    journal = Journal()
    for _ in range(2):
        # A lease that is over at once is that of a worker which died.
        journal.claimed(queue.claim(limit=1, characters=1, lease_seconds=-1))
    first, second = told(logs, "document_claimed")
    assert (first["log_level"], first["attempt"]) == ("debug", 1)
    assert (second["log_level"], second["attempt"]) == ("info", 2)
    counts = journal.take_counts()
    assert (counts["documents_claimed"], counts["documents_claimed_again"]) == (2, 1)


def test_each_stage_is_measured_once_a_document(
    knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    submit(knowledge_base, *numbered(3))
    worker.work_off_everything()
    measured = stages(knowledge_base)
    assert set(measured) == {"claim", "parse", "embed", "settle", "all"}
    for name, times in measured.items():
        assert tuple(times.counts) == STAGE_BOUNDS
        assert times.cumulative()[-1][1] == 3, name
    assert measured["all"].total >= measured["embed"].total / 3 > 0
    counters = knowledge_base.registry.queue.counters()
    assert (counters["documents_claimed"], counters["documents_indexed"]) == (3, 3)


class _AwayStore(EmbeddedStore):
    """A store that is away until it is told to be back."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.back = threading.Event()

    def replace(
        self,
        knowledge_base_id: str,
        replacements: Sequence[Replacement],
        *,
        keep_older: bool = False,
    ) -> None:
        if not self.back.is_set():
            raise Unavailable("the store is away")
        super().replace(knowledge_base_id, replacements, keep_older=keep_older)


def test_a_worker_shows_that_it_lives_and_why_it_pauses(settings: Settings) -> None:
    store = _AwayStore(settings.data_dir / "index")
    with KnowledgeBase(settings, store=store) as knowledge_base:
        workers = knowledge_base.registry.workers
        submit(knowledge_base, DOCUMENT)
        worker = Worker(settings, knowledge_base)
        running = threading.Thread(target=worker.run)
        running.start()
        while not [sign for sign in workers.all() if sign.pause_reason]:
            assert running.is_alive()
        (paused,) = workers.all()
        assert (paused.is_alive, paused.pause_reason) == (True, "the store is away")
        store.back.set()
        knowledge_base.wait_until_settled([KEY.document_id], timeout=30)
        while workers.all()[0].pause_reason is not None:
            assert running.is_alive()
        worker.stop()
        running.join(30)
        worker.close()
        assert workers.all() == []
        assert knowledge_base.registry.queue.counters()["ingestion_pauses"] >= 1


def test_what_is_given_up_with_its_dead_workers_is_told_and_counted_as_failed(
    knowledge_base: KnowledgeBase, logs: list[EventDict]
) -> None:
    submit(knowledge_base, DOCUMENT)
    queue = knowledge_base.registry.queue
    for _ in range(MAX_ATTEMPTS + 1):
        queue.claim(limit=1, characters=1, lease_seconds=-1)
    (line,) = told(logs, "document_failed")
    assert (line["request_id"], line["document_id"]) == ("r-1", KEY.document_id)
    assert line["reason"] == f"processing did not end in {MAX_ATTEMPTS} attempts"
    assert queue.counters()["documents_failed"] == 1


def test_a_dead_worker_is_struck_out_by_the_next(
    settings: Settings, knowledge_base: KnowledgeBase, worker: Worker
) -> None:
    # As a kill leaves it: a row among the workers, and a file that nobody holds locked.
    knowledge_base.registry.workers.beat("dead", silence_seconds=60)
    presence = knowledge_base.data_dir / "workers"
    (presence / "dead.worker").write_text("")
    running = threading.Thread(target=worker.run)
    running.start()
    while "dead" in {sign.worker_id for sign in knowledge_base.registry.workers.all()}:
        assert running.is_alive()
    worker.stop()
    running.join(30)
