import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import Result

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import ModelMissing
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.embedded import EmbeddedStore
from llamaindex_reaktly.stores.protocol import StoreCounts
from scripts.redis_server import RedisServer
from scripts.weaviate_server import WeaviateServer
from tests.upgrades.keep_release import claim, document, index

Run = Callable[..., Result]


class _Embedder:
    identity = EmbedderIdentity("minilm", "build-1", 384)

    def embed_query(self, _text: str) -> None:
        return None


@pytest.fixture(autouse=True)
def _a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeBase, "embedder", lambda _self, _name: _Embedder())


def _verdicts(run: Run, *options: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    done = run("doctor", "--json", *options)
    report = json.loads(done.stdout)
    assert report["healthy"] is (done.exit_code == 0)
    return done.exit_code, {
        check["part"]: (check["verdict"], check["found"], check["advice"] or "")
        for check in report["checks"]
    }


def test_a_fresh_data_directory_is_healthy(run: Run) -> None:
    code, verdicts = _verdicts(run)
    assert code == 0
    assert {part: verdict for part, (verdict, _, _) in verdicts.items()} == dict.fromkeys(
        ("settings", "data directory", "disk", "registry", "model", "store"), "ok"
    )
    assert "ok       registry: open, at schema" in run("doctor").stdout


def test_deep_compares_each_index_with_the_registry_and_mends_it(run: Run, data_dir: Path) -> None:
    run("kb", "create", "harbour")
    code, verdicts = _verdicts(run, "--deep")
    assert code == 0
    assert verdicts["registry file"][0] == "ok"
    assert verdicts["index of harbour"][:2] == ("ok", "holds what the registry says")
    settings = Settings(data_dir=data_dir)
    with KnowledgeBase(settings) as knowledge_base:
        knowledge_base.submit([document("knots", "Tie a bowline knot.")])
        index(knowledge_base, claim(knowledge_base))
        knowledge_base.store.delete("harbour", [document("knots", "").key.document_id])
    code, verdicts = _verdicts(run, "--deep")
    assert code == 0
    verdict, found, advice = verdicts["index of harbour"]
    assert (verdict, found) == ("warning", "1 documents are not in it")
    assert advice.startswith("1 documents are queued for it")
    with KnowledgeBase(settings) as knowledge_base:
        index(knowledge_base, claim(knowledge_base))
    assert _verdicts(run, "--deep")[1]["index of harbour"][0] == "ok"


def test_a_damaged_registry_is_reported_with_the_way_back(run: Run, data_dir: Path) -> None:
    run("kb", "create", "harbour")
    file = data_dir / "registry.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + bytes(len(content) - 4096))
    code, verdicts = _verdicts(run, "--deep")
    assert code == 1
    failed = [found for verdict, found, _ in verdicts.values() if verdict == "failed"]
    assert "reaktly import" in " ".join(failed)
    done = run("kb", "list")
    assert done.exit_code == 1
    assert done.stderr.startswith("reaktly: the registry is damaged")


def test_a_wrong_setting_fails_and_an_unknown_one_warns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_EMBEDER", "minilm")
    code, verdicts = _verdicts(run)
    assert code == 0
    assert verdicts["settings"][0] == "warning"
    assert "REAKTLY_EMBEDDER" in verdicts["settings"][1]
    monkeypatch.setenv("REAKTLY_WORKERS", "lots")
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["settings"][0] == "failed"
    assert "REAKTLY_WORKERS" in verdicts["settings"][1]


def test_a_directory_that_cannot_be_written_fails_with_advice(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REAKTLY_DATA_DIR", str(tmp_path / "file" / "data"))
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["data directory"][0] == "failed"
    assert "REAKTLY_DATA_DIR" in verdicts["data directory"][2]


def test_a_disk_near_its_end_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAKTLY_FREE_DISK_BYTES", str(2**60))
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["disk"][0] == "failed"


def test_a_missing_model_fails_and_says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_self: KnowledgeBase, _name: str) -> _Embedder:
        raise ModelMissing("the model is not installed")

    monkeypatch.setattr(KnowledgeBase, "embedder", missing)
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["model"] == (
        "failed",
        "the model is not installed",
        "run `reaktly model install`",
    )


def test_a_registry_that_is_no_database_fails(run: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "registry.sqlite").write_bytes(b"not a database at all" * 100)
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["registry"][0] == "failed"


def test_a_registry_of_a_newer_version_fails(run: Run, data_dir: Path) -> None:
    data_dir.mkdir()
    registry = Registry(f"sqlite:///{data_dir / 'registry.sqlite'}")
    registry.database.write(
        lambda connection: connection.execute(
            sa.text("UPDATE alembic_version SET version_num = '9999'")
        )
    )
    registry.close()
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["registry"][0] == "failed"
    assert "install the newest llamaindex-reaktly" in verdicts["registry"][1]


def test_a_base_of_another_model_build_fails(run: Run, data_dir: Path) -> None:
    run("kb", "create", "harbour")
    registry = Registry(f"sqlite:///{data_dir / 'registry.sqlite'}")
    registry.knowledge_bases.adopt("harbour", EmbedderIdentity("minilm", "build-0", 384))
    registry.close()
    code, verdicts = _verdicts(run)
    assert code == 1
    verdict, found, _ = verdicts["knowledge base harbour"]
    assert verdict == "failed"
    assert "reaktly rebuild harbour" in found


@pytest.mark.parametrize(
    ("languages", "chunks", "verdict", "words"),
    [
        (("en", "de"), 10, "ok", "10 chunks"),
        (("de", "en"), 10, "warning", "'de'"),
        (("en",), 200_001, "warning", "200001 chunks"),
    ],
)
def test_a_base_is_warned_of_its_language_and_its_size(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    languages: tuple[str, ...],
    chunks: int,
    verdict: str,
    words: str,
) -> None:
    run("kb", "create", "harbour")
    monkeypatch.setattr(EmbeddedStore, "languages", lambda _self, _id: languages)
    monkeypatch.setattr(EmbeddedStore, "count", lambda _self, _id: StoreCounts(1, chunks))
    code, verdicts = _verdicts(run)
    assert code == 0
    assert verdicts["knowledge base harbour"][0] == verdict
    assert words in verdicts["knowledge base harbour"][1]


def test_a_redis_is_described_and_one_that_is_away_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    monkeypatch.setenv("REAKTLY_REDIS_URL", redis_server.url)
    assert _verdicts(run)[1]["redis"][0] == "ok"
    monkeypatch.setenv("REAKTLY_REDIS_URL", "redis://me:hunter2@127.0.0.1:1/0")
    code, verdicts = _verdicts(run)
    assert code == 1
    verdict, found, advice = verdicts["redis"]
    assert (verdict, found) == ("failed", "Redis does not answer: ConnectionError")
    assert "REAKTLY_REDIS_URL" in advice
    monkeypatch.setenv("REAKTLY_REDIS_URL", "localhost")
    assert _verdicts(run)[1]["redis"][1].startswith("REAKTLY_REDIS_URL: must be an address")


@pytest.mark.timeout(120)
def test_a_weaviate_is_described_and_one_that_refuses_the_key_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, weaviate_server: WeaviateServer
) -> None:
    for name, value in weaviate_server.settings.items():
        monkeypatch.setenv(name, value)
    _, verdicts = _verdicts(run)
    assert verdicts["store"][0] == "ok"
    verdict, found, _ = verdicts["weaviate"]
    assert verdict == "ok"
    assert "1.39" in found
    monkeypatch.setenv("REAKTLY_WEAVIATE_API_KEY", "guessed")
    code, verdicts = _verdicts(run)
    assert code == 1
    assert verdicts["weaviate"][0] == "failed"
    assert "REAKTLY_WEAVIATE_API_KEY" in verdicts["weaviate"][1]
