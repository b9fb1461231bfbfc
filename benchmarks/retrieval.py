"""Retrieval quality over HTTP: PostgreSQL's pages and four collections with judgments.

    python -m benchmarks.retrieval [--data-dir DIR] [--only SET]...

Everything is pushed through `POST /ingest/bulk`, each set into a knowledge base of its
own, and searched through `POST /search` in every mode. `vector` and `text` are the two
legs of the hybrid search, which must not lose to the better of them by more than .01, or
one question. A first run embeds some 30,000 chunks, which takes a quarter of an hour;
with `--data-dir` a later run on the same directory finds them unchanged. Nothing may be
tuned to these sets: they only measure.
"""

import argparse
import math
from collections.abc import Collection as Some
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import evaluation_sets
from benchmarks.postgresql_pages import postgresql_pages, postgresql_questions
from benchmarks.results import Result, show
from benchmarks.server import Client, JsonObject, running_server

POSTGRESQL = "postgresql"
SETS = (POSTGRESQL, *evaluation_sets.COLLECTIONS)
MODES = ("hybrid", "vector", "text")
DEPTH = 10
CUTOFFS = (1, 5, 10)
QUESTION_TYPES = ("lexical", "semantic", "howto")
HIT_TARGETS = {
    ("lexical", 5): 13,
    ("howto", 5): 13,
    ("semantic", 5): 7,
    ("semantic", 10): 8,
    ("all", 5): 35,
}
GAIN_TARGETS = {"cranfield": 0.54, "scifact": 0.715, "cacm": 0.52, "cisi": 0.44}
HIT_TOLERANCE = 1
GAIN_TOLERANCE = 0.01
INGEST_TIMEOUT = 7_200.0


@dataclass(frozen=True, slots=True)
class Column:
    """One figure in each mode. `of` is the number of questions, 0 for a mean."""

    name: str
    values: Mapping[str, float]
    of: int = 0
    target: float | None = None

    @property
    def better_leg(self) -> float:
        """What the hybrid search is held against."""
        return max(self.values["vector"], self.values["text"])

    def result(self) -> Result:
        """The column as a figure of the hybrid search, with its legs beside it."""
        hybrid = self.values["hybrid"]
        lowest = self.better_leg - (HIT_TOLERANCE if self.of else GAIN_TOLERANCE)
        wanted = [f"≥ {lowest:.{0 if self.of else 3}f} by its legs"]
        if self.target is not None:
            wanted.insert(0, f"≥ {self.target:g}")
            lowest = max(lowest, self.target)
        digits = 0 if self.of else 3
        return Result(
            f"retrieval.{self.name}",
            self.name.replace(".", " "),
            hybrid,
            f"of {self.of}" if self.of else "",
            ", ".join(wanted),
            # What differs in the last bits of a mean is no difference.
            hybrid >= lowest - 1e-9,
            ", ".join(f"{mode} {self.values[mode]:.{digits}f}" for mode in MODES),
        )


def push_postgresql(client: Client) -> None:
    """Push PostgreSQL's pages and wait until they are searchable."""
    items = [page.item(POSTGRESQL) for page in postgresql_pages()]
    client.ingest(items, timeout=INGEST_TIMEOUT)


def postgresql_columns(client: Client) -> list[Column]:
    """How often the expected page is among the first, by type of question."""
    questions = postgresql_questions()
    ranks = {
        mode: [
            _rank(question["expected_path"], found(client, POSTGRESQL, question["text"], mode))
            for question in questions
        ]
        for mode in MODES
    }
    types = [question["type"] for question in questions]
    columns = []
    for kind in (*QUESTION_TYPES, "all"):
        chosen = [n for n, of in enumerate(types) if kind in (of, "all")]
        if not chosen:
            raise ValueError(f"no question is of type {kind}; there are {sorted(set(types))}")
        for cutoff in CUTOFFS:
            hits = {mode: sum(ranks[mode][n] <= cutoff for n in chosen) for mode in MODES}
            target = HIT_TARGETS.get((kind, cutoff))
            columns.append(Column(f"{POSTGRESQL}.{kind}@{cutoff}", hits, len(chosen), target))
    return columns


def push_collection(client: Client, collection: evaluation_sets.Collection) -> None:
    """Push a collection's documents and wait until they are searchable."""
    items = [_item(collection.name, text) for text in collection.documents]
    client.ingest(items, timeout=INGEST_TIMEOUT)


def collection_column(client: Client, collection: evaluation_sets.Collection) -> Column:
    """The collection's mean nDCG@10."""
    means = {}
    for mode in MODES:
        gains = [
            ndcg(found(client, collection.name, text, mode), collection.relevant[query])
            for query, text in collection.queries.items()
        ]
        means[mode] = sum(gains) / len(gains)
    return Column(f"{collection.name}.ndcg@10", means, target=GAIN_TARGETS[collection.name])


def found(client: Client, knowledge_base: str, query: str, mode: str) -> list[str]:
    """External ids of the first results."""
    body = {"knowledgeBaseId": knowledge_base, "query": query, "mode": mode, "limit": DEPTH}
    return [result["externalId"] for result in client.post("/search", body)["results"]]


def ndcg(ranking: Sequence[str], relevant: Some[str], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain with binary judgments.

    The ideal ranking holds all that is relevant, found or not, up to the depth.
    """
    gain = sum(
        1 / math.log2(place + 2)
        for place, found_id in enumerate(ranking[:depth])
        if found_id in relevant
    )
    ideal = sum(1 / math.log2(place + 2) for place in range(min(depth, len(relevant))))
    return gain / ideal if ideal else 0.0


def _rank(expected: str, ranking: Sequence[str]) -> float:
    return ranking.index(expected) + 1 if expected in ranking else math.inf


def _item(knowledge_base: str, text: evaluation_sets.Text) -> JsonObject:
    return {
        "integrationId": "benchmark",
        "knowledgeBaseId": knowledge_base,
        "externalId": text.id,
        "sourceType": "ARTICLE",
        "data": {
            "title": text.title.strip() or "Untitled",
            "content": text.text,
            "contentType": "text/plain",
        },
    }


def columns(client: Client, sets: Some[str]) -> Iterator[Column]:
    """Push these sets where they are not yet, and measure each."""
    if POSTGRESQL in sets:
        push_postgresql(client)
        yield from postgresql_columns(client)
    for name in evaluation_sets.COLLECTIONS:
        if name in sets:
            collection = evaluation_sets.collection(name)
            push_collection(client, collection)
            yield collection_column(client, collection)


def run(data_dir: Path | None = None, sets: Some[str] = SETS) -> list[Result]:
    """Measure on a server of its own, on a data directory that may hold it all already."""
    with running_server(data_dir=data_dir) as server, server.client() as client:
        return [column.result() for column in columns(client, sets)]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="data directory to use, and to keep")
    parser.add_argument(
        "--only", action="append", choices=SETS, help="measure this set; may be repeated"
    )
    arguments = parser.parse_args()
    return show(run(arguments.data_dir, arguments.only or SETS))


if __name__ == "__main__":
    raise SystemExit(main())
