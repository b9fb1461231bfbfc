import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from llamaindex_reaktly.cli import parameters
from llamaindex_reaktly.cli.output import printable, shorten, show_duration
from llamaindex_reaktly.embeddings import install
from llamaindex_reaktly.errors import ModelMissing

Run = Callable[..., Result]


@pytest.mark.parametrize("command", ["keys", "kb", "status", "serve"])
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("REAKTLY_PORT", "tcp://10.0.0.1:8000")
    done = run(command, *(["list"] if command in ("keys", "kb") else []))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("reaktly: REAKTLY_PORT: looks like a Kubernetes service link")
    assert done.stderr.count("\n") == 1


def test_an_unknown_setting_is_a_warning_beside_the_result(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_DATADIR", "x")
    done = run("keys", "list", "--json")
    assert json.loads(done.stdout) == {"keys": []}
    assert done.stderr == (
        "warning: REAKTLY_DATADIR is not a setting; did you mean REAKTLY_DATA_DIR?\n"
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "must be a database URL"),
        ("oracle+unheard://x/y", "must be a database URL"),
        ("mysql+pymysql://x/y", "must be a database URL"),
    ],
)
def test_a_database_url_that_opens_nothing_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("REAKTLY_DATABASE_URL", url)
    for command in (["keys", "list"], ["status"]):
        done = run(*command)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("reaktly: REAKTLY_DATABASE_URL: ")
        assert words in done.stderr


def test_a_data_directory_that_cannot_be_made_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REAKTLY_DATA_DIR", str(tmp_path / "file" / "data"))
    done = run("status")
    assert done.exit_code == 1
    assert done.stderr.startswith("reaktly: Not a directory: ")


def test_a_fault_of_ours_tells_its_kind_and_not_its_words(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "what a user wrote"

    def fail(_value: str | None) -> None:
        raise RuntimeError(content)

    monkeypatch.setattr("llamaindex_reaktly.cli.standing.print_table", fail)
    run("kb", "create", "harbour")
    done = run("status")
    assert done.exit_code == 1
    assert "reaktly: failed unexpectedly (TypeError); the log above says where" in done.stderr
    assert content not in done.stderr


def test_wrong_use_is_exit_code_two(run: Run) -> None:
    for wrong in (["nonsense"], ["search", "kb"], ["search", "kb", "q", "--limit", "0"]):
        assert run(*wrong).exit_code == 2
    assert run("search", "kb", " ").exit_code == 2
    assert run("ask", "kb", " ").exit_code == 2


def test_search_of_an_unknown_base_is_a_sentence(run: Run) -> None:
    done = run("search", "nowhere", "bowline")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "reaktly: there is no knowledge base 'nowhere'\n"


def test_model_install_says_where_it_is_or_why_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setattr(install, "install_model", lambda target: target)
    done = run("model", "install", "--json")
    assert json.loads(done.stdout) == {
        "model": "minilm",
        "path": str(data_dir / "models" / "minilm"),
    }

    def fail(_target: Path) -> Path:
        raise ModelMissing("the weights could not be fetched")

    monkeypatch.setattr(install, "install_model", fail)
    done = run("model", "install")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "reaktly: the weights could not be fetched\n"


def test_what_strangers_wrote_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\ud800") == "a\ufffd[2Jb c\ufffd"
    assert shorten("one  two\nthree", 9) == "one two…"
    assert show_duration(59) == "59 s"
    assert show_duration(7200) == "2 h"


def test_undecodable_names_are_no_ids() -> None:
    assert parameters.id_problem(os.fsdecode(b"caf\xe9")) is not None
    assert parameters.id_problem("café " + sys.platform) is None
