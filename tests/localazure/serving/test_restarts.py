"""How an instance ends that its probe has given up on: a small server in the place of the inference server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from localazure.home import Home
from localazure.serving import Probe, Probes, instances
from localazure.serving.instances import Instance, Launch
from localazure.settings import Settings

from .conftest import until

# Without a startup probe it would not wait for Python to start again.
QUICK = Probes(liveness=Probe(initial_delay=0.1, period=0.2, timeout=1, failure_threshold=3), startup=Probe())
# Answers until there is a file `hung`; asked to end, it writes `asked` and ends only if there is a file `polite`.
SERVER = """
import http.server, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[2])
def asked(*_):
    (folder / "asked").touch()
    if (folder / "polite").exists():
        os._exit(0)
signal.signal(signal.SIGTERM, asked)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while (folder / "hung").exists():
            time.sleep(0.05)
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Small(Launch):
    """Starts the small server."""

    def argv(self, port: int) -> list[str]:
        return [str(self.python), "-c", SERVER, str(port), str(self.app_root)]

    def environment(self, port: int, surroundings: Mapping[str, str]) -> dict[str, str]:
        return dict(surroundings)


@pytest.fixture
def hung(home: Home, tmp_path: Path) -> Iterator[Instance]:
    """An instance that was ready, and that its liveness probe has given up on."""
    launch = Small(Path(sys.executable), tmp_path, "", None, {}, "tumor")
    made = Instance(home, Settings(), launch, tmp_path / "log", QUICK)
    made.start()
    until(made.check)
    (tmp_path / "hung").touch()
    until(lambda: made.overdue)
    made.tend()  # out of the routes
    yield made
    made.stop(grace=0)


def test_an_instance_that_is_to_end_does_not_hold_the_monitor_and_has_its_grace(hung: Instance, tmp_path: Path) -> None:
    assert hung.process
    before = hung.process.pid
    hung.tend()
    until((tmp_path / "asked").exists)
    for _ in range(3):
        hung.tend()
    assert psutil.pid_exists(before), "it may go on with its requests for as long as Kubernetes would let it"
    assert not hung.ready
    assert hung.restarts == 0, "the next one is started when it has ended"


def test_an_instance_that_ends_within_its_grace_is_started_again(hung: Instance, tmp_path: Path) -> None:
    assert hung.process
    before = hung.process.pid
    (tmp_path / "polite").touch()
    hung.tend()
    (tmp_path / "hung").unlink()
    until(lambda: hung.tend() or hung.ready)
    assert (hung.restarts, psutil.pid_exists(before)) == (1, False)


def test_an_instance_that_does_not_end_is_killed_when_its_time_is_up(
    hung: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "GRACE_SECONDS", 0.2)
    assert hung.process
    before = hung.process.pid
    hung.tend()
    (tmp_path / "hung").unlink()
    until(lambda: hung.tend() or hung.ready)
    assert (hung.restarts, psutil.pid_exists(before)) == (1, False)


def test_a_deployment_that_goes_takes_the_instance_that_is_ending_with_it(hung: Instance) -> None:
    assert hung.process
    before = hung.process.pid
    hung.tend()
    hung.stop(grace=0)
    assert not psutil.pid_exists(before)
