"""What a document costs in a base of 100,000, against one of 10,000.

    python -m benchmarks.scale [--documents 100000] [--small 10000] [--rounds 5] [--postgresql]

In process, on the facade that the doors use: accept (bulks of 500 documents of 300
characters), ingest (a worker in this process), push again unchanged, list (pages of 100),
delete all. THE EMBEDDER IS A STUB: it gives each text a random unit vector of the model's
shape, because the model's time is the same whatever the base. In each round a new small base
goes through a phase whole, and the large one through its next part, so that what slows the
machine for a while slows both; a phase's cost a document is that of all its parts. Deleting
the large base is one call. Searches have the real model for the query, on bases of 1,000,
of the small and of the large number of chunks: one chunk a document.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import BenchmarkFailed, DataAbsent, Result, show
from benchmarks.rounds import FEWEST_ROUNDS, spread
from benchmarks.sample_texts import SampleTexts
from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    SearchRequest,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.logs import configure_logging
from llamaindex_reaktly.settings import Settings
from scripts.postgresql import NotInstalled, PostgreSQL

TARGET = 1.3
BULK = 500
PAGE = 100
CHARACTERS = 300
DIMENSION = 384
TEXTS = 5_000
TINY = 1_000
QUESTIONS = 40
SOURCE = "integration:benchmark"
LARGE = "large"

# What a phase takes in seconds, for a part of a base's documents.
Phase = Callable[[KnowledgeBase, str, range], float]


def run(
    *, documents: int = 100_000, small: int = 10_000, rounds: int = 5, postgresql: bool = False
) -> list[Result]:
    """Measure. Raises `DataAbsent` where PostgreSQL is asked for and not installed."""
    if rounds < FEWEST_ROUNDS:
        raise ValueError(f"at least {FEWEST_ROUNDS} rounds are needed")
    configure_logging("json", "error")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reaktly-scale-")))
        url = None
        if postgresql:
            try:
                server = stack.enter_context(PostgreSQL(durable=True))
            except NotInstalled as error:
                raise DataAbsent(str(error)) from error
            url = server.url(server.create_database())
        settings = Settings(_env_file=None, data_dir=folder / "data", database_url=url)
        knowledge_base = stack.enter_context(KnowledgeBase(settings))
        stack.enter_context(_stub_embedder())
        measuring = _Measuring(knowledge_base, documents, small, rounds)
        results = [
            *measuring.costs({"Accept": _accept, "Ingest, with a stub for the embedder": _ingest}),
            *measuring.costs({"Push again, unchanged": _push_again}),
            *measuring.costs({"List": _Listing()}),
            *_searches(knowledge_base, documents, small),
        ]
        measuring.parts = 1
        return [*results, *measuring.costs({"Delete all": _delete})]


class _Measuring:
    """The large base and the small ones, a part at a time and in turns."""

    def __init__(
        self, knowledge_base: KnowledgeBase, documents: int, small: int, rounds: int
    ) -> None:
        self._knowledge_base = knowledge_base
        self._documents = documents
        self._small = small
        self._rounds = rounds
        # In how many parts the large base goes through a phase.
        self.parts = rounds

    def costs(self, phases: Mapping[str, Phase]) -> list[Result]:
        """A document's cost in each phase; the phases follow each other for each part."""
        small: dict[str, list[float]] = {what: [] for what in phases}
        large = dict.fromkeys(phases, 0.0)
        for number in range(self._rounds):
            for what, phase in phases.items():
                part = range(self._small)
                seconds = phase(self._knowledge_base, f"small-{number}", part)
                small[what].append(seconds / self._small)
            if number < self.parts:
                first, last = (self._documents * n // self.parts for n in (number, number + 1))
                for what, phase in phases.items():
                    large[what] += phase(self._knowledge_base, LARGE, range(first, last))
        return [self._cost(what, large[what] / self._documents, small[what]) for what in phases]

    def _cost(self, what: str, large: float, small: Sequence[float]) -> Result:
        ratio = spread([large / cost for cost in small])
        return Result(
            f"scale.{what.partition(',')[0].lower().replace(' ', '_')}",
            f"{what}: a document in a base of {self._documents:,}, to one of {self._small:,}",
            ratio.median,
            "x",
            f"≤ {TARGET}",
            ratio.median <= TARGET,
            f"{ratio.range()}; {large * 1e6:,.0f} and {statistics.median(small) * 1e6:,.0f} µs "
            "a document",
        )


def _push(knowledge_base: KnowledgeBase, base: str, part: range, *, unchanged: bool) -> float:
    seconds = 0.0
    for start in range(part.start, part.stop, BULK):
        bulk = [_document(base, n) for n in range(start, min(start + BULK, part.stop))]
        started = time.perf_counter()
        receipts = knowledge_base.submit(bulk)
        seconds += time.perf_counter() - started
        if any(receipt.unchanged is not unchanged for receipt in receipts):
            raise BenchmarkFailed("a document was not taken for what it is")
    return seconds


def _accept(knowledge_base: KnowledgeBase, base: str, part: range) -> float:
    return _push(knowledge_base, base, part, unchanged=False)


def _push_again(knowledge_base: KnowledgeBase, base: str, part: range) -> float:
    return _push(knowledge_base, base, part, unchanged=True)


def _ingest(knowledge_base: KnowledgeBase, base: str, part: range) -> float:
    """Work off the queue, in which there is nothing but this part."""
    worker = Worker(knowledge_base.settings, knowledge_base)
    try:
        started = time.perf_counter()
        worker.work_off_everything()
        seconds = time.perf_counter() - started
    finally:
        worker.close()
    status = knowledge_base.status(DocumentKey(base, SOURCE, str(part[-1])).document_id)
    if status is None or status.state is not DocumentState.COMPLETED:
        raise BenchmarkFailed("a document was not ingested")
    return seconds


class _Listing:
    """Each part of a base's listing begins where the part before ended."""

    def __init__(self) -> None:
        self._cursors: dict[str, str | None] = {}

    def __call__(self, knowledge_base: KnowledgeBase, base: str, part: range) -> float:
        cursor = self._cursors.get(base)
        started = time.perf_counter()
        for _ in range(len(part) // PAGE):
            page = knowledge_base.list_documents(base, cursor=cursor, limit=PAGE)
            if len(page.items) != PAGE:
                raise BenchmarkFailed("a page of a listing was not full")
            cursor = page.next_cursor
        self._cursors[base] = cursor
        return time.perf_counter() - started


def _delete(knowledge_base: KnowledgeBase, base: str, part: range) -> float:
    started = time.perf_counter()
    if knowledge_base.delete_source(base, SOURCE) != len(part):
        raise BenchmarkFailed("not everything was deleted")
    return time.perf_counter() - started


def _searches(knowledge_base: KnowledgeBase, documents: int, small: int) -> list[Result]:
    _accept(knowledge_base, "tiny", range(TINY))
    _ingest(knowledge_base, "tiny", range(TINY))
    texts = SampleTexts(seed=7)
    questions = [texts.text(60) for _ in range(QUESTIONS)]
    bases = {"tiny": TINY, "small-0": small, LARGE: documents}
    times: dict[str, list[float]] = {base: [] for base in bases}
    for question in [questions[0], *questions]:  # the first loads what is loaded once
        for base in bases:
            started = time.perf_counter()
            if not knowledge_base.search(SearchRequest(base, question)).hits:
                raise BenchmarkFailed("a search found nothing")
            times[base].append(time.perf_counter() - started)
    return [
        Result(
            f"scale.search.{base}",
            f"Median search of {chunks:,} chunks",
            statistics.median(times[base][1:]) * 1e3,
            "ms",
            detail=f"of {QUESTIONS} questions, longest {max(times[base][1:]) * 1e3:,.0f}; vectors "
            "of the model's shape, the query's embedding included",
        )
        for base, chunks in bases.items()
    ]


@contextmanager
def _stub_embedder() -> Iterator[None]:
    """Documents get random unit vectors instead of the model's."""

    def embed(_: MiniLM, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            seed = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
            row[:] = np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32)
            row /= np.linalg.norm(row)
        return vectors

    with mock.patch.object(MiniLM, "embed_documents", embed):
        yield


@functools.cache
def _texts() -> Sequence[str]:
    texts = SampleTexts(seed=3)
    return [texts.text(CHARACTERS) for _ in range(TEXTS)]


def _document(base: str, number: int) -> SourceDocument:
    return SourceDocument(
        key=DocumentKey(base, SOURCE, str(number)),
        source_type=SourceType.ARTICLE,
        title=f"Document {number}",
        content=f"{number}. {_texts()[number % TEXTS]}",
        client_hash=f"{number:032x}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args(arguments)
    return show(
        run(
            documents=options.documents,
            small=options.small,
            rounds=options.rounds,
            postgresql=options.postgresql,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
