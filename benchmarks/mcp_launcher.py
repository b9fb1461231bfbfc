"""`reaktly serve` whose MCP server has one more tool: a bare one.

python -m benchmarks.mcp_launcher serve --port 8000
"""

import sys
from collections.abc import Callable
from typing import Annotated

from mcp_types import CallToolResult
from typing_extensions import TypedDict  # pydantic needs this one before 3.12

import reaktly_mcp.http
import reaktly_mcp.server
from llamaindex_reaktly import cli
from reaktly_mcp import results
from reaktly_mcp.access import READ, Access
from reaktly_mcp.facade import Facade
from reaktly_mcp.server import KnowledgeServer

BARE_TOOL = "bare"


class Filling(TypedDict):
    """So much text."""

    text: str


def bare(size: int) -> Annotated[CallToolResult, Filling]:
    """Answer so many characters: what any tool of this server costs."""
    return results.result({"text": "x" * size})


class WithBareTool(KnowledgeServer):
    """The server with the bare tool."""

    def __init__(self, facade: Facade, access: Callable[[], Access]) -> None:
        super().__init__(facade, access)
        self.add_tool(bare, name=BARE_TOOL)


def main() -> None:
    """Run the command line with a server that has the tool."""
    scopes = dict(reaktly_mcp.server.SCOPES) | {BARE_TOOL: frozenset({READ})}
    setattr(reaktly_mcp.server, "SCOPES", scopes)  # noqa: B010 - a constant to all others
    setattr(reaktly_mcp.http, "KnowledgeServer", WithBareTool)  # noqa: B010
    sys.argv[0] = "reaktly"
    cli.main()


if __name__ == "__main__":
    main()
