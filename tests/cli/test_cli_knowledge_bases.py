import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.requirement("C-04")
def test_a_knowledge_base_is_made_listed_and_shown(run: Run) -> None:
    done = run("kb", "create", "harbour", "--name", "The harbour", "--org", "pilots")
    assert (done.exit_code, done.stdout) == (0, "created harbour\n")
    (listed,) = json.loads(run("kb", "list", "--json").stdout)["knowledgeBases"]
    assert (listed["knowledgeBaseId"], listed["name"]) == ("harbour", "The harbour")
    assert (listed["organisation"], listed["documents"]) == ("pilots", 0)
    assert "harbour\tThe harbour\tpilots\t0\tminilm" in run("kb", "list").stdout
    assert "The harbour" in run("kb", "show", "harbour").stdout


def test_show_counts_the_documents_of_each_source_by_state(run: Run, folder: Path) -> None:
    run("ingest", "harbour", str(folder))
    run("ingest", "harbour", str(folder / "index.md"), "--source", "web")
    shown = json.loads(run("kb", "show", "harbour", "--json").stdout)
    assert shown["documents"] == 4
    counts = {source["integrationId"]: source["queued"] for source in shown["sources"]}
    assert counts == {"files": 3, "web": 1}
    assert "files\t0\t3\t0\t0" in run("kb", "show", "harbour").stdout


def test_making_it_twice_or_showing_none_is_a_sentence(run: Run) -> None:
    run("kb", "create", "harbour")
    again = run("kb", "create", "harbour")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "reaktly: knowledge base 'harbour' exists already\n"
    for command in ("show", "delete"):
        done = run("kb", command, "nowhere")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == "reaktly: there is no knowledge base 'nowhere'\n"


def test_a_deleted_knowledge_base_is_gone_with_its_documents(run: Run, folder: Path) -> None:
    run("ingest", "harbour", str(folder))
    assert run("kb", "delete", "harbour").exit_code == 0
    assert json.loads(run("kb", "list", "--json").stdout) == {"knowledgeBases": []}
    run("kb", "create", "harbour")
    assert json.loads(run("kb", "show", "harbour", "--json").stdout)["documents"] == 0


def test_an_id_that_is_none_is_a_usage_error(run: Run) -> None:
    for wrong in ("", "k" * 257, "a\tb"):
        assert run("kb", "create", wrong).exit_code == 2
