"""The MCP door: tools, resources and a prompt on the knowledge bases of one core."""

from reaktly_mcp.access import Access
from reaktly_mcp.http import McpEndpoint
from reaktly_mcp.server import KnowledgeServer

__all__ = ["Access", "KnowledgeServer", "McpEndpoint"]
