"""Re-push of unchanged documents over HTTP against LlamaIndex's pipeline skipping them.

    python -m benchmarks.repush_rate [--documents 5000] [--rounds 5]

Ours: bulks of 500 documents with hashes, one after the other on one kept-alive
connection, cut as they were when the documents came; every answer means that the outcome is
durable, flushed to the disk. In each round the documents
of a base of its own are pushed twice: the first push after their indexing records its
outcome in each row, further ones find nothing to write.

The peer is `IngestionPipeline` with a `SimpleDocumentStore` and the strategy `upserts`
(with a vector store, without which it falls back to another strategy), in process. The
target is judged by the form that does the same job: it is given the same bulks as the
same JSON, turns each into `Document` objects, skips them, and persists its docstore
before the next, because an answer of ours means that the outcome is durable and that of
a pipeline which keeps nothing does not. It is slowed by nothing else: no network, no
embedding, its own store with its own `persist`, which writes all of the store each time and
does not flush it to the disk.

This peer was chosen after a first comparison with the pipeline that keeps everything in
memory, which is three to six times faster than we are over HTTP; both are shown.

Shown beside it, without a target, are two lighter jobs: the same bulks with the docstore
persisted once after the last, so that a crash loses all outcomes; and `Document` objects
that exist before the clock starts, all in one run, with nothing persisted at all.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from benchmarks import filling
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import Spread, in_turns, ratios, spread
from benchmarks.sample_texts import SampleTexts
from benchmarks.server import Client, JsonObject, running_server
from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType

TARGET = 10.0
BULK = 500
CHARACTERS = 2_048
_PARSED = "reaktly_documents_parsed_total"


class Peer:
    """LlamaIndex's pipeline with documents that it has seen."""

    def __init__(self, items: Sequence[JsonObject], folder: Path) -> None:
        self._folder = str(folder)
        self._bulks = _bulks(items)
        self._documents = [_llama_document(item) for item in items]
        self._pipe = self._pipeline()
        self._pipe.run(documents=self._documents)
        self._pipe.persist(self._folder)

    def durable(self) -> float:
        """Documents a second from the same JSON, on disk after each bulk."""
        return self._from_json(persist_each=True)

    def persisted_once(self) -> float:
        """Documents a second from the same JSON, on disk after the last bulk."""
        return self._from_json(persist_each=False)

    def in_memory(self) -> float:
        """Documents a second of objects made before, all in one run, kept nowhere."""
        started = time.perf_counter()
        self._skip(self._documents)
        return len(self._documents) / (time.perf_counter() - started)

    def _from_json(self, *, persist_each: bool) -> float:
        started = time.perf_counter()
        for bulk in self._bulks:
            self._skip([_llama_document(item) for item in orjson.loads(bulk)["items"]])
            if persist_each:
                self._pipe.persist(self._folder)
        if not persist_each:
            self._pipe.persist(self._folder)
        return len(self._documents) / (time.perf_counter() - started)

    def _skip(self, documents: list[Document]) -> None:
        if self._pipe.run(documents=documents):
            raise BenchmarkFailed("LlamaIndex's pipeline did not skip every document")

    @staticmethod
    def _pipeline() -> IngestionPipeline:
        return IngestionPipeline(
            transformations=[SentenceSplitter(), MockEmbedding(embed_dim=8)],
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS,
            vector_store=SimpleVectorStore(),
            # Its cache would hold every run's nodes and has no part in skipping.
            disable_cache=True,
        )


