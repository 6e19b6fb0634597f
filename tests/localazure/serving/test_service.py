"""Serving as a whole: real inference servers in a real environment behind a real Envoy."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from localazure.errors import ToolMissing
from localazure.gateway.identity import kept_secret
from localazure.home import Home
from localazure.runtime import Ports, Runtime
from localazure.serving import DeploymentSpec, EndpointRoute, EnvironmentSpec, Serving, ServingError

from .conftest import HOST, client, processes, until

SCRIPT = """
import json, os, time

def init():
    global greeting
    with open(os.path.join(os.getenv("AZUREML_MODEL_DIR"), "greeting.txt")) as file:
        greeting = file.read()
    print("loaded", greeting)

def run(raw_data):
    body = json.loads(raw_data)
    time.sleep(body.get("sleep", 0))
    if "exit" in body:
        os._exit(1)
    return {"says": greeting, "pid": os.getpid(), "env": {key: os.environ.get(key) for key in body.get("env", [])}}
"""

MLFLOW_MODEL = """
import numpy as np

class Model:
    def predict(self, data, params=None):
        factor = (params or {}).get("factor", 1)
        return np.asarray(data).sum(axis=1) * factor

def _load_pyfunc(path):
    return Model()
"""

MLMODEL = {
    "mlflow_version": "3.17.2",
    "flavors": {"python_function": {"loader_module": "summing", "code": "code", "python_version": "3.11"}},
    "signature": {
        "inputs": json.dumps([{"type": "double", "name": name, "required": True} for name in ("a", "b")]),
        "outputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]),
        "params": json.dumps([{"name": "factor", "type": "double", "default": 1.0, "shape": None}]),
    },
}


@pytest.fixture
def spec(tmp_path: Path, environment: EnvironmentSpec) -> DeploymentSpec:
    return custom(tmp_path, environment, "hello")


def custom(folder: Path, environment: EnvironmentSpec, greeting: str, script: str = SCRIPT) -> DeploymentSpec:
    model, code = folder / f"model-{greeting}", folder / f"code-{greeting}"
    for made in (model, code):
        made.mkdir()
    (model / "greeting.txt").write_text(greeting)
    (code / "score.py").write_text(script)
    return DeploymentSpec("tumor", "blue", model, code_dir=code, script="score.py", environment=environment)


def route(*names: str, **traffic: int) -> EndpointRoute:
    return EndpointRoute("tumor", (HOST,), "key", ("k1",), traffic or {names[0]: 100}, {}, names)


def pids(serving: Serving) -> list[int]:
    return [instance["pid"] for deployment in serving.status() for instance in deployment["instances"]]


@contextmanager
def load(port: int, callers: int = 2) -> Iterator[Counter[tuple[int, str]]]:
    """Requests without a pause while the body runs; counts (status, who answered)."""
    ended, total = threading.Event(), Counter()

    def call() -> Counter[tuple[int, str]]:
        seen: Counter[tuple[int, str]] = Counter()
        with client(port) as own:
            while not ended.is_set():
                answer = own.post("/score", json={})
                seen[answer.status_code, answer.json()["says"] if answer.status_code == 200 else answer.text] += 1
        return seen

    with ThreadPoolExecutor(callers) as pool:
        running: list[Future[Counter[tuple[int, str]]]] = [pool.submit(call) for _ in range(callers)]
        try:
            yield total
        finally:
            ended.set()
            for item in running:
                total.update(item.result())


def test_a_custom_deployment_serves_once_deploy_has_returned(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, environment_variables={"MINE": "7", "AZUREML_MODEL_DIR": "/var/azureml-app/x"}))
    serving.route([route("blue")])
    with client(serving.port) as caller:
        answer = caller.post("/score", json={"env": ["MINE", "AZUREML_MODEL_DIR", "PYTHONDONTWRITEBYTECODE"]})
        swagger = caller.get("/swagger.json")
    assert answer.json()["says"] == "hello"
    assert answer.json()["env"] == {
        "MINE": "7",
        "AZUREML_MODEL_DIR": str(spec.model_dir),
        "PYTHONDONTWRITEBYTECODE": None,
    }, "clients send back what Azure set: here it must name the model's real folder"
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["x-ms-server-version"].startswith("azmlinfsrv/1.")
    assert swagger.json()["info"]["title"] == "tumor"
    assert "loaded hello" in serving.logs("tumor", "blue", "InferenceServer", 100)
    assert "shared:1" in serving.logs("tumor", "blue", "StorageInitializer", 100)
    assert serving.log_file("tumor", "blue").is_file()


def test_an_exception_in_run_is_424_and_its_text_is_in_the_log(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    with client(serving.port) as caller:
        answer = caller.post("/score", content=b"not json")
    assert (answer.status_code, answer.headers["ms-azureml-model-error-statuscode"]) == (424, "500")
    assert "Check the logs" in answer.json()["message"]
    assert "JSONDecodeError" in serving.logs("tumor", "blue", "InferenceServer", 30)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def init():\n    raise ValueError('no weights in the box')\ndef run(x): return x\n", "no weights in the box"),
        ("import a_module_that_is_not_there\n", "No module named 'a_module_that_is_not_there'"),
        ("def init(: pass\n", "SyntaxError"),
        ("def init(): pass\n", r"does not have a run\(\) function"),
        ("import os\nos._exit(7)\n", "exited with code 7"),
    ],
)
def test_a_script_that_does_not_come_up_fails_with_its_own_last_lines(
    serving: Serving, home: Home, tmp_path: Path, environment: EnvironmentSpec, script: str, words: str
) -> None:
    with pytest.raises(ServingError, match=words) as caught:
        serving.deploy(custom(tmp_path, environment, "bad", script))
    assert caught.value.code == "ResourceNotReady"
    assert caught.value.message.startswith("User container has crashed or terminated: ")
    assert "UserScriptException" not in caught.value.message, "the server's own frames say nothing to the user"
    assert serving.status() == []
    assert serving.logs("tumor", "blue", "InferenceServer", 10), "the log stays for whoever looks into it"
    assert [item.name() for item in processes(home)] == ["envoy"]


def test_a_missing_script_or_environment_is_said_at_once(serving: Serving, spec: DeploymentSpec) -> None:
    with pytest.raises(ServingError, match=r"no scoring script 'other\.py'"):
        serving.deploy(replace(spec, script="other.py"))
    with pytest.raises(ServingError, match="needs an environment, code and a scoring script") as caught:
        serving.deploy(replace(spec, environment=None))
    assert caught.value.code == "BadArgument"


@pytest.mark.parametrize("absolute", [False, True])
def test_a_script_outside_the_code_is_refused(serving: Serving, spec: DeploymentSpec, absolute: bool) -> None:
    assert spec.code_dir
    outside = spec.code_dir.parent / "outside.py"
    outside.write_text(SCRIPT)
    with pytest.raises(ServingError, match=r"outside\.py' lies outside its code") as caught:
        serving.deploy(replace(spec, script=str(outside) if absolute else "../outside.py"))
    assert caught.value.code == "BadArgument"


def test_a_script_meets_local_azure_and_not_the_users_own_login(
    serving: Serving, home: Home, spec: DeploymentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://outer.example:3128")
    monkeypatch.setenv("AZURE_CONFIG_DIR", "/my/own/.azure")
    Runtime(0, Ports(proxy=41001, identity=41002, control=41003)).write(home)
    serving.deploy(spec)
    serving.route([route("blue")])
    names = ["HOME", "AZURE_CONFIG_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"]
    names += ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_TOKEN_CREDENTIALS", "LOCALAZURE_OUTER_PROXY"]
    with client(serving.port) as caller:
        found = caller.post("/score", json={"env": names}).json()["env"]
    bundle = Path(found.pop("SSL_CERT_FILE"))
    assert bundle.parent == home.ca
    assert found == {
        "HOME": str(home.path / "container-home"),
        "AZURE_CONFIG_DIR": None,
        "HTTPS_PROXY": "http://127.0.0.1:41001",
        "https_proxy": "http://127.0.0.1:41001",
        "NO_PROXY": "127.0.0.1,localhost",
        "IDENTITY_ENDPOINT": "http://127.0.0.1:41002/msi/token",
        "IDENTITY_HEADER": kept_secret(home),
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "LOCALAZURE_OUTER_PROXY": None,
    }
    assert (home.path / "container-home").is_dir()


def test_whatever_goes_wrong_the_monitor_says_so_and_goes_on(
    serving: Serving, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fail() -> bool:
        calls.append(1)
        raise ToolMissing("envoy is not there")

    monkeypatch.setattr(serving._router, "revive", fail)
    until(lambda: len(calls) > 2)
    assert "ToolMissing: envoy is not there" in (home.logs / "serving.log").read_text()


def test_a_failed_replacement_leaves_what_ran_before(
    serving: Serving, spec: DeploymentSpec, tmp_path: Path, environment: EnvironmentSpec
) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    before = pids(serving)
    with pytest.raises(ServingError):
        serving.deploy(custom(tmp_path, environment, "bad", "raise SystemExit(4)"))
    assert pids(serving) == before
    with client(serving.port) as caller:
        assert caller.post("/score", json={}).json()["says"] == "hello"


def test_deploying_the_same_again_changes_nothing(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    before = pids(serving)
    serving.deploy(replace(spec, timeout_ms=9000, max_concurrent=4))
    assert pids(serving) == before, "request settings are the router's: no process is touched"


def test_scaling_touches_only_the_difference_and_the_cap_holds(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    [first] = pids(serving)
    with load(serving.port) as answers:
        serving.deploy(replace(spec, instances=5))
        both = pids(serving)
        serving.deploy(spec)
    assert both[0] == first
    assert len(both) == 2, "the cap of this home"
    assert pids(serving) == [first]
    assert set(answers) == {(200, "hello")}
    assert "5 instances asked for; 2 run here" in serving.logs("tumor", "blue", "StorageInitializer", 100)


def test_both_instances_work(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, instances=2))
    serving.route([route("blue")])
    with client(serving.port) as caller:
        assert len({caller.post("/score", json={}).json()["pid"] for _ in range(60)}) == 2


def test_another_model_takes_over_without_losing_a_request(
    serving: Serving, spec: DeploymentSpec, tmp_path: Path, environment: EnvironmentSpec
) -> None:
    serving.deploy(replace(spec, max_concurrent=4))
    serving.route([route("blue")])
    before = pids(serving)
    with load(serving.port) as answers:
        serving.deploy(replace(custom(tmp_path, environment, "goodbye"), max_concurrent=4))
        with client(serving.port) as caller:
            after = {caller.post("/score", json={}).json()["says"] for _ in range(20)}
    assert after == {"goodbye"}, "once deploy has returned the old one answers nobody"
    assert set(answers) == {(200, "hello"), (200, "goodbye")}
    assert not any(psutil.pid_exists(pid) for pid in before)


def test_a_request_being_worked_on_is_answered_before_its_process_goes(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    with ThreadPoolExecutor(3) as pool, client(serving.port) as caller:
        waiting = [pool.submit(caller.post, "/score", json={"sleep": 1.0}) for _ in range(2)]
        # The second waits behind the first, in the queue of the only worker.
        until(
            lambda: (
                serving._router.requests_in_flight(serving._deployments["tumor", "blue"].backend, _ports(serving)) == 2
            )
        )
        serving.remove("tumor", "blue")
        assert [item.result().status_code for item in waiting] == [200, 200]
        assert caller.post("/score", json={}).status_code == 503, "the traffic still names it"


def _ports(serving: Serving) -> list[int]:
    return [instance["port"] for deployment in serving.status() for instance in deployment["instances"]]


def test_a_removed_deployment_leaves_nothing_and_its_name_can_be_used_again(
    serving: Serving, home: Home, spec: DeploymentSpec
) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    serving.remove("tumor", "blue")
    assert [item.name() for item in processes(home)] == ["envoy"]
    assert serving.status() == []
    assert not list(home.serving.iterdir())
    serving.remove("tumor", "blue")
    serving.deploy(spec)
    with client(serving.port) as caller:
        assert caller.post("/score", json={}).status_code == 200


def is_back(serving: Serving, before: int) -> bool:
    """Whether the first instance is ready again as another process."""
    # Of one moment: between two looks it may die, or be started.
    first = serving.status()[0]["instances"][0]
    return first["ready"] and first["pid"] not in (None, before)


def test_an_instance_that_dies_is_started_again(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    [before] = pids(serving)
    psutil.Process(before).kill()
    until(lambda: is_back(serving, before))
    assert serving.status()[0]["instances"][0]["restarts"] >= 1
    with client(serving.port) as caller:
        until(lambda: caller.post("/score", json={}).status_code == 200)


def test_a_worker_that_exits_is_502_and_the_next_request_is_served(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, timeout_ms=60_000))
    serving.route([route("blue")])
    with client(serving.port) as caller:
        assert caller.post("/score", json={"exit": 1}).status_code == 502
        assert caller.post("/score", json={}).status_code == 200, "gunicorn has a new worker by then"


def test_the_other_instance_serves_while_one_is_down(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, instances=2, max_concurrent=4, timeout_ms=60_000))
    serving.route([route("blue")])
    with load(serving.port, callers=4) as answers:
        first = pids(serving)[0]
        for process in [*psutil.Process(first).children(), psutil.Process(first)]:
            process.kill()
        until(lambda: is_back(serving, first))
    lost = sum(count for (status, _), count in answers.items() if status != 200)
    assert lost <= 4, "only what was in flight on the killed process: there are four callers"
    assert answers[200, "hello"] > 20


def test_a_dead_router_is_started_again(serving: Serving, home: Home, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    [envoy] = [item for item in processes(home) if item.name() == "envoy"]
    with client(serving.port) as caller:
        for _ in range(30):
            caller.post("/score", json={})
    until(lambda: serving.status()[0]["requests"] == 30)
    envoy.kill()
    with client(serving.port) as caller:

        def answers() -> bool:
            try:
                return caller.post("/score", json={}).status_code == 200
            except httpx.HTTPError:
                return False

        until(answers)
    assert serving.status()[0]["requests"] >= 30, "the new one counts from zero, and what was counted is kept"


def test_a_wait_longer_than_the_timeout_is_408_and_the_limit_is_429(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, timeout_ms=700, max_concurrent=1, instances=1))
    serving.route([route("blue")])
    with client(serving.port) as caller, ThreadPoolExecutor(6) as pool:
        statuses = Counter(
            item.result().status_code
            for item in [pool.submit(caller.post, "/score", json={"sleep": 2}) for _ in range(6)]
        )
    assert statuses == {408: 2, 429: 4}, "two may be in flight for one instance that takes one at a time"


def test_two_endpoints_may_have_deployments_of_the_same_name(
    serving: Serving, spec: DeploymentSpec, tmp_path: Path, environment: EnvironmentSpec
) -> None:
    other = replace(custom(tmp_path, environment, "other"), endpoint="lung")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(serving.deploy, [spec, other]))
    lung = replace(route("blue"), name="lung", hosts=("lung.eastus.inference.ml.azure.com",))
    serving.route([route("blue"), lung])
    with client(serving.port) as caller:
        assert caller.post("/score", json={}).json()["says"] == "hello"
        assert caller.post("/score", json={}, headers={"Host": lung.hosts[0]}).json()["says"] == "other"


def test_every_listener_is_on_loopback(serving: Serving, home: Home, spec: DeploymentSpec) -> None:
    serving.deploy(spec)
    listening = [s for p in processes(home) for s in p.net_connections("inet") if s.status == psutil.CONN_LISTEN]
    assert len({item.laddr.port for item in listening}) == 3, "the listener, its admin interface, one instance"
    assert {item.laddr.ip for item in listening} == {"127.0.0.1"}


@pytest.fixture
def mlflow_spec(tmp_path: Path, environment: EnvironmentSpec) -> DeploymentSpec:
    model = tmp_path / "models" / "summing"
    (model / "code").mkdir(parents=True)
    (model / "code" / "summing.py").write_text(MLFLOW_MODEL)
    (model / "MLmodel").write_text(json.dumps(MLMODEL))
    (model / "requirements.txt").write_text("mlflow==3.17.2\n")
    return DeploymentSpec("tumor", "blue", model.parent, mlflow=True, mlflow_path=model)


def test_an_mlflow_model_needs_no_code(serving: Serving, mlflow_spec: DeploymentSpec) -> None:
    serving.deploy(replace(mlflow_spec, timeout_ms=60_000))
    serving.route([route("blue")])
    rows = {"columns": ["b", "a"], "data": [[1, 2], [3, 4.5]]}
    with client(serving.port) as caller:
        plain = caller.post("/score", json={"input_data": rows})
        indexed = caller.post("/score", json={"input_data": rows | {"index": [7, 8]}, "params": {"factor": 2.0}})
        wrong = caller.post("/score", json={"data": rows})
    assert plain.json() == [3.0, 7.5]
    assert indexed.json() == [6.0, 15.0]
    assert (wrong.status_code, wrong.headers["ms-azureml-model-error-statuscode"]) == (424, "400")
    assert wrong.json() == {"message": "A value is not provided for the 'input_data' parameter."}


def test_a_model_without_mlmodel_is_no_mlflow_model(serving: Serving, mlflow_spec: DeploymentSpec) -> None:
    assert mlflow_spec.mlflow_path
    (mlflow_spec.mlflow_path / "MLmodel").unlink()
    with pytest.raises(ServingError, match="has no MLmodel file") as caught:
        serving.deploy(mlflow_spec)
    assert caught.value.code == "BadArgument"
