"""How long one document and one search take over HTTP, alone and while ingestion runs.

    python -m benchmarks.latency [--chunks 7500] [--rounds 6]

The base holds pages of the PostgreSQL documentation, some 7,500 chunks, with the
vectors of their titles, headings and first words: true texts and terms, and the
model's own geometry, without the minutes that whole chunks would take.

- One document on an idle server: from the request to the answer of
  `POST /ingest?wait=true`, which comes when it is searchable, against the bare
  embedder on its chunks.
- A search: against what it cannot do without (the query's embedding and the bare
  store's search, in process) and three times a bare route of the same server.
- While ingestion runs: pages of the base are indexed anew without a pause. A task in
  the server's event loop notes how long it had to wait for its turn, and a thread of
  this program does the same, to tell how much of that is the machine's doing.
"""

import argparse
import functools
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks import filling
from benchmarks.launcher import BARE_PATH, PROBE_PATH
from benchmarks.machine import usable_cores
from benchmarks.postgresql_pages import Page, postgresql_pages, postgresql_questions
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import Spread, in_turns, ratios, spread
from benchmarks.sample_texts import SampleTexts
from benchmarks.server import Client, JsonObject, running_server
from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.ingestion.preparation import PreparedNode
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Store, StoreQuery
from scripts.weaviate_server import WeaviateServer

BASE = "pages"
MOST_OVERHEAD = 0.060
MOST_BUSY_RATIO = 2.5
LONGEST_GAP = 0.050
DOCUMENTS_PER_ROUND = 5
DOCUMENT_CHARACTERS = 2_000
PAGES_PER_ROUND = 24
THINK_SECONDS = 0.01
IDLE_SECONDS = 0.1
# Times that each of the largest bulks is posted, the later ones unchanged.
BULKS = 3
# Of the server's limit for bodies, 32 MiB by default, what the brackets around items leave.
LARGEST_BODY = 32 * 2**20 - 64
FIRST_WORDS = 80
# As retrieval asks the store (`retrieval.retriever`).
CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class Question:
    """A search, as it is sent and as the store is asked."""

    text: str
    body: bytes
    query: StoreQuery
    answer_bytes: int


class Bench:
    """What all measurements share."""

    def __init__(self, client: Client, store: Store, model: MiniLM, pages: Sequence[Page]) -> None:
        self.client = client
        self.store = store
        self.model = model
        self.pages = pages
        self.questions = self._questions()

    def _questions(self) -> list[Question]:
        """The questions, each asked once, which also warms everything up."""
        analyzer = Analyzer()
        languages = self.store.languages(BASE)
        questions = []
        for question in postgresql_questions():
            text = question["text"]
            body = orjson.dumps({"knowledgeBaseId": BASE, "query": text})
            query = StoreQuery(
                self.model.embed_query(text),
                analyzer.query_terms(text, languages),
                candidates=CANDIDATES,
            )
            self.store.search(BASE, query)
            answer = self.client.post_bytes("/search", body)
            if not orjson.loads(answer)["results"]:
                raise BenchmarkFailed(f"nothing was found for {text!r}")
            questions.append(Question(text, body, query, len(answer)))
        return questions

    def search(self, question: Question) -> float:
        """Seconds of a search over HTTP."""
        return _seconds(lambda: self.client.post_bytes("/search", question.body))

    def bare_route(self, question: Question) -> float:
        """Seconds of a request with bodies of the same sizes that does nothing."""
        path = f"{BARE_PATH}?bytes={question.answer_bytes}"
        return _seconds(lambda: self.client.post_bytes(path, question.body))

    def embedding_and_store(self) -> tuple[float, float]:
        """Median seconds of a query's embedding and of the store's search, in process.

        By turns, as in a search: each leaves the processor's caches to the other.
        """
        embeddings, searches = [], []
        for question in self.questions:
            embeddings.append(_seconds(functools.partial(self.model.embed_query, question.text)))
            searches.append(_seconds(functools.partial(self.store.search, BASE, question.query)))
        return statistics.median(embeddings), statistics.median(searches)

    def median(self, measure: Callable[[Question], float], *, think: float = 0.0) -> float:
        """The median of all questions."""
        times = []
        for question in self.questions:
            times.append(measure(question))
            time.sleep(think)
        return statistics.median(times)


