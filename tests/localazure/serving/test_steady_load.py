"""The router under steady load: a real Envoy in front of fast stand-ins for instances, and nothing is lost."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from bench.load import Load, Rates, Request, Target
from localazure.serving import EndpointRoute
from localazure.serving.envoy import Router
from localazure.serving.envoy_config import Backend

from .conftest import Container, client, until

# Loads name the router by its address.
ROUTE = EndpointRoute("tumor", ("127.0.0.1",), "key", ("k1", "k2"), {"blue": 100}, {}, ("blue", "green"))
STEADY = Rates(kept=200, new=200)


class Instances:
    """Starts instances, each a process of its own."""

    def __init__(self) -> None:
        self.running: dict[int, subprocess.Popen[str]] = {}

    def start(self, name: str, keep: float = 0) -> int:
        """The port that it answers at."""
        argv = [sys.executable, str(Path(__file__).with_name("upstream.py")), name, str(keep)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        port = int(process.stdout.readline())
        self.running[port] = process
        return port

    def kill(self, port: int) -> tuple[float, float]:
        """Kills it with SIGKILL; the instants before and after."""
        process = self.running.pop(port)
        before = time.monotonic()
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()
        return before, time.monotonic()


@pytest.fixture
def instances() -> Iterator[Instances]:
    made = Instances()
    yield made
    for port in list(made.running):
        made.kill(port)


@pytest.fixture
def steady(router: Router, tmp_path: Path) -> Callable[..., Load]:
    """Load on the endpoint, by its primary key."""

    def load(rates: Rates = STEADY, key: str = "k1", connections: int = 16) -> Load:
        target = Target(f"http://127.0.0.1:{router.port}/score", '{"input_data": [1]}', key)
        return Load(target, tmp_path / f"load-{key}", rates, connections=connections)

    return load


def backend(name: str, *ports: int, draining: tuple[int, ...] = (), limit: int = 100) -> Backend:
    return Backend("tumor", name, 5000, limit, ports, draining)


def on(load: Load, count: int = 100) -> list[Request]:
    """Lets the load go on for a while."""
    return load.wait_for(count, since=time.monotonic())


def lost(load: Load) -> list[str]:
    return [f"{each.status} {each.error}" for each in load.requests() if each.lost]


def answered(load: Load, since: float = 0) -> Counter[str]:
    """Who has answered how many of the requests that began since."""
    return Counter(each.deployment for each in load.requests() if each.began >= since)


def drain(router: Router, instances: Instances, one: Backend) -> None:
    """Ends instances that drain as serving does: once they have nothing in flight."""
    until(lambda: not router.requests_in_flight(one, one.draining))
    for port in one.draining:
        instances.kill(port)


def test_weights_flip_while_endpoints_come_and_go(
    router: Router, instances: Instances, steady: Callable[..., Load]
) -> None:
    both = [backend(name, instances.start(name)) for name in ("blue", "green")]
    router.push([ROUTE], both)
    other = replace(ROUTE, name="other", hosts=("other.eastus.inference.ml.azure.com",))
    with steady() as load:
        on(load)
        for turn in range(1, 21):
            flipped = replace(ROUTE, traffic={"blue": 100 - 5 * turn, "green": 5 * turn})
            extra = replace(both[0], endpoint="other")
            router.push([flipped, other] if turn % 2 else [flipped], [*both, extra] if turn % 2 else both)
        returned = time.monotonic()
        on(load, 400)
    assert not lost(load)
    assert set(answered(load)) == {"blue", "green"}
    assert set(answered(load, since=returned)) == {"green"}, "a push is in force when it has returned"


def test_scaling_from_one_to_three_and_back(router: Router, instances: Instances, steady: Callable[..., Load]) -> None:
    first, *more = (instances.start("blue") for _ in range(3))
    router.push([ROUTE], [backend("blue", first)])
    with steady() as load:
        on(load)
        router.push([ROUTE], [backend("blue", first, *more)])
        on(load)
        going = backend("blue", first, draining=tuple(more))
        router.push([ROUTE], [going])
        drain(router, instances, going)
        router.push([ROUTE], [backend("blue", first)])
        on(load)
    assert not lost(load)


def test_a_revision_takes_over_and_the_drained_one_goes(
    router: Router, instances: Instances, steady: Callable[..., Load]
) -> None:
    blue, green = (backend(name, instances.start(name)) for name in ("blue", "green"))
    router.push([ROUTE], [blue])
    with steady() as load:
        on(load)
        router.push([ROUTE], [blue, green])
        router.push([replace(ROUTE, traffic={"blue": 10, "green": 90})], [blue, green])
        on(load)
        router.push([replace(ROUTE, traffic={"green": 100})], [blue, green])
        going = replace(blue, ports=(), draining=blue.ports)
        router.push([replace(ROUTE, traffic={"green": 100}, deployments=("green",))], [going, green])
        drain(router, instances, going)
        router.push([replace(ROUTE, traffic={"green": 100}, deployments=("green",))], [green])
        on(load)
    assert not lost(load)
    assert set(answered(load)) == {"blue", "green"}


def test_another_secondary_key_disturbs_nobody_who_has_the_primary(
    router: Router, instances: Instances, steady: Callable[..., Load]
) -> None:
    blue = [backend("blue", instances.start("blue"))]
    router.push([ROUTE], blue)
    with steady() as load, caller(router) as other:
        for turn in range(20):
            on(load, 10)
            router.push([replace(ROUTE, keys=("k1", f"renewed-{turn}"))], blue)
            keys = {"k1": 200, f"renewed-{turn}": 200, f"renewed-{turn - 1}": 401, "k2": 401}
            got = {key: other.post("/score", headers={"Authorization": f"Bearer {key}"}).status_code for key in keys}
            assert got == keys
    assert not lost(load)


def caller(router: Router, **headers: str) -> httpx.Client:
    return client(router.port, Host="127.0.0.1", **headers)


def test_a_killed_instance_loses_only_what_was_in_flight_on_it(
    router: Router, instances: Instances, steady: Callable[..., Load]
) -> None:
    ports = [instances.start("blue") for _ in range(2)]
    router.push([ROUTE], [backend("blue", *ports)])
    with steady() as load:
        on(load)
        before, after = instances.kill(ports[0])
        # Nobody has told the router yet: it finds out by itself. Serving tells it within a quarter of a second or two.
        on(load, 200)
        router.push([ROUTE], [backend("blue", ports[1])])
        on(load)
    gone = [each for each in load.requests() if each.lost]
    assert all(each.began <= after and each.ended >= before for each in gone), lost(load)
    assert len(gone) <= 16, "no more than there are connections"


def test_the_only_instance_is_asked_again_whatever_it_did(
    router: Router, container: Callable[[str], Container]
) -> None:
    router.push([ROUTE], [backend("blue", container("blue").port)])
    with caller(router) as one:
        statuses = [one.post("/score", headers={"x-crash": "1"} if turn % 2 else {}).status_code for turn in range(6)]
    assert statuses == [200, 502] * 3


def test_the_router_lets_go_of_an_unused_connection_before_the_instance_does(
    router: Router, instances: Instances
) -> None:
    """A request must not meet the end of its connection: gunicorn keeps one for 2 seconds, when it keeps it at all."""
    router.push([ROUTE], [backend("blue", instances.start("blue", keep=2))])
    with caller(router) as one:
        assert one.post("/score").status_code == 200
    until(lambda: router._stats("upstream_cx_active")["cluster.tumor/blue.upstream_cx_active"] == "0")
    ended = router._stats("upstream_cx_destroy")
    assert ended["cluster.tumor/blue.upstream_cx_destroy_local"] == "1"
    assert ended["cluster.tumor/blue.upstream_cx_destroy_remote"] == "0"


LARGE = 100 * 1024 * 1024


@contextmanager
def most_memory(process: psutil.Process) -> Iterator[list[int]]:
    """Bytes that the process holds: the first and the most while the body runs."""
    seen = [process.memory_info().rss] * 2
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            seen[1] = max(seen[1], process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_a_hundred_megabytes_pass_either_way_without_being_kept(router: Router, instances: Instances) -> None:
    both = [replace(backend(name, instances.start(name)), timeout_ms=180_000) for name in ("blue", "green")]
    # Mirrored as well, which keeps nothing either.
    router.push([replace(ROUTE, mirror={"green": 100})], both)
    [envoy] = [item for item in psutil.Process().children() if "envoy" in item.name()]
    # The instance reads late, and the caller does: who sends meanwhile must wait.
    slow = {"x-pause": "0.5", "x-more": str(LARGE)}
    with caller(router, **slow) as one, most_memory(envoy) as memory:
        for _ in range(2):
            with one.stream("POST", "/score", content=b"x" * LARGE) as answer:
                time.sleep(0.5)
                first, received = b"", 0
                for piece in answer.iter_raw():
                    first, received = first or piece, received + len(piece)
            assert answer.status_code == 200
            assert f'"size": {LARGE}' in first[:100].decode()
            assert received > LARGE
    assert memory[1] - memory[0] < LARGE / 4
