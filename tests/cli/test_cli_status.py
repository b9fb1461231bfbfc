"""`reaktly status`: a person who reads it knows what waits, why, and what to do."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from llamaindex_reaktly.cli.standing import ADVICE, NO_WORKER, OTHER_ADVICE
from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Claim, Verdict
from llamaindex_reaktly.settings import load_settings

Run = Callable[..., Result]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"
DOCUMENT = SourceDocument(DocumentKey("harbour", "integration:int", "0"), SourceType.PAGE, "T", "x")


@pytest.fixture
def knowledge_base() -> Iterator[KnowledgeBase]:
    with KnowledgeBase(load_settings()) as knowledge_base:
        yield knowledge_base


def submit(knowledge_base: KnowledgeBase, count: int) -> None:
    keys = [replace(DOCUMENT.key, external_id=str(number)) for number in range(count)]
    knowledge_base.submit([replace(DOCUMENT, key=key) for key in keys])


def claim(knowledge_base: KnowledgeBase, count: int) -> list[Claim]:
    return knowledge_base.registry.queue.claim(limit=count, characters=10**6, lease_seconds=60)


def settle(knowledge_base: KnowledgeBase, claims: Sequence[Claim], error: str | None) -> None:
    counts = {"documents_indexed": len(claims), "busy_milliseconds": 2000 * len(claims)}
    knowledge_base.registry.queue.settle(
        [Verdict(one, 1, error) for one in claims], {} if error else counts
    )


def told(run: Run, *arguments: str) -> str:
    done = run("status", *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def report(run: Run, *arguments: str) -> Any:
    return json.loads(told(run, *arguments, "--json"))


def test_status_counts_by_state_and_says_when_something_was_indexed_last(
    run: Run, knowledge_base: KnowledgeBase
) -> None:
    submit(knowledge_base, 4)
    settle(knowledge_base, claim(knowledge_base, 2), None)
    claim(knowledge_base, 1)
    text = told(run, "harbour")
    row = next(line for line in text.splitlines() if line.startswith("harbour"))
    assert row.startswith("harbour\t2\t1\t1\t0\t")
    assert row.endswith(" UTC")
    assert "2 documents made searchable in the last 10 min." in text
    (base,) = report(run)["knowledgeBases"]
    assert base["documents"] == {
        "queued": 1,
        "processing": 1,
        "completed": 2,
        "failed": 0,
        "deleted": 0,
    }
    assert base["lastIndexedAt"].endswith("Z")


def test_a_base_without_documents_is_told_of_too(run: Run) -> None:
    run("kb", "create", "empty")
    text = told(run)
    assert "empty\t0\t0\t0\t0\t-" in text
    assert "Nothing waits." in text
    assert report(run)["waiting"]["secondsToCatchUp"] == 0


def test_what_waits_without_a_worker_waits_for_one(run: Run, knowledge_base: KnowledgeBase) -> None:
    submit(knowledge_base, 3)
    text = told(run)
    assert "3 documents to be made searchable, the oldest for 0 s." in text
    assert NO_WORKER in text
    assert "Done in about" not in text
    waiting = report(run)["waiting"]
    assert (waiting["because"], waiting["secondsToCatchUp"]) == ([NO_WORKER], None)


def test_with_a_worker_it_is_told_when_all_will_be_done(
    run: Run, knowledge_base: KnowledgeBase
) -> None:
    submit(knowledge_base, 6)
    settle(knowledge_base, claim(knowledge_base, 2), None)
    knowledge_base.registry.workers.beat("w", silence_seconds=60)
    text = told(run)
    assert "Done in about 8 s at the pace measured so far." in text
    assert ": has run for 0 s." in text
    knowledge_base.registry.workers.beat("another", silence_seconds=60)
    assert report(run)["waiting"]["secondsToCatchUp"] == 4


def test_a_pause_is_told_with_its_reason(run: Run, knowledge_base: KnowledgeBase) -> None:
    submit(knowledge_base, 3)
    claims = claim(knowledge_base, 2)
    knowledge_base.registry.queue.release(claims, "the store is away")
    knowledge_base.registry.workers.beat("w", silence_seconds=60, pause_reason="the store is away")
    report_ = report(run)
    assert report_["waiting"]["because"] == [
        "a worker has paused for 0 s: the store is away",
        "2 documents: the store is away",
    ]
    (worker,) = report_["workers"]
    assert (worker["state"], worker["pauseReason"]) == ("paused", "the store is away")
    assert "  2 documents: the store is away" in told(run)


def test_a_worker_that_fell_silent_counts_as_none(run: Run, knowledge_base: KnowledgeBase) -> None:
    submit(knowledge_base, 1)
    knowledge_base.registry.workers.beat("w", silence_seconds=-1)
    text = told(run)
    assert NO_WORKER in text
    assert "so it is dead or stuck" in text
    assert report(run)["workers"][0]["state"] == "silent"


def test_failures_are_grouped_by_reason_the_most_frequent_first_with_what_to_do(
    run: Run, knowledge_base: KnowledgeBase
) -> None:
    submit(knowledge_base, 3)
    settle(knowledge_base, claim(knowledge_base, 1), "the page \x1b[31mis broken")
    settle(knowledge_base, claim(knowledge_base, 2), ADVICE[0][0])
    text = told(run)
    often, once = text.index(f"2 documents failed: {ADVICE[0][0]}"), text.index("1 document failed")
    assert often < once
    assert ADVICE[0][1] in text[often:once]
    assert OTHER_ADVICE in text[once:]
    assert "\x1b" not in text
    first, second = report(run)["failures"]
    assert (first["documents"], second["documents"]) == (2, 1)
    example = first["example"]
    assert f"for example {example['documentId']}  harbour  {example['externalId']}" in text
    assert example["integrationId"] == "int"


def test_status_of_one_base_leaves_out_the_others(run: Run, knowledge_base: KnowledgeBase) -> None:
    submit(knowledge_base, 1)
    settle(knowledge_base, claim(knowledge_base, 1), "bad")
    run("kb", "create", "other")
    alone = report(run, "other")
    assert [base["knowledgeBaseId"] for base in alone["knowledgeBases"]] == ["other"]
    assert alone["failures"] == []
    assert [base["knowledgeBaseId"] for base in report(run)["knowledgeBases"]] == [
        "harbour",
        "other",
    ]


def test_status_of_nothing_and_of_an_unknown_base(run: Run) -> None:
    assert run("status").stdout.startswith("There is no knowledge base yet")
    done = run("status", "nowhere")
    assert (done.exit_code, done.stderr) == (1, "reaktly: there is no knowledge base 'nowhere'\n")


def shape(value: Any) -> Any:
    """The keys of a JSON value, at every depth; of a list, those of its first element."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(value[0])]
    return None


def test_the_page_states_the_shape_of_the_json(run: Run, knowledge_base: KnowledgeBase) -> None:
    submit(knowledge_base, 2)
    settle(knowledge_base, claim(knowledge_base, 1), "bad")
    knowledge_base.registry.workers.beat("w", silence_seconds=60)
    page = PAGE.read_text("utf-8")
    stated = page.partition("```json\n")[2].partition("```")[0]
    assert shape(json.loads(stated)) == shape(report(run))
