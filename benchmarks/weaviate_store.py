"""Ours against LlamaIndex's own Weaviate store: nodes in, hybrid queries, on one server.

Both add the same nodes and answer the same queries in turns, each into collections of its
own; what each has stored is counted, since the stock store tells of no loss. `python -m
benchmarks.weaviate_store --nodes 500` makes a short run.
"""

import argparse
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import weaviate
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore
from weaviate.classes.init import Auth

from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import FEWEST_ROUNDS, in_turns, ratios, spread
from benchmarks.store import Corpus
from llamaindex_reaktly.stores.weaviate_vector_store import ReaktlyWeaviateVectorStore
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

NODES = 20_000
QUERIES = 1_000
WORDS = 150
NODES_A_DOCUMENT = 6
LOWEST_RATIO = 0.95


@dataclass(frozen=True, slots=True)
class _Stores:
    """Both stores on one server, and its own client."""

    stock: WeaviateVectorStore
    ours: ReaktlyWeaviateVectorStore
    client: weaviate.WeaviateClient

    def stored(self) -> tuple[int, int]:
        """How many nodes each has, by the server's count."""
        aggregate = self.client.collections.use(self.stock.index_name).aggregate
        return aggregate.over_all().total_count or 0, self.ours.client.count("default").nodes


class _Nodes:
    """Nodes and queries of Zipf's words and random directions, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._corpus = Corpus(seed)
        self._seed = seed
        self._made = 0

    def some(self, count: int) -> list[TextNode]:
        """New nodes."""
        nodes = []
        for _ in range(count):
            number = self._made = self._made + 1
            nodes.append(
                TextNode(
                    # The stock store takes nothing but UUIDs for ids.
                    id_=weaviate.util.generate_uuid5(f"{self._seed}/{number}"),
                    text=" ".join(self._corpus.terms(WORDS)),
                    embedding=self._corpus.vector().tolist(),
                    metadata={"title": f"Page {number}", "price": number % 97 + 0.5},
                    relationships={
                        NodeRelationship.SOURCE: RelatedNodeInfo(
                            node_id=f"doc-{number // NODES_A_DOCUMENT}"
                        )
                    },
                )
            )
        return nodes

    def query(self) -> VectorStoreQuery:
        """A hybrid query of five words."""
        return VectorStoreQuery(
            query_embedding=self._corpus.vector().tolist(),
            query_str=" ".join(self._corpus.terms(5)),
            mode=VectorStoreQueryMode.HYBRID,
            alpha=0.5,
            similarity_top_k=10,
        )


def run(nodes: int = NODES, queries: int = QUERIES, rounds: int = FEWEST_ROUNDS) -> list[Result]:
    """Add `nodes` and ask `queries` in `rounds`, and compare."""
    try:
        with _both() as stores:
            return _measured(stores, nodes // rounds, queries // rounds, rounds)
    except WeaviateMissing as error:
        raise BenchmarkFailed(str(error)) from None


def _measured(stores: _Stores, nodes: int, queries: int, rounds: int) -> list[Result]:
    batches = [_Nodes(seed).some(nodes) for seed in range(rounds)]
    adding = in_turns(
        {
            "stock": lambda number: _seconds_to_add(stores.stock, batches[number]),
            "ours": lambda number: _seconds_to_add(stores.ours, batches[number]),
        },
        rounds,
    )
    stock_has, ours_has = stores.stored()
    asked = _Nodes(rounds)
    questions = [[asked.query() for _ in range(queries)] for _ in range(rounds)]
    asking = in_turns(
        {
            "stock": lambda number: _seconds_to_ask(stores.stock, questions[number]),
            "ours": lambda number: _seconds_to_ask(stores.ours, questions[number]),
        },
        rounds,
    )
    results = []
    for name, what, measured in (
        ("add", f"add of {nodes * rounds:,} nodes", adding),
        ("query", f"{queries * rounds:,} hybrid queries", asking),
    ):
        ratio = ratios(measured["stock"], measured["ours"])
        results.append(
            Result(
                f"weaviate_store.{name}",
                f"{what}, stock's time to ours",
                ratio.median,
                "x",
                f"≥ {LOWEST_RATIO}",
                ratio.median >= LOWEST_RATIO,
                f"{ratio.range()}; ours {spread(measured['ours']).text()} s a round",
            )
        )
    results.append(
        Result(
            "weaviate_store.stored",
            "nodes that ours has of those it said it stored",
            ours_has,
            f"of {nodes * rounds}",
            f"= {nodes * rounds}",
            ours_has == nodes * rounds,
            f"stock {stock_has}",
        )
    )
    return results


def _seconds_to_add(store: BasePydanticVectorStore, nodes: Sequence[TextNode]) -> float:
    started = time.perf_counter()
    store.add(list(nodes))
    return time.perf_counter() - started


def _seconds_to_ask(store: BasePydanticVectorStore, queries: Sequence[VectorStoreQuery]) -> float:
    started = time.perf_counter()
    for query in queries:
        if not store.query(query).ids:
            raise BenchmarkFailed(f"{store.class_name()} found nothing")
    return time.perf_counter() - started


@contextmanager
def _both() -> Iterator[_Stores]:
    with (
        tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder,
        # With auto-schema, for without it the stock store keeps nothing.
        WeaviateServer(Path(folder, "weaviate"), {"AUTOSCHEMA_ENABLED": "true"}) as server,
        weaviate.connect_to_custom(
            http_host="127.0.0.1",
            http_port=int(server.url.rpartition(":")[2]),
            http_secure=False,
            grpc_host="127.0.0.1",
            grpc_port=int(server.grpc_url.rpartition(":")[2]),
            grpc_secure=False,
            auth_credentials=Auth.api_key(server.key),
        ) as client,
    ):
        stock = WeaviateVectorStore(
            weaviate_client=client, index_name=f"Stock{secrets.token_hex(4)}"
        )
        ours = ReaktlyWeaviateVectorStore(
            server.url, grpc_url=server.grpc_url, api_key=server.key, query_timeout=60
        )
        try:
            yield _Stores(stock, ours, client)
        finally:
            ours.close()


def main() -> int:
    """Show the figures; keep none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--queries", type=int, default=QUERIES)
    chosen = parser.parse_args()
    return show(run(chosen.nodes, chosen.queries))


if __name__ == "__main__":
    raise SystemExit(main())
