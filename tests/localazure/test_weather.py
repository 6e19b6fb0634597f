"""The weather: what rules do to calls and operations, and how Microsoft's clients come through it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, RetryPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest
from azure.mgmt.core.polling.arm_polling import ARMPolling

from localazure.arm.app import create_app
from localazure.arm.errors import ArmError
from localazure.arm.operations import Family, Kind, Operations
from localazure.arm.routes import Answer, Call, Route, Table
from localazure.arm.store import Resource, Store
from localazure.arm.weather import Occasion, Strike, Weather, WeatherSettings, resource_type
from localazure.errors import SettingsInvalid
from localazure.home import Home
from localazure.settings import Settings
from localazure.weather import PROFILES
from tests.localazure.running import Installation

GROUP = "/subscriptions/s/resourceGroups/g"
ENDPOINT = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"
DEPLOYMENT = f"{ENDPOINT}/deployments/blue"


def weather(*rules: Mapping[str, Any], seed: int = 0, **latency: Any) -> Weather:
    return Weather(WeatherSettings.model_validate({"seed": seed, "rules": rules, "latency": latency}), PROFILES)


def occasion(method: str = "PUT", path: str = ENDPOINT, *, new: bool = False) -> Occasion:
    return Occasion(method, path, f"{method} {resource_type(path)}", new)


def struck(sky: Weather, *occasions: Occasion) -> list[str]:
    """What happens to each of them: the rule's `do`, or nothing."""
    faults = [sky.call(each).fault for each in occasions]
    return [fault.do if fault else "" for fault in faults]


# Rules --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (ENDPOINT, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"),
        (f"{ENDPOINT}/", "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"),
        (f"{ENDPOINT}/listKeys", "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys"),
        (f"{ENDPOINT}/providers/Microsoft.Authorization/roleAssignments/r", "Microsoft.Authorization/roleAssignments"),
        ("/subscriptions/s/providers/N/locations/l/operations/o", "N/locations/operations"),
        (GROUP, "Microsoft.Resources/resourceGroups"),
        ("/subscriptions/s", "Microsoft.Resources/subscriptions"),
        ("/discovery", ""),
    ],
)
def test_a_path_has_an_arm_type(path: str, kind: str) -> None:
    assert resource_type(path) == kind


def test_by_default_nothing_happens_and_nobody_needs_to_ask() -> None:
    assert Weather().calm
    assert Settings().weather.calm
    assert Weather().call(occasion()) == Strike()
    assert Weather().outlook(ENDPOINT) is None


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({}, True),
        ({"method": "put"}, True),
        ({"method": "GET"}, False),
        ({"type": "microsoft.machinelearningservices/workspaces/ONLINEENDPOINTS"}, True),
        ({"type": "*/onlineEndpoints"}, True),
        ({"type": "*/deployments"}, False),
        ({"path": "/onlineendpoints/e$"}, True),
        ({"path": "/onlineEndpoints/other"}, False),
    ],
)
def test_a_rule_strikes_what_its_patterns_match(rule: dict[str, Any], hit: bool) -> None:
    sky = weather({"do": "drop", **rule})
    assert struck(sky, occasion()) == ["drop" if hit else ""]


def test_a_rule_can_name_the_call_that_it_strikes() -> None:
    sky = weather({"do": "drop", "skip": 2, "count": 1})
    assert struck(sky, *[occasion()] * 5) == ["", "", "drop", "", ""]


def test_each_operation_of_the_api_can_be_struck_once() -> None:
    sky = weather({"do": "drop", "count": 1, "per": "operation"})
    calls = [occasion(), occasion(), occasion("GET"), occasion(path=DEPLOYMENT), occasion("GET"), occasion()]
    assert struck(sky, *calls) == ["drop", "", "drop", "drop", "", ""]


