"""LlamaIndex's own MCP client meets the server over HTTP, as its agents do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from mcp_types import TextResourceContents
from starlette.routing import Route

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api import create_app
from reaktly_mcp import McpEndpoint


@pytest.fixture
def url(core: KnowledgeBase) -> Iterator[str]:
    endpoint = McpEndpoint(core)
    app = create_app(core, mounts=[Route("/mcp", endpoint)], mounts_lifespan=endpoint.lifespan)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        server.should_exit = True
        thread.join()


async def test_its_tools_are_a_llama_index_agents_tools(
    core: KnowledgeBase, url: str, put: Callable[..., str]
) -> None:
    from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

    document_id = put("Water in the morning.")
    key = core.registry.keys.create("agent", knowledge_bases=["kb"])[1]
    client = BasicMCPClient(url, headers={"authorization": f"Bearer {key}"})
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    assert {"search", "fetch", "ingest"} <= set(tools)
    assert "knowledge_base" not in tools["search"].metadata.get_parameters_dict()["properties"]
    output = await tools["fetch"].acall(id=document_id)
    assert "Water in the morning." in str(output.content)
    address = f"reaktly://documents/{document_id}"
    # Declared as `AnyUrl`, which the 2.x client that it hands it to refuses.
    (content,) = (await client.read_resource(address)).contents  # type: ignore[arg-type]
    assert isinstance(content, TextResourceContents)
    assert content.text == "Water in the morning."
