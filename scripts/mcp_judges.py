"""Has the official judges look at our MCP server: the conformance suites and the Inspector.

    python -m scripts.mcp_judges

They are npm packages, pinned in tests/mcp_server/node, and bring the Node that they want. The
suites cannot send a key: what arrives here is given one. Fails where a scenario does that
is not in the list of those that judge a fixture, and where one there passes.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.logs import configure_logging
from llamaindex_reaktly.settings import Settings
from reaktly_api import create_app
from reaktly_mcp import McpEndpoint

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests/mcp_server/node"
MODULES = FOLDER / "node_modules"
INSPECTOR = MODULES / ".bin/mcp-inspector"
# What each suite is told to run: all, and what its revision requires.
SUITES = {
    "2025-11-25": ("--suite", "all"),
    "2026-07-28": ("--requirements", "2026-07-28"),
}
BASE = "garden"
START_SECONDS = 30.0


def main() -> int:
    """Run them all; 1 where one finds fault."""
    install()
    configure_logging("console", "error")
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url:
        faults = [name for name, run in runs(url) if judge(name, run, Path(folder))]
    for name in faults:
        print(f"{name} finds fault with the MCP server", file=sys.stderr)
    return 1 if faults else 0


def install() -> None:
    """Bring the packages, unless they are there as pinned."""
    lock, installed = FOLDER / "package-lock.json", MODULES / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a base with a document; gives the address."""
    document = folder / "watering.md"
    document.write_text("# Watering\n\nWater tomatoes early in the morning.\n", encoding="utf-8")
    environment = os.environ | {"REAKTLY_DATA_DIR": str(folder / "data")}
    reaktly = [sys.executable, "-m", "llamaindex_reaktly.cli"]
    subprocess.run([*reaktly, "ingest", BASE, str(document)], env=environment, check=True)
    with KnowledgeBase(Settings(data_dir=folder / "data")) as core:
        key = core.registry.keys.create("judges", knowledge_bases=[BASE])[1]
        endpoint = McpEndpoint(core)
        app = create_app(core, mounts=[Route("/mcp", endpoint)], mounts_lifespan=endpoint.lifespan)

        async def keyed(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [*scope.get("headers", ()), (b"x-api-key", key.encode())]
            await app({**scope, "headers": headers}, receive, send)

        server = uvicorn.Server(uvicorn.Config(keyed, port=0, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if time.monotonic() > deadline or not thread.is_alive():
                    raise SystemExit("the server did not start")
                time.sleep(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.should_exit = True
            thread.join()


def runs(url: str) -> Iterator[tuple[str, list[str]]]:
    """Each judge's name and arguments."""
    for revision, options in SUITES.items():
        program = MODULES / f"conformance-{revision}/dist/index.js"
        expected = FOLDER / f"expected-failures-{revision}.yaml"
        arguments = ["server", "--url", url, *options, "--expected-failures", str(expected)]
        yield f"conformance {revision}", [str(program), *arguments]
    inspector = [str(INSPECTOR), "--cli", url, "--transport", "http"]
    yield "inspector, schemas", [*inspector, "--method", "tools/list", "--strict"]
    load = ["--load", "--load-requests", "200", "--load-concurrency", "8"]
    call = ["--method", "tools/call", "--tool-name", "search", "--tool-arg", "query=water tomatoes"]
    yield "inspector, load", [*inspector, *call, *load]


def judge(name: str, arguments: list[str], folder: Path) -> bool:
    """Whether a judge finds fault; what it says is shown from where its summary begins."""
    print(f"== {name}", flush=True)
    path = f"{MODULES / 'node/bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["node", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    print(said[max(said.find("=== SUMMARY ==="), 0) :][-6_000:] if done.returncode else tail(said))
    return done.returncode != 0


def tail(said: str) -> str:
    """The last lines of what a judge without fault to find says."""
    return "\n".join(said.splitlines()[-20:])[-1_500:]


if __name__ == "__main__":
    raise SystemExit(main())
