"""Many knowledge bases on one Weaviate: what each takes, and how long searches and starts take.

Each has some documents and is a tenant of its own. Shown, and held against nothing: a
thousand tenants are the server's affair, but an operator wants to know what they cost.
`python -m benchmarks.weaviate_bases --bases 100` makes a short run.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.store import CHUNKS_A_DOCUMENT, Corpus
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.protocol import StoreQuery
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

BASES = 1_000
DOCUMENTS_A_BASE = 4
SEARCHES = 300
FILES_A_BASE = 20
_MIB = 2**20
_SETTLED_SECONDS = 5.0
_ANSWERS_WITHIN = 300.0


def run(bases: int = BASES) -> list[Result]:
    """Make so many knowledge bases, search them active and inactive, and restart the server."""
    # The server inherits the limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, bases * FILES_A_BASE + 4_096), hard))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder,
            WeaviateServer(Path(folder, "weaviate")) as server,
        ):
            return list(_measured(server, [f"kb-{number}" for number in range(bases)]))
    except WeaviateMissing as error:
        raise BenchmarkFailed(str(error)) from None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _measured(server: WeaviateServer, names: Sequence[str]) -> Iterator[Result]:
    corpus, dice = Corpus(1), random.Random(1)
    documents = [corpus.document(number, 1) for number in range(DOCUMENTS_A_BASE)]
    chunks = DOCUMENTS_A_BASE * CHUNKS_A_DOCUMENT

    def figure(name: str, what: str, value: float, unit: str, detail: str = "") -> Result:
        return Result(f"weaviate_bases.{name}", what, value, unit, detail=detail)

    with _opened(server) as store:
        empty = _taken(server)
        making = [_timed(lambda name=name: store.replace(name, documents)) for name in names]  # type: ignore[misc]
        yield figure(
            "make",
            f"a knowledge base of {DOCUMENTS_A_BASE} documents, {chunks} chunks: made and filled",
            float(np.median(making)) * 1e3,
            "ms",
            f"first {making[0] * 1e3:.0f}, last hundred {np.median(making[-100:]) * 1e3:.0f}, "
            f"{len(names):,} in {sum(making):.0f} s",
        )
        time.sleep(_SETTLED_SECONDS)
        full = _taken(server)
        yield figure(
            "memory",
            f"memory of a knowledge base, of {len(names):,}",
            (full[0] - empty[0]) / len(names) / 1024,
            "KiB",
            f"resident {empty[0] / _MIB:.0f} MiB without any, {full[0] / _MIB:.0f} with all",
        )
        yield figure(
            "files",
            "open files of a knowledge base",
            (full[1] - empty[1]) / len(names),
            "",
            f"{empty[1]:,} without any, {full[1]:,} with all",
        )

        def search(name: str) -> float:
            query = StoreQuery(
                vector=corpus.vector(), terms={"en": corpus.terms(5)}, candidates=100
            )
            return _timed(lambda: store.search(name, query))

        yield _latency("active", "search of an active one", _each(search, names, dice))
        _deactivate(store, names)
        inactive = _taken(server)
        # Each once: the first search makes it active again.
        first = [search(name) for name in dice.sample(names, min(SEARCHES, len(names)))]
        yield _latency(
            "inactive",
            "first search of an inactive one",
            first,
            f"; with all inactive {inactive[1]:,} open files, {inactive[0] / _MIB:.0f} MiB",
        )
        for ending, end in (("graceful stop", server.stop), ("kill", server.kill)):
            end()
            ready = _timed(server.start)
            answered = _timed(lambda: _until_answered(lambda: search(names[0])))
            yield figure(
                f"start.after_{ending.split()[-1]}",
                f"start after a {ending} until ready",
                ready,
                "s",
                f"first search {answered * 1e3:.0f} ms later; {_taken(server)[0] / _MIB:.0f} MiB",
            )
        yield _latency("restarted", "search after that", _each(search, names, dice))


def _each(search: Callable[[str], float], names: Sequence[str], dice: random.Random) -> list[float]:
    """The seconds of searches of chance knowledge bases, each searched once before."""
    chosen = dice.sample(names, min(SEARCHES, len(names)))
    for name in chosen:
        search(name)
    return [search(name) for name in chosen]


def _latency(name: str, what: str, seconds: Sequence[float], more: str = "") -> Result:
    p95 = float(np.percentile(seconds, 95)) * 1e3
    return Result(
        f"weaviate_bases.search.{name}",
        what,
        float(np.median(seconds)) * 1e3,
        "ms",
        detail=f"median of {len(seconds)}, 95 of 100 within {p95:.0f} ms{more}",
    )


def _until_answered(search: Callable[[], object]) -> None:
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while True:
        try:
            search()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise


def _deactivate(store: WeaviateStore, names: Sequence[str]) -> None:
    async def call() -> None:
        client = await store.connection.client()
        homes = [await store.index.home(name) for name in names]
        tenants = [home.tenant for home in homes if home is not None]
        assert homes[0] is not None
        await client.collections.use(homes[0].name).tenants.deactivate(tenants)

    store.connection.submit(call, None).result()


@contextmanager
def _opened(server: WeaviateServer) -> Iterator[WeaviateStore]:
    store = WeaviateStore(WeaviateAddress(server.url, server.grpc_url, server.key, 60, 600))
    try:
        yield store
    finally:
        store.close()


def _taken(server: WeaviateServer) -> tuple[int, int]:
    """The server's resident bytes and open files (Linux)."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize(), len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> int:
    """Show the figures; keep none."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bases", type=int, default=BASES)
    return show(run(parser.parse_args().bases))


if __name__ == "__main__":
    raise SystemExit(main())
