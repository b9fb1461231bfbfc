"""How soon a server is ready, and how much memory it takes.

    python -m benchmarks.startup [--rounds 7]

In each round `reaktly serve` on a new data directory and `python -c "import
llama_index.core"` start together, the one or the other first in turns; `/ready` is
asked every 10 ms. Memory is that of the API's process and its idle worker, as the
kernel counts resident pages: as started, and after both have loaded the model.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import ratios, spread
from benchmarks.sample_texts import SampleTexts
from benchmarks.server import BenchmarkServer, running_server

MOST_MEBIBYTES = 700.0
IMPORT = (sys.executable, "-c", "import llama_index.core")
ASK_SECONDS = 0.01
SETTLE_SECONDS = 3.0


def run(*, rounds: int = 7) -> list[Result]:
    """Measure."""
    _start_together(import_first=False)  # has bytecode compiled and files in the page cache
    pairs = [_start_together(import_first=number % 2 == 1) for number in range(rounds)]
    ready = [pair[0] for pair in pairs]
    imported = [pair[1] for pair in pairs]
    ratio = ratios(ready, imported)
    started, worked = _memory()
    together = sum(worked)
    return [
        Result(
            "startup.ratio",
            "`GET /ready` is 200, to the end of `import llama_index.core` started with it",
            ratio.median,
            "x",
            "< 1 in each round",
            ratio.high < 1,
            f"{ratio.range()}; peer: python -c 'import llama_index.core', started together",
        ),
        Result(
            "startup.ready",
            "Ready after",
            spread(ready).median,
            "s",
            detail=f"{spread(ready).range()}; the import beside it {spread(imported).text()} s",
        ),
        Result(
            "startup.memory",
            "Resident memory of API and idle worker, both with the model loaded",
            together,
            "MiB",
            f"≤ {MOST_MEBIBYTES:.0f}",
            together <= MOST_MEBIBYTES,
            f"API {worked[0]:.0f}, worker with its children {worked[1]:.0f}; "
            "pages that several map are counted for each",
        ),
        Result(
            "startup.memory_as_started",
            "The same before the first document",
            sum(started),
            "MiB",
            detail=f"API {started[0]:.0f}, worker {started[1]:.0f}",
        ),
    ]


def _start_together(*, import_first: bool) -> tuple[float, float]:
    """Seconds until the server was ready, and until the import had ended."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        ended: list[float] = []

        def wait(process: "subprocess.Popen[bytes]") -> None:
            if process.wait() == 0:
                ended.append(time.perf_counter() - begun)

        if import_first:
            importing = subprocess.Popen(IMPORT)
            server = BenchmarkServer(Path(folder))
        else:
            server = BenchmarkServer(Path(folder))
            importing = subprocess.Popen(IMPORT)
        waiter = threading.Thread(target=wait, args=(importing,))
        waiter.start()
        try:
            while not server.is_ready():
                time.sleep(ASK_SECONDS)
            ready = time.perf_counter() - begun
        finally:
            waiter.join()
            server.stop()
        if not ended:
            raise BenchmarkFailed("llama_index.core could not be imported")
        return ready, ended[0]


def _memory() -> tuple[tuple[float, float], tuple[float, float]]:
    """Mebibytes of API and worker, as started and after a document and a search."""
    with running_server() as server, server.client() as client:
        time.sleep(SETTLE_SECONDS)
        started = _resident(server)
        item = {
            "integrationId": "benchmark",
            "knowledgeBaseId": "memory",
            "externalId": "one",
            "sourceType": "ARTICLE",
            "data": {"title": "One document", "content": SampleTexts(seed=11).text(20_000)},
        }
        client.ingest([item])
        for _ in range(20):
            client.post("/search", {"knowledgeBaseId": "memory", "query": "one document"})
        time.sleep(SETTLE_SECONDS)
        return started, _resident(server)


def _resident(server: BenchmarkServer) -> tuple[float, float]:
    return _mebibytes(server.pid), sum(_mebibytes(pid) for pid in server.worker_pids())


def _mebibytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        raise BenchmarkFailed("resident memory is read from /proc, which only Linux has")
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkFailed(f"process {pid} has ended")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    return show(run(rounds=parser.parse_args(arguments).rounds))


if __name__ == "__main__":
    raise SystemExit(main())
