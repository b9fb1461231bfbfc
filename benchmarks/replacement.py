"""Replacing documents while they are searched: each search finds exactly one version.

    python -m benchmarks.replacement [--replacements N] [--searches N] [--weaviate]

Every document carries its version's number in each of its passages. Versions are pushed
through `POST /ingest/bulk` and awaited, while other threads search in every mode,
filtered by external id. A search must find the document once, with passages of one
version only, and no version older than one that was acknowledged as searchable before
the search began, or newer than what was pushed when it ended.
"""

import argparse
import itertools
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.server import Client, JsonObject, running_server
from scripts.weaviate_server import WeaviateServer

REPLACEMENTS = 1_000
SEARCHES = 10_000
DOCUMENTS = 8
SEARCHERS = 3
MODES = ("hybrid", "vector", "text")
KNOWLEDGE_BASE = "replacement"
INTEGRATION = "benchmark"

_TOKEN = re.compile(r"\brelease-(\d+)\b")


@dataclass(slots=True)
class Observation:
    """What happened: `faults` says of each wrong search what was wrong with it."""

    replacements: int = 0
    searches: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    overlapping: int = 0
    seconds: float = 0.0


def observe(
    connect: Callable[[], Client], *, replacements: int, searches: int, time_limit: float
) -> Observation:
    """Replace and search until there were at least so many of both.

    `searches` counts those of all modes together. Raises `BenchmarkFailed` when the time
    is over before.
    """
    return _Run(connect, replacements, searches, time_limit).run()


class _Run:
    """The versions, as pusher and searchers share them."""

    def __init__(
        self,
        connect: Callable[[], Client],
        replacements: int,
        searches: int,
        time_limit: float,
    ) -> None:
        self._connect = connect
        self._replacements = replacements
        self._searches = searches
        self._deadline = time.monotonic() + time_limit
        self._observed = Observation()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._pushed = 0
        self._searchable = 0

    def run(self) -> Observation:
        started = time.monotonic()
        with self._connect() as client:
            self._push(client)
            with ThreadPoolExecutor(SEARCHERS) as pool:
                searching = [pool.submit(self._search_on, n) for n in range(SEARCHERS)]
                try:
                    while not self._is_enough():
                        self._push(client)
                        self._observed.replacements += DOCUMENTS
                        if any(future.done() for future in searching):
                            break
                finally:
                    self._over.set()
            for future in searching:
                future.result()
        self._observed.seconds = time.monotonic() - started
        return self._observed

    def _is_enough(self) -> bool:
        if time.monotonic() > self._deadline:
            raise BenchmarkFailed(
                f"only {self._observed.replacements} replacements and "
                f"{self._observed.searches.total()} searches in the time given"
            )
        return (
            self._observed.replacements >= self._replacements
            and self._observed.searches.total() >= self._searches
        )

    def _push(self, client: Client) -> None:
        """Push a new version of every document and wait until all are searchable."""
        version = self._pushed + 1
        with self._lock:
            self._pushed = version
        items = [_item(number, version) for number in range(DOCUMENTS)]
        answer = client.post("/ingest/bulk?wait=true", {"items": items})
        if answer["status"] != "completed":
            raise BenchmarkFailed(f"version {version} ended as {answer['status']}")
        with self._lock:
            self._searchable = version

    def _search_on(self, start: int) -> None:
        with self._connect() as client:
            for turn in itertools.count(start):
                if self._over.is_set():
                    return
                self._search(client, turn % DOCUMENTS, MODES[turn % len(MODES)])

    def _search(self, client: Client, number: int, mode: str) -> None:
        with self._lock:
            oldest = self._searchable
        answer = client.post(
            "/search",
            {
                "knowledgeBaseId": KNOWLEDGE_BASE,
                "query": f"what is new in the notes of engine {number}",
                "mode": mode,
                "filters": {"externalId": _external_id(number)},
            },
        )
        with self._lock:
            newest = self._pushed
            fault = wrong_with(answer["results"], number, oldest, newest)
            self._observed.searches[mode] += 1
            self._observed.overlapping += newest > oldest
            if fault is not None:
                self._observed.faults.append(f"{mode}: {fault}")


def wrong_with(results: list[JsonObject], number: int, oldest: int, newest: int) -> str | None:
    """Why these results are not one whole version in that range; None if they are."""
    if [result["externalId"] for result in results] != [_external_id(number)]:
        return f"{len(results)} results for one document"
    passages = [passage["text"] for passage in results[0]["passages"]]
    versions = {int(found) for text in passages for found in _TOKEN.findall(text)}
    if len(versions) != 1 or not all(_TOKEN.search(text) for text in passages):
        return f"passages of versions {sorted(versions)}"
    (version,) = versions
    if results[0]["sourceData"] != {"release": version}:
        return f"text of version {version} with the metadata of {results[0]['sourceData']}"
    if not oldest <= version <= newest:
        return f"version {version}, not one of {oldest} to {newest}"
    return None


def _external_id(number: int) -> str:
    return f"engines/{number}"


def _item(number: int, version: int) -> JsonObject:
    """A document of one passage, or of three."""
    parts = ("Notes",) if number % 2 else ("Notes", "Repairs", "Outlook")
    content = "\n\n".join(
        f"## {part}\n\nWhat is new in engine {number}: see release-{version} of the notes."
        for part in parts
    )
    return {
        "integrationId": INTEGRATION,
        "knowledgeBaseId": KNOWLEDGE_BASE,
        "externalId": _external_id(number),
        "sourceType": "ARTICLE",
        "data": {
            "title": f"Engine {number}",
            "content": content,
            "contentType": "text/markdown",
            "sourceData": {"release": version},
        },
    }


def run(
    replacements: int = REPLACEMENTS,
    searches: int = SEARCHES,
    settings: Mapping[str, str] | None = None,
) -> list[Result]:
    """Measure on a server of its own, with these settings beside its data directory."""
    with running_server(settings=settings) as server:
        observed = observe(
            server.client, replacements=replacements, searches=searches, time_limit=1_800
        )
    modes = ", ".join(f"{mode} {observed.searches[mode]:,}" for mode in MODES)
    searched = observed.searches.total()
    return [
        Result(
            "replacement.replacements",
            "documents replaced while searched",
            observed.replacements,
            "",
            f"≥ {REPLACEMENTS:,}",
            observed.replacements >= REPLACEMENTS,
            f"{DOCUMENTS} documents of one or three passages, {observed.seconds:.0f} s",
        ),
        Result(
            "replacement.searches",
            "searches meanwhile",
            searched,
            "",
            f"≥ {SEARCHES:,}",
            searched >= SEARCHES,
            f"{modes}; {observed.overlapping:,} while a new version was under way",
        ),
        Result(
            "replacement.faults",
            "searches that did not find exactly one version",
            len(observed.faults),
            "",
            "0",
            not observed.faults,
            "; ".join(observed.faults[:3]),
        ),
    ]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replacements", type=int, default=REPLACEMENTS)
    parser.add_argument("--searches", type=int, default=SEARCHES)
    parser.add_argument("--weaviate", action="store_true", help="with the index on a Weaviate")
    arguments = parser.parse_args()
    if not arguments.weaviate:
        return show(run(arguments.replacements, arguments.searches))
    with (
        tempfile.TemporaryDirectory(prefix="reaktly-benchmark-") as folder,
        WeaviateServer(Path(folder, "weaviate")) as weaviate,
    ):
        return show(run(arguments.replacements, arguments.searches, weaviate.settings))


if __name__ == "__main__":
    raise SystemExit(main())
