"""The measurement of MCP's cost measures what it says; its figures are not judged here."""

from pathlib import Path

import pytest

from benchmarks.mcp import cost, fill, first_search
from benchmarks.server import running_server

pytestmark = pytest.mark.timeout(120)


def test_searches_and_bare_calls_are_answered_and_so_is_a_first_search_over_stdio(
    tmp_path: Path,
) -> None:
    with running_server(
        data_dir=tmp_path / "data", command=("-m", "benchmarks.mcp_launcher")
    ) as server:
        fill(server, documents=3)
        results = cost(server, ["a question"], rounds=5)
    assert [result.id for result in results] == ["mcp.search_ratio", "mcp.search"]
    assert all(result.value > 0 for result in results)
    assert first_search(tmp_path / "data") > 0
