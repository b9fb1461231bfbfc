"""What each dialect's own work costs: a search of ten results, and a bare route.

    python -m benchmarks.dialects [--searches 300] [--rounds 7]

The core is a stub that finds ten documents of three passages at once, so that what is
left of a search is the door's: the key, parsing, validating, rendering. The bare route
of the same server reads a body of the same bytes and answers as many. Quant Search has
no search of its own yet; its pages come in by bulk, where the registry is the cost.
"""

import argparse
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from benchmarks.dialects_server import BASE, HITS
from benchmarks.launcher import BARE_PATH
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import in_turns, ratios, spread
from benchmarks.server import Client, JsonObject, running_server

SEARCHES = 300
ROUNDS = 7
MOST = 2.0
QUERY = "How do I set up the release of the guide?"
FILTERS = {"sourceType": "ARTICLE", "sourceData.price": {"lte": 50}}

# By dialect: where its search is, what it is asked, and where its results are.
SEARCHED: Mapping[str, tuple[str, JsonObject, Callable[[JsonObject], list[JsonObject]]]] = {
    "Reaktly": (
        "/search",
        {"knowledgeBaseId": BASE, "query": QUERY, "limit": HITS, "filters": FILTERS},
        lambda answer: answer["results"],
    ),
    "AI SmartTalk": (
        "/v1/documents/search",
        {"chatModelId": BASE, "query": QUERY, "limit": HITS, "filters": FILTERS},
        lambda answer: answer["documents"],
    ),
    "Inkeep": (
        "/v1/chat/completions",
        {
            "model": f"inkeep-rag@{BASE}",
            "messages": [{"role": "user", "content": QUERY}],
            "response_format": {"type": "json_object"},
        },
        lambda answer: orjson.loads(answer["choices"][0]["message"]["content"])["content"],
    ),
}


def run(searches: int = SEARCHES, rounds: int = ROUNDS) -> list[Result]:
    """Measure on a server of its own."""
    with (
        running_server(
            command=("-m", "benchmarks.dialects_server"),
            # The documented limits would end it; all that is found is to be shown.
            settings={"REAKTLY_RATE_LIMIT": "none", "REAKTLY_RAG_TOKENS": "100000"},
            options=("--no-worker",),
        ) as server,
        server.client() as client,
    ):
        return [_compare(client, server.pid, dialect, searches, rounds) for dialect in SEARCHED]


def _compare(client: Client, pid: int, dialect: str, searches: int, rounds: int) -> Result:
    path, body, results = SEARCHED[dialect]
    payload = orjson.dumps(body)
    answer = client.post_bytes(path, payload)
    found = len(results(orjson.loads(answer)))
    if found != HITS:
        raise BenchmarkFailed(f"{dialect} answered {found} results, not {HITS}")
    bare = f"{BARE_PATH}?bytes={len(answer)}"
    processor: dict[str, list[float]] = {"dialect": [], "bare": []}

    def seconds(side: str, target: str, _: int) -> float:
        """Seconds a request, one after the other on one connection."""
        before = _processor_seconds(pid)
        started = time.perf_counter()
        for _request in range(searches):
            client.post_bytes(target, payload)
        taken = time.perf_counter() - started
        processor[side].append((_processor_seconds(pid) - before) / searches)
        return taken / searches

    sides = {
        "dialect": functools.partial(seconds, "dialect", path),
        "bare": functools.partial(seconds, "bare", bare),
    }
    for side in sides.values():
        side(0)
    measured = in_turns(sides, rounds)
    ratio = ratios(measured["dialect"], measured["bare"])
    work = ratios(processor["dialect"][1:], processor["bare"][1:])
    own, peer = (spread([each * 1_000 for each in side]) for side in measured.values())
    return Result(
        f"dialects.{dialect.lower().replace(' ', '_')}",
        f"a search of ten results by {dialect}",
        ratio.median,
        "x a bare route",
        f"≤ {MOST:.0f} x",
        ratio.median <= MOST,
        f"{ratio.range()}; {len(payload)} bytes in, {len(answer):,} out; "
        f"{own.median:.3f} ms against {peer.median:.3f} ms; processor time of the server "
        f"{work.text()}",
    )


def _processor_seconds(pid: int) -> float:
    """What all threads of a process have run, to the nanosecond (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searches", type=int, default=SEARCHES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    return show(run(arguments.searches, arguments.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
