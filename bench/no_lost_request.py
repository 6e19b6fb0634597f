"""Changes of a stack under load: each an edit of the stack configuration and `make up`, as its user does it.

Whoever asks meanwhile must not notice: `Walk` counts the requests that began during each change and those that were
lost, and looks at who answers afterwards, so that a change that did not happen is not taken for one that lost nothing.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from bench import trivial
from bench.clone import Clone
from bench.load import CONNECTIONS, Load, Rates, Request, Target, capacity
from localazure.environment import client_environment
from localazure.home import DEFAULT_NAME, Home
from localazure.serving.envoy import in_flight

ENDPOINT = "tumor-online"
REQUESTS = 100_000
TITLE = "Requests lost while the stack is changed"
BODY = '{"data": [[1, 2, 3]]}'
# Enough to see a share of 10 %: that none of them falls on it is as likely as 2e-9.
SEEN = 200
# Enough to see that the old weights are still at work: each request has all of them or none.
FLIPPED = 50
# Azure answers 429 beyond twice this number; the load has fewer connections, and they may pile up while `up` computes.
CONCURRENCY = CONNECTIONS
PATIENCE = 120.0
# As many as any change asks for, where a small machine would run fewer.
ALL_INSTANCES = {"LOCALAZURE_MAX_INSTANCES_PER_DEPLOYMENT": "3"}
API = "2024-10-01"
REGENERATE = """
import os
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
ml = MLClient(DefaultAzureCredential(), os.environ["ARM_SUBSCRIPTION_ID"], "rg-aml-local", "aml-local")
before = ml.online_endpoints.get_keys("{endpoint}")
ml.online_endpoints.begin_regenerate_keys("{endpoint}", key_type="secondary").result()
after = ml.online_endpoints.get_keys("{endpoint}")
assert before.primary_key == after.primary_key
assert before.secondary_key != after.secondary_key
"""
SMOKE_TEST_THAT_FAILS = {"request": "smoke.json", "json": ["another answer"], "timeLimit": 30}


@dataclass(frozen=True)
class Death:
    """When an instance died, and how many requests were in flight on the others when that began."""

    began: float
    ended: float
    elsewhere: int

    def met(self, request: Request) -> bool:
        """Whether a request was in flight meanwhile."""
        return 0 < request.sent < self.ended and request.ended > self.began


@dataclass(frozen=True)
class Row:
    """What a change did to those who asked meanwhile.

    Attributes:
        seconds: that the change took.
        requests: that began during it, or after it and before the next one.
        lost: those of them that were lost.
        allowed: how many may be lost: those in flight while an instance that is killed dies, less those on another one.
        unexcused: those that were lost and were not in flight then, and those that are too many.
    """

    change: str
    seconds: float
    requests: int
    lost: tuple[Request, ...]
    allowed: int
    unexcused: tuple[Request, ...]
    rate: float
    median: float
    p99: float

    def __str__(self) -> str:
        lost = f"{len(self.lost)}" + (f" (at most {self.allowed})" if self.allowed else "")
        times = f"{self.median * 1000:.0f} ms | {self.p99 * 1000:.0f} ms"
        return f"| {self.change} | {self.seconds:.1f} s | {self.requests:,} | {self.rate:.0f} | {times} | {lost} |"


HEAD = ("| change | took | requests | requests/s | median | p99 | lost |", "|---|---|---|---|---|---|---|")


def table(rows: Iterable[Row]) -> str:
    """The rows and their sum."""
    rows = list(rows)
    requests, lost = sum(each.requests for each in rows), sum(len(each.lost) for each in rows)
    return "\n".join([*HEAD, *map(str, rows), f"| together | | {requests:,} | | | | {lost} |"])


@dataclass
class _Done:
    """A change that was made: when, and when something died of it that may take its requests with it."""

    change: str
    began: float
    ended: float
    dying: Death | None = None


class Walk:
    """A clone with one endpoint, and what is changed in it while it is asked."""

    def __init__(self, clone: Clone, folder: Path) -> None:
        self._clone = replace(clone, environment={**clone.environment, **ALL_INSTANCES})
        self._folder = folder
        self._config = clone.path / "Pulumi.local.yaml"
        self._model = clone.path / trivial.FOLDER / "model.txt"
        self._done: list[_Done] = []
        self._earlier: tuple[str, str] = ("", "")
        self._load: Load | None = None
        self.capacity = Rates()
        self.flips: list[float] = []
        """For each PUT of new weights, how long after it had succeeded the last request was sent that the old ones
        answered, in seconds; less than 0 where that was before it had."""

    def bring_up(self, **shares: int) -> None:
        """Brings the stack up, with nothing but this endpoint; blue and green answer differently."""
        trivial.write(self._clone.path)
        (self._clone.path / SMOKE_TEST_THAT_FAILS["request"]).write_text(BODY)
        with self._configuration() as config:
            for other in ("batchEndpoints", "computeClusters"):
                config.pop(f"azureml-endpoints:{other}", None)
            settings = {"maxConcurrentRequestsPerInstance": CONCURRENCY, "requestTimeoutMs": 60_000}
            config["azureml-endpoints:onlineEndpoints"] = {
                ENDPOINT: {
                    "authMode": "key",
                    "deployments": {
                        colour: {**trivial.deployment(colour), "requestSettings": settings} for colour in shares
                    },
                    "traffic": shares,
                }
            }
        self._clone.make("up")

    @contextmanager
    def under_load(self, part: float = 0.5) -> Iterator[None]:
        """A steady load at a part of what the endpoint can take, which is measured first."""
        target = self._target()
        self.capacity = capacity(target, self._folder)
        with Load(target, self._folder, self.capacity.times(part)) as self._load:
            self._load.wait_for(SEEN)
            yield

    def _target(self) -> Target:
        key = self._clone.localazure("keys", ENDPOINT).strip()
        return Target.through(self._clone.localazure("env"), self._endpoint()["scoringUri"], key, BODY)

    # What happens -----------------------------------------------------------------------------------------------------

    def make(self, change: Change, least: int = SEEN) -> None:
        """Makes a change and waits until `least` requests began since its beginning.

        Raises:
            AssertionError: the change did not take place.
        """
        began = time.monotonic()
        done = _Done(change.name, began, began)
        self._done.append(done)
        done.dying = change.make(self)
        done.ended = time.monotonic()
        self.load.wait_for(least, since=began)

    @property
    def load(self) -> Load:
        """The load that goes on."""
        assert self._load, "there is no load; open `under_load` first"
        return self._load

    def rows(self) -> list[Row]:
        """One for each change, once the load has ended; what began after a change counts with it."""
        requests, rows = self.load.requests(), []
        for number, done in enumerate(self._done):
            following = self._done[number + 1 :]
            until = following[0].began if following else float("inf")
            rows.append(_row(done, [each for each in requests if done.began <= each.began < until], self._excused))
        return rows

    def _excused(self, request: Request) -> bool:
        """Whether it was in flight while something died."""
        return any(done.dying.met(request) for done in self._done if done.dying)

    # The changes ------------------------------------------------------------------------------------------------------

    def shift(self, **shares: int) -> None:
        """Edits the traffic."""
        with self._settings() as settings:
            settings["traffic"] = shares
        self._clone.make("up")
        self._expect({colour for colour, share in shares.items() if share})

    def remove(self, colour: str) -> None:
        """Takes a deployment without traffic out of the configuration."""
        with self._settings() as settings:
            settings["traffic"].pop(colour)
            settings["deployments"].pop(colour)
        self._clone.make("up")
        assert colour not in {_colour(each["name"]) for each in self._endpoint()["deployments"]}

    def new_model(self) -> None:
        """Changes what the model holds."""
        self._earlier = self._config.read_text(), self._model.read_text()
        before = self._answering()
        self._model.write_text("Another model.\n")
        self._clone.make("up")
        assert not before & self._answering(), "the new revision answers, and only that"

    def all_at_once(self, colour: str) -> None:
        """Moves all traffic to a deployment that gets a new model, takes out the other one, and tags the endpoint."""
        earlier = self._config.read_text(), self._model.read_text()
        with self._settings() as settings:
            settings["tags"] = {"changed": "with the rest"}
            settings["traffic"] = {colour: 100}
            settings["deployments"] = {colour: settings["deployments"][colour]}
        self.new_model()
        self._earlier = earlier
        (left,) = self._endpoint()["deployments"]
        assert _colour(left["name"]) == colour

    def instance_type(self) -> None:
        """Asks for machines of another type."""
        before = self._answering()
        with self._deployments() as deployments:
            for each in deployments.values():
                each["instanceType"] = "Standard_F4s_v2"
        self._clone.make("up")
        assert not before & self._answering(), "the new revision answers, and only that"

    def tag(self) -> None:
        """Tags the endpoint, which is a PUT of the whole of it."""
        before = self._answering()
        with self._settings() as settings:
            settings["tags"] = {"owner": "somebody"}
        self._clone.make("up")
        assert self._answering() == before

    def scale(self, count: int) -> None:
        """Changes the number of instances."""
        with self._deployments() as deployments:
            for each in deployments.values():
                each["instanceCount"] = count
        self._clone.make("up")
        assert {len(each) for each in self._instances()} == {count}

    def secondary_key(self) -> None:
        """Makes a new secondary key, by azure-ai-ml."""
        python = str(self._clone.path / ".venv/bin/python")
        self._clone.run(python, "-c", REGENERATE.format(endpoint=ENDPOINT), variables=self._variables())

    def failing_smoke_test(self) -> None:
        """Brings up a revision that does not answer as its smoke test wants it."""
        before = self._answering()
        with self._deployments() as deployments:
            for each in deployments.values():
                each["environmentVariables"] = {"ANSWER": "what nobody expects"}
                each["smokeTest"] = SMOKE_TEST_THAT_FAILS
        printed = ""
        try:
            self._clone.make("up")
        except RuntimeError as failed:
            printed = str(failed)
        assert "another answer" in printed, printed or "the smoke test did not fail"
        assert self._answering() == before, "the traffic is as it was"

    def roll_back(self, instances: int = 1) -> None:
        """Brings back the files as they were before the new model; as many instances as asked for."""
        config, model = self._earlier
        self._config.write_text(config)
        self._model.write_text(model)
        revisions = {each["name"] for each in self._endpoint()["deployments"]}
        with self._deployments() as deployments:
            for each in deployments.values():
                each["instanceCount"] = instances
        self._clone.make("up")
        assert not revisions & self._answering(), "the earlier revision answers again, and only that"
        assert {len(each) for each in self._instances()} == {instances}

    def kill(self) -> Death:
        """Kills one of two instances; returns when it died."""
        killed, other = self._busiest()
        master = psutil.Process(killed["pid"])
        processes = [*master.children(recursive=True), master]
        began = time.monotonic()
        elsewhere = self._in_flight(other["port"])
        for process in processes:
            process.kill()
        # Its parent may take its time to look at it, but nobody is answered any more.
        while not all(_is_dead(each) for each in processes):
            time.sleep(0.0005)
        ended = time.monotonic()
        self._until_both_are_back(killed["pid"])
        return Death(began, ended, elsewhere)

    def _in_flight(self, port: int) -> int:
        """How many requests the router has passed on to an instance and has no answer to."""
        bootstrap = json.loads((self._home.envoy / "bootstrap.json").read_text())
        admin = bootstrap["admin"]["address"]["socket_address"]["port_value"]
        answer = httpx.get(f"http://127.0.0.1:{admin}/clusters?format=json", trust_env=False).raise_for_status()
        return in_flight(answer.text, {port})

    def _until_both_are_back(self, killed: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            instances = self._busiest()
            if len(instances) == 2 and all(each["ready"] and each["pid"] != killed for each in instances):
                return
            time.sleep(0.2)
        raise AssertionError("the killed instance was not started again")

    def flip(self, times: int = 5) -> None:
        """Moves all traffic from blue to green and back by PUTs of the endpoint, and measures how soon it moves."""
        with Arm(self._variables()) as arm:
            found = arm.endpoint()
            before = found["properties"]["traffic"]
            blue, green = sorted(before)
            for number in range(times):
                old, new = (green, blue) if number % 2 else (blue, green)
                began = time.monotonic()
                succeeded = arm.put({**found, "properties": {**found["properties"], "traffic": {old: 0, new: 100}}})
                self.load.wait_for(FLIPPED, since=succeeded)
                by_old = [each.sent for each in self._after(began, FLIPPED) if each.deployment == old]
                self.flips.append(max(by_old, default=began) - succeeded)
            arm.put({**found, "properties": {**found["properties"], "traffic": before}})

    # What is looked at ------------------------------------------------------------------------------------------------

    def _after(self, instant: float, count: int = SEEN) -> list[Request]:
        return [each for each in self.load.wait_for(count, since=instant) if each.sent >= instant]

    def _answering(self) -> set[str]:
        """The revisions that answer now."""
        return {each.deployment for each in self._after(time.monotonic()) if each.deployment}

    def _expect(self, colours: set[str]) -> None:
        answering = {_colour(each) for each in self._answering()}
        assert answering == colours, f"{answering} answer, and not {colours}"

    def _endpoint(self) -> dict[str, Any]:
        (endpoint,) = self._clone.status()["onlineEndpoints"]
        return endpoint

    def _instances(self) -> list[list[dict[str, Any]]]:
        return [each["instances"] for each in self._endpoint()["deployments"]]

    def _busiest(self) -> list[dict[str, Any]]:
        """The instances of the deployment with the most traffic."""
        endpoint = self._endpoint()
        name = max(endpoint["traffic"], key=endpoint["traffic"].__getitem__)
        return next(each["instances"] for each in endpoint["deployments"] if each["name"] == name)

    def _variables(self) -> dict[str, str]:
        return client_environment(self._home, self._clone.environment)

    @property
    def _home(self) -> Home:
        return Home.at(self._clone.path / DEFAULT_NAME)

    # What is edited ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _configuration(self) -> Iterator[dict[str, Any]]:
        content = yaml.safe_load(self._config.read_text())
        yield content["config"]
        # Without aliases, which a reader of the file would stumble over.
        self._config.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))

    @contextmanager
    def _settings(self) -> Iterator[dict[str, Any]]:
        with self._configuration() as config:
            yield config["azureml-endpoints:onlineEndpoints"][ENDPOINT]

    @contextmanager
    def _deployments(self) -> Iterator[dict[str, dict[str, Any]]]:
        with self._settings() as settings:
            yield settings["deployments"]


@dataclass(frozen=True)
class Change:
    """A change by its name; `make` returns when something died that may take its requests with it, if anything did."""

    name: str
    make: Callable[[Walk], Death | None]


class Arm:
    """The management API by hand, which says at what instant a PUT has succeeded."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._client = httpx.Client(proxy=variables["HTTPS_PROXY"], verify=_trust(variables), timeout=60)

    def __enter__(self) -> Arm:
        # The identity's own address, which no proxy leads to.
        answer = httpx.get(
            self._variables["IDENTITY_ENDPOINT"],
            params={"api-version": "2019-08-01", "resource": "https://management.azure.com"},
            headers={"X-IDENTITY-HEADER": self._variables["IDENTITY_HEADER"]},
            trust_env=False,
        )
        self._client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def _uri(self) -> str:
        return (
            f"https://management.azure.com/subscriptions/{self._variables['ARM_SUBSCRIPTION_ID']}/resourceGroups/"
            f"rg-aml-local/providers/Microsoft.MachineLearningServices/workspaces/aml-local/onlineEndpoints/{ENDPOINT}"
        )

    def endpoint(self) -> dict[str, Any]:
        """The endpoint."""
        return self._client.get(self._uri, params={"api-version": API}).raise_for_status().json()

    def put(self, endpoint: Mapping[str, Any]) -> float:
        """Writes the endpoint; returns the instant at which the operation was seen to have succeeded."""
        taken = {name: endpoint[name] for name in ("location", "tags", "identity", "properties") if name in endpoint}
        answer = self._client.put(self._uri, params={"api-version": API}, json=taken).raise_for_status()
        operation, deadline = answer.headers["azure-asyncoperation"], time.monotonic() + PATIENCE
        while (status := self._client.get(operation).raise_for_status().json()["status"]) != "Succeeded":
            # Asked without a pause: what is seen late would hide how late the weights are.
            assert status not in ("Failed", "Canceled"), status
            assert time.monotonic() < deadline, status
        return time.monotonic()


