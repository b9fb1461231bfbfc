"""Whether a server on a Weaviate answers as one on the embedded store does, over HTTP.

The evaluation sets are indexed and asked for with the embedded store. A copy of the data
directory is then taken over to a Weaviate, as `reaktly rebuild --take-over` does it, and asked
the same. The embedded store's vectors are laid on the Weaviate beforehand, where the worker
finds them, so that nothing is embedded twice. `python -m benchmarks.weaviate_retrieval
--only cisi --data-dir FOLDER` takes one set, indexed there already.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.retrieval import MODES, SETS, Column, columns
from benchmarks.server import COMMAND_LINE, running_server, server_environment
from llamaindex_reaktly.embeddings.catalogue import load_embedder
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress
from scripts.weaviate_server import WeaviateMissing, WeaviateServer

MOST_APART = 0.015
MOST_QUESTIONS_APART = 1
_TAKEN_OVER_WITHIN = 300.0
_DOCUMENTS_A_CALL = 500


def run(data_dir: Path | None = None, sets: Sequence[str] = SETS) -> list[Result]:
    """Index what is not there yet, take it over, and compare the figures of each set and mode."""
    with tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder:
        place, moved = data_dir or Path(folder, "data"), Path(folder, "moved")
        on_embedded = _measured(place, {}, sets)
        shutil.copytree(place, moved, ignore=shutil.ignore_patterns("index"))
        try:
            server = WeaviateServer(Path(folder, "weaviate"))
        except WeaviateMissing as error:
            raise BenchmarkFailed(str(error)) from None
        with server:
            _take_over(moved, server.settings)
            _lay_vectors(place, server)
            on_weaviate = _measured(moved, server.settings, sets)
    return [
        _compared(mode, one, other)
        for one, other in zip(on_embedded, on_weaviate, strict=True)
        for mode in MODES
    ]


def _measured(data_dir: Path, settings: Mapping[str, str], sets: Sequence[str]) -> list[Column]:
    with running_server(data_dir=data_dir, settings=settings) as server, server.client() as client:
        return list(columns(client, sets))


def _take_over(data_dir: Path, settings: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *COMMAND_LINE, "rebuild", "--take-over"],
        env=server_environment(data_dir, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TAKEN_OVER_WITHIN,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"the store could not be taken over: {done.stderr.strip()}")


def _lay_vectors(data_dir: Path, server: WeaviateServer) -> None:
    identity = load_embedder("minilm", models_dir=Path()).identity
    embedded = EmbeddedStore(data_dir / "index")
    weaviate = WeaviateStore(
        WeaviateAddress(server.url, server.grpc_url, server.key, 60, 600),
        identity_of=lambda _: identity,
    )
    try:
        # All that may be there: what is taken over is all indexed again.
        for name in SETS:
            documents = embedded.select(name, None)
            for start in range(0, len(documents), _DOCUMENTS_A_CALL):
                weaviate.replace(name, documents[start : start + _DOCUMENTS_A_CALL])
    finally:
        weaviate.close()
        embedded.close()


def _compared(mode: str, embedded: Column, weaviate: Column) -> Result:
    on_embedded, on_weaviate = embedded.values[mode], weaviate.values[mode]
    limit = MOST_QUESTIONS_APART if embedded.of else MOST_APART
    digits = 0 if embedded.of else 4
    return Result(
        f"weaviate_retrieval.{embedded.name}.{mode}",
        f"{embedded.name}, {mode}: how far apart the stores are",
        abs(on_embedded - on_weaviate),
        f"of {embedded.of}" if embedded.of else "",
        f"≤ {limit:g}",
        abs(on_embedded - on_weaviate) <= limit + 1e-9,
        f"embedded {on_embedded:.{digits}f}, weaviate {on_weaviate:.{digits}f}",
    )


def main() -> int:
    """Show the figures; keep none."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=SETS)
    parser.add_argument("--data-dir", type=Path, help="with the sets, as `retrieval` left it")
    chosen = parser.parse_args()
    return show(run(chosen.data_dir, chosen.only or SETS))


if __name__ == "__main__":
    raise SystemExit(main())
