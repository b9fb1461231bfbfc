"""What an agent does with a knowledge base, over each transport and in each era."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.end_to_end.product import Product

pytestmark = pytest.mark.timeout(180)

REAKTLY = str(Path(sys.executable).with_name("reaktly"))
GARDEN = {
    "Watering": "Water tomatoes early in the morning, at the roots, never on the leaves.",
    "Pruning": "Prune apple trees in late winter while they are dormant.",
    "Composting": "A compost heap wants two parts of brown material to one of green.",
}
QUESTION = "When should I water my tomatoes?"
ERAS = ["legacy", "2026-07-28"]


@asynccontextmanager
async def over_stdio(
    directory: Path, *options: str, mode: str = "auto", **environment: str
) -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=REAKTLY,
        args=["mcp", *options],
        env={"REAKTLY_DATA_DIR": str(directory), "PATH": os.environ["PATH"], **environment},
        cwd=directory,
    )
    async with Client(server, mode=mode) as client:
        yield client


@asynccontextmanager
async def over_http(product: Product, key: str, mode: str = "auto") -> AsyncIterator[Client]:
    url = f"http://127.0.0.1:{product.port}/mcp"
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=90) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("mcp")) as product:
        product.start_server()
        yield product


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    content: dict[str, Any] = result.structured_content
    assert content == json.loads(result.content[0].text)  # type: ignore[union-attr]
    return content


async def keep_in_order(client: Client) -> None:
    """Ingest, wait, search, fetch, ask, replace and delete, and look each time."""
    documents = [
        {"title": title, "content": content, "url": f"https://garden.test/{title}"}
        for title, content in GARDEN.items()
    ]
    put = await called(client, "ingest", documents=documents)
    assert {entry["status"] for entry in put["documents"]} == {"completed"}
    found = await called(client, "search", query=QUESTION)
    first = found["results"][0]
    assert (first["title"], first["url"]) == ("Watering", "https://garden.test/Watering")
    whole = await called(client, "fetch", id=first["id"])
    assert GARDEN["Watering"] in whole["text"]
    answer = await called(client, "ask", question=QUESTION)
    assert answer["answered"]
    assert "in the morning" in answer["answer"]
    citation = answer["citations"][0]
    assert citation["marker"] in answer["answer"]
    assert (citation["id"], citation["url"]) == (first["id"], first["url"])

    newer = "Water tomatoes in the evening with a drip line."
    again = {"title": "Watering", "content": newer, "url": first["url"]}
    (replaced,) = (await called(client, "ingest", documents=[again]))["documents"]
    assert replaced["id"] == first["id"]
    found = await called(client, "search", query=QUESTION)
    assert newer in found["results"][0]["snippet"]
    assert "early in the morning" not in str(found)

    assert (await called(client, "delete_document", id=first["id"]))["deleted"]
    found = await called(client, "search", query=QUESTION)
    assert first["id"] not in [entry["id"] for entry in found["results"]]
    status = await called(client, "ingest_status", ids=[first["id"]])
    assert status["documents"][0]["status"] == "deleted"
    assert (await client.call_tool("fetch", {"id": first["id"]})).is_error


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_keeps_a_knowledge_base_in_order_over_stdio(
    tmp_path: Path, mode: str
) -> None:
    async with over_stdio(tmp_path, "--knowledge-base", "garden", mode=mode) as client:
        await keep_in_order(client)
    async with over_stdio(tmp_path, "--read-only", mode=mode) as client:
        listed = await called(client, "list_documents")
        assert {entry["title"] for entry in listed["documents"]} == {"Pruning", "Composting"}
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert not names & {"ingest", "delete_document"}


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_keeps_a_knowledge_base_in_order_over_http(
    served: Product, mode: str
) -> None:
    base = f"garden-{mode}"
    async with over_http(served, served.make_key(base), mode) as client:
        await keep_in_order(client)
    async with over_http(served, served.make_key(base, "--scope", "iq:read"), mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert not names & {"ingest", "delete_document", "ask"}
        documents = (await called(client, "list_documents"))["documents"]
    assert len(documents) == 2
    async with over_http(served, served.make_key("another"), mode) as client:
        assert (await client.call_tool("fetch", {"id": documents[0]["id"]})).is_error
        assert (await called(client, "list_knowledge_bases"))["knowledge_bases"] == []
        assert (await client.call_tool("search", {"query": QUESTION})).is_error


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_keeps_a_companys_knowledge_base_in_order_from_a_laptop(
    served: Product, tmp_path: Path, mode: str
) -> None:
    url = f"http://127.0.0.1:{served.port}"
    key = served.make_key("laptop-a", "--knowledge-base", f"laptop-{mode}")
    options = ("--server", url, "--knowledge-base", f"laptop-{mode}")
    async with over_stdio(tmp_path, *options, mode=mode, REAKTLY_API_KEY=key) as client:
        await keep_in_order(client)
        (content,) = (await client.read_resource("reaktly://knowledge-bases")).contents
        assert f"laptop-{mode}" in content.text  # type: ignore[union-attr]
        assert (await client.list_prompts()).prompts
        for tool in (await client.list_tools()).tools:
            assert "knowledge_base" not in tool.input_schema["properties"]
    async with over_stdio(
        tmp_path, *options, "--read-only", mode=mode, REAKTLY_API_KEY=key
    ) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "search" in names
        assert not names & {"ingest", "delete_document"}
        assert (await client.call_tool("ingest", {"documents": []})).is_error
        assert len((await called(client, "list_documents"))["documents"]) == 2
    assert not [name for _, *names in os.walk(tmp_path) for name in names if name], (
        "nothing is kept"
    )


async def test_a_server_that_dies_is_a_tool_error_until_it_is_back(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with Product(served) as product:
        product.start_server()
        options = ("--server", f"http://127.0.0.1:{product.port}", "--knowledge-base", "kb")
        async with over_stdio(tmp_path, *options, REAKTLY_API_KEY=product.key) as client:
            document = {"title": "Kept", "content": "What was accepted is kept."}
            put = await called(client, "ingest", documents=[document], wait=False)
            product.kill()
            away = await client.call_tool("search", {"query": "kept"})
            assert away.is_error
            assert "cannot be reached; try again" in str(away.content)
            assert "Traceback" not in str(away.content)
            product.start_server()
            ids = [entry["id"] for entry in put["documents"]]
            whole = await called(client, "fetch", id=ids[0])
            assert "What was accepted is kept." in whole["text"]


@pytest.mark.parametrize(
    ("arguments", "key", "sentence"),
    [
        (["--server", "http://127.0.0.1:1"], "rk_live_x", b"nothing answers at http://127.0.0.1:1"),
        (["--server", "nonsense"], "rk_live_x", b"nothing answers at nonsense"),
        (["--server", "SERVED"], "rk_live_x", b"refuses the key in REAKTLY_API_KEY"),
        (["--server", "SERVED"], "", b"REAKTLY_API_KEY: must be a key"),
    ],
)
def test_a_bridge_that_cannot_stand_says_why(
    served: Product, tmp_path: Path, arguments: list[str], key: str, sentence: bytes
) -> None:
    url = f"http://127.0.0.1:{served.port}"
    done = subprocess.run(
        [REAKTLY, "mcp", *[url if one == "SERVED" else one for one in arguments]],
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "REAKTLY_API_KEY": key},
        cwd=tmp_path,
        capture_output=True,
        timeout=50,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr
    assert not done.stdout


def test_nothing_but_messages_is_written_to_stdout_and_the_end_of_stdin_ends_it(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [REAKTLY, "mcp"],
        input=b'not json\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        env={"REAKTLY_DATA_DIR": str(tmp_path), "PATH": os.environ["PATH"], "REAKTLY_X": "typo"},
        capture_output=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert b"REAKTLY_X is not a setting" in done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all(line.startswith(b'{"jsonrpc":"2.0"') for line in lines)
    assert b"Traceback" not in done.stdout + done.stderr
