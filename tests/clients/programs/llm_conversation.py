"""`llm` and its plugin for OpenAI: conversations with a tool, in one of three ways."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import llm

MODELS = [
    {"model_id": f"own-{kind}", "model_name": "scripted", "supports_tools": True, **more}
    for kind, more in (
        ("completions", {"supports_schema": True}),
        ("responses", {"supports_schema": True, "responses": True}),
    )
]
"""How a user of `llm` names models of a server of their own."""


def get_weather(city: str) -> str:
    """Looks up the weather."""
    assert city == "Oslo"
    return "7 degrees"


def turns(model: llm.Model, *texts: str) -> dict[str, Any]:
    conversation = model.conversation(tools=[get_weather])
    return {"replies": [conversation.chain(text).text() for text in texts]}


def parsed(model: llm.Model, text: str) -> dict[str, Any]:
    schema = llm.schema_dsl("city, degrees int")
    return {"object": json.loads(model.prompt(text, schema=schema).text())}


def streamed(model: llm.Model, text: str) -> dict[str, Any]:
    pieces = []
    error = again = None
    try:
        for piece in model.prompt(text):
            pieces.append(piece)
    except Exception as caught:
        error = type(caught).__name__
        again = model.prompt(text).text()
    return {"text": "".join(pieces), "error": error, "again": again}


for row in MODELS:
    row["api_base"] = os.environ["OPENAI_BASE_URL"]
# JSON is YAML.
Path(llm.user_dir(), "extra-openai-models.yaml").write_text(json.dumps(MODELS))
way, name, *arguments = sys.argv[1:]
ways = {way.__name__: way for way in (turns, parsed, streamed)}
print(json.dumps(ways[way](llm.get_model(name), *arguments)))
