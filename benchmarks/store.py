"""The embedded store by itself: searches, rows in, documents replaced and deleted.

Synthetic chunks of some 200 terms drawn by Zipf's law, unit vectors of 384 dimensions,
six chunks a document. Run `python benchmarks/store.py --chunks 7500`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.filters import parse_filter
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import (
    IndexedDocument,
    IndexedNode,
    Replacement,
    StoreQuery,
)

DIMENSION = 384
CHUNKS_A_DOCUMENT = 6
VOCABULARY = 60_000
KB = "benchmark"


class Corpus:
    """Documents and queries, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        # Zipf's law over a vocabulary: the first ten words are a quarter of all text.
        weights = 1.0 / np.arange(1, VOCABULARY + 1)
        self._edges = np.cumsum(weights / weights.sum())

    def terms(self, count: int) -> list[str]:
        """`count` words."""
        drawn = np.searchsorted(self._edges, self._random.random(count))
        return [f"w{number}" for number in drawn.tolist()]

    def vector(self) -> NDArray[np.float32]:
        """A unit vector."""
        vector = self._random.standard_normal(DIMENSION).astype(np.float32)
        unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
        return unit

    def document(self, number: int, version: int) -> Replacement:
        """One document with its chunks."""
        nodes = []
        for ordinal in range(CHUNKS_A_DOCUMENT):
            terms = " ".join(self.terms(int(self._random.integers(120, 280))))
            digest = f"{number}-{version}-{ordinal}"
            nodes.append(
                IndexedNode(digest, ordinal, terms, ("A", "B"), terms, self.vector(), digest)
            )
        document = IndexedDocument(
            document_id=f"doc_{number}",
            version=version,
            source="integration:benchmark",
            external_id=str(number),
            source_type=SourceType.PRODUCT,
            title=f"Document {number}",
            url=f"https://example.com/{number}",
            summary=None,
            tags=(f"tag{number % 10}",),
            language="en",
            attributes={"price": number, "vendor": f"vendor{number % 50}"},
            updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        return Replacement(document, nodes)


def median_ms(run: Callable[[], object], rounds: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1000, 2)


def measure(directory: Path, chunks: int, rounds: int) -> dict[str, float]:
    """All figures for one size."""
    corpus = Corpus(seed=1)
    documents = chunks // CHUNKS_A_DOCUMENT
    figures: dict[str, float] = {"chunks": documents * CHUNKS_A_DOCUMENT}
    store = EmbeddedStore(directory)
    spent = 0.0
    for first in range(0, documents, 100):
        batch = [corpus.document(i, 1) for i in range(first, min(first + 100, documents))]
        start = time.perf_counter()
        store.replace(KB, batch)
        spent += time.perf_counter() - start
    figures["rows in per second"] = round(figures["chunks"] / spent)
    start = time.perf_counter()
    store.search(KB, StoreQuery(vector=corpus.vector()))
    figures["first search ms"] = round((time.perf_counter() - start) * 1000, 1)
    some = parse_filter({"sourceData.vendor": {"in": [f"vendor{i}" for i in range(10)]}})

    def query(*, vector: bool, text: bool, filtered: bool = False) -> Callable[[], object]:
        return lambda: store.search(
            KB,
            StoreQuery(
                vector=corpus.vector() if vector else None,
                terms={"en": corpus.terms(15)} if text else None,
                filter=some if filtered else None,
            ),
        )

    figures["vector ms"] = median_ms(query(vector=True, text=False), rounds)
    figures["text ms"] = median_ms(query(vector=False, text=True), rounds)
    figures["hybrid ms"] = median_ms(query(vector=True, text=True), rounds)
    figures["hybrid filtered ms"] = median_ms(query(vector=True, text=True, filtered=True), rounds)
    renewed = [corpus.document(i * 7 % documents, 2) for i in range(min(100, documents))]
    start = time.perf_counter()
    for replacement in renewed:
        store.replace(KB, [replacement])
    figures["documents replaced per second"] = round(
        len(renewed) / (time.perf_counter() - start), 1
    )
    start = time.perf_counter()
    store.delete(KB, ["doc_1"])
    figures["delete ms"] = round((time.perf_counter() - start) * 1000, 1)
    start = time.perf_counter()
    store.purge(KB)
    figures["purge ms"] = round((time.perf_counter() - start) * 1000, 1)
    store.close()
    size = sum(path.stat().st_size for path in directory.iterdir())
    figures["megabytes"] = round(size / 1e6, 1)
    return figures


def main() -> None:
    """Print one JSON object a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, nargs="+", default=[7_500])
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    for chunks in arguments.chunks:
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(measure(Path(directory), chunks, arguments.rounds), indent=1))


if __name__ == "__main__":
    main()
