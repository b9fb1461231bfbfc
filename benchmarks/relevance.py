"""What `relevance` is worth: does it sort, stay the same, and tell an answer from none?

    python -m benchmarks.relevance [--data-dir DIR]

PostgreSQL's manual is asked its own questions and those of XQuAD, which it can't answer.
The area under the curve (AUC) is the share of pairs of one question of each kind in which
the manual's own has the higher top relevance. `--data-dir` as in `benchmarks.retrieval`.
"""

import argparse
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks.evaluation_sets import unrelated_questions
from benchmarks.postgresql_pages import postgresql_questions
from benchmarks.results import Result, show
from benchmarks.retrieval import MODES, POSTGRESQL, push_postgresql
from benchmarks.server import Client, JsonObject, running_server

AUC_TARGET = 0.95
COMPARED_QUESTIONS = 20
STRANGERS = 50
# Documents that match nothing still count among those that a term's rarity is judged by.
DRIFT_TOLERANCE = 0.01
INGEST_TIMEOUT = 7_200.0


@dataclass(slots=True)
class Sortedness:
    """Searches seen, and those whose results did not fall in relevance or left 0..1."""

    searches: int = 0
    unsorted: list[str] = field(default_factory=list)

    def check(self, query: str, results: Sequence[JsonObject]) -> None:
        """Look at one search's results and at their passages."""
        self.searches += 1
        documents = [float(result["relevance"]) for result in results]
        rankings = [documents] + [
            [float(passage["relevance"]) for passage in result["passages"]] for result in results
        ]
        best = [ranking[0] for ranking in rankings[1:] if ranking]
        falling = all(a >= b for ranking in rankings for a, b in itertools.pairwise(ranking))
        bounded = all(0 <= relevance <= 1 for ranking in rankings for relevance in ranking)
        if not (falling and bounded and best == documents):
            self.unsorted.append(query)


class Asker:
    """Asks the manual, and looks at every answer's order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.sortedness = Sortedness()

    def results(self, query: str, **options: object) -> list[JsonObject]:
        """The results of a search with options of `POST /search`."""
        body = {"knowledgeBaseId": POSTGRESQL, "query": query, **options}
        results: list[JsonObject] = self._client.post("/search", body)["results"]
        self.sortedness.check(query, results)
        return results

    def relevances(self, query: str, **options: object) -> dict[str, float]:
        """Relevance by document and passage."""
        found: dict[str, float] = {}
        for result in self.results(query, **options):
            found[result["externalId"]] = result["relevance"]
            for passage in result["passages"]:
                found[f"{result['externalId']}\n{passage['text']}"] = passage["relevance"]
        return found

    def top(self, query: str) -> float:
        """Relevance of the first result; 0 where there is none."""
        results = self.results(query, limit=1)
        return float(results[0]["relevance"]) if results else 0.0


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """The share of pairs in which the positive is higher; equal ones count half."""
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def largest_difference(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Between the numbers of what is in both; at least one thing must be."""
    return max(abs(one[name] - other[name]) for name in one.keys() & other.keys())