def run(pages: Path | None = None, *, chunks: int = 7_500, rounds: int = 6) -> list[Result]:
    """Measure; `pages` is the folder of the pages, found or fetched if None."""
    every_page = postgresql_pages(pages)
    with (
        MiniLM.load(threads=usable_cores()) as model,
        tempfile.TemporaryDirectory() as folder,
    ):
        data_dir = Path(folder) / "data"
        indexed, held = fill(data_dir, every_page, model, chunks)
        documents = _documents(Path(folder) / "cut", rounds)
        with running_server(data_dir=data_dir, command=("-m", "benchmarks.launcher")) as server:
            store = EmbeddedStore(data_dir / "index")
            with server.client() as client:
                bench = Bench(client, store, model, indexed)
                results = [
                    *_one_document(bench, documents, rounds),
                    *one_search(bench, held, rounds),
                    *_while_ingesting(bench, rounds),
                    *_while_all_arrive(bench, server.client(), every_page),
                ]
            store.close()
    return results


def fill(
    data_dir: Path,
    pages: Sequence[Page],
    model: MiniLM,
    chunks: int,
    weaviate: WeaviateServer | None = None,
) -> tuple[list[Page], int]:
    """A base of at least so many chunks; its pages, and how many chunks it holds."""

    def embed(nodes: Sequence[PreparedNode]) -> NDArray[np.float32]:
        return model.embed_documents(
            [" ".join((*node.chunk.headings, node.chunk.text[:FIRST_WORDS])) for node in nodes]
        )

    indexed: list[Page] = []
    held = 0
    with filling.open_knowledge_base(data_dir, weaviate) as knowledge_base:
        for some in _batches(pages, 50):
            documents = [filling.page_document(page, BASE) for page in some]
            held += filling.fill(knowledge_base, documents, embed)
            indexed += some
            if held >= chunks:
                return indexed, held
    raise BenchmarkFailed(f"all pages make {held} chunks, {chunks} are asked for")


def _documents(data_dir: Path, rounds: int) -> list[tuple[JsonObject, list[str]]]:
    """Documents as they are posted, each with its chunks as they are embedded."""
    texts = SampleTexts(seed=10)
    made = []
    with filling.open_knowledge_base(data_dir) as knowledge_base:
        for number in range(rounds * DOCUMENTS_PER_ROUND):
            title, content = f"Document {number}", texts.text(DOCUMENT_CHARACTERS)
            item = {
                "integrationId": "benchmark",
                "knowledgeBaseId": BASE,
                "externalId": f"document-{number}",
                "sourceType": "ARTICLE",
                "data": {"title": title, "content": content},
            }
            document = SourceDocument(
                DocumentKey(BASE, "integration:benchmark", f"document-{number}"),
                SourceType.ARTICLE,
                title,
                content,
            )
            prepared = next(filling.cut(knowledge_base, [document]))
            made.append((item, [filling.embedded_text(node) for node in prepared.nodes]))
    return made


def _one_document(
    bench: Bench, documents: Sequence[tuple[JsonObject, list[str]]], rounds: int
) -> list[Result]:
    def of_round(number: int) -> Sequence[tuple[JsonObject, list[str]]]:
        return documents[number * DOCUMENTS_PER_ROUND : (number + 1) * DOCUMENTS_PER_ROUND]

    def ours(number: int) -> float:
        return statistics.median(_time_to_searchable(bench, item) for item, _ in of_round(number))

    def embedding(number: int) -> float:
        return statistics.median(
            _seconds(functools.partial(bench.model.embed_documents, chunks))
            for _, chunks in of_round(number)
        )

    measured = in_turns({"ours": ours, "embedding": embedding}, rounds)
    overhead = spread([o - e for o, e in zip(measured["ours"], measured["embedding"], strict=True)])
    chunks = statistics.mean(len(chunks) for _, chunks in documents)
    return [
        Result(
            "latency.one_document",
            "One document on an idle server: searchable after its embedding time and",
            overhead.median * 1000,
            "ms",
            f"≤ {MOST_OVERHEAD * 1000:.0f} ms",
            overhead.median <= MOST_OVERHEAD,
            f"{_in_ms(overhead)}; searchable after {_in_ms_text(spread(measured['ours']))}, "
            f"embedding alone (MiniLM.embed_documents in process, {usable_cores()} threads) "
            f"{_in_ms_text(spread(measured['embedding']))}; documents of "
            f"{DOCUMENT_CHARACTERS:,} characters, {chunks:.1f} chunks",
        )
    ]


