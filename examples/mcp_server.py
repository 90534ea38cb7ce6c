"""A small MCP server, which `mcp_tools.py` starts."""

from mcp.server.fastmcp import FastMCP

server = FastMCP("units", log_level="WARNING")


@server.tool()
def to_kilometres(miles: float) -> float:
    """Convert miles to kilometres."""
    return round(miles * 1.609344, 3)


if __name__ == "__main__":
    server.run()
