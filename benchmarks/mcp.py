"""What MCP costs: a search through `/mcp` beside a bare tool, and the start over stdio.

    python -m benchmarks.mcp [--calls 100] [--rounds 7]

In each round so many searches and so many calls of a tool that does nothing but answer
as many bytes, in turns, over one kept-alive connection to one server. Then `reaktly mcp`
from its start to the answer of a first search, beside `python -c "import
llama_index.core"`, each by itself, in turns.
"""

import argparse
import http.client
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks.mcp_launcher import BARE_TOOL
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.rounds import in_turns, ratios, spread
from benchmarks.sample_texts import SampleTexts
from benchmarks.server import COMMAND_LINE, BenchmarkServer, running_server, server_environment

BASE = "mcp"
DOCUMENTS = 200
REVISION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}
MOST_RATIO = 3.0
MOST_START = 1.5
IMPORT = (sys.executable, "-c", "import llama_index.core")
_ids = itertools.count(1)


def run(*, calls: int = 100, rounds: int = 7) -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        questions = SampleTexts(seed=23)
        with running_server(data_dir=data_dir, command=("-m", "benchmarks.mcp_launcher")) as server:
            fill(server)
            costs = cost(server, [questions.text(60) for _ in range(calls)], rounds)
        return [*costs, *_start(data_dir, rounds)]


def fill(server: BenchmarkServer, documents: int = DOCUMENTS) -> None:
    """Put so many documents into the base, and wait for them."""
    texts = SampleTexts(seed=19)
    items = [
        {
            "integrationId": "benchmark",
            "knowledgeBaseId": BASE,
            "externalId": str(number),
            "sourceType": "ARTICLE",
            "data": {"title": f"Document {number}", "content": texts.text(1_200)},
        }
        for number in range(documents)
    ]
    with server.client() as client:
        client.ingest(items)


def message(tool: str, arguments: dict[str, object]) -> bytes:
    """A call of a tool, as the newer revision has it."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    request = {"jsonrpc": "2.0", "id": next(_ids), "method": "tools/call", "params": params}
    return orjson.dumps(request)


def text_of(answer: bytes) -> str:
    """The text of a tool's result; `BenchmarkFailed` where there is none."""
    result = orjson.loads(answer).get("result", {})
    if result.get("isError") or not result.get("content"):
        raise BenchmarkFailed(f"a tool answered {answer[:300].decode(errors='replace')}")
    text: str = result["content"][0]["text"]
    return text


def cost(server: BenchmarkServer, questions: Sequence[str], rounds: int) -> list[Result]:
    """What a search costs beside a bare tool."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def call(tool: str, arguments: dict[str, object]) -> tuple[float, str]:
        headers = {
            "authorization": f"Bearer {server.key}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": REVISION,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        payload = message(tool, arguments)
        begun = time.perf_counter()
        connection.request("POST", "/mcp", payload, headers)
        answer = connection.getresponse().read()
        taken = time.perf_counter() - begun
        return taken, text_of(answer)

    def search(question: str) -> tuple[float, str]:
        return call("search", {"query": question, "knowledge_base": BASE})

    sizes = [len(search(question)[1]) for question in questions]
    # The bare tool's answer has a name and quotes around its text.
    fillings: list[dict[str, object]] = [{"size": size - len('{"text":""}')} for size in sizes]
    measured = in_turns(
        {
            "search": lambda _: statistics.median(search(one)[0] for one in questions),
            "bare": lambda _: statistics.median(call(BARE_TOOL, one)[0] for one in fillings),
        },
        rounds,
    )
    connection.close()
    ratio = ratios(measured["search"], measured["bare"])
    return [
        Result(
            "mcp.search_ratio",
            "A search through MCP over HTTP, to a bare tool that answers as many bytes",
            ratio.median,
            "x",
            f"≤ {MOST_RATIO:.0f}",
            ratio.median <= MOST_RATIO,
            f"{ratio.range()} of {len(questions)} calls each; {DOCUMENTS} documents, answers of "
            f"{statistics.median(sizes):,.0f} characters",
        ),
        Result(
            "mcp.search",
            "That search",
            spread(measured["search"]).median * 1000,
            "ms",
            detail=f"bare tool {spread(measured['bare']).median * 1000:.2f} ms",
        ),
    ]


def first_search(data_dir: Path) -> float:
    """Seconds from the start of `reaktly mcp` to its first answered search."""
    request = message("search", {"query": "the first question", "knowledge_base": BASE}) + b"\n"
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *COMMAND_LINE, "mcp"],
        env=server_environment(data_dir, {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(request)
        process.stdin.flush()
        answer = process.stdout.readline()
        taken = time.perf_counter() - begun
        process.stdin.close()
    text_of(answer)
    return taken


def _start(data_dir: Path, rounds: int) -> list[Result]:
    def start(_: int) -> float:
        return first_search(data_dir)

    def imported(_: int) -> float:
        begun = time.perf_counter()
        subprocess.run(IMPORT, check=True)
        return time.perf_counter() - begun

    start(0), imported(0)  # has bytecode compiled and files in the page cache
    measured: dict[str, Any] = in_turns({"start": start, "import": imported}, rounds)
    ratio = ratios(measured["start"], measured["import"])
    return [
        Result(
            "mcp.start_ratio",
            "`reaktly mcp` from its start to its first answered search, to "
            "`import llama_index.core`",
            ratio.median,
            "x",
            f"≤ {MOST_START}",
            ratio.median <= MOST_START,
            f"{ratio.range()}; peer: python -c 'import llama_index.core', in turns",
        ),
        Result(
            "mcp.start",
            "That start",
            spread(measured["start"]).median,
            "s",
            detail=f"the import {spread(measured['import']).text()} s",
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    return show(run(calls=given.calls, rounds=given.rounds))


if __name__ == "__main__":
    raise SystemExit(main())
