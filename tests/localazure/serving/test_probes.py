"""Probes: what an instance's answers to `GET /` come to, with a server that answers as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from localazure.serving import Probe, Probes
from localazure.serving.probes import Prober, Tally

from .conftest import QuietServer, until

QUICK = Probe(initial_delay=0.1, period=0.05, timeout=0.2, failure_threshold=3)
PATIENT = Probe(period=0.05, timeout=0.2, failure_threshold=1_000_000)


@dataclass
class Fake:
    """A server whose health the test sets.

    Attributes:
        status: what it answers; 0 for nothing at all, as one that hangs.
        asked: how often it was asked.
    """

    status: int = 200
    asked: int = 0
    port: int = 0
    hung: threading.Event = field(default_factory=threading.Event)


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked += 1
            if not fake.status:
                fake.hung.wait(30)
                return
            self.send_response(fake.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    server = QuietServer(("127.0.0.1", 0), _handler(made))
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.hung.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def probers() -> Iterator[list[Prober]]:
    started: list[Prober] = []
    yield started
    for each in started:
        each.end()


def start(probers: list[Prober], fake: Fake, **probes: Any) -> Prober:
    prober = Prober(fake.port, Probes(**probes), lambda: True)
    probers.append(prober)
    prober.start()
    return prober


def test_what_answers_at_once_is_ready_long_before_the_initial_delay(fake: Fake, probers: list[Prober]) -> None:
    slow = Probe(initial_delay=3600, period=3600)
    prober = start(probers, fake, liveness=slow, readiness=slow)
    assert prober.wait(30), "the delay is how long it may take, not how long it must"
    assert prober.ready
    assert fake.asked == 1, "and from then on it is asked by the probes' own times"


def test_as_many_successes_in_a_row_as_the_threshold_make_it_ready(fake: Fake, probers: list[Prober]) -> None:
    prober = start(probers, fake, readiness=Probe(success_threshold=4))
    assert prober.wait(30)
    assert fake.asked == 4


def test_an_instance_that_stops_answering_leaves_and_comes_back(fake: Fake, probers: list[Prober]) -> None:
    prober = start(probers, fake, liveness=PATIENT, readiness=QUICK)
    assert prober.wait(30)
    fake.status = 503
    until(lambda: not prober.ready)
    assert prober.failed is None, "readiness never ends a process"
    fake.status = 200
    until(lambda: prober.ready)


def test_liveness_gives_up_after_its_failures_in_a_row_and_says_why(fake: Fake, probers: list[Prober]) -> None:
    prober = start(probers, fake, liveness=QUICK, readiness=PATIENT)
    assert prober.wait(30)
    fake.status = 0
    until(lambda: prober.failed is not None)
    assert prober.failed == "did not answer GET / within 0.2 s, 3 times in a row (livenessProbe)"
    assert not prober.ready, "what is about to be ended gets no more requests"


def test_a_slow_readiness_probe_does_not_delay_liveness(fake: Fake, probers: list[Prober]) -> None:
    slow = Probe(initial_delay=0.1, period=0.05, timeout=600)
    later = Probe(initial_delay=0.3, period=0.05, timeout=0.2, failure_threshold=3)
    prober = start(probers, fake, liveness=later, readiness=slow)
    assert prober.wait(30)
    fake.status = 0
    until(lambda: prober.failed is not None, seconds=20)  # readiness is asked first and gets no answer for 30 s


@pytest.mark.parametrize(
    ("probes", "said"),
    [
        ({"readiness": QUICK}, "was not ready within 0.25 s (readinessProbe)"),
        ({"liveness": QUICK}, "was not ready within 0.25 s (livenessProbe)"),
        ({"liveness": QUICK, "startup": Probe(0.2, 0.1, 1, 1, 2)}, "was not ready within 0.4 s (startupProbe)"),
    ],
)
def test_a_start_is_waited_for_as_long_as_the_probes_allow(
    fake: Fake, probers: list[Prober], probes: dict[str, Probe], said: str
) -> None:
    fake.status = 500
    prober = start(probers, fake, **probes)
    until(lambda: prober.failed is not None)
    assert prober.failed == said
    assert not prober.started


def test_the_default_is_310_seconds_as_in_azure() -> None:
    assert Probes().readiness.patience == 310


def test_until_the_startup_probe_has_succeeded_the_others_do_not_count(fake: Fake, probers: list[Prober]) -> None:
    fake.status = 500
    prober = start(probers, fake, liveness=QUICK, readiness=QUICK, startup=Probe(initial_delay=60))
    until(lambda: fake.asked > 10)
    assert prober.failed is None
    fake.status = 200
    assert prober.wait(30)


def test_other_probes_hold_at_once_and_change_nothing_of_what_is_ready(fake: Fake, probers: list[Prober]) -> None:
    prober = start(probers, fake, readiness=Probe(initial_delay=3600, period=3600))
    assert prober.wait(30)
    fake.status = 500
    prober.follow(Probes(liveness=PATIENT, readiness=QUICK))
    until(lambda: not prober.ready)
    prober.follow(Probes(liveness=PATIENT, readiness=PATIENT))
    asked = fake.asked
    until(lambda: fake.asked > asked + 3)
    assert not prober.ready, "other probes are no reason to call it ready"


def test_a_stranger_on_the_port_is_not_taken_for_the_instance(fake: Fake, probers: list[Prober]) -> None:
    prober = Prober(fake.port, Probes(), lambda: False)
    probers.append(prober)
    prober.start()
    until(lambda: fake.asked > 3)
    assert not prober.ready


def test_one_that_has_ended_asks_no_more(fake: Fake, probers: list[Prober]) -> None:
    prober = start(probers, fake, liveness=QUICK, readiness=QUICK)
    assert prober.wait(30)
    prober.end()
    assert not prober.ready
    until(lambda: not prober._thread.is_alive())


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        ("++++", True),
        ("--", True),
        ("---", False),
        ("--+--+--", True),
        ("---+", False),
        ("---+-+", False),
        ("---++", True),
        ("---++--", True),
    ],
)
def test_only_so_many_in_a_row_turn_a_probe(answers: str, passes: bool) -> None:
    tally = Tally(Probe(success_threshold=2, failure_threshold=3), passes=True, due=0)
    for each in answers:
        tally.count(each == "+", time.monotonic())
    assert tally.passes is passes