def test_each_resource_can_be_struck_once() -> None:
    sky = weather({"do": "drop", "count": 1, "per": "resource"})
    calls = [occasion(), occasion(), occasion(path=f"{ENDPOINT}2"), occasion(path=f"{ENDPOINT}2")]
    assert struck(sky, *calls) == ["drop", "", "drop", ""]


def test_chance_is_the_same_for_the_same_seed_whatever_comes_in_between() -> None:
    rule = {"do": "drop", "probability": 0.5, "type": "*/onlineEndpoints"}
    alone = struck(weather(rule, seed=3), *[occasion()] * 200)
    among = weather(rule, {"do": "drop", "probability": 0.5, "type": "*/deployments"}, seed=3)
    mixed = struck(among, *[occasion(), occasion(path=DEPLOYMENT)] * 200)[::2]
    assert mixed == alone
    assert 60 < alone.count("drop") < 140, "about every other call"
    assert struck(weather(rule, seed=4), *[occasion()] * 200) != alone


def test_delays_add_up_and_the_first_fault_decides() -> None:
    sky = weather(
        {"do": "delay", "seconds": 1}, {"do": "delay", "seconds": 2}, {"do": "answer"}, {"do": "drop"}, {"do": "fail"}
    )
    strike = sky.call(occasion())
    assert strike.seconds == 3
    assert strike.fault is not None
    assert strike.fault.do == "answer"


@pytest.mark.parametrize(
    ("sent", "headers"),
    [({}, {}), ({"retry_after": 2}, {"Retry-After": "2"}), ({"retry_after": 0.25}, {"retry-after-ms": "250"})],
)
def test_a_client_is_told_in_whole_seconds_or_in_milliseconds(sent: dict[str, Any], headers: dict[str, str]) -> None:
    fault = weather({"do": "answer", "status": 429, **sent}).call(occasion()).fault
    assert fault is not None
    assert fault.error().headers == headers, "clients read `Retry-After: 0.25` as an error of the service's"


def test_the_azure_profile_takes_azures_times() -> None:
    sky = weather(profile="azure", seed=1)
    assert not sky.calm

    def seconds(method: str, path: str, *, new: bool = False) -> float:
        with sky.during(occasion(method, path, new=new)):
            outlook = sky.outlook(path)
        return outlook["due"] - time.time() if outlook else 0

    assert 45 < seconds("PUT", ENDPOINT, new=True) <= 90
    assert seconds("PUT", ENDPOINT) == pytest.approx(20, abs=1)
    assert seconds("DELETE", ENDPOINT) == pytest.approx(8, abs=1)
    assert 419 < seconds("PUT", DEPLOYMENT, new=True) <= 600
    assert seconds("PATCH", DEPLOYMENT) == pytest.approx(300, abs=1)
    assert seconds("PUT", f"{GROUP}/providers/Microsoft.Storage/storageAccounts/a", new=True) == 0, "not known"
    assert sky.call(occasion()) == Strike(), "a call takes no longer unless that is asked for"


def test_the_profile_is_scaled_and_covers_calls_on_request() -> None:
    sky = weather(profile="azure", factor=0.01, calls=True)
    environment = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/w/environments/e/versions/1"
    assert sky.call(occasion(path=environment)).seconds == pytest.approx(0.06)
    assert sky.call(occasion("GET")).seconds == pytest.approx(0.0003)


def test_all_that_is_wrong_with_a_weather_is_said_and_the_old_one_stays() -> None:
    sky = weather({"do": "drop"})
    wrong = {"rules": [{"do": "rain"}, {"do": "drop", "path": "("}, {"do": "answer", "status": 200}], "lateness": 1}
    with pytest.raises(SettingsInvalid) as refusal:
        sky.set(wrong)
    for part in ("weather.rules.0.do", "weather.rules.1.path", "weather.rules.2.status", "weather.lateness", "'rain'"):
        assert part in str(refusal.value)
    assert struck(sky, occasion()) == ["drop"]


