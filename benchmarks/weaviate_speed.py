"""Ingestion and searches over HTTP with the index on a Weaviate, on the same machine.

Ingestion is held against the bare embedder, as `ingestion_rate` does it. A search is held
against what it cannot do without: the query's embedding, the server's own hybrid call for
ten texts with the same words and vector, and three times a bare route.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import weaviate
from weaviate.classes.init import Auth

from benchmarks import ingestion_rate, latency
from benchmarks.postgresql_pages import postgresql_pages
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.server import running_server
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.stores.lexical import distinct_terms, index_tokens
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from llamaindex_reaktly.stores.weaviate_schema import VECTOR
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

_SHOWN = 10


class _Bench(latency.Bench):
    """Its store's search is the server's own."""

    hybrid: weaviate.collections.Collection

    def embedding_and_store(self) -> tuple[float, float]:
        """Median seconds of a query's embedding and of a hybrid call, by turns."""
        embeddings, searches = [], []
        for question in self.questions:
            started = time.perf_counter()
            vector = self.model.embed_query(question.text)
            embedded = time.perf_counter()
            answer = self.hybrid.query.hybrid(
                index_tokens(sorted(distinct_terms(question.query.terms or {}))),
                vector=vector.tolist(),
                target_vector=VECTOR,
                query_properties=["tokens"],
                limit=_SHOWN,
                return_properties=["payload", "head"],
            )
            searches.append(time.perf_counter() - embedded)
            embeddings.append(embedded - started)
            if not answer.objects:
                raise BenchmarkFailed(f"the server found nothing for {question.text!r}")
        return statistics.median(embeddings), statistics.median(searches)


def run(*, pages_per_round: int = 80, chunks: int = 7_500, rounds: int = 6) -> list[Result]:
    """Measure both on one server."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder,
            WeaviateServer(Path(folder, "weaviate")) as server,
        ):
            results = [
                *ingestion_rate.run(
                    pages_per_round=pages_per_round, rounds=rounds, settings=server.settings
                ),
                *_search(Path(folder, "data"), server, chunks, rounds),
            ]
    except WeaviateMissing as error:
        raise BenchmarkFailed(str(error)) from None
    return [replace(one, id=f"weaviate_speed.{one.id}") for one in results]


def _search(data_dir: Path, server: WeaviateServer, chunks: int, rounds: int) -> list[Result]:
    model = MiniLM.load(threads=1)
    store = WeaviateStore(WeaviateAddress(server.url, server.grpc_url, server.key))
    try:
        indexed, held = latency.fill(data_dir, postgresql_pages(None), model, chunks, server)
        with (
            running_server(
                data_dir=data_dir,
                settings=server.settings,
                command=("-m", "benchmarks.launcher"),
            ) as product,
            product.client() as client,
            _connected(server) as own,
        ):
            bench = _Bench(client, store, model, indexed)
            home = store.connection.read(lambda: store.index.home(latency.BASE))
            assert home is not None
            bench.hybrid = own.collections.use(home.name).with_tenant(home.tenant)
            return latency.one_search(bench, held, rounds)
    finally:
        store.close()
        model.close()


@contextmanager
def _connected(server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    with weaviate.connect_to_local(
        host="127.0.0.1",
        port=int(server.url.rpartition(":")[2]),
        grpc_port=int(server.grpc_url.rpartition(":")[2]),
        auth_credentials=Auth.api_key(server.key),
    ) as client:
        yield client


def main() -> int:
    """Show the figures; keep none."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages-per-round", type=int, default=80)
    parser.add_argument("--chunks", type=int, default=7_500)
    parser.add_argument("--rounds", type=int, default=6)
    chosen = parser.parse_args()
    return show(
        run(pages_per_round=chosen.pages_per_round, chunks=chosen.chunks, rounds=chosen.rounds)
    )


if __name__ == "__main__":
    raise SystemExit(main())
