"""Whether a Weaviate ranks as the embedded store does: the same nodes, questions and rule.

A server indexes the evaluation sets with the embedded store; the same nodes are then put
into a Weaviate, and every question is asked of both, in each mode. `python -m
benchmarks.weaviate_retrieval --only cisi --data-dir FOLDER` takes one set that is indexed
there already.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import evaluation_sets
from benchmarks.evaluation_sets import COLLECTIONS
from benchmarks.postgresql_pages import postgresql_questions
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.retrieval import DEPTH, POSTGRESQL, ndcg, push_collection, push_postgresql
from benchmarks.server import running_server
from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.domain import SearchMode
from llamaindex_reaktly.embeddings.catalogue import load_embedder
from llamaindex_reaktly.retrieval.ranking import rank
from llamaindex_reaktly.retrieval.retriever import MIN_CANDIDATES
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import Store, StoreQuery
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

SETS = (POSTGRESQL, *COLLECTIONS)
MOST_APART = 0.015
# Of the documentation questions, one.
ONE_QUESTION = 1 / 40 + 1e-9

Gain = Callable[[list[str]], float]


def run(data_dir: Path | None = None, sets: Sequence[str] = SETS) -> list[Result]:
    """Index what is not there yet, copy it, and compare the figures of each set and mode."""
    with tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder:
        place = data_dir or Path(folder, "data")
        _index(place, sets)
        try:
            server = WeaviateServer(Path(folder, "weaviate"))
        except WeaviateMissing as error:
            raise BenchmarkFailed(str(error)) from None
        with server:
            embedded = EmbeddedStore(place / "index")
            address = WeaviateAddress(server.url, server.grpc_url, server.key, 60, 600)
            weaviate = WeaviateStore(address)
            try:
                return [result for name in sets for result in _compared(name, embedded, weaviate)]
            finally:
                weaviate.close()
                embedded.close()


def _index(data_dir: Path, sets: Sequence[str]) -> None:
    with running_server(data_dir=data_dir) as server, server.client() as client:
        for name in sets:
            if name == POSTGRESQL:
                push_postgresql(client)
            else:
                push_collection(client, evaluation_sets.collection(name))


def _compared(name: str, embedded: EmbeddedStore, weaviate: WeaviateStore) -> list[Result]:
    documents = embedded.select(name, None)
    for start in range(0, len(documents), 500):
        weaviate.replace(name, documents[start : start + 500])
    questions = _questions(name)
    results = []
    for mode in SearchMode:
        means = [_mean(store, name, questions, mode) for store in (embedded, weaviate)]
        apart = abs(means[0] - means[1])
        limit = ONE_QUESTION if name == POSTGRESQL else MOST_APART
        results.append(
            Result(
                f"weaviate_retrieval.{name}.{mode.value}",
                f"{name}, {mode.value}: how far apart the stores are",
                apart,
                "",
                f"≤ {limit:.3f}",
                apart <= limit,
                f"embedded {means[0]:.4f}, weaviate {means[1]:.4f}",
            )
        )
    return results


def _questions(name: str) -> list[tuple[str, Gain]]:
    """Each with what a ranking of external ids is worth: nDCG@10, or a hit among five."""
    if name == POSTGRESQL:
        return [(one["text"], _hit(one["expected_path"])) for one in postgresql_questions()]
    collection = evaluation_sets.collection(name)
    return [(text, _gain(collection.relevant[id_])) for id_, text in collection.queries.items()]


def _hit(expected: str) -> Gain:
    return lambda ranking: float(expected in ranking[:5])


def _gain(relevant: frozenset[str]) -> Gain:
    return lambda ranking: ndcg(ranking, relevant)


def _mean(
    store: Store, name: str, questions: Sequence[tuple[str, Gain]], mode: SearchMode
) -> float:
    embedder, analyzer = load_embedder("minilm", models_dir=Path()), Analyzer()
    total = 0.0
    for text, gain in questions:
        vector = None if mode is SearchMode.TEXT else embedder.embed_query(text)
        terms = None
        if mode is not SearchMode.VECTOR:
            terms = analyzer.query_terms(text, store.languages(name))
        query = StoreQuery(vector, terms, None, MIN_CANDIDATES)
        ranked = rank(store.search(name, query), mode)[:DEPTH]
        total += gain([one.nodes[0][1].document.external_id for one in ranked])
    return total / len(questions)


def main() -> int:
    """Show the figures; keep none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=SETS)
    parser.add_argument("--data-dir", type=Path)
    chosen = parser.parse_args()
    return show(run(chosen.data_dir, chosen.only or SETS))


if __name__ == "__main__":
    raise SystemExit(main())
