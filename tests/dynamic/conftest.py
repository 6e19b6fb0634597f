"""Layer: the dynamic resources' client functions against a fake of azure-ai-ml, and their providers without Pulumi."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from dynamic.base import Pace
from dynamic.traffic import TrafficSplitProvider


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Endpoints:
    """Azure ML's endpoints, with the rules that make traffic awkward; a PUT that fails leaves the endpoint `Failed`.

    `hooks` are called at the PUTs to come, before anything is taken: each may refuse, or do what somebody else does.
    """

    clock: Clock
    found: Any
    known: set[str] = field(default_factory=set)
    puts: list[dict[str, int]] = field(default_factory=list)
    mirrors: list[dict[str, int]] = field(default_factory=list)
    fail: list[Exception] = field(default_factory=list)
    hooks: list[Callable[[], None]] = field(default_factory=list)
    keys: Any = field(default_factory=lambda: SimpleNamespace(primary_key="s3cret"))
    gone: bool = False
    delay: float = 0.0
    _effective: tuple[float, dict[str, int], dict[str, int]] | None = None

    def get(self, name: str) -> Any:
        if self.gone:
            raise ResourceNotFoundError("not found")
        if self._effective and self.clock.now >= self._effective[0]:
            _, self.found.traffic, self.found.mirror_traffic = self._effective
            self._effective = None
        zeroes = dict.fromkeys(self.known - {*self.found.traffic, *self.found.mirror_traffic}, 0)
        state = "Updating" if self._effective else self.found.provisioning_state
        copy = {**vars(self.found), "traffic": {**self.found.traffic, **zeroes}, "provisioning_state": state}
        return SimpleNamespace(**copy)

    def get_keys(self, name: str) -> Any:
        return self.keys

    def begin_create_or_update(self, endpoint: Any) -> Any:
        if self.hooks:
            self.hooks.pop(0)()
        self._check(endpoint.traffic, endpoint.mirror_traffic)
        self.puts.append(dict(endpoint.traffic))
        self.mirrors.append(dict(endpoint.mirror_traffic))
        self.found.tags = endpoint.tags
        self._effective = (self.clock.now + self.delay, endpoint.traffic, endpoint.mirror_traffic)

        def result() -> Any:
            if self.fail:
                self.found.provisioning_state = "Failed"
                raise self.fail.pop(0)
            self.found.provisioning_state = "Succeeded"
            return self.get(self.found.name)

        return SimpleNamespace(result=result)

    def _check(self, live: dict[str, int], mirror: dict[str, int]) -> None:
        """Azure's rules: https://learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints."""
        assert sum(live.values()) in (0, 100)
        assert len(mirror) <= 1
        assert not live.keys() & mirror.keys(), "a deployment has live traffic or mirrored traffic, never both"
        assert all(share <= 50 for share in mirror.values())


@dataclass
class Deployments:
    """Azure ML's deployments: their states by name, and refusals of deletes to come."""

    states: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    log: str | Exception = ""
    refusals: list[Exception] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def get(self, name: str, endpoint_name: str) -> Any:
        if name in self.deleted:
            raise ResourceNotFoundError("not found")
        states = self.states.get(name, ["Succeeded"])
        state = states.pop(0) if len(states) > 1 else states[0]
        return SimpleNamespace(name=name, provisioning_state=state, instance_count=self.counts.get(name, 1))

    @property
    def _online_deployment(self) -> Any:
        """What azure-ai-ml makes its own calls with."""
        return self

    def begin_update(self, *, deployment_name: str, body: dict[str, Any], **_: Any) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        assert body.keys() == {"sku"}, "nothing but the count is written"
        self.counts[deployment_name] = body["sku"]["capacity"]
        return SimpleNamespace(result=lambda: None)

    def get_logs(self, name: str, endpoint_name: str, lines: int) -> str:
        if isinstance(self.log, Exception):
            raise self.log
        return self.log

    def begin_delete(self, name: str, endpoint_name: str) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        self.deleted.append(name)
        return SimpleNamespace(result=lambda: None)


@dataclass
class Assets:
    """Azure ML's registered versions of one kind."""

    versions: dict[tuple[str, str], Any] = field(default_factory=dict)
    registered: list[Any] = field(default_factory=list)

    def get(self, name: str, version: str) -> Any:
        try:
            return self.versions[name, version]
        except KeyError:
            raise ResourceNotFoundError("not found") from None

    def create_or_update(self, asset: Any) -> Any:
        self.registered.append(asset)
        found = SimpleNamespace(id=f"/assets/{asset.name}/versions/{asset.version}", tags=asset.tags)
        self.versions[asset.name, asset.version] = found
        return found


def refused(status: int, text: str) -> HttpResponseError:
    error = HttpResponseError(message=text)
    error.status_code = status
    return error


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(timeout=600, sleep=clock.sleep, clock=lambda: clock.now)


@pytest.fixture
def client(clock: Clock) -> Any:
    """A fake MLClient with one online and one batch endpoint."""
    created = {"provisioning_state": "Succeeded", "scoring_uri": "https://e/score"}
    online = SimpleNamespace(name="e", traffic={}, mirror_traffic={}, tags={}, **created)
    batch = SimpleNamespace(name="b", defaults=SimpleNamespace(deployment_name=None), **created)
    return SimpleNamespace(
        resource_group_name="rg",
        workspace_name="w",
        online_endpoints=Endpoints(clock, online, {"blue-1", "green-1"}),
        batch_endpoints=SimpleBatch(batch),
        online_deployments=Deployments(),
        batch_deployments=Deployments(),
        models=Assets(),
        environments=Assets(),
        _code=Assets(),
    )


@dataclass
class SimpleBatch:
    """Azure ML's batch endpoints, as far as a default deployment goes."""

    found: Any
    puts: int = 0
    after_put: str = "Succeeded"
    refusals: list[Exception] = field(default_factory=list)

    def get(self, name: str) -> Any:
        return SimpleNamespace(**vars(self.found))

    def begin_create_or_update(self, endpoint: Any) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        self.puts += 1
        self.found.defaults = SimpleNamespace(**endpoint.defaults)
        self.found.provisioning_state = self.after_put
        return SimpleNamespace(result=lambda: None)


Refused = Callable[[int, str], HttpResponseError]


@pytest.fixture
def refusal() -> Refused:
    return refused


@pytest.fixture
def provider(client: Any, pace: Pace, monkeypatch: pytest.MonkeyPatch) -> TrafficSplitProvider:
    """The traffic's provider with a client and a pace that a test can look at."""
    monkeypatch.setattr("dynamic.traffic.Pace", lambda: pace)
    made = TrafficSplitProvider()
    monkeypatch.setattr(made, "ml_client", lambda props: client)
    return made