def test_what_is_set_holds_across_a_restart_until_it_is_reset(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db")
    Weather(store=store).set({"rules": [{"do": "drop", "count": 1}]})
    again = Weather(WeatherSettings.model_validate({"seed": 9}), store=Store(tmp_path / "state.db"))
    assert struck(again, occasion(), occasion()) == ["drop", ""]
    assert again.report()["source"] == "request"
    again.reset()
    assert Weather(store=Store(tmp_path / "state.db")).calm
    assert again.report() == {"weather": {"seed": 9}, "source": "settings", "counts": [], "struck": []}


def test_the_report_says_what_was_struck() -> None:
    sky = weather({"do": "drop", "skip": 1, "method": "PUT"})
    struck(sky, occasion(), occasion(), occasion("GET"))
    report = sky.report()
    assert report["counts"] == [{"rule": 0, "what": "", "matched": 2, "struck": 1}]
    assert [(each["method"], each["path"], each["do"]) for each in report["struck"]] == [("PUT", ENDPOINT, "drop")]


def test_settings_take_a_weather_from_the_file_or_from_a_variable(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    home.settings_file.write_text(json.dumps({"weather": {"rules": [{"do": "drop"}]}}))
    assert len(Settings.load(home, {}).weather.rules) == 1
    named = Settings.load(home, {"LOCALAZURE_WEATHER": '{"latency": {"profile": "azure", "factor": 0.1}}'})
    assert named.weather.latency.factor == 0.1
    for bad in ("{", "[]", '{"rules": [{"do": "rain"}]}'):
        with pytest.raises(SettingsInvalid, match="weather"):
            Settings.load(home, {"LOCALAZURE_WEATHER": bad})


# Calls and operations over HTTP -------------------------------------------------------------------------------------


class AnyToken:
    def verify(self, token: str, audiences: object) -> Mapping[str, Any]:
        return {}


@dataclass
class Sky:
    """A control plane with one kind of thing, whose PUT is a long operation, on a real socket."""

    url: str
    store: Store
    weather: Weather

    def send(self, method: str, name: str = "a") -> httpx.Response:
        with httpx.Client(trust_env=False, headers={"Authorization": "Bearer token"}) as client:
            return client.request(method, f"{self.url}/things/{name}")

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.store.of_type("N/things")]

    def microsofts(self) -> PipelineClient[HttpRequest, Any]:
        """Microsoft's pipeline; where the service names no pause, it tries again at once."""
        # Their own policy for tokens insists on TLS.
        signed = HeadersPolicy({"Authorization": "Bearer token"})
        policies = [RequestIdPolicy(), signed, RetryPolicy(retry_backoff_factor=0.01)]
        return PipelineClient(self.url, policies=policies, transport=RequestsTransport(use_env_settings=False))


FAMILY = Family("N", "", "operations", "", "InProgress", detailed=False, timed=False)


@contextmanager
def sky_of(folder: Path, *rules: Mapping[str, Any]) -> Iterator[Sky]:
    store, sky = Store(folder / "state.db"), weather(*rules)
    operations = Operations(store, weather=sky)
    operations.register("write", Kind(lambda operation: None, lambda operation, outcome: None, lambda *_: None))

    def put(call: Call) -> Answer:
        if call.params["name"] == "refused":
            raise ArmError(400, "BadRequest", "no")
        store.put(Resource(call.path, "N/things", {"name": call.params["name"]}))
        operation = operations.begin("write", call.path)
        poll = FAMILY.path(FAMILY.status, "s", "l", operation.id)
        return Answer(201, {}, {"Azure-AsyncOperation": f"{server_url()}{poll}", "retry-after-ms": "5"})

    def get(call: Call) -> Answer:
        found = store.get(call.path)
        return Answer(200, found.document) if found else Answer(404, {})

    def status(call: Call) -> Answer:
        found = store.operation(call.params["operation"])
        assert found is not None
        return Answer(200, FAMILY.poll(found, call.path), {"retry-after-ms": "5"})

    table = Table(
        [
            Route.of("PUT", "/things/{name}", put),
            Route.of("GET", "/things/{name}", get),
            Route.of("GET", FAMILY.templates[0], status),
        ]
    )
    app = create_app(lambda host: table, store=store, tokens=AnyToken(), location="eastus", weather=sky)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)

    def server_url() -> str:
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield Sky(server_url(), store, sky)
    finally:
        server.should_exit = True
        thread.join()
        operations.stop()


