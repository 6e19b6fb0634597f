from collections.abc import Iterator
from pathlib import Path

import pytest

from localazure.home import Home
from tests.localazure.running import Installation


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A state folder of the test's own."""
    found = Home.at(tmp_path / "home")
    found.create()
    return found


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A home of the test's own, with nothing running; whatever runs in it at the end is ended."""
    installation = Installation(Home.at(tmp_path / "home's folder"))
    yield installation
    if installation.home.exists:
        installation.ok("stop")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A Local Azure that runs, shared by tests that only look at it."""
    installation = Installation(Home.at(tmp_path_factory.mktemp("running") / "home"))
    installation.ok("start")
    yield installation
    installation.ok("stop")
