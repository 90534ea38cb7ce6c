"""The application in memory, with a scripted model behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from chatkeep.app import create_app
from chatkeep.settings import Settings
from tests.conftest import Databases
from tests.upstream import Upstream


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running_client(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    running_upstream: Upstream,
) -> Iterator[TestClient]:
    settings = Settings(
        database_url=databases.create(request.param),
        data_dir=tmp_path_factory.mktemp("data"),
        model="openai:scripted",
        allowed_hosts=("chat.example",),
        allowed_origins=("https://page.example",),
        OPENAI_BASE_URL=f"{running_upstream.url}/v1",
    )
    with TestClient(create_app(settings), base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def client(running_client: TestClient, upstream: Upstream) -> TestClient:
    return running_client


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