def _time_to_searchable(bench: Bench, item: JsonObject) -> float:
    time.sleep(IDLE_SECONDS)
    body = orjson.dumps(item)
    started = time.perf_counter()
    answer = orjson.loads(bench.client.post_bytes("/ingest?wait=true", body))
    seconds = time.perf_counter() - started
    found = bench.client.post(
        "/search",
        {
            "knowledgeBaseId": BASE,
            "query": item["data"]["title"],
            "filters": {"externalId": item["externalId"]},
        },
    )
    if answer["status"] != "completed" or len(found["results"]) != 1:
        raise BenchmarkFailed(f"{item['externalId']} was not searchable when the answer came")
    return seconds


def one_search(bench: Bench, held: int, rounds: int) -> list[Result]:
    """A search over HTTP, held against its parts."""
    embeddings: list[float] = []
    searches: list[float] = []

    def parts_alone(_: int) -> float:
        embedding, store = bench.embedding_and_store()
        embeddings.append(embedding)
        searches.append(store)
        return embedding + store

    measured = in_turns(
        {
            "ours": lambda _: bench.median(bench.search),
            "bare": lambda _: bench.median(bench.bare_route),
            "parts": parts_alone,
        },
        rounds,
    )
    allowed = [
        alone + 3 * bare for alone, bare in zip(measured["parts"], measured["bare"], strict=True)
    ]
    ratio = ratios(measured["ours"], allowed)
    parts = ", ".join(
        f"{name} {_in_ms_text(spread(times))}"
        for name, times in (
            ("query embedding", embeddings),
            ("bare store search", searches),
            ("bare route", measured["bare"]),
        )
    )
    return [
        Result(
            "latency.search_ratio",
            f"Search over HTTP at {held:,} chunks, to query embedding + bare store search + "
            "3 x bare route",
            ratio.median,
            "x",
            "≤ 1",
            ratio.median <= 1,
            f"{ratio.range()}; {parts}; medians of {len(bench.questions)} questions a round",
        ),
        Result(
            "latency.search",
            "Median search over HTTP",
            spread(measured["ours"]).median * 1000,
            "ms",
            detail=_in_ms(spread(measured["ours"])),
        ),
    ]


def _while_ingesting(bench: Bench, rounds: int) -> list[Result]:
    machine = MachineProbe()
    gaps: list[float] = []

    def idle(_: int) -> float:
        return bench.median(bench.search, think=THINK_SECONDS)

    def busy(number: int) -> float:
        some = _slice(bench.pages, number)
        items = [{**page.item(BASE), "options": {"forceRefresh": True}} for page in some]
        with machine:
            _longest_gap(bench.client)
            bench.client.post("/ingest/bulk", {"items": items})
            times: list[float] = []
            while bench.client.jobs(BASE, "processing") or bench.client.jobs(BASE, "queued"):
                for question in bench.questions[::4]:
                    times.append(bench.search(question))
                    time.sleep(THINK_SECONDS)
            gaps.append(_longest_gap(bench.client))
        bench.client.wait_until_searchable({BASE})
        return statistics.median(times)

    measured = in_turns({"idle": idle, "busy": busy}, rounds)
    ratio = ratios(measured["busy"], measured["idle"])
    return [
        Result(
            "latency.search_while_ingesting",
            "Median search while ingestion runs, to one on an idle server",
            ratio.median,
            "x",
            f"≤ {MOST_BUSY_RATIO}",
            ratio.median <= MOST_BUSY_RATIO,
            f"{ratio.range()}; idle {_in_ms_text(spread(measured['idle']))}, busy "
            f"{_in_ms_text(spread(measured['busy']))}; {PAGES_PER_ROUND} pages of the same "
            "base indexed anew in each round",
        ),
        _gap("latency.loop_gap", "Longest wait of the API's event loop meanwhile", gaps, machine),
    ]


