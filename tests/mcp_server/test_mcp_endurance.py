"""Clients that come, go in mid-call and never come back leave nothing behind."""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.product import SETTLED_WITHIN, Product

pytestmark = pytest.mark.timeout(240)

CONNECTIONS = 1_000
# What a process may grow by in a thousand connections: allocators don't give all back.
MOST_BYTES = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("endurance")) as product:
        product.start_server()
        yield product


def request(served: Product, method: str, *, version: str, **params: Any) -> bytes:
    """A whole HTTP request that calls an MCP method."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {
        "host": "localhost",
        "authorization": f"Bearer {served.key}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
    }
    payload = json.dumps(body).encode()
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["POST /mcp HTTP/1.1", *lines, f"content-length: {len(payload)}", "", ""])
    return head.encode() + payload


def connected(served: Product) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def server_process(served: Product) -> Path:
    assert served._server is not None
    return Path(f"/proc/{served._server.pid}")


def descriptors(served: Product) -> int:
    return len(list((server_process(served) / "fd").iterdir()))


def resident(served: Product) -> int:
    pages = int((server_process(served) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="read from /proc")
def test_a_thousand_connections_opened_and_dropped_leave_memory_and_descriptors_flat(
    served: Product,
) -> None:
    listing = request(served, "tools/list", version="2025-06-18")

    def churn(connections: int) -> None:
        for number in range(connections):
            with connected(served) as connection:
                if number % 4:  # some say nothing, some half a request, some all and don't listen
                    connection.sendall(listing[: len(listing) // (4 - number % 4)])
                if number % 8 == 3:
                    assert connection.recv(12) == b"HTTP/1.1 200"

    def settled() -> int:
        """Descriptors, when the server has seen that the last clients are gone."""
        deadline = time.monotonic() + 30
        while (last := descriptors(served)) > baseline + 8 and time.monotonic() < deadline:
            time.sleep(0.1)
        return last

    baseline = descriptors(served)
    churn(CONNECTIONS)  # a first time: what is loaded and pooled stays
    settled()
    memory = resident(served)
    churn(CONNECTIONS)
    assert settled() <= baseline + 8
    assert resident(served) <= memory + MOST_BYTES


def test_what_a_client_that_left_in_mid_call_had_put_in_is_kept(served: Product) -> None:
    documents = [
        {"title": f"Left {number}", "content": f"Text {number} of one who left."}
        for number in range(20)
    ]
    call = request(
        served,
        "tools/call",
        version="2025-06-18",
        name="ingest",
        arguments={"documents": documents, "knowledge_base": "left"},
    )
    client = served.client()
    with connected(served) as connection:
        connection.sendall(call)
        # Accepted, and waited for by the call: now the client goes.
        listed = client.call("GET", "/documents", query={"knowledgeBaseId": "left"})
        deadline = time.monotonic() + SETTLED_WITHIN
        while listed.status == 404 and time.monotonic() < deadline:
            listed = client.call("GET", "/documents", query={"knowledgeBaseId": "left"})
    deadline = time.monotonic() + SETTLED_WITHIN
    states: set[str] = set()
    while time.monotonic() < deadline and states != {"completed"}:
        page = client.ok("GET", "/documents", query={"knowledgeBaseId": "left"})["documents"]
        states = {entry["status"] for entry in page} if len(page) == len(documents) else set()
        time.sleep(0.05)
    assert states == {"completed"}
    assert "Traceback" not in served.log()


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
def test_a_body_above_the_limit_is_refused(served: Product, version: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.putrequest("POST", "/mcp")
    for name, value in (
        ("authorization", f"Bearer {served.key}"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", version),
        ("content-length", str(100 * 1024 * 1024)),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
