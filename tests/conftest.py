"""What several folders of tests share: the scripted model and a real server that calls it.

One server serves a whole module: each test takes a session of its own.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from chatkeep.store.opening import make_store
from tests.postgres import Cluster, name_of
from tests.process import Server
from tests.upstream import Upstream, polite

# How long an example takes depends on what else the machine does.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


LONGEST_FILES = (
    "docs/test_readme.py",
    "faults/test_sabotage.py",
    "cli/test_edges.py",
    "docs/test_site.py",
    "server/test_titles.py",
    "server/test_failures.py",
    "faults/test_kills.py",
    "docs/test_install.py",
    "server/test_imports.py",
    "browser/test_costs.py",
    "cli/test_commands.py",
    "api/test_archive.py",
    "server/test_providers.py",
    "faults/test_files.py",
    "clients/test_other_python.py",
    "clients/test_langchain.py",
    "clients/test_openai_agents.py",
)
"""Those that take a minute or more, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: at the end no worker is left alone with one of them."""
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="try every point of every sweep")
    parser.addoption("--write-shapes", action="store_true", help="write shapes.md anew")


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a sweep tries all of its points: a normal run tries some."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def summarise(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Print a line at the end of the run, whichever worker the test ran in."""
    return lambda line: record_property("shown", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == "shown" and report.when == "call":
                terminalreporter.write_line(str(line))


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with nothing in it: to copy it takes a tenth of the time of all migrations."""
    path = tmp_path_factory.mktemp("new") / "chatkeep.db"
    store = make_store(f"sqlite:///{path}", readers=1, write_queue=1)
    store.open()
    store.close()
    return path


class Databases:
    """Makes databases that have this program's schema, and nothing in them."""

    def __init__(self, folder: Path, sqlite: Path) -> None:
        self._folder = folder
        self._sqlite = sqlite
        self._cluster: Cluster | None = None
        self._template = ""
        self._count = 0

    def create(self, kind: str) -> str:
        """The URL of a new one, `sqlite` or `postgresql`."""
        self._count += 1
        if kind == "sqlite":
            folder = self._folder / str(self._count)
            folder.mkdir(mode=0o700)
            return f"sqlite:///{shutil.copy(self._sqlite, folder)}"
        return self.cluster.create(self._template)

    @property
    def cluster(self) -> Cluster:
        """The PostgreSQL that they are in, started when it is first needed."""
        if self._cluster is None:
            self._cluster = Cluster()
            url = self._cluster.create()
            store = make_store(url, readers=1, write_queue=1)
            store.open()
            store.close()
            self._template = name_of(url)
        return self._cluster

    def drop(self, url: str) -> None:
        if self._cluster is not None and not url.startswith("sqlite:"):
            self._cluster.drop(url)

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.remove()


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, new_database: Path) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("databases"), new_database)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """The URL of a new database; each test runs with both kinds."""
    url = databases.create(request.param)
    yield url
    databases.drop(url)


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """The URL of a new database of PostgreSQL, for what several processes do."""
    url = databases.create("postgresql")
    yield url
    databases.drop(url)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of the test's own, which waits for its disk."""
    made = Cluster(is_safe=True)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def running_upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def upstream(running_upstream: Upstream) -> Upstream:
    running_upstream.script = polite
    running_upstream.calls.clear()
    return running_upstream


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


@pytest.fixture
def server(running_server: Server, upstream: Upstream) -> Server:
    return running_server


@pytest.fixture
def session(request: pytest.FixtureRequest) -> str:
    """A session that no other test uses."""
    return f"session of {request.node.name}"[:255]
