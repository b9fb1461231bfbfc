"""Single posts of one client and of 32 at once, each durable before it is answered.

    python -m benchmarks.group_commit [--rounds 5] [--posts 150] [--clients 32]

Each post is one new document of 1 KB to `POST /ingest`, over HTTP, on a server without a
worker: accepting alone is measured. One client waits for the disk with each post, so it
cannot be faster than the machine commits; that rate is measured beside it in each round:
rows of the same size, each committed by itself, with the same settings for durability
(SQLite: WAL and `synchronous = FULL`; PostgreSQL: `fsync` and `synchronous_commit` on),
without a server of ours. At the end the server is killed, and every document that it
acknowledged has to be in its registry.
"""

import argparse
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import orjson
import psycopg

from benchmarks.load import Load, drive, request_bytes
from benchmarks.results import BenchmarkFailed, DataAbsent, Result, show
from benchmarks.rounds import in_turns, ratios, spread
from benchmarks.server import BenchmarkServer, running_server
from llamaindex_reaktly.domain import DocumentKey
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.stores.sqlite import sqlite3
from scripts.postgresql import NotInstalled, PostgreSQL

TARGET = 3.0
CHARACTERS = 1_000
# A client among many gets fewer answers a second than one that is alone.
SHARE = 8
BASE = "posts"


class Posts:
    """New documents for one server, and which of them it acknowledged."""

    def __init__(self, server: BenchmarkServer) -> None:
        self._server = server
        self._made = 0
        self.acknowledged: list[str] = []

    def push(self, clients: int, posts: int) -> Load:
        """Post so many documents from so many clients. Raises unless each is answered 200."""
        load = self._send(clients, itertools.islice(self._requests(), posts))
        if set(load.statuses) != {200}:
            raise BenchmarkFailed(f"not all posts were accepted: {dict(load.statuses)}")
        return load

    def flood(self, clients: int, until: float) -> Load:
        """Post from so many clients until `time.perf_counter` says `until`."""
        return self._send(
            clients, itertools.takewhile(lambda _: time.perf_counter() < until, self._requests())
        )

    def _send(self, clients: int, requests: Iterator[bytes]) -> Load:
        first = self._made
        return drive(
            self._server.port,
            clients,
            requests,
            answered=lambda number: self.acknowledged.append(str(first + number)),
        )

    def _requests(self) -> Iterator[bytes]:
        while True:
            number = self._made
            self._made += 1
            body = {
                "integrationId": "benchmark",
                "knowledgeBaseId": BASE,
                "externalId": str(number),
                "sourceType": "ARTICLE",
                "data": {"title": f"Post {number}", "content": f"{number:>{CHARACTERS}}"},
            }
            yield request_bytes("/ingest", self._server.key, orjson.dumps(body))


def run(*, rounds: int = 5, posts: int = 150, clients: int = 32) -> list[Result]:
    """Measure on both databases. Raises `DataAbsent` where PostgreSQL is not installed."""
    try:
        postgresql = PostgreSQL(durable=True)
    except NotInstalled as error:
        raise DataAbsent(str(error)) from error
    results = []
    with postgresql, tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder:
        data_dir = Path(folder) / "data"
        url = f"sqlite:///{data_dir / 'registry.sqlite'}"
        with closing(sqlite3.connect(Path(folder) / "bare.sqlite", isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            results += _measure(
                "SQLite",
                url,
                data_dir,
                lambda statement: file.execute(statement),
                rounds,
                posts,
                clients,
            )
        url = postgresql.url(postgresql.create_database())
        bare = postgresql.url(postgresql.create_database())
        with psycopg.connect(bare, autocommit=True) as connection:
            results += _measure(
                "PostgreSQL",
                url,
                Path(folder) / "data-of-the-other",
                lambda statement: connection.execute(statement.encode()),
                rounds,
                posts,
                clients,
            )
    return results


def _measure(
    name: str,
    url: str,
    data_dir: Path,
    execute: Callable[[str], object],
    rounds: int,
    posts: int,
    clients: int,
) -> list[Result]:
    execute("CREATE TABLE bare (content text)")

    def commit(_: int) -> float:
        started = time.perf_counter()
        for _number in range(posts):
            execute(f"INSERT INTO bare VALUES ('{'x' * CHARACTERS}')")
        return posts / (time.perf_counter() - started)

    with ExitStack() as stack:
        server = stack.enter_context(
            running_server(
                data_dir=data_dir,
                settings={"REAKTLY_DATABASE_URL": url},
                options=["--no-worker"],
            )
        )
        source = Posts(server)
        source.push(clients, clients)  # threads and connections are made once
        measured = in_turns(
            {
                "commits": commit,
                "one": lambda _: source.push(1, posts).rate,
                "many": lambda _: source.push(clients, posts * SHARE).rate,
            },
            rounds,
        )
        os.kill(server.pid, signal.SIGKILL)
    require_all(url, source.acknowledged)
    gain = ratios(measured["many"], measured["one"])
    commits, one, many = (spread(measured[side]) for side in ("commits", "one", "many"))
    short = name.lower()
    return [
        Result(
            f"group_commit.{short}.gain",
            f"{name}: posts of {clients} clients at once, to those of one",
            gain.median,
            "x",
            f"≥ {TARGET:.0f}",
            gain.median >= TARGET,
            gain.range(),
        ),
        Result(f"group_commit.{short}.one", f"{name}: posts of one client", one.median, "posts/s",
               detail=one.range(0)),
        Result(f"group_commit.{short}.many", f"{name}: posts of {clients} clients", many.median,
               "posts/s", detail=f"{many.range(0)}; {len(source.acknowledged):,} acknowledged in "
               "all, each in the registry of the killed server"),
        Result(f"group_commit.{short}.commits", f"{name}: bare commits of the machine",
               commits.median, "commits/s", detail=commits.range(0)),
    ]  # fmt: skip


def require_all(url: str, external_ids: Sequence[str]) -> None:
    """Raise `BenchmarkFailed` unless the registry has every document that was acknowledged."""
    ids = {DocumentKey(BASE, "integration:benchmark", name).document_id for name in external_ids}
    with closing(Registry(url)) as registry:
        found = {status.document_id for status in registry.documents.statuses(ids)}
    if missing := ids - found:
        raise BenchmarkFailed(f"{len(missing)} acknowledged documents are missing")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--posts", type=int, default=150)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args(arguments)
    return show(run(rounds=options.rounds, posts=options.posts, clients=options.clients))


if __name__ == "__main__":
    raise SystemExit(main())
