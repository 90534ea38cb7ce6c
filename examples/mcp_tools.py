"""An agent with the tools of an MCP server.

Run it in this folder:

    pip install langchain langchain-mcp-adapters
    OPENAI_API_KEY=sk-... chatkeep serve --model units=python:mcp_tools:agent

Ask it "How many kilometres are 26.2 miles?".
"""

import os
import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import Runnable
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_openai import ChatOpenAI

# A server elsewhere: {"transport": "http", "url": "https://example.com/mcp"}.
SERVERS: dict[str, Any] = {
    "units": {
        "transport": "stdio",
        "command": sys.executable,
        "args": [str(Path(__file__).with_name("mcp_server.py"))],
    },
}


async def agent() -> Runnable[Any, Any]:
    """Ask the servers for their tools, once.

    Each call of a tool opens a connection of its own; here, it starts the server.
    """
    tools = await MultiServerMCPClient(SERVERS).get_tools()
    model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-6-luna"), stream_usage=True)
    return create_agent(model, tools)
