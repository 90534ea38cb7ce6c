"""Real servers with the scripted model, for unmodified clients."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.border import Border, assistant
from tests.clients.environments import Client, development_client, node_client, python_client
from tests.conftest import Databases
from tests.process import Server
from tests.replicas import Replicas
from tests.upstream import Upstream

MODELS = "gpt-5-mini=openai:scripted"
"""A name that clients know: some send what only such models take."""


@pytest.fixture(scope="module")
def sqlite_border(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Border]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_MODELS": MODELS,
    }
    with (
        Server(tmp_path_factory.mktemp("data"), env) as server,
        Border([server], running_upstream) as border,
    ):
        yield border


@pytest.fixture(scope="module", params=["sqlite", "replicas"])
def either_border(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Border]:
    """One server with SQLite, or three replicas with PostgreSQL, of which each takes a third."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_border")
        return
    upstream: Upstream = request.getfixturevalue("running_upstream")
    databases: Databases = request.getfixturevalue("databases")
    url = databases.create("postgresql")
    with ExitStack() as stack:
        stack.callback(databases.drop, url)
        folder = tmp_path_factory.mktemp("replicas")
        env = {"CHATKEEP_MODELS": MODELS}
        replicas = stack.enter_context(Replicas(folder, url, upstream, **env))
        yield stack.enter_context(Border(replicas.servers, upstream))


@pytest.fixture
def border(sqlite_border: Border, upstream: Upstream) -> Border:
    """One server with SQLite."""
    upstream.script = assistant
    sqlite_border.clear()
    return sqlite_border


@pytest.fixture
def borders(either_border: Border, upstream: Upstream) -> Border:
    """Each test runs with SQLite, and with three replicas."""
    upstream.script = assistant
    either_border.clear()
    return either_border


@pytest.fixture(scope="session")
def python() -> Client:
    return python_client()


@pytest.fixture(scope="session")
def development() -> Client:
    return development_client()


@pytest.fixture(scope="session")
def node() -> Client:
    return node_client()