def _asked_otherwise(asker: Asker, questions: Sequence[str]) -> tuple[float, int]:
    """The largest difference that limits, offsets and filters make, and comparisons made."""
    largest, comparisons = 0.0, 0
    for query, mode in itertools.product(questions, MODES):
        base = asker.relevances(query, mode=mode)
        some = [name for name in base if "\n" not in name]
        if not some:
            continue
        middle = base[some[len(some) // 2]]
        ways: list[dict[str, object]] = [
            {"limit": 1},
            {"limit": 100},
            {"limit": 3, "offset": 2} if len(some) > 2 else {"limit": 2},
            {"filters": {"externalId": {"in": some[-3:]}}},
            {"filters": {"externalId": some[-1]}},
            {"filters": {"not": {"externalId": some[0]}}} if len(some) > 1 else {"limit": 5},
            {"minRelevance": middle},
        ]
        for way in ways:
            asked = asker.relevances(query, mode=mode, **way)
            if not base.keys() & asked.keys():
                raise ValueError(f"{way} shows nothing of what {query!r} found before")
            largest = max(largest, largest_difference(base, asked))
            comparisons += 1
    return largest, comparisons


def _strangers() -> list[JsonObject]:
    """Documents that no question about PostgreSQL has a word in common with."""
    return [
        {
            "integrationId": "strangers",
            "knowledgeBaseId": POSTGRESQL,
            "externalId": f"stranger-{number}",
            "sourceType": "PAGE",
            "data": {
                "title": f"Zwetschgenknoedel {number}",
                "content": "Quarkteig umhuellt Zwetschgen, gewaelzt in Zimtbroeseln. " * 5,
                "contentType": "text/plain",
                "language": "en",
            },
        }
        for number in range(STRANGERS)
    ]


def _beside_strangers(
    client: Client, asker: Asker, questions: Sequence[str]
) -> tuple[float, float]:
    """The largest difference with other documents in the base, and after they left."""
    before = {query: asker.relevances(query) for query in questions}
    strangers = _strangers()
    client.ingest(strangers, timeout=INGEST_TIMEOUT)
    try:
        beside = {query: asker.relevances(query) for query in questions}
    finally:
        names = ("integrationId", "knowledgeBaseId", "externalId")
        keys = [{name: item[name] for name in names} for item in strangers]
        status, answer = client.send("DELETE", "/ingest/bulk", orjson.dumps({"items": keys}))
        if status != 200:
            raise ValueError(f"the added documents stay: {answer[:200]!r}")
    after = {query: asker.relevances(query) for query in questions}
    return (
        max(largest_difference(before[query], beside[query]) for query in questions),
        max(largest_difference(before[query], after[query]) for query in questions),
    )


def measure(client: Client) -> list[Result]:
    """The figures, from a base that holds PostgreSQL's pages."""
    asker = Asker(client)
    questions = [question["text"] for question in postgresql_questions()]
    unrelated = unrelated_questions()
    answerable = [asker.top(query) for query in questions]
    unanswerable = [asker.top(query) for query in unrelated]
    for query, mode in itertools.product(questions, MODES):
        asker.results(query, mode=mode, limit=50)
    area = auc(answerable, unanswerable)
    compared = questions[:: max(1, len(questions) // COMPARED_QUESTIONS)]
    otherwise, comparisons = _asked_otherwise(asker, compared)
    drift, afterwards = _beside_strangers(client, asker, compared)
    ordered = asker.sortedness
    return [
        Result(
            "relevance.auc",
            "AUC of the top relevance",
            area,
            "",
            f"≥ {AUC_TARGET:g}",
            area >= AUC_TARGET,
            f"{len(questions)} questions that the manual answers, {len(unrelated)} of XQuAD; "
            f"median top relevance {statistics.median(answerable):.3f} "
            f"and {statistics.median(unanswerable):.3f}",
        ),
        Result(
            "relevance.unsorted",
            "searches out of order",
            len(ordered.unsorted),
            "",
            "0",
            not ordered.unsorted,
            f"of {ordered.searches:,}, their passages included",
        ),
        Result(
            "relevance.asked_otherwise",
            "largest difference by limit, offset and filters",
            otherwise,
            "",
            "0",
            otherwise == 0,
            f"{comparisons} comparisons, in every mode",
        ),
        Result(
            "relevance.drift",
            f"largest difference by {STRANGERS} documents that match nothing",
            drift,
            "",
            f"≤ {DRIFT_TOLERANCE:g}",
            drift <= DRIFT_TOLERANCE,
            "how rare a word is in the base is part of the evidence",
        ),
        Result(
            "relevance.afterwards",
            "largest difference after they were deleted",
            afterwards,
            "",
            "0",
            afterwards == 0,
        ),
    ]


def run(data_dir: Path | None = None) -> list[Result]:
    """Measure on a server of its own, on a data directory that may hold the pages already."""
    with running_server(data_dir=data_dir) as server, server.client() as client:
        push_postgresql(client)
        return measure(client)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="data directory to use, and to keep")
    return show(run(parser.parse_args().data_dir))


if __name__ == "__main__":
    raise SystemExit(main())