def test_an_error_before_the_work_leaves_nothing(tmp_path: Path) -> None:
    with sky_of(tmp_path, {"do": "answer", "status": 429, "retry_after": 3, "count": 1}) as sky:
        answer = sky.send("PUT")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert answer.json()["error"]["code"] == "TooManyRequests"
        assert sky.names == []
        assert sky.send("PUT").status_code == 201


@pytest.mark.parametrize("rule", [{"do": "answer", "status": 500}, {"do": "drop"}])
def test_an_answer_can_be_lost_after_the_work(tmp_path: Path, rule: dict[str, Any]) -> None:
    with sky_of(tmp_path, {"when": "after", "method": "PUT", **rule}) as sky:
        if rule["do"] == "drop":
            with pytest.raises(httpx.RemoteProtocolError):
                sky.send("PUT")
        else:
            assert sky.send("PUT").status_code == 500
        assert sky.names == ["a"], "done, though the client cannot know it"
        assert sky.send("GET").status_code == 200


def test_a_dropped_connection_is_closed_without_an_answer_and_the_next_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sky_of(tmp_path, {"do": "drop", "count": 3}) as sky:
        for _ in range(3):
            with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
                sky.send("PUT")
        assert sky.names == []
        assert sky.send("PUT").status_code == 201
    assert "Exception in ASGI" not in caplog.text
    assert "without starting response" not in caplog.text, "it is no mistake of the application's"


def test_a_refusal_of_the_work_is_told_even_where_answers_are_lost_after_it(tmp_path: Path) -> None:
    with sky_of(tmp_path, {"do": "drop", "when": "after"}) as sky:
        assert sky.send("PUT", "refused").status_code == 400
        assert sky.weather.report()["counts"][0]["struck"] == 1


def test_a_call_that_is_not_let_in_has_no_weather(tmp_path: Path) -> None:
    with sky_of(tmp_path, {"do": "answer", "status": 503}) as sky, httpx.Client(trust_env=False) as stranger:
        assert stranger.put(f"{sky.url}/things/a").status_code == 401
        assert stranger.get(f"{sky.url}/nothing", headers={"Authorization": "Bearer token"}).status_code == 501
        assert sky.weather.report()["struck"] == []


def written(sky: Sky, name: str = "a") -> LROPoller[Any]:
    """A PUT that Microsoft's poller for ARM follows."""
    client = sky.microsofts()
    request = HttpRequest("PUT", f"{sky.url}/things/{name}", json={})
    answer: Any = client.send_request(request, _return_pipeline_response=True)
    answer.http_response.raise_for_status()
    return LROPoller(client, answer, lambda answer: answer.http_response.json(), ARMPolling(timeout=30))


@pytest.mark.parametrize(
    "rule",
    [
        {"do": "answer", "status": 429, "retry_after": 0.05},
        {"do": "answer", "status": 429},
        {"do": "answer", "status": 503, "retry_after": 0.05},
        {"do": "answer", "status": 500},
        {"do": "drop"},
        {"do": "answer", "status": 503, "when": "after"},
        {"do": "drop", "when": "after"},
    ],
)
def test_microsofts_client_gets_through_each_fault_of_each_call_by_itself(tmp_path: Path, rule: dict[str, Any]) -> None:
    with sky_of(tmp_path, {"count": 1, "per": "operation", **rule}) as sky:
        assert written(sky).result() == {"name": "a"}
        assert sky.names == ["a"]
        faults = sorted(each["operation"].partition(" ")[0] for each in sky.weather.report()["struck"])
        assert faults == ["GET", "GET", "PUT"], "the write, the poll and the read of what was written"


