"""`reaktly doctor` on a real Weaviate, set up as compose.yaml sets it up."""

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import weaviate
import yaml
from typer.testing import Result
from weaviate.classes.init import Auth

from llamaindex_reaktly.cli import weaviate_diagnosis
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import load_settings
from llamaindex_reaktly.stores.weaviate_schema import tenant_name
from scripts.weaviate_server import WeaviateServer
from tests.stores.test_store_contract import DIMENSION, replacement

pytestmark = pytest.mark.timeout(180)

Run = Callable[..., Result]
Verdicts = dict[str, tuple[str, str, str]]

# What is the container's own business, and another on this machine.
OF_THE_CONTAINER = {"PERSISTENCE_DATA_PATH", "CLUSTER_HOSTNAME"}


class _Embedder:
    identity = EmbedderIdentity("minilm", "build-1", DIMENSION)

    def embed_query(self, _text: str) -> None:
        return None


def composed_environment(service: str, key: str) -> dict[str, str]:
    text = (Path(__file__).parents[2] / "compose.yaml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)["services"][service]["environment"]
    return {name: re.sub(r"\$\{\w+[^}]*\}", key, value) for name, value in environment.items()}


@pytest.fixture(scope="module")
def server(
    weaviate_server: WeaviateServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WeaviateServer]:
    """A server with the environment of compose.yaml, indexing in the background."""
    key = secrets.token_hex(24)
    environment = composed_environment("weaviate", key)
    kept = {name: value for name, value in environment.items() if name not in OF_THE_CONTAINER}
    made = WeaviateServer(
        tmp_path_factory.mktemp("composed") / "data", {**kept, "ASYNC_INDEXING": "true"}
    )
    made.key = key
    with made:
        yield made


@pytest.fixture
def prefix(server: WeaviateServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Settings that name the server, and a prefix of the test's own."""
    monkeypatch.setattr(KnowledgeBase, "embedder", lambda _self, _name: _Embedder())
    chosen = f"T{secrets.token_hex(6)}"
    for name, value in server.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REAKTLY_WEAVIATE_PREFIX", chosen)
    return chosen


def diagnose(run: Run, *options: str) -> tuple[int, Verdicts]:
    done = run("doctor", "--json", *options)
    return done.exit_code, {
        check["part"]: (check["verdict"], check["found"], check["advice"] or "")
        for check in json.loads(done.stdout)["checks"]
    }


def fill(run: Run, *knowledge_bases: str) -> None:
    with KnowledgeBase(load_settings()) as core:
        for name in knowledge_bases:
            assert run("kb", "create", name).exit_code == 0
            core.registry.knowledge_bases.adopt(name, _Embedder.identity)
            core.store.replace(name, [replacement("d", "word")])


def test_a_server_set_up_as_composed_is_healthy_and_tells_of_itself(run: Run, prefix: str) -> None:
    fill(run, "harbour", "museum")
    code, verdicts = diagnose(run)
    assert code == 0
    assert {verdict for verdict, _, _ in verdicts.values()} == {"ok"}
    # Those that call other people's servers are switched off there.
    version, modules = re.fullmatch(
        r"(\S+), with (\d+) modules.*", verdicts["weaviate"][1]
    ).groups()  # type: ignore[union-attr]
    assert (version, int(modules) < 20) == ("1.39.0", True)
    assert verdicts["weaviate access"][1] == "only with a key"
    assert verdicts["weaviate nodes"][1] == "1, healthy"
    assert "in the background" in verdicts["weaviate indexing"][1]
    assert verdicts["weaviate replication"][1] == "1 wanted, 1 kept of each tenant, 1 nodes"
    assert verdicts["weaviate tenants"][1] == "2 active under our prefix"


def test_vectors_indexed_as_they_are_written_are_told_apart(
    run: Run, prefix: str, weaviate_server: WeaviateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in weaviate_server.settings.items():
        monkeypatch.setenv(name, value)
    code, verdicts = diagnose(run)
    assert code == 0
    assert "as they are written" in verdicts["weaviate indexing"][1]


def test_a_server_that_is_away_fails_with_what_to_check(
    run: Run, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_WEAVIATE_URL", "http://127.0.0.1:9")
    code, verdicts = diagnose(run)
    assert code == 1
    verdict, found, advice = verdicts["weaviate"]
    assert (verdict, found) == ("failed", "http://127.0.0.1:9: it does not answer")
    assert "that it runs" in advice
    assert "rebuild" not in verdicts["store"][2]


def connected(server: WeaviateServer) -> weaviate.WeaviateClient:
    """A client of the server's own kind."""
    return weaviate.connect_to_local(
        host="127.0.0.1",
        port=int(server.url.rpartition(":")[2]),
        grpc_port=int(server.grpc_url.rpartition(":")[2]),
        auth_credentials=Auth.api_key(server.key),
    )


def test_a_read_only_tenant_fails(run: Run, prefix: str, server: WeaviateServer) -> None:
    fill(run, "harbour")
    with connected(server) as client:
        (name,) = [name for name in client.collections.list_all() if name.startswith(prefix)]
        shard = tenant_name("harbour")
        config = client.collections.use(name).config
        config.update_shards("READONLY", shard)
        code, verdicts = diagnose(run)
        assert code == 1
        assert verdicts["weaviate storage"][:2] == ("failed", "1 of our tenants are read-only")
        config.update_shards("READY", shard)
    assert diagnose(run)[0] == 0


def test_the_tenant_of_a_base_that_was_deleted_while_the_server_was_away_is_removed(
    run: Run, prefix: str, server: WeaviateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, "harbour", "museum")
    with monkeypatch.context() as patch:
        patch.setenv("REAKTLY_WEAVIATE_URL", "http://127.0.0.1:9")
        assert run("kb", "delete", "museum").exit_code == 1
    assert tenants(server, prefix) == {tenant_name("harbour"), tenant_name("museum")}

    code, verdicts = diagnose(run, "--deep")

    assert code == 0
    assert verdicts["weaviate tenants"][:2] == (
        "warning",
        "1 under our prefix belonged to no knowledge base",
    )
    assert tenants(server, prefix) == {tenant_name("harbour")}
    assert diagnose(run, "--deep")[1]["weaviate tenants"][0] == "ok"


def tenants(server: WeaviateServer, prefix: str) -> set[str]:
    """The tenants that there are under a prefix."""
    with connected(server) as client:
        (name,) = (name for name in client.collections.list_all() if name.startswith(prefix))
        return set(client.collections.use(name).tenants.get())


def test_more_copies_than_nodes_fail(
    run: Run, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_WEAVIATE_REPLICATION_FACTOR", "3")
    code, verdicts = diagnose(run)
    assert code == 1
    assert verdicts["weaviate replication"][0] == "failed"
    assert "REAKTLY_WEAVIATE_REPLICATION_FACTOR" in verdicts["weaviate replication"][2]


def test_an_older_release_and_many_tenants_are_warned_of(
    run: Run, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, "harbour", "museum")
    monkeypatch.setattr(weaviate_diagnosis, "MANY_TENANTS", 1)
    monkeypatch.setattr(weaviate_diagnosis, "TESTED", (99, 0))
    code, verdicts = diagnose(run)
    assert code == 0
    assert {part for part, (verdict, _, _) in verdicts.items() if verdict == "warning"} == {
        "weaviate",
        "weaviate tenants",
    }
    monkeypatch.setattr(weaviate_diagnosis, "OLDEST", (98, 0))
    assert diagnose(run)[1]["weaviate"][0] == "failed"


# -- clusters, by what three nodes of 1.39.0 answered ----------------------------------


def a_node(name: str, copies: int, **fields: object) -> dict[str, object]:
    shard = {
        "class": "Reaktly_minilm_1",
        "name": "k1",
        "objectCount": 4,
        "vectorIndexingStatus": "READY",
        "replicationFactor": copies,
    }
    told = {"name": name, "status": "HEALTHY", "version": "1.39.0", "batchStats": {}}
    return {**told, "shards": [shard], **fields}


@pytest.fixture
def cluster_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """What is not ok, for nodes that answer so, to everybody, with 3 copies wanted."""
    answers: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path.partition("?")[0]]).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        monkeypatch.setenv("REAKTLY_STORE", "weaviate")
        monkeypatch.setenv("REAKTLY_WEAVIATE_URL", f"http://127.0.0.1:{served.server_port}")
        monkeypatch.setenv("REAKTLY_WEAVIATE_REPLICATION_FACTOR", "3")

        def diagnosed(*nodes: dict[str, object]) -> dict[str, str]:
            answers["/v1/meta"] = {"version": "1.39.0", "modules": {}}
            answers["/v1/nodes"] = {"nodes": nodes}
            checks = list(weaviate_diagnosis.check_weaviate(load_settings()))
            return {one.part: one.verdict.value for one in checks if one.verdict != "ok"}

        yield diagnosed
        served.shutdown()
        thread.join()


OPEN = {"weaviate access": "warning"}


def test_a_cluster_that_keeps_enough_copies_is_healthy_but_open(
    cluster_of: Callable[..., dict[str, str]],
) -> None:
    assert cluster_of(*(a_node(name, 3) for name in "abc")) == OPEN


def test_a_node_that_is_no_longer_listed_is_missed(
    cluster_of: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAKTLY_WEAVIATE_REPLICATION_FACTOR", "2")
    missing = {"weaviate replication": "failed"}
    assert cluster_of(*(a_node(name, 3) for name in "ab")) == OPEN | missing


def test_a_node_that_is_away_fails_and_a_slow_or_older_one_is_warned_of(
    cluster_of: Callable[..., dict[str, str]],
) -> None:
    whole = [a_node(name, 3) for name in "ab"]
    away = {"weaviate nodes": "failed"}
    assert cluster_of(*whole, a_node("c", 3, status="UNAVAILABLE", version="")) == OPEN | away
    older = slow = {"weaviate nodes": "warning"}
    assert cluster_of(*whole, a_node("c", 3, status="UNHEALTHY")) == OPEN | slow
    assert cluster_of(*whole, a_node("c", 3, version="1.38.2")) == OPEN | older


def test_collections_that_keep_fewer_copies_than_wanted_are_warned_of(
    cluster_of: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = {"weaviate replication": "warning"}
    assert cluster_of(*(a_node(name, 1) for name in "abc")) == OPEN | fewer
    monkeypatch.setenv("REAKTLY_WEAVIATE_REPLICATION_FACTOR", "1")
    assert cluster_of(*(a_node(name, 1) for name in "abc")) == OPEN | fewer
    assert cluster_of(a_node("a", 1)) == OPEN


def test_what_is_no_weaviate_fails(cluster_of: Callable[..., dict[str, str]]) -> None:
    assert cluster_of({"name": "a"}) == {"weaviate": "failed"}
