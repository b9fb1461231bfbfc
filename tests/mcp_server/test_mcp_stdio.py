"""`reaktly mcp` as an assistant's client starts it: a process, a data directory, two pipes."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult

REAKTLY = str(Path(sys.executable).with_name("reaktly"))


@asynccontextmanager
async def started(directory: Path, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=REAKTLY,
        args=["mcp", *options],
        env={"REAKTLY_DATA_DIR": str(directory), "PATH": os.environ["PATH"]},
        cwd=directory,
    )
    async with Client(server, mode=mode) as client:
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    content: dict[str, Any] = result.structured_content
    return content


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_an_agent_keeps_a_knowledge_base_in_order(tmp_path: Path, mode: str) -> None:
    garden = {
        "Watering": "Water tomatoes early in the morning, at the roots, never on the leaves.",
        "Pruning": "Prune apple trees in late winter while they are dormant.",
        "Composting": "A compost heap wants two parts of brown material to one of green.",
    }
    async with started(tmp_path, "--knowledge-base", "garden", mode=mode) as client:
        put = await called(
            client,
            "ingest",
            documents=[
                {"title": title, "content": content, "url": f"https://garden.test/{title}"}
                for title, content in garden.items()
            ],
        )
        assert {entry["status"] for entry in put["documents"]} == {"completed"}
        found = await called(client, "search", query="When should I water my tomatoes?")
        first = found["results"][0]
        assert (first["title"], first["url"]) == ("Watering", "https://garden.test/Watering")
        whole = await called(client, "fetch", id=first["id"])
        assert garden["Watering"] in whole["text"]

        newer = "Water tomatoes in the evening with a drip line."
        again = {"title": "Watering", "content": newer, "document_id": first["id"]}
        await called(client, "ingest", documents=[again])
        found = await called(client, "search", query="When should I water my tomatoes?")
        assert newer in found["results"][0]["snippet"]
        assert "early in the morning" not in str(found)

        assert (await called(client, "delete_document", id=first["id"]))["deleted"]
        found = await called(client, "search", query="When should I water my tomatoes?")
        assert first["id"] not in [entry["id"] for entry in found["results"]]
    async with started(tmp_path, "--read-only", mode=mode) as client:
        listed = await called(client, "list_documents")
        assert {entry["title"] for entry in listed["documents"]} == {"Pruning", "Composting"}
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert not names & {"ingest", "delete_document"}


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