def test_microsofts_client_gives_up_when_it_rains_on(tmp_path: Path) -> None:
    with sky_of(tmp_path, {"do": "answer", "status": 503}) as sky, pytest.raises(HttpResponseError) as error:
        written(sky)
    assert error.value.status_code == 503


def test_microsofts_client_says_why_an_operation_failed(tmp_path: Path) -> None:
    rule = {"do": "fail", "count": 1, "code": "OutOfCapacity", "message": "No machine is free."}
    with sky_of(tmp_path, rule) as sky:
        with pytest.raises(HttpResponseError, match=r"OutOfCapacity.*No machine is free"):
            written(sky).result()
        assert written(sky).result() == {"name": "a"}, "the second time it succeeds"


def test_microsofts_client_waits_for_an_operation_that_takes_its_time(tmp_path: Path) -> None:
    with sky_of(tmp_path, {"do": "prolong", "seconds": 0.3}) as sky:
        began = time.monotonic()
        poller = written(sky)
        assert not poller.done()
        assert poller.result() == {"name": "a"}
        assert time.monotonic() - began >= 0.3


# The daemon ---------------------------------------------------------------------------------------------------------


def asked(installation: Installation, method: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
    """What the admin route answers."""
    secret = (installation.home.path / "identity-secret").read_text().strip()
    port = json.loads(installation.home.runtime_file.read_text())["ports"]["identity"]
    url, headers = f"http://127.0.0.1:{port}/admin/weather", {"X-IDENTITY-HEADER": secret}
    answer = httpx.request(method, url, content=body, headers=headers, trust_env=False)
    return answer.status_code, answer.json()


def test_the_owner_of_the_home_sets_reads_and_resets_the_weather(installation: Installation) -> None:
    installation.ok("start")
    assert asked(installation, "GET")[1]["weather"] == {}
    status, report = asked(installation, "POST", '{"rules": [{"do": "drop"}]}')
    assert (status, report["weather"]) == (200, {"rules": [{"do": "drop"}]})
    for wrong in ("{", "[]", '{"rules": [{"do": "rain"}]}'):
        status, refusal = asked(installation, "POST", wrong)
        assert status == 400
        assert "weather" in refusal["message"]
    assert asked(installation, "GET")[1]["weather"] == {"rules": [{"do": "drop"}]}
    assert asked(installation, "DELETE")[1]["weather"] == {}
    port = installation.status()["ports"]["identity"]
    stranger = httpx.post(f"http://127.0.0.1:{port}/admin/weather", content="{}", trust_env=False)
    assert stranger.status_code == 401


def test_the_command_line_sets_shows_and_resets_the_weather(installation: Installation, tmp_path: Path) -> None:
    def said(*arguments: str) -> dict[str, Any]:
        return json.loads(installation.ok("weather", *arguments))["weather"]

    installation.ok("start")
    file = tmp_path / "weather.json"
    file.write_text('{"seed": 7, "rules": [{"do": "drop"}]}')
    assert said(str(file)) == {"seed": 7, "rules": [{"do": "drop"}]}
    assert said() == {"seed": 7, "rules": [{"do": "drop"}]}
    assert said("--azure", "0.1") == {"latency": {"profile": "azure", "factor": 0.1}}
    rule = '{"rules": [{"do": "answer", "status": 429}]}'
    assert said(rule, "--azure", "2")["latency"] == {"profile": "azure", "factor": 2}
    assert said("--reset") == {}
    for wrong, named in (('{"rules": [{"do": "rain"}]}', "rain"), ("nowhere.json", "nowhere.json"), ("{", "{")):
        refused = installation.run("weather", wrong)
        assert refused.returncode == 1
        assert named in refused.stderr
        assert "Traceback" not in refused.stderr
