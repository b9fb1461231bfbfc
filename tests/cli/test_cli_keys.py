import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from llamaindex_reaktly.registry.registry import Registry

Run = Callable[..., Result]


def _registry(data_dir: Path) -> Registry:
    return Registry(f"sqlite:///{data_dir / 'registry.sqlite'}")


@pytest.mark.requirement("S-04")
@pytest.mark.requirement("S-33")
def test_create_prints_the_key_and_nothing_else(run: Run, data_dir: Path) -> None:
    done = run("keys", "create", "--name", "site", "--knowledge-base", "kb")
    assert done.exit_code == 0
    assert done.stderr == ""
    token, rest = done.stdout.split("\n", 1)
    assert rest == ""
    registry = _registry(data_dir)
    key = registry.keys.authenticate(token)
    registry.close()
    assert key is not None
    assert key.name == "site"
    assert key.scopes == {"iq:import", "iq:read", "iq:chat"}
    assert key.knowledge_bases == {"kb"}
    assert key.expires_at is None


@pytest.mark.requirement("S-25")
def test_create_takes_scopes_default_expiry_and_limits(run: Run) -> None:
    done = run(
        *("keys", "create", "--name", "n", "--knowledge-base", "a", "--knowledge-base", "b"),
        *("--scope", "iq:read", "--default-knowledge-base", "b", "--expires", "2999-01-31"),
        *("--rate-limit", "60/minute", "--rate-limit", "search=5/second", "--json"),
    )
    assert done.exit_code == 0, done.stderr
    key = json.loads(done.stdout)
    assert key["key"].startswith("rk_live_")
    assert key["scopes"] == ["iq:read"]
    assert key["knowledgeBases"] == ["a", "b"]
    assert key["defaultKnowledgeBase"] == "b"
    assert key["expiresAt"] == "2999-01-31T00:00:00Z"
    assert key["rateLimits"] == {"*": "60/minute", "search": "5/second"}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--expires", "2001-01-01"),
        ("--expires", "soon"),
        ("--rate-limit", "many"),
        ("--knowledge-base", ""),
        ("--knowledge-base", "k" * 257),
        ("--knowledge-base", "a\nb"),
    ],
)
def test_create_refuses_wrong_options_as_usage(run: Run, wrong: tuple[str, str]) -> None:
    done = run("keys", "create", "--name", "n", "--knowledge-base", "kb", *wrong)
    assert done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize(
    "wrong", [("--scope", "iq:everything"), ("--default-knowledge-base", "elsewhere")]
)
def test_create_says_in_a_sentence_what_the_registry_refuses(
    run: Run, wrong: tuple[str, str]
) -> None:
    done = run("keys", "create", "--name", "n", "--knowledge-base", "kb", *wrong)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("reaktly: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.requirement("S-04")
def test_list_and_show_never_show_the_key(run: Run) -> None:
    token = run("keys", "create", "--name", "n", "--knowledge-base", "*").stdout.strip()
    listed = run("keys", "list", "--json")
    (entry,) = json.loads(listed.stdout)["keys"]
    shown = run("keys", "show", entry["keyId"])
    for output in (listed.stdout, run("keys", "list").stdout, shown.stdout):
        assert entry["keyId"] in output
        assert token.removeprefix("rk_live_") not in output
    assert json.loads(run("keys", "show", entry["keyId"], "--json").stdout) == {
        **entry,
        "usage": [],
    }


@pytest.mark.requirement("S-33")
def test_a_revoked_key_opens_nothing_and_stays_listed(run: Run, data_dir: Path) -> None:
    token = run("keys", "create", "--name", "n", "--knowledge-base", "*").stdout.strip()
    (entry,) = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert entry["state"] == "active"
    assert run("keys", "revoke", entry["keyId"]).exit_code == 0
    registry = _registry(data_dir)
    assert registry.keys.authenticate(token) is None
    registry.close()
    (entry,) = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert entry["state"] == "revoked"


def test_an_unknown_key_is_a_sentence_and_exit_code_one(run: Run) -> None:
    for command in ("show", "revoke"):
        done = run("keys", command, "key_none")
        assert done.exit_code == 1
        assert done.stderr == "reaktly: there is no key 'key_none'\n"


def test_show_tells_what_the_knowledge_bases_of_the_key_hold(run: Run, folder: Path) -> None:
    run("ingest", "harbour", str(folder))
    run("kb", "create", "empty")
    run("kb", "create", "other")
    made = run(
        *("keys", "create", "--name", "n", "--json"),
        *("--knowledge-base", "harbour", "--knowledge-base", "empty"),
    )
    key_id = json.loads(made.stdout)["keyId"]
    usage = json.loads(run("keys", "show", key_id, "--json").stdout)["usage"]
    assert [(one["knowledgeBaseId"], one["documents"]) for one in usage] == [
        ("empty", 0),
        ("harbour", 3),
    ]
    assert usage[1]["characters"] > 0
    assert "harbour: 3 documents, " in run("keys", "show", key_id).stdout
