"""LangChain's traces, which send every text to whoever its own variables name."""

import os

VARIABLES = (
    "LANGSMITH_TRACING",
    "LANGSMITH_TRACING_V2",
    "LANGCHAIN_TRACING",
    "LANGCHAIN_TRACING_V2",
)
"""What switches them on: https://docs.langchain.com/langsmith/env-var"""


def switch_off() -> list[str]:
    """Switch traces off for this process, before LangChain is imported.

    A variable that is set for another program on this machine must not send conversations away.
    Returns the variables that had switched them on.
    """
    ignored = [name for name in VARIABLES if os.environ.get(name, "").lower() == "true"]
    for name in ignored:
        os.environ[name] = "false"
    return ignored