def _trust(variables: Mapping[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _colour(deployment: str) -> str:
    return deployment.rpartition("-")[0]


def _row(done: _Done, requests: list[Request], excused: Callable[[Request], bool]) -> Row:
    seconds = sorted(each.ended - each.began for each in requests) or [0.0]
    span = max((each.ended for each in requests), default=done.ended) - done.began
    lost = tuple(each for each in requests if each.lost)
    # What was in flight on another instance had no reason to be lost, but nobody knows which of them these were.
    allowed = max(0, sum(map(excused, requests)) - (done.dying.elsewhere if done.dying else 0))
    too_many = [each for each in lost if excused(each)][allowed:]
    return Row(
        change=done.change,
        seconds=done.ended - done.began,
        requests=len(requests),
        lost=lost,
        allowed=allowed,
        unexcused=(*(each for each in lost if not excused(each)), *too_many),
        rate=len(requests) / span if span else 0.0,
        median=seconds[len(seconds) // 2],
        p99=seconds[int(len(seconds) * 0.99)],
    )


# Every change that the daily work knows, one after another.
ALL = (
    Change("traffic 90/10, moved by PUT, there and back", lambda walk: walk.flip(20)),
    Change("traffic 90/10 → 25/75", lambda walk: walk.shift(blue=25, green=75)),
    Change("traffic 25/75 → 0/100", lambda walk: walk.shift(blue=0, green=100)),
    Change("drained deployment removed", lambda walk: walk.remove("blue")),
    Change("new model", Walk.new_model),
    Change("new instance type", Walk.instance_type),
    Change("tag of the endpoint", Walk.tag),
    Change("scaled 1 → 3", lambda walk: walk.scale(3)),
    Change("scaled 3 → 1", lambda walk: walk.scale(1)),
    Change("secondary key regenerated", Walk.secondary_key),
    Change("`up` that fails in its smoke test", Walk.failing_smoke_test),
    Change("rollback to the earlier model", lambda walk: walk.roll_back()),
    Change("scaled 1 → 2", lambda walk: walk.scale(2)),
    Change("`kill -9` of one of two instances", Walk.kill),
)
# The same with several in one `up`, for those who wait for it.
SHORT = (
    Change("traffic 90/10, moved by PUT, there and back", lambda walk: walk.flip(4)),
    Change("traffic 90/10 → 0/100, new model, tag, blue removed", lambda walk: walk.all_at_once("green")),
    Change("`up` that fails in its smoke test", Walk.failing_smoke_test),
    Change("rollback to where it began, scaled 1 → 2", lambda walk: walk.roll_back(2)),
    Change("secondary key regenerated", Walk.secondary_key),
    Change("`kill -9` of one of two instances", Walk.kill),
)


def measure(clone: Clone, folder: Path, least: int) -> str:
    """Makes every change, under at least so many requests in all, and returns what was seen, as a section of a page.

    Raises:
        AssertionError: a change did not take place.
    """
    walk = Walk(clone, folder / "load")
    walk.bring_up(blue=90, green=10)
    with walk.under_load():
        for change in ALL:
            walk.make(change, least // len(ALL) + 1)
    head = (
        f"Each change is an edit of the stack configuration and `make up`, under a steady load of "
        f"{walk.capacity.total / 2:.0f} requests/s, half of what the endpoint could take at rest. They come by "
        f"{CONNECTIONS} connections through proxy and TLS, half of them kept alive, half of them made for one request "
        f"each. Lost is what has no answer, or another one than 200."
    )
    flips = (
        f"Of {len(walk.flips)} PUTs that move all traffic at once, the last request that the old weights answered was "
        f"sent {_instant(min(walk.flips))} to {_instant(max(walk.flips))} the PUT's success."
    )
    return f"{head}\n\n{table(walk.rows())}\n\n{flips}"


def _instant(seconds: float) -> str:
    return f"{abs(seconds) * 1000:.0f} ms {'after' if seconds > 0 else 'before'}"
