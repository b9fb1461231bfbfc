import gzip
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import Result

from llamaindex_reaktly.domain import (
    DocumentKey,
    DocumentState,
    SearchMode,
    SearchRequest,
    SourceDocument,
    SourceType,
)
from llamaindex_reaktly.filters import Comparison, Operator
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings, load_settings
from scripts.weaviate_server import WeaviateServer

Run = Callable[..., Result]
KB = "harbour"


def document(number: int, content: str = "Tie a bowline.", base: str = KB) -> SourceDocument:
    return SourceDocument(
        DocumentKey(base, "integration:charts", f"d{number}"),
        SourceType.PRODUCT,
        f"Knot {number} – “é”",
        content,
        url=f"https://example.com/{number}",
        summary="How",
        tags=("a", "b"),
        language="en",
        attributes={"price": 1.5, "nested": {"list": [1, None, True]}},
        client_hash=f"hash {number}",
        is_renamable=True,
        second_name=f"knot:{number}",
    )


@pytest.fixture
def filled(data_dir: Path) -> KnowledgeBase:
    """Five documents, one of them in its third version, one deleted."""
    knowledge_base = KnowledgeBase(Settings(data_dir=data_dir))
    knowledge_base.submit([document(number) for number in range(6)])
    for content in ("second", "third"):
        knowledge_base.submit([document_of(1, content)])
    knowledge_base.delete([document(5).key])
    knowledge_base.close()
    return knowledge_base


def document_of(number: int, content: str) -> SourceDocument:
    from dataclasses import replace

    return replace(document(number, content), client_hash=content)


def opened(data_dir: Path) -> KnowledgeBase:
    return KnowledgeBase(Settings(data_dir=data_dir))


def exported(run: Run, place: Path) -> list[dict[str, object]]:
    done = run("export", KB, str(place))
    assert done.exit_code == 0, done.output
    content = gzip.decompress(place.read_bytes()) if place.suffix == ".gz" else place.read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def imported(run: Run, place: Path, base: str = KB, *options: str) -> dict[str, object]:
    done = run("import", base, str(place), "--json", *options)
    report: dict[str, object] = json.loads(done.stdout)
    assert done.exit_code == (1 if report["problems"] else 0)
    return report


@pytest.mark.parametrize("name", ["kb.jsonl", "kb.jsonl.gz"])
def test_what_is_imported_elsewhere_is_what_was_exported(
    run: Run,
    filled: KnowledgeBase,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    header, *lines, _ = exported(run, tmp_path / name)
    assert header["format"] == 1
    assert len(lines) == 5
    other = tmp_path / "other"
    monkeypatch.setenv("REAKTLY_DATA_DIR", str(other))
    assert imported(run, tmp_path / name)["imported"] == 5
    with opened(data_dir) as before, opened(other) as after:
        for number in range(5):
            document_id = document(number).key.document_id
            then, now = before.fetch(document_id), after.fetch(document_id)
            assert then is not None
            assert now is not None
            assert now.document == then.document
            assert now.status.version == then.status.version == (3 if number == 1 else 1)
            assert abs((now.status.updated_at - then.status.updated_at).total_seconds()) < 1e-4
            assert now.status.state is DocumentState.QUEUED
        assert after.status(document(5).key.document_id) is None
        assert after.submit([document(0)])[0].unchanged
    again = exported(run, tmp_path / "again.jsonl")
    assert [line | {"updatedAt": ""} for line in again[1:-1]] == [
        line | {"updatedAt": ""} for line in lines
    ]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("source", ["embedded", "weaviate"])
def test_a_base_moves_from_one_store_to_the_other(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weaviate_server: WeaviateServer,
    source: str,
) -> None:
    on_weaviate = weaviate_server.settings | {"REAKTLY_WEAVIATE_PREFIX": f"T{secrets.token_hex(6)}"}
    places = [{"REAKTLY_STORE": "embedded"}, on_weaviate]
    shown = []
    for number, place in enumerate(places if source == "embedded" else reversed(places)):
        for name, value in (place | {"REAKTLY_DATA_DIR": str(tmp_path / str(number))}).items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        with KnowledgeBase(settings) as core:
            if number == 0:
                core.submit([document(0), document(1, "Splice an eye.")])
                core.submit([document_of(0, "Tie a clove hitch.")])
            else:
                assert imported(run, tmp_path / "kb.jsonl")["imported"] == 2
            with closing(Worker(settings, core)) as worker:
                worker.work_off_everything()
            shown.append({mode: found(core, mode) for mode in SearchMode})
        if number == 0:
            exported(run, tmp_path / "kb.jsonl")
    assert shown[0] == shown[1]
    assert {one[0] for one in shown[1][SearchMode.TEXT]} == {"d0"}


def found(core: KnowledgeBase, mode: SearchMode) -> list[tuple[object, ...]]:
    """What a search for a knot shows of each document, and how relevant that is."""
    price = Comparison("sourceData.price", Operator.LTE, 1.5)
    request = SearchRequest(KB, "clove hitch", limit=10, mode=mode, filters=price)
    return [
        (
            hit.key.external_id,
            hit.version,
            hit.title,
            hit.attributes,
            [passage.text for passage in hit.passages],
            round(hit.relevance, 5),
        )
        for hit in core.search(request).hits
    ]


def test_an_import_that_was_interrupted_is_run_again(
    run: Run, filled: KnowledgeBase, tmp_path: Path
) -> None:
    exported(run, tmp_path / "kb.jsonl")
    whole = (tmp_path / "kb.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "part.jsonl").write_bytes(b"".join(whole[:3]))
    report = imported(run, tmp_path / "part.jsonl", "copy")
    assert report["imported"] == 2
    assert report["problems"] == ["line 4: the file ends here, but its end is missing"]
    report = imported(run, tmp_path / "kb.jsonl", "copy")
    assert (report["imported"], report["unchanged"], report["problems"]) == (3, 2, [])
    assert imported(run, tmp_path / "kb.jsonl", "copy")["unchanged"] == 5


def test_a_compressed_file_that_is_cut_off_is_noticed(
    run: Run, filled: KnowledgeBase, tmp_path: Path
) -> None:
    exported(run, tmp_path / "kb.jsonl.gz")
    whole = (tmp_path / "kb.jsonl.gz").read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-30])
    assert "its end is missing" in str(imported(run, tmp_path / "cut.jsonl.gz", "copy"))