def _while_all_arrive(bench: Bench, second: Client, pages: Sequence[Page]) -> list[Result]:
    """Bulks as big as they come, as a connector posts everything at once. Leaves a long queue."""
    items = [page.item("all-at-once") for page in pages]
    again = [{**item, "externalId": f"{item['externalId']}#again"} for item in items]
    with second:
        return [
            _while_one_arrives(bench, second, "latency.loop_gap_at_once", items),
            _while_one_arrives(
                bench, second, "latency.loop_gap_largest", _fitting([*items, *again])
            ),
        ]


def _fitting(items: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """As many of the items as the server takes in one body."""
    sizes = itertools.accumulate(len(orjson.dumps(item)) + 1 for item in items)
    return [item for item, size in zip(items, sizes, strict=True) if size < LARGEST_BODY]


def _while_one_arrives(
    bench: Bench, second: Client, name: str, items: Sequence[JsonObject]
) -> Result:
    body = orjson.dumps({"items": items})
    machine = MachineProbe()
    gaps = []
    for _ in range(BULKS):
        with machine:
            _longest_gap(bench.client)
            posting = threading.Thread(target=second.post_bytes, args=("/ingest/bulk", body))
            posting.start()
            while posting.is_alive():
                bench.search(bench.questions[0])
            bench.median(bench.search)
            gaps.append(_longest_gap(bench.client))
    return _gap(
        name,
        f"The same while one bulk brings {len(items):,} pages ({len(body) / 1e6:.0f} MB)",
        gaps,
        machine,
    )


class MachineProbe:
    """How long this program, doing little, had to wait for its own turns."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        pause = 0.002
        before = time.perf_counter()
        while not self._over.is_set():
            time.sleep(pause)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - pause)
            before = now


def _longest_gap(client: Client) -> float:
    """The loop's longest wait since the last call, in seconds."""
    gap: float = orjson.loads(client.post_bytes(PROBE_PATH, b"{}"))["longestGap"]
    return gap


def _gap(name: str, what: str, gaps: Sequence[float], machine: MachineProbe) -> Result:
    return Result(
        name,
        what,
        max(gaps) * 1000,
        "ms",
        f"< {LONGEST_GAP * 1000:.0f} ms",
        max(gaps) < LONGEST_GAP,
        f"median of {len(gaps)} rounds {statistics.median(gaps) * 1000:.1f} ms; the longest wait "
        f"of a thread of the measuring program in the same time: {machine.longest * 1000:.1f} ms",
    )


def _slice(pages: Sequence[Page], number: int) -> Sequence[Page]:
    start = number * PAGES_PER_ROUND % (len(pages) - PAGES_PER_ROUND)
    return pages[start : start + PAGES_PER_ROUND]


def _batches(pages: Sequence[Page], size: int) -> list[Sequence[Page]]:
    return [pages[start : start + size] for start in range(0, len(pages), size)]


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _in_ms(times: Spread) -> str:
    return f"{times.low * 1000:.1f} to {times.high * 1000:.1f} in {times.rounds} rounds"


def _in_ms_text(times: Spread) -> str:
    return f"{times.median * 1000:.1f} ms ({times.low * 1000:.1f} to {times.high * 1000:.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="?", type=Path, help="folder of the PostgreSQL pages")
    parser.add_argument("--chunks", type=int, default=7_500)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args(arguments)
    return show(run(options.pages, chunks=options.chunks, rounds=options.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
