"""Ingestion of HTML pages over HTTP against the bare embedder on the same chunks.

    python -m benchmarks.ingestion_rate [--pages-per-round 80] [--rounds 6]

Each round takes other pages, drawn at random from the PostgreSQL documentation. The
peer embeds their chunks, already cut, with nothing else going on, at each number of
threads from one to the number of cores; the best of these counts. Ours is the time
from the first byte of one `POST /ingest/bulk` to the moment when all its pages are
searchable, on a server with one worker.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import filling
from benchmarks.machine import usable_cores
from benchmarks.postgresql_pages import Page, postgresql_pages
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import in_turns, ratios, spread
from benchmarks.server import Client, running_server
from llamaindex_reaktly.embeddings.minilm import MiniLM

TARGET = 0.85
SEED = 15


@dataclass(frozen=True, slots=True)
class Slice:
    """The pages of one round, and their chunks as they are embedded."""

    knowledge_base: str
    pages: Sequence[Page]
    chunks: Sequence[str]


def run(
    pages: Path | None = None,
    *,
    pages_per_round: int = 80,
    rounds: int = 6,
    settings: Mapping[str, str] | None = None,
) -> list[Result]:
    """Measure; `pages` is the folder of the pages, found or fetched if None.

    `settings` are those of the server beside its data directory.
    """
    slices = _cut_slices(postgresql_pages(pages), pages_per_round, rounds)
    threads = _thread_counts()
    models = {count: MiniLM.load(threads=count) for count in threads}
    try:
        with running_server(settings=settings) as server, server.client() as client:
            # Imports, the model and the first pages of every file are not what is measured.
            client.ingest([slices[0].pages[0].item("warm-up")])
            for model in models.values():
                model.embed_documents(slices[0].chunks[:8])

            def bare(model: MiniLM, number: int) -> float:
                started = time.perf_counter()
                model.embed_documents(slices[number].chunks)
                return len(slices[number].chunks) / (time.perf_counter() - started)

            sides = {
                f"{count} threads": lambda number, model=model: bare(model, number)
                for count, model in models.items()
            }
            measured = in_turns(
                {**sides, "ours": lambda number: _ingest(client, slices[number])}, rounds
            )
    finally:
        for model in models.values():
            model.close()
    ours = measured.pop("ours")
    best = [max(rates) for rates in zip(*measured.values(), strict=True)]
    ratio = ratios(ours, best)
    alone = "; ".join(f"{name} {spread(rates).text(1)}" for name, rates in measured.items())
    total = sum(len(part.chunks) for part in slices)
    return [
        Result(
            "ingestion_rate.ratio",
            "Rate of ingestion over HTTP, to that of the bare embedder",
            ratio.median,
            "x",
            f"≥ {TARGET}",
            ratio.median >= TARGET,
            f"{ratio.range()}; peer: MiniLM.embed_documents in process on the same cut chunks, "
            f"best of {', '.join(str(count) for count in threads)} threads in each round "
            f"({alone} chunks/s); {pages_per_round} pages a round, {total:,} chunks in all",
        ),
        Result(
            "ingestion_rate.chunks",
            "Chunks a second, from the first byte of the bulk to searchable",
            spread(ours).median,
            "chunks/s",
            detail=spread(ours).range(1),
        ),
        Result(
            "ingestion_rate.pages",
            "Pages a second",
            spread(
                [rate / len(s.chunks) * len(s.pages) for rate, s in zip(ours, slices, strict=True)]
            ).median,
            "pages/s",
            detail="HTML pages of the PostgreSQL documentation, 13 kB each on average",
        ),
    ]


def _cut_slices(pages: list[Page], pages_per_round: int, rounds: int) -> list[Slice]:
    """Pages drawn at random without repetition, with the chunks that the worker makes."""
    needed = pages_per_round * rounds
    if needed > len(pages):
        raise BenchmarkFailed(f"{needed} pages are asked for, there are {len(pages)}")
    drawn = random.Random(SEED).sample(pages, needed)
    slices = []
    with (
        tempfile.TemporaryDirectory() as folder,
        filling.open_knowledge_base(Path(folder)) as knowledge_base,
    ):
        for number in range(rounds):
            some = drawn[number * pages_per_round : (number + 1) * pages_per_round]
            documents = [filling.page_document(page, f"round-{number}") for page in some]
            chunks = [
                filling.embedded_text(node)
                for prepared in filling.cut(knowledge_base, documents)
                for node in prepared.nodes
            ]
            slices.append(Slice(f"round-{number}", some, chunks))
    return slices


def _ingest(client: Client, part: Slice) -> float:
    """Chunks a second of one bulk, into a knowledge base of its own."""
    before = client.metrics()["reaktly_chunks_embedded_total"]
    body = {"items": [page.item(part.knowledge_base) for page in part.pages]}
    started = time.perf_counter()
    answer = client.post("/ingest/bulk?wait=true", body)
    if answer["status"] != "completed":
        client.wait_until_searchable({part.knowledge_base})
    seconds = time.perf_counter() - started
    embedded = client.metrics()["reaktly_chunks_embedded_total"] - before
    if embedded != len(part.chunks):
        raise BenchmarkFailed(
            f"the server embedded {embedded:.0f} chunks where the peer has {len(part.chunks)}"
        )
    return len(part.chunks) / seconds


def _thread_counts() -> list[int]:
    """One to the number of cores; of many cores the powers of two and all."""
    cores = usable_cores()
    return [n for n in range(1, cores + 1) if n <= 4 or n == cores or n & (n - 1) == 0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="?", type=Path, help="folder of the PostgreSQL pages")
    parser.add_argument("--pages-per-round", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args(arguments)
    return show(run(options.pages, pages_per_round=options.pages_per_round, rounds=options.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
