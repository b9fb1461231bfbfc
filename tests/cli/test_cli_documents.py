import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import Result

from llamaindex_reaktly.domain import DocumentStatus
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.claims import Verdict
from llamaindex_reaktly.settings import load_settings

Run = Callable[..., Result]


@pytest.fixture
def failed(run: Run, folder: Path) -> Sequence[DocumentStatus]:
    """Three documents of which two have failed, as a worker records it."""
    run("ingest", "harbour", str(folder))
    with KnowledgeBase(load_settings()) as knowledge_base:
        queue = knowledge_base.registry.queue
        claims = queue.claim(limit=2, characters=100_000, lease_seconds=60)
        queue.settle([Verdict(claim, error="the page \x1b[31mis broken") for claim in claims], {})
        return knowledge_base.registry.documents.statuses([c.document_id for c in claims])


def _states(run: Run) -> dict[str, int]:
    (base,) = json.loads(run("status", "--json").stdout)["knowledgeBases"]
    states: dict[str, int] = base["documents"]
    return {state: number for state, number in states.items() if number}


def test_ingest_names_each_file_and_says_when_one_is_unchanged(run: Run, folder: Path) -> None:
    first = run("ingest", "harbour", str(folder))
    assert first.exit_code == 0, first.stderr
    assert first.stdout.splitlines() == [
        "queued     guides/mooring.html",
        "queued     guides/tides.txt",
        "queued     index.md",
        "3 queued",
    ]
    (folder / "index.md").write_text("# Changed")
    second = run("ingest", "harbour", str(folder))
    assert second.stdout.splitlines() == [
        "unchanged  guides/mooring.html",
        "unchanged  guides/tides.txt",
        "queued     index.md",
        "1 queued, 2 unchanged",
    ]


def test_ingest_records_source_type_and_title(run: Run, folder: Path) -> None:
    done = run(
        *("ingest", "harbour", str(folder / "index.md"), "--source", "handbook"),
        *("--source-type", "article", "--json"),
    )
    assert done.exit_code == 0, done.stderr
    (entry,) = json.loads(done.stdout)["documents"]
    assert (entry["externalId"], entry["status"]) == ("index.md", "queued")
    with KnowledgeBase(load_settings()) as knowledge_base:
        stored = knowledge_base.fetch(entry["documentId"])
    assert stored is not None
    assert stored.document.key.source == "integration:handbook"
    assert stored.document.source_type == "ARTICLE"
    assert stored.document.title == "The index"


def test_ingest_keeps_the_good_files_and_names_the_refused(run: Run, folder: Path) -> None:
    (folder / "photo.txt").write_bytes(b"\x00\x01\x02")
    (folder / "empty.md").write_text("")
    done = run("ingest", "harbour", str(folder))
    assert done.exit_code == 1
    assert "3 queued, 1 empty, 1 refused" in done.stdout
    assert done.stderr == f"refused    {folder / 'photo.txt'}: it is not a text file\n"


@pytest.mark.parametrize("path", ["https://example.org/", "nowhere"])
def test_ingest_of_a_url_or_of_nothing_is_a_usage_error(run: Run, path: str) -> None:
    done = run("ingest", "harbour", path)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_ingest_into_an_unknown_base_fails_where_none_may_be_made(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_AUTO_CREATE_KNOWLEDGE_BASES", "false")
    done = run("ingest", "harbour", str(folder))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "reaktly: there is no knowledge base 'harbour'\n"


def test_delete_removes_one_document_or_a_whole_source(run: Run, folder: Path) -> None:
    run("ingest", "harbour", str(folder))
    one = run("delete", "harbour", "--source", "files", "--id", "index.md", "--id", "unknown")
    assert (one.exit_code, one.stdout) == (0, "1 deleted\n")
    assert _states(run) == {"queued": 2, "deleted": 1}
    rest = run("delete", "harbour", "--source", "files", "--json")
    assert json.loads(rest.stdout) == {"status": "deleted", "deleted": 2}
    assert _states(run) == {"deleted": 3}


def test_delete_needs_a_source_and_a_base_that_is_there(run: Run) -> None:
    assert run("delete", "harbour").exit_code == 2
    done = run("delete", "harbour", "--source", "files")
    assert (done.exit_code, done.stderr) == (1, "reaktly: there is no knowledge base 'harbour'\n")


def test_retry_queues_failed_documents_again(run: Run, failed: Sequence[DocumentStatus]) -> None:
    one = run("retry", "--id", failed[0].document_id, "--json")
    assert json.loads(one.stdout) == {"queued": 1}
    assert _states(run) == {"queued": 2, "failed": 1}
    again = run("retry", "--id", failed[0].document_id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "only failed documents can be retried" in again.stderr
    assert run("retry", "harbour").stdout.startswith("1 queued again")
    assert _states(run) == {"queued": 3}


def test_retry_stays_within_the_base_that_is_named(
    run: Run, failed: Sequence[DocumentStatus]
) -> None:
    run("kb", "create", "other")
    assert run("retry", "other").stdout == "0 queued again\n"
    done = run("retry", "other", "--id", failed[0].document_id)
    assert done.exit_code == 1
    assert "there is no document" in done.stderr


def test_rebuild_queues_every_document_of_the_base_or_of_all(run: Run, folder: Path) -> None:
    run("ingest", "harbour", str(folder))
    run("ingest", "other", str(folder / "index.md"))
    assert run("rebuild", "harbour").stdout.startswith("harbour: 3 queued")
    assert json.loads(run("rebuild", "--json").stdout)["knowledgeBases"] == [
        {"knowledgeBaseId": "harbour", "queued": 3},
        {"knowledgeBaseId": "other", "queued": 1},
    ]
    assert run("rebuild", "nowhere").exit_code == 1