def run(*, documents: int = 5_000, rounds: int = 5) -> list[Result]:
    """Measure."""
    bases = [f"round-{number}" for number in range(rounds)]
    texts = SampleTexts(seed=1)
    data = [_data(texts, number) for number in range(documents)]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer([_item("peer", n, some) for n, some in enumerate(data)], Path(folder) / "peer")
        data_dir = Path(folder) / "data"
        with filling.open_knowledge_base(data_dir) as knowledge_base:
            for base in bases:
                made = [_document(base, n, some) for n, some in enumerate(data)]
                # In the bulks that will be pushed: who pushes again cuts as the first time.
                for start in range(0, len(made), BULK):
                    filling.settle_without_index(knowledge_base, made[start : start + BULK])
        with running_server(data_dir=data_dir) as server, server.client() as client:

            def push(number: int) -> float:
                return _push(client, [_item(bases[number], n, d) for n, d in enumerate(data)])

            again: list[float] = []

            def first_then_again(number: int) -> float:
                first = push(number)
                again.append(push(number))
                return first

            measured = in_turns(
                {
                    "durable": lambda _: peer.durable(),
                    "once": lambda _: peer.persisted_once(),
                    "memory": lambda _: peer.in_memory(),
                    "first": first_then_again,
                },
                rounds,
            )
    pushes = {"first": ("The first re-push", measured["first"]), "again": ("A further one", again)}
    return [
        _rate(
            "first",
            f"Re-push of {documents:,} unchanged documents, the first",
            spread(measured["first"]),
        ),
        _rate("again", "The same once more", spread(again)),
        *(
            _rate(form, f"LlamaIndex's pipeline {words}", spread(measured[form]))
            for form, words in _PEERS.items()
        ),
        *(
            _ratio(push, form, f"{what}, to the pipeline {words}", rates, measured[form])
            for push, (what, rates) in pushes.items()
            for form, words in _PEERS.items()
        ),
    ]


_JUDGE = "durable"
_PEERS = {
    _JUDGE: f"from the same bulks, on disk after each {BULK} documents",
    "once": "from the same bulks, on disk once at the end",
    "memory": "on objects made before, kept nowhere",
}


def _rate(name: str, what: str, rates: Spread) -> Result:
    return Result(f"repush_rate.{name}", what, rates.median, "documents/s", detail=rates.range(0))


def _ratio(push: str, form: str, what: str, rates: list[float], peer: list[float]) -> Result:
    ratio = ratios(rates, peer)
    judged = form == _JUDGE
    return Result(
        f"repush_rate.{push}_to_{form}",
        what,
        ratio.median,
        "x",
        f"≥ {TARGET:.0f}" if judged else None,
        ratio.median >= TARGET if judged else None,
        f"{ratio.range()}; peer: IngestionPipeline (SimpleDocumentStore, upserts) in process",
    )


def _push(client: Client, items: Sequence[JsonObject]) -> float:
    """Documents a second over HTTP."""
    bulks = _bulks(items)
    parsed = client.metrics().get(_PARSED, 0.0)
    started = time.perf_counter()
    for bulk in bulks:
        client.post_bytes("/ingest/bulk", bulk)
    seconds = time.perf_counter() - started
    after = client.metrics()
    if after["reaktly_queue_oldest_seconds"] or after.get(_PARSED, 0.0) != parsed:
        raise BenchmarkFailed("the server took unchanged documents for changed ones")
    return len(items) / seconds


def _bulks(items: Sequence[JsonObject]) -> list[bytes]:
    return [
        orjson.dumps({"items": items[start : start + BULK]}) for start in range(0, len(items), BULK)
    ]


def _llama_document(item: JsonObject) -> Document:
    return Document(
        id_=item["externalId"],
        text=item["data"]["content"],
        metadata={name: item["data"][name] for name in ("title", "url", "hash")},
    )


def _data(texts: SampleTexts, number: int) -> JsonObject:
    return {
        "title": f"Document {number}",
        "content": texts.text(CHARACTERS),
        "url": f"https://example.com/documents/{number}",
        "hash": f"{number:032x}",
    }


def _item(knowledge_base: str, number: int, data: JsonObject) -> JsonObject:
    return {
        "integrationId": "benchmark",
        "knowledgeBaseId": knowledge_base,
        "externalId": f"document-{number}",
        "sourceType": "ARTICLE",
        "data": data,
    }


def _document(knowledge_base: str, number: int, data: JsonObject) -> SourceDocument:
    return SourceDocument(
        key=DocumentKey(knowledge_base, "integration:benchmark", f"document-{number}"),
        source_type=SourceType.ARTICLE,
        title=data["title"],
        content=data["content"],
        url=data["url"],
        client_hash=data["hash"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    return show(run(documents=options.documents, rounds=options.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
