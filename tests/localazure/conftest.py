import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localazure import processes
from localazure.home import Home
from tests.end_to_end import janitor
from tests.localazure.running import Installation


@pytest.fixture(scope="session", autouse=True)
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this worker has started ends with it, also where it is killed."""
    before = os.environ.get(processes.RUN_MARK)
    command = [sys.executable, janitor.__file__, str(tmp_path_factory.mktemp("swept")), processes.new_run()]
    # The janitor must not carry the mark itself: it would end before its time where two of them sweep.
    plain = {name: value for name, value in os.environ.items() if name != processes.RUN_MARK}
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=plain):
        yield
    os.environ.pop(processes.RUN_MARK)
    if before is not None:
        os.environ[processes.RUN_MARK] = before


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
