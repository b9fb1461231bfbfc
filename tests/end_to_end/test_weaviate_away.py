"""The product while its Weaviate is away: it says so, takes documents, and catches up."""

import contextlib
import secrets
import time
from pathlib import Path

import pytest

from scripts.weaviate_server import WeaviateServer
from tests.end_to_end.product import Client, Identity, Product, item

pytestmark = pytest.mark.timeout(300)

CAUGHT_UP_WITHIN = 120.0


def page(name: str) -> Identity:
    return Identity("kb", "cms", name)


def push(client: Client, name: str, *, wait: bool = False) -> None:
    client.push(item(page(name), f"All about the {name} and where it lives."), wait=wait)


def wait_until_found(client: Client, name: str) -> None:
    deadline = time.monotonic() + CAUGHT_UP_WITHIN
    while time.monotonic() < deadline:
        body = {"knowledgeBaseId": "kb", "query": name, "mode": "text"}
        answer = client.call("POST", "/search", body)
        if answer.status == 200 and [hit["externalId"] for hit in answer.body["results"]] == [name]:
            return
        assert answer.status in (200, 503), answer
        time.sleep(0.1)
    raise AssertionError(f"{name} is not found: {client.job(page(name))}")


def test_documents_wait_for_a_weaviate_that_is_away_and_searches_say_so(
    weaviate_server: WeaviateServer, tmp_path: Path
) -> None:
    # Its own one: the shared server is for those that need it up.
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(WeaviateServer(tmp_path / "weaviate"))
        prefix = f"T{secrets.token_hex(6)}"
        settings = server.settings | {"REAKTLY_WEAVIATE_PREFIX": prefix}
        (tmp_path / "product").mkdir()
        product = stack.enter_context(Product(tmp_path / "product", **settings))
        product.start_server()
        client = product.client()
        push(client, "walrus", wait=True)

        server.kill()
        push(client, "narwhal")
        search = {"knowledgeBaseId": "kb", "query": "walrus"}
        refused = client.call("POST", "/search", search)
        assert (refused.status, refused.body["statusCode"]) == (503, 503)
        assert "Weaviate" in refused.body["message"]
        not_ready = client.call("GET", "/ready", query={"for": "search"})
        assert not_ready.status == 503
        assert "Weaviate" in str(not_ready.body)
        assert client.call("GET", "/ready", query={"for": "accept"}).status == 200
        job = waits_with_a_reason(client, page("narwhal"))
        assert (job["status"], job["attempts"]) == ("queued", 0)
        # What is deleted while it is away stays away.
        client.ok("DELETE", "/ingest", page("walrus").fields)

        product.stop()
        product.start_server(ready_for="accept")
        client = product.client()
        push(client, "beluga")
        assert client.call("POST", "/search", search).status == 503

        server.start()
        client = product.client()
        wait_until_found(client, "narwhal")
        wait_until_found(client, "beluga")
        assert client.search("kb", "walrus", mode="text") == []

        with server.frozen():
            assert client.call("POST", "/search", search).status == 503
        wait_until_found(client, "narwhal")


def waits_with_a_reason(client: Client, identity: Identity) -> dict[str, object]:
    deadline = time.monotonic() + CAUGHT_UP_WITHIN
    while time.monotonic() < deadline:
        job: dict[str, object] = client.job(identity).body
        if job["status"] == "queued" and "Weaviate" in str(job["error"]):
            return job
        time.sleep(0.02)
    raise AssertionError(f"no reason is given: {job}")
