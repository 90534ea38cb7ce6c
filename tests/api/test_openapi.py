"""The API's description: committed, current, and with an example of what is sent."""

import json
import subprocess
import sys
from pathlib import Path

from starlette.testclient import TestClient

COMMITTED = Path(__file__).parent.parent.parent / "openapi.json"


def test_the_committed_description_is_current(client: TestClient) -> None:
    """`scripts/docs` updates it, and `scripts/page` the page's types of it."""
    printed = subprocess.run(
        [sys.executable, "-m", "chatkeep", "openapi"], capture_output=True, check=True, text=True
    ).stdout
    assert printed == COMMITTED.read_text(), "openapi.json is stale: run scripts/docs"
    assert client.get("/openapi.json").json() == json.loads(printed)


def test_every_reference_leads_somewhere() -> None:
    text = COMMITTED.read_text()
    document = json.loads(text)
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            for response in operation["responses"].values():
                assert response["description"]


def test_the_body_of_a_chat_has_an_example() -> None:
    document = json.loads(COMMITTED.read_text())
    body = document["paths"]["/chat"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/ChatRequest"}
    assert document["components"]["schemas"]["ChatRequest"]["examples"]
