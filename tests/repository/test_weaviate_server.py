"""The Weaviate that the tests start: kept from strangers, gone when it is told to go."""

import http.client
from pathlib import Path

import pytest

from scripts.weaviate_server import BINARY_VARIABLE, WeaviateMissing, WeaviateServer

pytestmark = pytest.mark.timeout(180)


def schema_status(server: WeaviateServer, key: str | None) -> int:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    connection.request("GET", "/v1/schema", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_its_key_opens_it(weaviate_server: WeaviateServer) -> None:
    assert schema_status(weaviate_server, weaviate_server.key) == 200
    assert schema_status(weaviate_server, None) == 401
    assert schema_status(weaviate_server, "guessed") == 401


def test_a_killed_server_comes_back_on_the_same_ports_with_its_data(
    weaviate_server: WeaviateServer, tmp_path: Path
) -> None:
    # The shared server's program; the one killed here is another process.
    with WeaviateServer(tmp_path / "data") as server:
        place, pid = (server.url, server.grpc_url), server.pid
        with server.frozen():
            assert not server.is_ready()
        assert server.is_ready()
        server.kill()
        assert not server.is_ready()
        server.start()
        assert (server.url, server.grpc_url) == place
        assert server.pid != pid
    assert not server.is_ready()


def test_a_machine_without_program_go_or_docker_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    with pytest.raises(WeaviateMissing, match="neither"):
        WeaviateServer(tmp_path / "data")
