"""The one way in and out of the core: submit, delete, status, fetch, search, answer.

Doors hold one `KnowledgeBase` for all the knowledge bases of a server; each call names
its own by key. All methods block and may be called from several threads.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

import structlog

from llamaindex_reaktly import index_identity
from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.answers.extractive import ExtractiveAnswerer
from llamaindex_reaktly.answers.protocol import Answerer
from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    Choice,
    DocumentKey,
    DocumentState,
    DocumentStatus,
    Origin,
    Passage,
    Receipt,
    SearchMode,
    SearchRequest,
    SearchResult,
    SecondName,
    SourceDocument,
    StoredContent,
)
from llamaindex_reaktly.embeddings.catalogue import load_embedder
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity, TextEmbedder
from llamaindex_reaktly.errors import ReaktlyError, StorageFull, Unavailable, UnknownKnowledgeBase
from llamaindex_reaktly.measurements import Distribution, Histogram, distribution, split_stages
from llamaindex_reaktly.purging import Purger
from llamaindex_reaktly.registry.acceptance import Restored
from llamaindex_reaktly.registry.documents import DocumentPage
from llamaindex_reaktly.registry.keys import ApiKey
from llamaindex_reaktly.registry.knowledge_bases import Holding, KnowledgeBaseInfo
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.usage import Quota, Usage
from llamaindex_reaktly.retrieval.retriever import Retriever
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import NEWEST, Store
from llamaindex_reaktly.tracing import current_origin, span
from llamaindex_reaktly.watched_store import WatchedStore

log = structlog.get_logger(__name__)

INTEGRATION_PREFIX = "integration:"

R = TypeVar("R", Receipt, Receipt | None)

SETTLED_STATES = frozenset({DocumentState.COMPLETED, DocumentState.FAILED, DocumentState.DELETED})
# Upper bounds in seconds of what it takes to make documents durable.
ACCEPT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, math.inf)
# Upper bounds of the writes that share a commit.
COMMIT_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, math.inf)
# The documents that an answer is looked for in.
ANSWERING_DOCUMENTS = 5
# How long a waiter trusts the doorbell alone before it looks for itself.
LOOK_SECONDS = 1.0


def job_id(key: DocumentKey) -> str:
    """The documented name of a document's job: `<integrationId>-<externalId>` (seed 000)."""
    return f"{key.source.removeprefix(INTEGRATION_PREFIX)}-{key.external_id}"


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """What can be measured about a data directory at one moment.

    Counters and `stage_seconds` hold for the registry since it was made, whichever worker
    did it; `gauges` are of this moment, `accept_seconds` and `commit_sizes` of this process.
    """

    counters: Mapping[str, int]
    stage_seconds: Mapping[str, Distribution]
    queue_documents: Mapping[str, int]
    queue_oldest_seconds: float
    state_oldest_seconds: Mapping[str, float]
    workers: Mapping[str, int]
    gauges: Mapping[str, float]
    accept_seconds: Distribution
    commit_sizes: Distribution


