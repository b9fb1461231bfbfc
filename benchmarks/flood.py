"""A flood: 200 clients post for a minute, while the worker works and somebody searches.

    python -m benchmarks.flood [--seconds 60] [--clients 200] [--postgresql]

Every client posts one document of 1 KB after the other to `POST /ingest`, as fast as it is
answered; a worker embeds meanwhile, and one more client searches every tenth of a second.
What must hold: no answer but 200, memory that does not grow with what was posted (the
resident memory of the API at the end, against that after the first tenth of the time), and
every document that was acknowledged in the registry of the server, which is killed when
the minute is over.
"""

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson

from benchmarks.group_commit import Posts, require_all
from benchmarks.load import Load, drive, request_bytes
from benchmarks.results import BenchmarkFailed, DataAbsent, Result, show
from benchmarks.server import BenchmarkServer, running_server
from scripts.postgresql import NotInstalled, PostgreSQL

SEARCH_EVERY_SECONDS = 0.1
MOST_GROWTH_MIB = 64.0
WARM_UP = 0.1


class Watch(threading.Thread):
    """Reads a process's resident memory until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self.mebibytes: list[tuple[float, float]] = []

    def run(self) -> None:
        """Look ten times a second."""
        while not self._over.wait(0.1):
            line = next(
                line for line in self._status.read_text().splitlines() if line.startswith("VmRSS")
            )
            self.mebibytes.append((time.perf_counter(), int(line.split()[1]) / 1024))

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()


def run(*, seconds: float = 60.0, clients: int = 200, postgresql: bool = False) -> list[Result]:
    """Measure. Raises `DataAbsent` where PostgreSQL is asked for and not installed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reaktly-flood-")))
        data_dir = folder / "data"
        url = f"sqlite:///{data_dir / 'registry.sqlite'}"
        if postgresql:
            try:
                database = stack.enter_context(PostgreSQL(durable=True))
            except NotInstalled as error:
                raise DataAbsent(str(error)) from error
            url = database.url(database.create_database())
        server = stack.enter_context(
            running_server(
                data_dir=data_dir,
                settings={"REAKTLY_DATABASE_URL": url},
            )
        )
        posts = Posts(server)
        posts.push(clients, clients)
        watch = Watch(server.pid)
        watch.start()
        started = time.perf_counter()
        searches: list[Load] = []
        searching = threading.Thread(
            target=lambda: searches.append(_search(server, started + seconds))
        )
        searching.start()
        load = posts.flood(clients, started + seconds)
        searching.join()
        watch.stop()
        os.kill(server.pid, signal.SIGKILL)
        require_all(url, posts.acknowledged)
    warm = [mib for at, mib in watch.mebibytes if at < started + seconds * WARM_UP]
    growth = max(mib for _, mib in watch.mebibytes) - max(warm)
    refused = sum(n for status, n in load.statuses.items() if status != 200)
    (searched,) = searches
    unfound = sum(n for status, n in searched.statuses.items() if status != 200)
    name = "PostgreSQL" if postgresql else "SQLite"
    return [
        Result(
            "flood.refused",
            f"Answers to {clients} clients that were not 200",
            refused,
            "",
            "0",
            refused == 0,
            f"of {sum(load.statuses.values()):,} in {load.seconds:.0f} s, the registry on {name}",
        ),
        Result("flood.rate", "Documents accepted", load.rate, "documents/s",
               detail=f"{len(posts.acknowledged):,} acknowledged, each in the registry of the "
               "killed server"),
        Result("flood.median", "Median time of an accept", load.percentile(50) * 1e3, "ms"),
        Result("flood.p99", "Time that 99 % of the accepts took at most",
               load.percentile(99) * 1e3, "ms", detail=f"longest {max(load.latencies) * 1e3:,.0f}"),
        Result("flood.growth", "Growth of the API's memory after the first tenth", growth, "MiB",
               f"≤ {MOST_GROWTH_MIB:.0f}", growth <= MOST_GROWTH_MIB,
               f"from {max(warm):.0f} MiB, looked at ten times a second"),
        Result("flood.searches", "Searches that were not answered with 200", unfound, "", "0",
               unfound == 0, f"of {sum(searched.statuses.values())} while the flood lasted, median "
               f"{statistics.median(searched.latencies) * 1e3:,.0f} ms, "
               f"longest {max(searched.latencies) * 1e3:,.0f}"),
    ]  # fmt: skip


def _search(server: BenchmarkServer, until: float) -> Load:
    """Search again and again, one search after the other."""
    body = {"knowledgeBaseId": "posts", "query": "post", "limit": 5}
    request = request_bytes("/search", server.key, orjson.dumps(body))

    def requests() -> Iterator[bytes]:
        while time.perf_counter() < until:
            time.sleep(SEARCH_EVERY_SECONDS)
            yield request

    load = drive(server.port, 1, requests())
    if not load.latencies:
        raise BenchmarkFailed("no search was answered while the flood lasted")
    return load


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args(arguments)
    return show(
        run(seconds=options.seconds, clients=options.clients, postgresql=options.postgresql)
    )


if __name__ == "__main__":
    raise SystemExit(main())