def test_what_was_changed_later_stays_and_what_was_deleted_comes_back(
    run: Run, filled: KnowledgeBase, data_dir: Path, tmp_path: Path
) -> None:
    exported(run, tmp_path / "kb.jsonl")
    with opened(data_dir) as knowledge_base:
        knowledge_base.submit([document_of(2, "later")])
        knowledge_base.delete([document(3).key])
    report = imported(run, tmp_path / "kb.jsonl")
    assert (report["imported"], report["unchanged"], report["newerHere"]) == (1, 3, 1)
    with opened(data_dir) as knowledge_base:
        changed = knowledge_base.fetch(document(2).key.document_id)
        assert changed is not None
        assert changed.document.content == "later"
        assert knowledge_base.fetch(document(3).key.document_id) is not None
    assert imported(run, tmp_path / "kb.jsonl", KB, "--overwrite")["imported"] == 1
    with opened(data_dir) as knowledge_base:
        restored = knowledge_base.fetch(document(2).key.document_id)
        assert restored is not None
        assert restored.document.content == "Tie a bowline."
        assert restored.status.version == 3


def test_bad_lines_are_named_and_the_others_imported(
    run: Run, filled: KnowledgeBase, tmp_path: Path
) -> None:
    exported(run, tmp_path / "kb.jsonl")
    lines = (tmp_path / "kb.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = b"{not json}\n"
    lines[2] = lines[2].replace(b'"PRODUCT"', b'"GADGET"')
    (tmp_path / "bad.jsonl").write_bytes(b"".join(lines))
    report = imported(run, tmp_path / "bad.jsonl", "copy")
    assert report["imported"] == 3
    problems = report["problems"]
    assert isinstance(problems, list)
    assert [problem.split(":")[:2] for problem in problems] == [
        ["line 2", " the line"],
        ["line 3", " sourceType"],
        ["line 7", " the lines before are not those that were exported"],
    ]


@pytest.mark.parametrize("content", [b"", b"hello\n", b'{"reaktly":"export","format":2}\n'])
def test_what_is_no_export_is_refused(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kb.jsonl").write_bytes(content)
    done = run("import", KB, str(tmp_path / "kb.jsonl"))
    assert done.exit_code == 1
    assert done.stderr.startswith("reaktly: line 1: ")
    assert run("kb", "show", KB).exit_code == 1


def test_an_export_that_fails_leaves_no_file(
    run: Run, filled: KnowledgeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "backups"
    place.mkdir()
    assert run("export", "nowhere", str(place / "kb.jsonl")).exit_code == 1
    monkeypatch.setattr("llamaindex_reaktly.exchange._line", lambda _stored: {"bad": object()})
    assert run("export", KB, str(place / "kb.jsonl")).exit_code == 1
    assert list(place.iterdir()) == []


def test_a_pipe_leads_from_one_knowledge_base_into_another(
    run: Run, filled: KnowledgeBase, data_dir: Path
) -> None:
    command = [sys.executable, "-m", "llamaindex_reaktly.cli"]
    out = subprocess.run([*command, "export", KB, "-"], capture_output=True, check=True, timeout=50)
    assert out.stderr == b"5 documents exported\n"
    done = subprocess.run(
        [*command, "import", "copy", "-"], input=out.stdout, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"5 documents imported")
