"""Query parameters: none is ignored, on any route of the API."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.api.test_inputs import problem

DOCUMENT = json.loads((Path(__file__).parent.parent.parent / "openapi.json").read_text())
LENIENT = {"/healthz", "/readyz"}
"""Monitors add parameters of their own, so that no cache answers them."""

OPERATIONS = [
    (method, path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    # OpenAI's clients send what is new there, and its server ignores what it does not know.
    if path not in LENIENT and not path.startswith("/v1/")
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_parameter_that_a_route_does_not_have_is_refused(
    client: TestClient, method: str, path: str
) -> None:
    listed = DOCUMENT["paths"][path][method].get("parameters", [])
    names = [parameter["name"] for parameter in listed if parameter["in"] == "query"]

    # Whoever may call every route.
    secret = client.app.state.services.access.local_secret
    headers = {"authorization": f"Bearer {secret}"}

    response = client.request(method, path + "?limitt=5", json={}, headers=headers)

    assert problem(response) == (422, "invalid-request")
    (error,) = response.json()["errors"]
    assert error["parameter"] == "limitt"
    _, _, accepted = error["detail"].partition("which accepts: ")
    assert set(accepted.split(", ")) == set(names or ["none"])


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/sessions?limit=1&limit=2", "limit"),
        ("/history/s?details=1&details=1", "details"),
        ("/export?format=jsonl&format=openai", "format"),
        ("/search?q=a&q=b", "q"),
        ("/usage?by=day&since=2026-01-01&by=model", "by"),
    ],
)
def test_a_parameter_with_one_value_is_refused_when_it_is_there_twice(
    client: TestClient, path: str, parameter: str
) -> None:
    response = client.get(path)

    assert problem(response) == (422, "invalid-request")
    expected = [{"parameter": parameter, "detail": "must appear only once"}]
    assert response.json()["errors"] == expected


def test_a_parameter_with_several_values_may_be_repeated(client: TestClient) -> None:
    assert client.get("/search?q=a&role=user&role=assistant").status_code == 200


@pytest.mark.parametrize("query", ["", "?", "?&", "?limit=5", "?li%6dit=5"])
def test_what_a_route_has_is_taken_however_it_is_written(client: TestClient, query: str) -> None:
    assert client.get("/sessions" + query).status_code == 200


@pytest.mark.parametrize("query", ["%ff=1", "session_id=%ff", "=1", "Session_id=s", "id=s"])
def test_a_query_that_cannot_be_meant_exports_nothing(client: TestClient, query: str) -> None:
    assert problem(client.get("/export?" + query)) == (422, "invalid-request")


def test_many_wrong_parameters_make_no_long_answer(client: TestClient) -> None:
    query = "&".join(f"{number}{'x' * 200}" for number in range(200))

    response = client.get("/sessions?" + query)

    assert problem(response) == (422, "invalid-request")
    assert len(response.content) < 10_000


@pytest.mark.parametrize("path", ["/healthz?at=1700000000", "/readyz?_", "/?utm_source=x", "/?x"])
def test_a_monitor_and_a_link_to_the_page_may_add_what_they_like(
    client: TestClient, path: str
) -> None:
    assert client.get(path).status_code == 200
