"""Each configuration that the docs show connects, with the places put in."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.end_to_end.product import Product

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/connect-assistants.md").read_text(encoding="utf-8")
Entry = dict[str, Any]


def shown_entries() -> Iterator[tuple[str, Entry]]:
    for number, block in enumerate(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)):
        config = json.loads(block)
        (servers,) = config.values()
        for name, entry in servers.items():
            yield f"{number}-{name}", entry
    for number, line in enumerate(re.findall(r"^\$ (claude mcp add .*)$", PAGE, re.MULTILINE)):
        words = shlex.split(line)
        if "--" in words:
            command = words[words.index("--") + 1 :]
            environment = dict([words[words.index("--env") + 1].split("=", 1)])
            yield (
                f"claude-{number}",
                {
                    "command": command[0],
                    "args": command[1:],
                    "env": environment,
                },
            )
        else:
            header = words[words.index("--header") + 1].split(": ", 1)
            url = next(word for word in words if word.startswith("http") and "://" in word)
            yield f"claude-{number}", {"url": url, "headers": dict([header])}


ENTRIES = dict(shown_entries())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("snippets")) as product:
        product.start_server(worker=False)
        yield product


def test_every_client_has_a_configuration() -> None:
    assert len(ENTRIES) == 7


@pytest.mark.parametrize("name", ENTRIES)
async def test_a_configuration_that_is_shown_connects(
    name: str, served: Product, tmp_path: Path
) -> None:
    said = json.dumps(ENTRIES[name])
    for placeholder, place in (
        ("/path/to/reaktly/.venv/bin/reaktly", str(Path(sys.executable).with_name("reaktly"))),
        ("/path/to/data", str(tmp_path)),
        ("https://kb.example.com", f"http://127.0.0.1:{served.port}"),
        ("rk_live_yours", served.key),
    ):
        said = said.replace(placeholder, place)
    entry: Entry = json.loads(said)
    if "url" in entry:
        async with (
            httpx2.AsyncClient(headers=entry["headers"]) as http,
            Client(streamable_http_client(entry["url"], http_client=http)) as client,
        ):
            tools = (await client.list_tools()).tools
    else:
        server = StdioServerParameters(
            command=entry["command"],
            args=entry["args"],
            env={"PATH": os.environ["PATH"]} | entry["env"],
            cwd=tmp_path,
        )
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
    assert "search" in {tool.name for tool in tools}


def test_the_manifest_is_that_of_this_version() -> None:
    manifest = json.loads((ROOT / "mcp_server/server.json").read_text(encoding="utf-8"))
    assert manifest["version"] == version("llamaindex-reaktly")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", manifest["name"])
    assert len(manifest["description"]) <= 100
    (remote,) = manifest["remotes"]
    assert remote["url"].endswith("/mcp")


def test_the_options_are_those_of_the_command() -> None:
    helped = subprocess.run(
        [Path(sys.executable).with_name("reaktly"), "mcp", "--help"],
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | {"COLUMNS": "200"},
    ).stdout
    for option in set(re.findall(r'"(--[a-z-]+)"', PAGE)):
        assert option in helped
