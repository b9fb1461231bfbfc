"""Standard input and output on this side, a company's server on the other.

An assistant's client that can only start programs reaches a server's `/mcp` through this.
Tools, scopes and words are the server's; a key decides there. What is left to do here is
to leave out what this one was told to leave out.
"""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TypeVar

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    TextContent,
    Tool,
)

from llamaindex_reaktly.errors import Unauthenticated, Unavailable
from reaktly_mcp.server import INSTRUCTIONS, without_base
from reaktly_mcp.tools import FIRST_STATELESS_VERSION

CONNECT_SECONDS = 10.0
# Above what an ingestion waits for its documents.
READ_SECONDS = 120.0

Context = ServerRequestContext[object]
Made = TypeVar("Made")


class Bridge:
    """Forwards each message to the server of that address, with that key.

    `read_only` leaves out the tools that change anything, `knowledge_base` is put into each
    call. A server that is away is a tool error; the next call tries again.
    """

    def __init__(
        self, address: str, key: str, *, read_only: bool = False, knowledge_base: str | None = None
    ) -> None:
        self._address = address.rstrip("/")
        self._key = key
        self._read_only = read_only
        self._base = knowledge_base

    async def run(self) -> None:
        """Serve until standard input ends.

        Raises `Unauthenticated` where the key is refused, `Unavailable` where nothing answers.
        """
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
            await self._try_key(http)
            server = self._server(http)
            async with stdio_server() as (read, write):
                await server.run(read, write, server.create_initialization_options())

    async def _try_key(self, http: httpx2.AsyncClient) -> None:
        """What is wrong with address or key is said now, in a sentence."""
        ping = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
        accept = {"accept": "application/json, text/event-stream"}
        try:
            answer = await http.post(self._address + "/mcp", json=ping, headers=accept)
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise Unavailable(f"nothing answers at {self._address}") from None
        if answer.status_code == 401:
            raise Unauthenticated(f"{self._address} refuses the key in REAKTLY_API_KEY")
        if answer.status_code != 200:
            raise Unavailable(
                f"{self._address}/mcp answers {answer.status_code} where an MCP server would not"
            )

    def _server(self, http: httpx2.AsyncClient) -> "Server[object]":
        async def reach(ask: Callable[[Client], Awaitable[Made]]) -> Made:
            return await self._reach(http, ask)

        def page(params: PaginatedRequestParams | None) -> str | None:
            return None if params is None else params.cursor

        async def tools(_: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
            listed = await reach(lambda client: client.list_tools(cursor=page(params)))
            return ListToolsResult(
                tools=[self._shown(tool) for tool in listed.tools if self._may_use(tool)],
                next_cursor=listed.next_cursor,
            )

        async def call(context: Context, params: CallToolRequestParams) -> CallToolResult:
            if self._read_only and params.name not in {
                tool.name for tool in (await tools(context, None)).tools
            }:
                return _failed(f"there is no tool {params.name!r} here")
            arguments = dict(params.arguments or {})
            if self._base is not None:
                arguments["knowledge_base"] = self._base
            try:
                return await reach(
                    lambda client: client.call_tool(
                        params.name, arguments, progress_callback=context.session.report_progress
                    )
                )
            except MCPError as error:
                return _failed(error.error.message)

        async def resources(
            _: Context, params: PaginatedRequestParams | None
        ) -> ListResourcesResult:
            return await reach(lambda client: client.list_resources(cursor=page(params)))

        async def templates(
            _: Context, params: PaginatedRequestParams | None
        ) -> ListResourceTemplatesResult:
            return await reach(lambda client: client.list_resource_templates(cursor=page(params)))

        async def read(_: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
            return await reach(lambda client: client.read_resource(params.uri))

        async def prompts(_: Context, params: PaginatedRequestParams | None) -> ListPromptsResult:
            return await reach(lambda client: client.list_prompts(cursor=page(params)))

        async def prompt(_: Context, params: GetPromptRequestParams) -> GetPromptResult:
            return await reach(lambda client: client.get_prompt(params.name, params.arguments))

        return Server(
            "reaktly",
            version=version("llamaindex-reaktly"),
            instructions=INSTRUCTIONS,
            on_list_tools=tools,
            on_call_tool=call,
            on_list_resources=resources,
            on_list_resource_templates=templates,
            on_read_resource=read,
            on_list_prompts=prompts,
            on_get_prompt=prompt,
        )

    def _may_use(self, tool: Tool) -> bool:
        annotations = tool.annotations
        return not self._read_only or (annotations is not None and bool(annotations.read_only_hint))

    def _shown(self, tool: Tool) -> Tool:
        if self._base is None:
            return tool
        return tool.model_copy(update={"input_schema": without_base(tool.input_schema)})

    async def _reach(
        self, http: httpx2.AsyncClient, ask: Callable[[Client], Awaitable[Made]]
    ) -> Made:
        """Ask the server over a connection of its own, since a broken one ends all that it holds.

        Connections are kept by `http`, and this protocol opens none: that costs nothing.
        """
        answer: Made | MCPError
        try:
            transport = streamable_http_client(self._address + "/mcp", http_client=http)
            async with Client(transport, mode=FIRST_STATELESS_VERSION) as client:
                try:
                    answer = await ask(client)
                except MCPError as error:
                    answer = error
        except BaseExceptionGroup as group:
            if group.split(httpx2.HTTPError)[1] is not None:
                raise
            answer = MCPError(
                code=INTERNAL_ERROR,
                message=f"{self._address} cannot be reached; try again in a while",
            )
        if isinstance(answer, MCPError):
            raise answer
        return answer


def _failed(sentence: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
