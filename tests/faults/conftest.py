"""How thorough a sweep is: some of its points in a normal run, all of them with `--full`."""

import pytest


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))