class KnowledgeBase:
    """The knowledge bases in one data directory. Close it when done.

    Opening creates the directory and migrates the registry; it loads no model, which
    happens when the first search needs one. Raises `ConfigurationError` when the registry's
    documents are indexed elsewhere; `take_over` says that they will be indexed again here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        embedder_loader: Callable[[str], TextEmbedder] | None = None,
        take_over: bool = False,
    ) -> None:
        self.settings = settings
        self.data_dir = settings.data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.quota = Quota(settings.max_documents, settings.max_characters)
        self.registry = Registry(settings.registry_url, self.quota)
        if take_over:
            index_identity.take_over(self.registry, settings)
        try:
            index_identity.require_own_index(self.registry, settings)
        except ReaktlyError:
            self.registry.close()
            raise
        self.work_bell = self.registry.database.bell("work")
        self.done_bell = self.registry.database.bell("done")
        self._engine = store or _open_store(settings, self.registry)
        self.store = WatchedStore(self._engine, self.registry.indexes)
        self.purger = Purger(self.registry, self.store)
        self._load_embedder = embedder_loader or (
            lambda name: load_embedder(name, models_dir=models_directory(settings))
        )
        self._embedders: dict[str, TextEmbedder] = {}
        self._embedders_lock = Lock()
        self._accept_seconds = Histogram(ACCEPT_BOUNDS)
        self._watched: dict[str, Callable[[], object]] = {}
        self._is_ending = False
        analyzer = Analyzer()
        self._retriever = Retriever(self.store, self.registry.visibility, analyzer.query_terms)
        self._answerer: Answerer = ExtractiveAnswerer(analyzer)

    # -- documents -------------------------------------------------------------------

    def submit(self, documents: Sequence[SourceDocument]) -> list[Receipt]:
        """Accept documents; durable on return, searchable when a worker got to them.

        Raises `UnknownKnowledgeBase` for one that does not exist (unless the settings
        let the first document create it), `QuotaExceeded` where not all of them have room,
        `StorageFull` when the disk is near its end.
        """
        return self._submit(documents, self.registry.acceptance.accept)

    def submit_fitting(self, documents: Sequence[SourceDocument]) -> list[Receipt | None]:
        """As `submit`, but a document without room is left out, with None for its receipt.

        Raises `QuotaExceeded` where none of them has room.
        """
        receipts = self._submit(documents, self.registry.acceptance.accept_fitting)
        if receipts and all(receipt is None for receipt in receipts):
            raise self.quota.refusal(documents[0].key.knowledge_base_id)
        return receipts

    def _submit(
        self,
        documents: Sequence[SourceDocument],
        accept: Callable[[Sequence[tuple[SourceDocument, str]], Origin], list[R]],
    ) -> list[R]:
        started = time.perf_counter()
        with span("submit", documents=len(documents)):
            self._require_disk()
            self._require_knowledge_bases({d.key.knowledge_base_id for d in documents})
            origin = current_origin()
            receipts = accept([(d, job_id(d.key)) for d in documents], origin)
        self._accept_seconds.observe(time.perf_counter() - started)
        if origin.request_id is not None:
            _log_acceptance(receipts)
        return receipts

    def usage(self, knowledge_base_ids: Collection[str] | None = None) -> dict[str, Usage]:
        """What knowledge bases hold: those of these that exist, or all."""
        return self.registry.usage.of(knowledge_base_ids)

    def restore(
        self, documents: Sequence[Restored], *, overwrite: bool = False
    ) -> list[Receipt | None]:
        """Accept documents as an export kept them; None for each that is newer here and stays.

        Raises `StorageFull` when the disk is near its end.
        """
        self._require_disk()
        return self.registry.acceptance.restore(documents, overwrite=overwrite)

    def delete(self, names: Sequence[DocumentKey | SecondName]) -> int:
        """Delete documents, each by its key or its second name; how many there were.

        No search that starts after this returned finds them. Their text is removed from
        registry and index before it returns; by a worker soon after where the store is away
        or where deletes come so fast that wiping each by itself would block everything else.
        """
        with span("delete", documents=len(names)):
            return self._delete(names)

    def _delete(self, names: Sequence[DocumentKey | SecondName]) -> int:
        wanted: dict[str, set[DocumentKey | SecondName]] = {}
        for name in names:
            wanted.setdefault(name.knowledge_base_id, set()).add(name)
        by_base = {
            base: set(ids)
            for base, some in wanted.items()
            if (ids := self.registry.documents.bury_named(some))
        }
        return self._buried(by_base)

    def delete_chosen(self, choice: Choice) -> int:
        """Delete the documents that are as chosen, as `delete` does; how many there were."""
        with span("delete"):
            ids = self.registry.documents.bury_chosen(choice)
            return self._buried({choice.knowledge_base_id: set(ids)} if ids else {})

    def _buried(self, by_base: Mapping[str, set[str]]) -> int:
        deleted: set[str] = set().union(*by_base.values())
        if current_origin().request_id is not None:
            _log_deletion(deleted)
        self._purge(by_base)
        return len(deleted)

    def delete_source(self, knowledge_base_id: str, source: str) -> int:
        """Delete all documents of a source; how many there were."""
        ids = self.registry.documents.ids(knowledge_base_id, source)
        deleted = set(self.registry.documents.bury(ids))
        self._purge({knowledge_base_id: deleted} if deleted else {})
        return len(deleted)

    def _purge(self, by_base: Mapping[str, set[str]]) -> None:
        if not by_base:
            return
        try:
            self.purger.remove(by_base)
            if self.purger.purge(by_base):
                self.registry.queue.mark_purged(set().union(*by_base.values()))
                return
        except ReaktlyError as error:
            log.warning("purge_postponed", reason=error.message)
        self.work_bell.ring()

    def status(self, document_id: str) -> DocumentStatus | None:
        """Where a document stands; None if it was never accepted."""
        return self.registry.documents.status(document_id)

    def find_jobs(
        self, job_id: str, knowledge_base_ids: Collection[str] | None
    ) -> list[DocumentStatus]:
        """Documents that go by a job id in the given knowledge bases (None: in any)."""
        return self.registry.documents.by_job(job_id, knowledge_base_ids)

    def list_documents(
        self,
        knowledge_base_id: str | None = None,
        *,
        knowledge_base_ids: Collection[str] | None = None,
        state: DocumentState | None = None,
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> DocumentPage:
        """Documents of one knowledge base, or of several, a page at a time."""
        if knowledge_base_id is not None:
            knowledge_base_ids = [knowledge_base_id]
        return self.registry.documents.page(
            knowledge_base_ids=knowledge_base_ids,
            state=state,
            include_deleted=include_deleted,
            cursor=cursor,
            limit=limit,
        )

    def fetch(self, document_id: str) -> StoredContent | None:
        """A document as accepted; None if it is unknown or deleted."""
        return self.registry.documents.fetch(document_id)

    def passages(self, document_id: str) -> list[Passage]:
        """The chunks of a document as they are searched, in order."""
        status, visibility = self.status(document_id), self.registry.visibility
        # What the index still holds from before a delete is no longer the document's, and
        # what it holds already of a version that is not live yet is not what searches show.
        if self.store.replaces_at_once:
            oldest = visibility.visible_from([document_id]).get(document_id)
        else:
            tick = visibility.replacement_clock()
            oldest = visibility.live_versions([document_id], tick).get(document_id)
        if status is None or oldest is None:
            return []
        nodes = self.store.nodes(
            status.key.knowledge_base_id,
            document_id,
            from_version=oldest,
            to_version=NEWEST if self.store.replaces_at_once else oldest,
        )
        return [Passage(node.node_id, node.text, node.headings) for node in nodes]

    def retry(self, document_id: str) -> DocumentStatus:
        """Put a failed document back into the queue; `NotFound` or `Conflict` otherwise."""
        origin = current_origin()
        status = self.registry.documents.retry_one(document_id, origin)
        if origin.request_id is not None:
            log.info("document_retried", document_id=document_id)
        return status

    def retry_failed(self, knowledge_base_id: str | None = None) -> int:
        """Put all failed documents of a knowledge base, or of all, back into the queue."""
        return self.registry.documents.retry_all(knowledge_base_id)

    def estimate_seconds(self, documents: int) -> float:
        """How long until so many more documents are searchable, by the measured rate."""
        queue = self.registry.queue
        return max(documents, queue.unsettled()) * queue.seconds_per_document()

    def wait_until_settled(
        self, document_ids: Collection[str], timeout: float
    ) -> list[DocumentStatus]:
        """Block until all of these are completed, failed or deleted, or the time is over."""
        deadline = time.monotonic() + timeout
        with self.done_bell.listen() as listener:
            while True:
                statuses = self.registry.documents.statuses(document_ids)
                left = 0.0 if self._is_ending else deadline - time.monotonic()
                if left <= 0 or all(status.state in SETTLED_STATES for status in statuses):
                    return statuses
                listener.wait(min(left, LOOK_SECONDS))

    def let_waiters_go(self) -> None:
        """Have everybody who waits, and will wait, be told how things stand, at once."""
        self._is_ending = True
        self.done_bell.ring()

    # -- search ----------------------------------------------------------------------

    def search(self, request: SearchRequest) -> SearchResult:
        """The documents that best answer the request.

        Raises `UnknownKnowledgeBase`; `ModelMissing` and `EmbedderMismatch` when its vectors
        cannot be compared.
        """
        with span("search", mode=request.mode.value):
            info = self.registry.knowledge_bases.get(request.knowledge_base_id)
            embedder = None
            if request.mode is not SearchMode.TEXT:
                embedder = self.embedder(info.embedder)
                info.require(embedder.identity)
            return self._retriever.search(request, embedder)

    def answer(self, request: AnswerRequest) -> Answer:
        """What the knowledge base says to a question, or that it does not know.

        Raises as `search` does.
        """
        with span("answer"):
            hits = self.search(
                SearchRequest(
                    request.knowledge_base_id,
                    request.question,
                    limit=ANSWERING_DOCUMENTS,
                    filters=request.filters,
                )
            ).hits
            info = self.registry.knowledge_bases.get(request.knowledge_base_id)
            with span("answer.compose"):
                return self._answerer.answer(request, hits, self.embedder(info.embedder))

    def embedder(self, name: str) -> TextEmbedder:
        """The embedder of that name, loaded on first use."""
        embedder = self._embedders.get(name)
        if embedder is None:
            with self._embedders_lock:
                embedder = self._embedders.get(name)
                if embedder is None:
                    embedder = self._embedders[name] = self._load_embedder(name)
        return embedder

    # -- knowledge bases and keys ----------------------------------------------------

    def knowledge_base_exists(self, knowledge_base_id: str) -> bool:
        """Whether somebody made that knowledge base."""
        return self.registry.knowledge_bases.find(knowledge_base_id) is not None

    def holdings(self, source: str, ids: Collection[str] | None = None) -> list[Holding]:
        """Every knowledge base, or those of `ids` that exist, with what it has of a source."""
        return self.registry.knowledge_bases.holdings(source, ids)

    def enter(self, knowledge_base_id: str, organisation: str, *, create: bool = False) -> None:
        """Bind a knowledge base to the first organisation that names it.

        Where it may be created, it is, if the settings let a document do so. Raises
        `UnknownKnowledgeBase` for one that does not exist, and alike for one that is another
        organisation's.
        """
        if create:
            self._require_knowledge_bases({knowledge_base_id})
        if not self.registry.knowledge_bases.bind(knowledge_base_id, organisation):
            raise UnknownKnowledgeBase(knowledge_base_id)

    def list_knowledge_bases(self) -> list[KnowledgeBaseInfo]:
        """All knowledge bases, by id."""
        return self.registry.knowledge_bases.all()

    def delete_knowledge_base(self, knowledge_base_id: str) -> None:
        """Remove a knowledge base with everything in it; raises `UnknownKnowledgeBase`."""
        self.registry.knowledge_bases.delete(knowledge_base_id)
        self.store.drop(knowledge_base_id)
        self.registry.database.scrub()

    def rebuild(self, knowledge_base_id: str) -> int:
        """Drop the index and have it made again from the registry; how many documents.

        Until a worker has got to all of them, the knowledge base cannot be searched.
        """
        info = self.registry.knowledge_bases.get(knowledge_base_id)
        self.registry.knowledge_bases.reset_embedder(knowledge_base_id, info.embedder)
        return self.store.rebuild(knowledge_base_id, "the index is being made again, as asked for")

    def authenticate(self, token: str) -> ApiKey | None:
        """The key of that token; None if it is unknown, expired or revoked."""
        return self.registry.keys.authenticate(token)

    # -- operations ------------------------------------------------------------------

    def readiness(self) -> dict[str, str]:
        """Each part with `ok`, or a sentence on what is wrong with it.

        `registry` and `disk` are needed to accept; `registry`, `store` and `embedder` to
        search. `indexes` tells of knowledge bases that cannot be searched while others can; it
        and what `watch` added is for people to read.
        """
        checks: dict[str, Callable[[], object]] = {
            "registry": self.registry.queue.counters,
            "disk": self._require_disk,
            "store": self._require_store,
            "embedder": lambda: self.embedder(self.settings.embedder),
            "indexes": self._require_indexes,
            **self._watched,
        }
        parts = {}
        for name, check in checks.items():
            try:
                check()
                parts[name] = "ok"
            except ReaktlyError as error:
                parts[name] = error.message
        return parts

    def watch(self, part: str, check: Callable[[], object]) -> None:
        """Have `readiness` tell of one more part, which is well unless `check` raises."""
        self._watched[part] = check

    def metrics(self) -> MetricsSnapshot:
        """Everything that monitoring wants to know; costs some milliseconds."""
        counters, stage_seconds = split_stages(self.registry.queue.counters())
        census = self.registry.census.take()
        signs = self.registry.workers.all()
        alive = [sign for sign in signs if sign.is_alive]
        pauses = [sign.paused_for for sign in alive if sign.paused_for is not None]
        gauges = {
            "disk_free_bytes": float(self._free_disk()),
            "disk_reserve_bytes": float(self.settings.free_disk_bytes),
            "ingestion_paused_seconds": max(pauses, default=0.0),
            "embedders_loaded": float(len(self._embedders)),
        }
        if isinstance(self._engine, EmbeddedStore):
            gauges["open_knowledge_bases"] = float(self._engine.open_bases)
        return MetricsSnapshot(
            counters=counters,
            stage_seconds=stage_seconds,
            queue_documents={state.value: n for state, n in census.documents.items()},
            queue_oldest_seconds=census.oldest_waiting_seconds,
            state_oldest_seconds={state.value: s for state, s in census.oldest_seconds.items()},
            workers={
                "running": len(alive) - len(pauses),
                "paused": len(pauses),
                "silent": len(signs) - len(alive),
            },
            gauges=gauges,
            accept_seconds=self._accept_seconds.distribution(),
            commit_sizes=distribution(dict(self.registry.database.group_sizes), COMMIT_SIZE_BOUNDS),
        )

    def close(self) -> None:
        """Finish what is being written and release everything. Idempotent."""
        self._retriever.close()
        self.store.close()
        self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _require_store(self) -> None:
        self.store.check()
        # Of a base that is there: to look for one that is not says nothing.
        self.store.count(self.registry.knowledge_bases.any_id() or "")

    def _free_disk(self) -> int:
        """Of the fullest disk that we write to: registry and index may have their own."""
        places = {self.data_dir, self.data_dir / "index", self.registry.database.directory}
        return min(shutil.disk_usage(place).free for place in places if place and place.exists())

    def _require_indexes(self) -> None:
        if rebuilding := self.registry.indexes.rebuilding():
            raise Unavailable(f"{rebuilding} of the indexes are being made again")

    def _require_disk(self) -> None:
        if self._free_disk() < self.settings.free_disk_bytes:
            raise StorageFull(
                f"less than {self.settings.free_disk_bytes // 2**20} MiB of disk are free; "
                "nothing was accepted"
            )

    def _require_knowledge_bases(self, ids: set[str]) -> None:
        missing = ids - self.registry.knowledge_bases.existing(ids)
        if missing and not self.settings.auto_create_knowledge_bases:
            raise UnknownKnowledgeBase(min(missing))
        for knowledge_base_id in sorted(missing):
            self.registry.knowledge_bases.ensure(knowledge_base_id, embedder=self.settings.embedder)


def _log_acceptance(answers: Sequence[Receipt | None]) -> None:
    """A line a request; where it brought many documents, theirs are for `debug` alone."""
    receipts = [receipt for receipt in answers if receipt is not None]
    tell = log.info
    if len(receipts) != 1:
        unchanged = sum(receipt.unchanged for receipt in receipts)
        log.info("documents_accepted", documents=len(receipts), unchanged=unchanged)
        if not log.is_enabled_for(logging.DEBUG):
            return
        tell = log.debug
    for receipt in receipts:
        tell(
            "document_accepted",
            document_id=receipt.document_id,
            knowledge_base_id=receipt.key.knowledge_base_id,
            version=receipt.version,
            unchanged=receipt.unchanged,
        )


def _log_deletion(document_ids: Collection[str]) -> None:
    if len(document_ids) == 1:
        log.info("document_deleted", document_id=next(iter(document_ids)))
        return
    log.info("documents_deleted", documents=len(document_ids))
    if log.is_enabled_for(logging.DEBUG):
        for document_id in document_ids:
            log.debug("document_deleted", document_id=document_id)


def _open_store(settings: Settings, registry: Registry) -> Store:
    if settings.store == "embedded":
        return EmbeddedStore(settings.data_dir.absolute() / "index")
    # Imported where it is used: the client takes half a second of processor time.
    from llamaindex_reaktly.stores.weaviate_opening import open_weaviate

    def identity_of(knowledge_base_id: str) -> EmbedderIdentity | None:
        info = registry.knowledge_bases.find(knowledge_base_id)
        if info is None or info.embedder_build is None or info.dimension is None:
            return None
        return EmbedderIdentity(info.embedder, info.embedder_build, info.dimension)

    return open_weaviate(settings, identity_of)


def models_directory(settings: Settings) -> Path:
    """Where `reaktly model install` puts models."""
    return settings.data_dir.absolute() / "models"
