"""Settings from the environment and a file."""

from pathlib import Path

import pytest

from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.settings import load_settings, unknown_variables, variables_in_use


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in variables_in_use():
        if name.startswith("REAKTLY_"):
            monkeypatch.delenv(name)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("REAKTLY_PORT=1\nREAKTLY_HOST=from-file\nREAKTLY_WORKERS=3\n")
    monkeypatch.setenv("REAKTLY_PORT", "2")
    monkeypatch.setenv("REAKTLY_HOST", "from-environment")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.workers) == (3, "from-environment", 3)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REAKTLY_PORT", "tcp://10.0.0.1:80", "Kubernetes"),
        ("REAKTLY_PORT", "70000", "65535"),
        ("REAKTLY_STORE", "postgres", "embedded"),
        ("REAKTLY_WORKERS", "many", "integer"),
        ("REAKTLY_WEAVIATE_URL", "weaviate:8080", "http://"),
        ("REAKTLY_WEAVIATE_GRPC_URL", "grpc://weaviate", "http://"),
        ("REAKTLY_WEAVIATE_CONSISTENCY", "most", "quorum"),
        ("REAKTLY_LOG_FORMAT", "xml", "console"),
        ("REAKTLY_EMBEDDER", "word2vec", "minilm"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_may_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name in caught.value.message
    assert words in caught.value.message


def test_weaviate_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAKTLY_STORE", "weaviate")
    with pytest.raises(ConfigurationError, match="REAKTLY_WEAVIATE_URL: is needed"):
        load_settings()
    monkeypatch.setenv("REAKTLY_WEAVIATE_URL", "http://127.0.0.1:8080")
    assert load_settings().store == "weaviate"


def test_a_secret_does_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAKTLY_DATABASE_URL", "postgresql://me:hunter2@localhost/reaktly")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.registry_url


def test_an_unknown_name_is_reported_with_the_nearest_known_one() -> None:
    assert unknown_variables(["REAKTLY_DATADIR", "PATH", "REAKTLY_PORT"]) == [
        "REAKTLY_DATADIR is not a setting; did you mean REAKTLY_DATA_DIR?"
    ]


@pytest.mark.requirement("C-05")
def test_the_clients_names_are_passed_over_in_silence() -> None:
    assert unknown_variables(["REAKTLY_API_KEY", "REAKTLY_BASE_URL", "REAKTLY_KB_ID"]) == []
