"""The evaluation sets that are not in this repository: collections with judgments, questions.

They are read from the folder that `REAKTLY_BENCH_DATA` names, `../shared/data` by
default; what is absent raises `DataAbsent` with a sentence that says so.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.postgresql_pages import data_folder
from benchmarks.results import DataAbsent

COLLECTIONS = ("cranfield", "scifact", "cacm", "cisi")


@dataclass(frozen=True, slots=True)
class Text:
    """A document of a collection; title or text may be empty."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, queries that were judged, and the ids of what is relevant to each."""

    name: str
    documents: tuple[Text, ...]
    queries: dict[str, str]
    relevant: dict[str, frozenset[str]]


def collection(name: str) -> Collection:
    """One of `COLLECTIONS`, with binary judgments; queries without any are left out."""
    folder = evaluation_file("ir", name)
    relevant: dict[str, set[str]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant.setdefault(row["query-id"], set()).add(row["corpus-id"])
    queries = {row["id"]: row["text"] for row in _lines(folder / "queries.jsonl")}
    return Collection(
        name,
        tuple(
            Text(row["id"], row.get("title", ""), row.get("text", ""))
            for row in _lines(folder / "corpus.jsonl")
        ),
        {query: text for query, text in queries.items() if query in relevant},
        {query: frozenset(ids) for query, ids in relevant.items() if query in queries},
    )


def unrelated_questions() -> list[str]:
    """The English questions of XQuAD, which are about anything but PostgreSQL."""
    return [row["text"] for row in _lines(evaluation_file("ir", "xquad", "queries.en.jsonl"))]


def answered_questions() -> list[tuple[str, str]]:
    """The same questions, each with the words of its paragraph that answer it."""
    file = evaluation_file("ir", "xquad", "queries.en.jsonl")
    return [(row["text"], row["answer"]) for row in _lines(file)]


def paragraphs() -> list[Text]:
    """XQuAD's English paragraphs, in which the answers stand."""
    file = evaluation_file("ir", "xquad", "corpus.en.jsonl")
    return [Text(str(row["id"]), row["title"], row["text"]) for row in _lines(file)]


def evaluation_file(*parts: str) -> Path:
    """A file or folder of the evaluation data; `DataAbsent` where there is none."""
    path = data_folder().joinpath(*parts)
    if not path.exists():
        raise DataAbsent(f"{path} is absent; set REAKTLY_BENCH_DATA to the evaluation data")
    return path


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
