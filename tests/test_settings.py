"""Layer: the stack configuration; what is accepted, and what every refusal says."""

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import config as runtime_config

import settings
from settings import OnlineEndpointSettings, Settings, SettingsError, name_suffix, parse, traffic_findings
from tests.samples import DATA_COLLECTOR, PROJECT_FILES, write_files

ROOT = Path(__file__).parents[1]
MLFLOW = {"path": "models/mlflow", "type": "mlflow_model"}
GREEN = {
    "model": {"path": "models/model.pkl", "type": "custom_model"},
    "code": {"path": "code", "script": "score.py"},
    "environment": {"image": "image", "condaFile": "code/conda.yaml"},
}
RAW: dict[str, Any] = {
    "azure-native:location": "eastus",
    "nameSuffix": "a1b2c3",
    "workspace": {"name": "aml-test"},
    "computeClusters": {"aml-cluster": {"vmSize": "Standard_DS3_v2", "maxInstances": 4}},
    "onlineEndpoints": {
        "tumor-online": {
            "deployments": {
                "blue": {"model": MLFLOW, "instanceType": "Standard_F4s_v2"},
                "green": {**GREEN, "instanceType": "Standard_DS2_v2"},
            },
            "traffic": {"blue": 90, "green": 10},
        }
    },
    "batchEndpoints": {
        "tumor-batch": {
            "deployments": {
                "mlflow": {"model": MLFLOW, "compute": "aml-cluster"},
                "custom": {**GREEN, "compute": "aml-cluster"},
            },
            "defaultDeployment": "mlflow",
        }
    },
}
SMOKE_FILES = {
    "request.json": '{"input_data": []}',
    "answer.json": "[0, 1]",
    "schema.json": '{"type": "array"}',
    "image.png": "no JSON, and none is wanted",
    "broken.json": "{",
    "list.json": "[]",
    "no-schema.json": '{"type": "aray"}',
}
IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-tumor"
ONLINE = ("onlineEndpoints", "tumor-online")
BLUE = (*ONLINE, "deployments", "blue")
GREEN_PATH = (*ONLINE, "deployments", "green")
BATCH = ("batchEndpoints", "tumor-batch")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the files that the configuration names."""
    write_files(tmp_path, {**PROJECT_FILES, **SMOKE_FILES})
    return tmp_path


def changed(*changes: tuple[tuple[str, ...], Any]) -> dict[str, Any]:
    """The configuration with values put in at their paths; None takes the key out."""
    raw = json.loads(json.dumps(RAW))
    for path, value in changes:
        place = raw
        for key in path[:-1]:
            place = place[key]
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
    return raw


def findings(raw: dict[str, Any], root: Path) -> list[str]:
    with pytest.raises(SettingsError) as error:
        parse(raw, root)
    return error.value.findings


def test_a_sound_configuration_is_read_into_frozen_models(root: Path) -> None:
    stack = parse(RAW, root)
    assert stack.online_endpoints["tumor-online"].deployments["blue"].instance_count == 1
    assert stack.azure_name("tumor-online") == "tumor-online-a1b2c3"
    with pytest.raises(ValueError, match="frozen"):
        stack.name_suffix = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ((*ONLINE, "traffic"), {"blue": 90, "green": 20}),
            "tumor-online.traffic: percentages add up to 110 (blue 90, green 20); they must add up to 100",
        ),
        (((*ONLINE, "traffic"), {"bleu": 100}), 'traffic: there is no deployment "bleu"; did you mean "blue"?'),
        (
            ((*ONLINE, "traffic"), {"blue": 120}),
            "traffic.blue: input should be less than or equal to 100, but received 120",
        ),
        (((*ONLINE, "traffic"), {"blue": 99.5}), "traffic.blue: input should be a valid integer"),
        (((*ONLINE, "mirrorTraffic"), {"green": 20}), "green gets live traffic too (10 %)"),
        (
            ((*ONLINE, "authMode"), "password"),
            "authMode: input should be 'key', 'aml_token' or 'aad_token', but received \"password\"",
        ),
        (((*BLUE, "instancCount"), 2), 'blue.instancCount: is not a known key; did you mean "instanceCount"?'),
        (((*BLUE, "instanceType"), None), "blue.instanceType: is missing; add it"),
        (
            ((*BLUE, "instanceCount"), 0),
            "blue.instanceCount: input should be greater than or equal to 1, but received 0",
        ),
        (((*BLUE, "model", "path"), "models/none"), 'blue.model.path: there is no file or folder "models/none"'),
        (((*BLUE, "model", "path"), "code"), 'blue.model.path: "code" holds no file MLmodel'),
        (
            ((*BLUE, "model"), "azureml:tumor"),
            'blue.model: "azureml:tumor" is no reference; write azureml:<name>:<version>',
        ),
        (((*BLUE, "code"), GREEN["code"]), "blue.code: an mlflow_model is served without code; remove it"),
        (((*GREEN_PATH, "code"), None), "green.code: is missing; a custom_model needs code and environment"),
        (((*GREEN_PATH, "environment"), None), "green.environment: is missing; a custom_model needs"),
        (((*GREEN_PATH, "code", "script"), "run.py"), 'green.code.script: there is no file "run.py" in "code"'),
        (((*GREEN_PATH, "environment", "condaFile"), "no.yaml"), 'condaFile: there is no file "no.yaml"'),
        (((*GREEN_PATH, "environment", "image"), None), 'green.environment: give "image"'),
        (
            ((*BLUE, "model"), {**MLFLOW, "reference": "azureml:tumor:3"}),
            "blue.model.path: reference says already what it is; remove one of the two",
        ),
        (
            ((*GREEN_PATH, "environment"), {"reference": "azureml:env:3", "image": "image"}),
            "green.environment.image: reference says already what it is",
        ),
        (
            ((*GREEN_PATH, "environment", "buildContext"), "code"),
            "green.environment.condaFile: buildContext says already what it is; remove one of the two",
        ),
        (((*GREEN_PATH, "environment", "buildContext"), "code"), "green.environment.image: buildContext says already"),
        (((*GREEN_PATH, "environment", "dockerfile"), "Dockerfile"), "environment.dockerfile: image says already"),
        (((*BLUE, "instanceCount"), True), "blue.instanceCount: input should be a valid integer, but received true"),
        (((*ONLINE, "traffic"), {"blue": True}), "traffic.blue: input should be a valid integer, but received true"),
        (
            ((*BATCH, "deployments"), {}),
            "tumor-batch.deployments: is empty, and Azure does not delete a default deployment while its endpoint "
            "stays; give at least one deployment, or remove batchEndpoints.tumor-batch.",
        ),
        (((*BATCH, "deployments", "mlflow", "compute"), "aml-clutser"), 'did you mean "aml-cluster"?'),
        (
            ((*BATCH, "defaultDeployment"), "other"),
            'defaultDeployment: there is no deployment "other"; there is: mlflow, custom.',
        ),
        (((*BATCH, "defaultDeployment"), None), "defaultDeployment: is missing; name one of custom, mlflow"),
        ((("onlineEndpoint",), {}), 'onlineEndpoint: is not a known key; did you mean "onlineEndpoints"?'),
        ((("workspace",), {}), 'workspace: give either "name"'),
        (
            (("workspace",), {"name": "a"}),
            'workspace.name: "a" (1 characters) is not a name that Azure takes; use 3 to 33',
        ),
        ((("workspace",), {"existing": "aml"}), 'workspace.existing: "aml" is not the ARM id of a workspace'),
        ((("azure-native:location",), None), "azure-native:location: is missing; set it: pulumi config set"),
        ((("nameSuffix",), None), "nameSuffix: cannot be derived"),
        ((("nameSuffix",), "A-B"), 'nameSuffix: "A-B"'),
        ((("computeClusters", "aml-cluster", "minInstances"), 9), "minInstances: 9 is more than maxInstances (4)"),
        ((("computeClusters", "node-1"), {"vmSize": "Standard_DS3_v2"}), None),
        (
            ((*ONLINE, "identity"), "system-assigned"),
            "identity: input should be 'system', 'user', or a list of ARM ids of user-assigned identities, "
            'but received "system-assigned"; did you mean "system"?',
        ),
        (((*ONLINE, "identity"), []), "tumor-online.identity: input should be 'system', 'user', or a list"),
        (
            ((*ONLINE, "identity"), [IDENTITY, "id-tumor"]),
            'identity.1: "id-tumor" is not the ARM id of a user-assigned',
        ),
        (((*ONLINE, "identity"), [IDENTITY, IDENTITY.upper()]), "tumor-online.identity: names an identity twice"),
        (((*BLUE, "livenessProbe"), {"initialDelay": 0}), "initialDelay: input should be greater than or equal to 1"),
        (((*BLUE, "startupProbe"), {"periods": 5}), 'startupProbe.periods: is not a known key; did you mean "period"?'),
        (((*BLUE, "requestSettings"), {"requestTimeoutMs": 180_001}), "requestTimeoutMs: 180001 is more than 180000"),
        (
            ((*BLUE, "startupProbe"), {"successThreshold": 2}),
            "startupProbe.successThreshold: is 2; only a readinessProbe",
        ),
        (((*BLUE, "livenessProbe"), {"successThreshold": 2}), "livenessProbe.successThreshold: is 2; only a readiness"),
        (((*GREEN_PATH, "modelMountPath"), "models"), 'modelMountPath: "models" is not a folder in a container'),
        (((*GREEN_PATH, "modelMountPath"), "/"), 'modelMountPath: "/" is not a folder in a container'),
        (((*GREEN_PATH, "modelMountPath"), "/a/../b"), 'modelMountPath: "/a/../b" is not a folder in a container'),
        (
            ((*BLUE, "modelMountPath"), "/models"),
            "blue.modelMountPath: an mlflow_model without code runs in a container",
        ),
        (
            ((*BLUE, "egressPublicNetworkAccess"), "disabled"),
            "blue.egressPublicNetworkAccess: the environment of an mlflow_model without code is built from public",
        ),
        (((*BLUE, "dataCollector"), {}), "blue.dataCollector.collections: is missing; add it"),
        (
            ((*BLUE, "dataCollector"), {"collections": {}}),
            "dataCollector.collections: dictionary should have at least 1",
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"model_inputs": {"samplingRate": 1.1}}}),
            "model_inputs.samplingRate: input should be less than or equal to 1, but received 1.1",
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"model_inputs": {"samplingRat": 1}}}),
            'model_inputs.samplingRat: is not a known key; did you mean "samplingRate"?',
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"model inputs": {}}}),
            'dataCollector.collections.model inputs: "model inputs" becomes part of a path of blobs',
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"request": {"data": "inbox"}}}),
            'collections.request.data: "inbox" is no data asset; write azureml:<name>:<version>.',
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"request": {"clientId": "me"}}}),
            'collections.request.clientId: "me" is no client id',
        ),
        (
            (
                (*BLUE, "dataCollector"),
                {"collections": {"request": {}}, "requestLogging": {"captureHeaders": ["x-trace", "two words"]}},
            ),
            'requestLogging.captureHeaders.1: "two words" is not the name of a header',
        ),
        (
            ((*BLUE, "dataCollector"), {"collections": {"request": {}}, "rollingRate": "week"}),
            "dataCollector.rollingRate: input should be 'minute', 'hour', 'day', 'month' or 'year'",
        ),
        (((*BLUE, "smokeTest"), {}), "blue.smokeTest.request: is missing; add it"),
        (((*BLUE, "smokeTest"), {"request": "none.json"}), 'smokeTest.request: there is no file "none.json"'),
        (((*BLUE, "smokeTest"), {"request": "broken.json"}), 'smokeTest.request: "broken.json" holds no JSON'),
        (
            ((*BLUE, "smokeTest"), {"request": "request.json", "json": "none.json"}),
            'smokeTest.json: there is no file "none.json"',
        ),
        (
            ((*BLUE, "smokeTest"), {"request": "request.json", "schema": "image.png"}),
            'smokeTest.schema: "image.png" holds no JSON',
        ),
        (
            ((*BLUE, "smokeTest"), {"request": "request.json", "schema": "list.json"}),
            'smokeTest.schema: "list.json" is not a JSON schema, which is an object',
        ),
        (
            ((*BLUE, "smokeTest"), {"request": "request.json", "schema": "no-schema.json"}),
            'smokeTest.schema: "no-schema.json" is not a JSON schema: ',
        ),
        (
            ((*BLUE, "smokeTest"), {"request": "request.json", "timeLimit": 0}),
            "smokeTest.timeLimit: input should be greater than or equal to 1, but received 0",
        ),
        (((*BLUE, "smokeTest"), {"request": "request.json", "statis": 200}), 'did you mean "status"?'),
        ((("roleAssignmentSeconds",), "-1"), "roleAssignmentSeconds: input should be greater than or equal to 0"),
        ((("onlineEndpoints", "tumor-batch"), {}), "batchEndpoints.tumor-batch: is the name of an online endpoint too"),
        ((("onlineEndpoints", "an-endpoint-with-a-long-name"), {}), "(35 characters) is not a name that Azure takes"),
        (((*ONLINE, "deployments", "Blue"), {"model": MLFLOW, "instanceType": "x"}), 'deployments.Blue: "Blue"'),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_the_way_out(
    change: Any, expected: str | None, root: Path
) -> None:
    if expected is None:
        parse(changed(change), root)
    else:
        found = findings(changed(change), root)
        assert any(expected in finding for finding in found), found


def test_one_error_lists_all_that_is_wrong_also_across_kinds_of_mistakes(root: Path) -> None:
    raw = changed(
        ((*ONLINE, "traffic"), {"blue": 90, "green": 20}),
        ((*BLUE, "instancCount"), 2),
        ((*BLUE, "instanceType"), None),
        ((*BATCH, "deployments", "mlflow", "compute"), "none"),
        ((*GREEN_PATH, "model", "path"), "models/none"),
        (("purgeOnDestroi",), "true"),
    )
    found = findings(raw, root)
    keys = ["traffic", "blue.instancCount", "blue.instanceType", "mlflow.compute", "green.model.path", "purgeOnDestroi"]
    assert len(found) == len(keys), found
    assert all(any(f"{key}:" in finding for finding in found) for key in keys), found


def test_a_deployment_that_is_not_sound_itself_is_still_known_to_the_traffic(root: Path) -> None:
    found = findings(changed(((*BLUE, "instanceType"), None)), root)
    assert found == ["onlineEndpoints.tumor-online.deployments.blue.instanceType: is missing; add it."]


def test_a_settings_error_ends_the_program_without_a_traceback(root: Path) -> None:
    with pytest.raises(pulumi.RunError, match="has 1 problem; nothing has been changed"):
        parse(changed(((*ONLINE, "authMode"), "x")), root)


def test_registered_models_need_no_files(root: Path) -> None:
    for reference in (
        "azureml:tumor:3",
        "azureml:tumor@latest",
        "azureml://registries/shared/models/tumor/versions/3",
        "azureml://registries/shared/models/tumor/labels/latest",
    ):
        model = parse(changed(((*BLUE, "model"), reference)), root)
        assert model.online_endpoints["tumor-online"].deployments["blue"].model.reference == reference


def test_everything_that_a_deployment_can_be_told_is_accepted(root: Path) -> None:
    told = {
        **GREEN,
        "instanceType": "Standard_DS2_v2",
        "instanceCount": 3,
        "description": "the second",
        "tags": {"team": "a"},
        "properties": {"origin": "b"},
        "environmentVariables": {"LEVEL": "debug"},
        "appInsightsEnabled": True,
        "requestSettings": {"requestTimeoutMs": 180_000, "maxConcurrentRequestsPerInstance": 4, "maxQueueWaitMs": 0},
        "livenessProbe": {"initialDelay": 1, "failureThreshold": 5},
        "readinessProbe": {"period": 2, "successThreshold": 2},
        "startupProbe": {"timeout": 9},
        "egressPublicNetworkAccess": "enabled",
        "modelMountPath": "/var/models",
        "dataCollector": DATA_COLLECTOR,
        "smokeTest": {
            "request": "image.png",
            "status": 201,
            "json": "answer.json",
            "schema": "schema.json",
            "timeLimit": 5,
        },
    }
    stack = parse(changed((GREEN_PATH, told), ((*ONLINE, "identity"), [IDENTITY])), root)
    endpoint = stack.online_endpoints["tumor-online"]
    assert endpoint.identity == (IDENTITY,)
    test = endpoint.deployments["green"].smoke_test
    assert test
    assert test.expected_file == "answer.json", "the file itself is read where it is needed"


@pytest.mark.parametrize("value", [{"class": "benign"}, [0], "benign", 0, False])
def test_what_a_smoke_test_expects_may_be_any_value(value: Any, root: Path) -> None:
    stack = parse(changed(((*BLUE, "smokeTest"), {"request": "request.json", "json": value})), root)
    test = stack.online_endpoints["tumor-online"].deployments["blue"].smoke_test
    assert test
    assert (test.expected, test.expected_file) == (value, None)


def test_numbers_and_switches_may_arrive_as_text(root: Path) -> None:
    stack = parse(changed((("drainSeconds",), "0"), (("purgeOnDestroy",), "true")), root)
    assert stack.drain_seconds == 0
    assert stack.purge_on_destroy is True
    assert parse(changed((("drainSeconds",), "auto")), root).drain_seconds is None


DEPLOYMENTS = ("blue", "green", "amber")
SHARES = st.dictionaries(st.sampled_from((*DEPLOYMENTS, "ghost")), st.integers(0, 100), max_size=4)


def endpoint(traffic: dict[str, int], mirror: dict[str, int] | None = None) -> OnlineEndpointSettings:
    return OnlineEndpointSettings.model_validate({"traffic": traffic, "mirrorTraffic": mirror or {}})


@given(traffic=SHARES)
def test_traffic_is_accepted_exactly_when_it_adds_up_and_names_deployments(traffic: dict[str, int]) -> None:
    sound = sum(traffic.values()) in (0, 100) and "ghost" not in traffic
    assert sound == (not list(traffic_findings("e", endpoint(traffic), list(DEPLOYMENTS))))


@given(traffic=st.permutations(DEPLOYMENTS).map(lambda names: {names[0]: 70, names[1]: 30}), mirror=SHARES)
def test_mirror_traffic_goes_to_one_idle_deployment_at_no_more_than_half(
    traffic: dict[str, int], mirror: dict[str, int]
) -> None:
    shares = {name: share for name, share in mirror.items() if share}
    sound = "ghost" not in mirror and len(shares) <= 1 and all(share <= 50 for share in shares.values())
    sound = sound and not any(traffic.get(name) for name in shares)
    assert sound == (not list(traffic_findings("e", endpoint(traffic, mirror), list(DEPLOYMENTS))))


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_whatever_is_written_gives_settings_or_findings_never_another_error(value: Any) -> None:
    for path in (ONLINE, BLUE, (*BLUE, "model"), ("workspace",), ("computeClusters",), (*ONLINE, "traffic")):
        raw = deepcopy(RAW)
        place = raw
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        # Any other exception would be a traceback for a mistake of the user's.
        with suppress(SettingsError):
            assert isinstance(parse(raw), Settings)


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_stacks_get_two_suffixes(one: str, other: str) -> None:
    pair = name_suffix("s", "p", one), name_suffix("s", "p", other)
    assert (pair[0] == pair[1]) == (one.lower() == other.lower())


@given(st.text(min_size=1))
def test_a_derived_suffix_ends_no_cluster_name_in_digits(stack: str) -> None:
    suffix = name_suffix("s", "p", stack)
    assert settings.CLUSTER_NAME.fullmatch(f"aml-cluster-{suffix}"), "Azure refuses -<digits> at the end"
    assert len(suffix) == 6


def test_a_derived_suffix_is_named_where_it_makes_a_name_too_long(root: Path) -> None:
    raw = changed((("onlineEndpoints", "an-endpoint-with-a-long-name"), {}))
    with pytest.raises(SettingsError, match=r'Its end "-a1b2c3" is derived; set nameSuffix to one of your own'):
        parse(raw, root, derived_suffix=True)
    assert "derived" not in str(findings(raw, root)), "the user has set it, and knows"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, root: Path) -> Callable[..., Settings]:
    """Loads what the Pulumi CLI would hand to the program."""
    monkeypatch.chdir(root)
    monkeypatch.delenv("ARM_SUBSCRIPTION_ID", raising=False)

    def load(**values: Any) -> Settings:
        config = {key if ":" in key else f"azureml-endpoints:{key}": value for key, value in values.items()}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
        monkeypatch.setattr(pulumi, "get_project", lambda: "azureml-endpoints")
        monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
        monkeypatch.setattr("pulumi.config.get_project", lambda: "azureml-endpoints")
        runtime_config.set_all_config({})
        return settings.load()

    return load


def test_the_suffix_is_derived_from_the_subscription_unless_one_is_given(configured: Callable[..., Settings]) -> None:
    azure = {"azure-native:location": "eastus", "azure-native:subscriptionId": "s-1"}
    common = {**azure, "workspace": {"name": "aml-test"}}
    assert configured(**common).name_suffix == name_suffix("s-1", "azureml-endpoints", "dev")
    assert configured(**common, nameSuffix="auto").name_suffix == name_suffix("s-1", "azureml-endpoints", "dev")
    assert configured(**common, nameSuffix="").name_suffix == "", "an empty suffix is a choice"
    assert configured(**common, nameSuffix="007").name_suffix == "007", "text stays text"


def test_a_key_that_nobody_reads_is_refused(configured: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match='drainSecond: is not a known key; did you mean "drainSeconds"'):
        configured(**{"azure-native:location": "x", "workspace": {"name": "aml"}, "nameSuffix": "", "drainSecond": "5"})


def test_a_secret_is_refused_without_being_shown(
    configured: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(["azureml-endpoints:onlineEndpoints"]))
    blue = {"model": MLFLOW, "instanceType": "x", "environmentVariables": {"KEY": "hunter2"}, "attempt": "hunter2"}
    with pytest.raises(SettingsError) as error:
        configured(nameSuffix="", onlineEndpoints={"tumor-online": {"deployments": {"blue": blue}}})
    (finding,) = error.value.findings
    assert finding.startswith("onlineEndpoints: holds a secret, which would be stored and shown in plain text")
    assert "key vault" in finding
    assert "the endpoint's identity" in finding
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("stack", ["local", "dev", "staging", "prod"])
def test_the_committed_stacks_are_sound(stack: str) -> None:
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    raw = {key.removeprefix("azureml-endpoints:"): value for key, value in config.items()}
    known = {key: value for key, value in raw.items() if not key.startswith("azure-native:")}
    known["azure-native:location"] = raw.get("azure-native:location")
    known.setdefault("nameSuffix", "a1b2c3")
    assert parse(known, ROOT).online_endpoints["tumor-online"].traffic == {"blue": 90, "green": 10}


def test_local_is_pinned_to_a_subscription_that_azure_does_not_know() -> None:
    config = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
    assert config["config"]["azure-native:subscriptionId"] == "10ca1a2e-0000-4000-8000-000000000001"
    assert config["config"]["azure-native:metadataHost"].endswith(".invalid"), "the official plugin finds no Azure"
    assert config["encryptionsalt"]


def test_every_key_of_the_project_is_described_and_read() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    fields = {field.alias or name for name, field in Settings.model_fields.items()}
    assert set(declared) == {field for field in fields if ":" not in field}
    assert all(entry["type"] and entry["description"] for entry in declared.values())
