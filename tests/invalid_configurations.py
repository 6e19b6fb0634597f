"""Configurations that Azure would refuse, or that cannot be meant: each an edit of `Pulumi.local.yaml`."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "azureml-endpoints:"
LOCATION = "azure-native:location"
REMOVED = ...

ONLINE = "onlineEndpoints.tumor-online"
BLUE, GREEN = f"{ONLINE}.deployments.blue", f"{ONLINE}.deployments.green"
BATCH = "batchEndpoints.tumor-batch"
MLFLOW, CUSTOM = f"{BATCH}.deployments.mlflow", f"{BATCH}.deployments.custom"
NIGHTLY = f"{BATCH}.schedules.nightly"
CLUSTER = "computeClusters.aml-cluster"
ENVIRONMENT, VARIABLES = f"{GREEN}.environment", f"{GREEN}.environmentVariables"
AKS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/aks"
DEPLOYER = "10ca1a2e-0000-4000-8000-0000000000bb"
SCALED = {"maxInstances": 5, "rules": [{"metric": "cpu", "above": 70, "below": 30}]}
BOOLEAN = "must be of type 'boolean'"
# Not one word of these may be printed.
SECRET = "hunter2-9f86d081884c7d659a2feaa0c55ad015"
FILES = {
    "invalid/broken.py": "def init(:\n",
    "invalid/no_run.py": "def init(): ...\ndef Run(data): ...\n",
    "invalid/two.py": "def init(): ...\ndef run(data, more): ...\n",
    "invalid/broken.yaml": "dependencies: [\n",
    "invalid/bare.yaml": "dependencies: [python=3.11, scikit-learn]\n",
    "invalid/crate/MLmodel": "flavors: {crate: {version: 1}}\n",
    "invalid/request.json": "{",
    "invalid/deep.json": "[" * 100_000,
    "invalid/schema.json": '{"$schema": ["x"]}',
}


@dataclass(frozen=True)
class Invalid:
    """An edit, and what its one finding says: the key it begins with, the value received, and the way out."""

    key: str
    value: str
    way_out: str
    edits: Mapping[str, Any] = field(default_factory=dict)
    by_pulumi: str = ""
    """What the CLI says instead, which checks the types that Pulumi.yaml declares before it starts a program."""

    @property
    def name(self) -> str:
        return f"{self.key}: {self.value}"

    def apply(self, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration, by its keys without a project, with the edits made in a copy of it."""
        edited = copy.deepcopy(config)
        for path, value in self.edits.items():
            _put(edited, path, copy.deepcopy(value))
        return edited


def base() -> dict[str, Any]:
    """The configuration of the local stack as the program takes it: by its keys, of others only the region's."""
    config = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
    return {key.removeprefix(PROJECT): value for key, value in config.items() if key.startswith((PROJECT, LOCATION))}


def _put(config: dict[str, Any], path: str, value: Any) -> None:
    # No key of the base has a dot in it.
    *parents, last = path.split(".")
    place: Any = config
    for part in parents:
        place = place.setdefault(part, {})
    if value is REMOVED:
        place.pop(last)
    else:
        place[last] = value


def edit(path: str, value: Any, shown: str, way_out: str) -> Invalid:
    """A row whose finding is about the very key that is edited."""
    return Invalid(path, shown, way_out, {path: value})


def many(count: int, **deployment: Any) -> dict[str, Any]:
    blue = {"model": "azureml:tumor:3", "instanceType": "Standard_DS2_v2", **deployment}
    return {f"blue{at}": blue for at in range(count)}


TOP = [
    edit("trafic", {}, "is not a known key", "remove it, or use one of"),
    edit("onlineEndpoint", {}, "is not a known key", 'did you mean "onlineEndpoints"?'),
    edit("ComputeClusters", {}, "is not a known key", 'did you mean "computeClusters"?'),
    edit("drainSeconds", "soon", 'received "soon"', "correct the value"),
    edit("drainSeconds", -1, "received -1", "greater than or equal to 0"),
    edit("roleAssignmentSeconds", 2**31, "received 2147483648", "less than or equal to 2147483647"),
    replace(edit("purgeOnDestroy", "perhaps", 'received "perhaps"', "correct the value"), by_pulumi=BOOLEAN),
    replace(edit("allowUnknownSizes", "some", 'received "some"', "correct the value"), by_pulumi=BOOLEAN),
    edit("nameSuffix", "A_B", '"A_B"', "up to 12 lower-case letters and digits"),
    edit("resourceGroup", "rg aml!", '"rg aml!"', "up to 90 letters, digits"),
    edit(
        "resourceGroup", "/subscriptions/s", '"/subscriptions/s"', "it has the form /subscriptions/<id>/resourceGroups/"
    ),
    edit("azure-native:location", REMOVED, "is missing", "pulumi config set azure-native:location"),
    edit("workspace.name", "a", '"a" (1 characters)', "use 3 to 33"),
    edit("workspace.nam", "x", "is not a known key", 'did you mean "name"?'),
    Invalid("workspace", "give either", '"existing" (the ARM id', {"workspace": {}}),
    Invalid("purgeOnDestroy", "of what protect keeps", "set one of them to false", {"protect": True}),
    edit("security.keyles", True, "is not a known key", 'did you mean "keyless"?'),
    Invalid(
        "security.deployers.0", '"me"', "find it by az ad sp show", {"security": {"keyless": True, "deployers": ["me"]}}
    ),
    Invalid(
        "security.deployers.1",
        f'"{DEPLOYER}" is security.deployers.0 too',
        "keep one",
        {"security": {"keyless": True, "deployers": [DEPLOYER.upper(), DEPLOYER]}},
    ),
    # Named like a setting.
    Invalid(
        "onlineEndpoints.tags.trafic",
        "is not a known key",
        'did you mean "traffic"?',
        {"onlineEndpoints.tags": {"trafic": {}}},
    ),
    Invalid(
        "computeClusters.tier.vmsize",
        "is not a known key",
        'did you mean "vmSize"?',
        {"computeClusters.tier": {"vmsize": "Standard_DS3_v2", "vmSize": "Standard_DS3_v2"}},
    ),
    Invalid(
        "kubernetesClusters.identity.clustr",
        "is not a known key",
        'did you mean "cluster"?',
        {"kubernetesClusters": {"identity": {"clustr": "aks", "cluster": AKS}}},
    ),
    Invalid("workspace.tags.a/b", '"a/b"', "leave it out", {"workspace.tags": {"a/b": "c"}}),
    edit("network.mode", "Managed", 'received "Managed"', 'did you mean "managed"?'),
    edit("network.firewallSku", "standard", "is for mode managed", "remove it, or set mode to managed"),
]
CLUSTERS = [
    edit(f"{CLUSTER}.vmSize", REMOVED, "is missing", "add it"),
    edit(f"{CLUSTER}.vmSize", "DS3_v2", '"DS3_v2"', 'did you mean "Standard_DS3_v2"?'),
    edit(f"{CLUSTER}.vmSize", "Standard_DS3v2", '"Standard_DS3v2"', 'did you mean "Standard_DS3_v2"?'),
    edit(f"{CLUSTER}.vmSize", "huge", '"huge"', "write one as Standard_F4s_v2"),
    edit(f"{CLUSTER}.tier", "LowPriority", 'received "LowPriority"', 'did you mean "low_priority"?'),
    edit(f"{CLUSTER}.minInstances", 9, "9 is more than maxInstances (4)", "lower the one or raise the other"),
    edit(f"{CLUSTER}.minInstances", True, "received true", "valid integer"),
    edit(f"{CLUSTER}.maxInstances", 101, "101 is more than", "lower it"),
    edit(f"{CLUSTER}.maxinstances", 4, "is not a known key", 'did you mean "maxInstances"?'),
    edit("computeClusters.c", {"vmSize": "Standard_DS3_v2"}, '"c" (1 characters)', "use 3 to 24 letters"),
    edit("computeClusters.node-1", {"vmSize": "Standard_DS3_v2"}, '"node-1"', "not -<digits> at the end"),
    edit(f"{CLUSTER}.subnet", "default", '"default"', "it has the form /subscriptions/<id>"),
    Invalid(
        "kubernetesClusters.aks.instanceTypes.small.requests.memory",
        "2Gi is more than limits.memory (1073741824)",
        "lower the one or raise the other",
        {
            "kubernetesClusters": {
                "aks": {
                    "cluster": AKS,
                    "instanceTypes": {
                        "small": {"requests": {"memory": "2Gi", "cpu": "500m"}, "limits": {"memory": 2**30, "cpu": 0.5}}
                    },
                }
            }
        },
    ),
    Invalid(
        "kubernetesClusters.aks.cluster",
        '"aks"',
        "it has the form",
        {"kubernetesClusters": {"aks": {"cluster": "aks"}}},
    ),
]
ENDPOINTS = [
    edit(f"{ONLINE}.authMode", "password", 'received "password"', "'key', 'aml_token' or 'aad_token'"),
    edit(f"{ONLINE}.authMode", "AADToken", 'received "AADToken"', 'did you mean "aad_token"?'),
    edit(f"{ONLINE}.publicNetworkAccess", "Enabled", 'received "Enabled"', 'did you mean "enabled"?'),
    edit(f"{ONLINE}.identity", "System", 'received "System"', 'did you mean "system"?'),
    Invalid(f"{ONLINE}.identity.0", '"id-tumor"', "it has the form", {f"{ONLINE}.identity": ["id-tumor"]}),
    Invalid(
        f"{ONLINE}.kubernetes",
        '"aks"',
        "there is: none",
        {f"{ONLINE}.kubernetes": "aks", f"{BLUE}.instanceType": "small", f"{GREEN}.instanceType": "small"},
    ),
    edit(f"{ONLINE}.trafic", {}, "is not a known key", 'did you mean "traffic"?'),
    edit(f"{ONLINE}.traffic", {"blue": 90, "green": 20}, "add up to 110 (blue 90, green 20)", "must add up to 100"),
    edit(f"{ONLINE}.traffic", {"Blue": 90, "green": 10}, '"Blue"', 'did you mean "blue"?'),
    edit(f"{ONLINE}.traffic", {"red": 100}, '"red"', "there is: blue, green"),
    edit(f"{ONLINE}.traffic.blue", 99.5, "received 99.5", "valid integer"),
    edit(f"{ONLINE}.traffic.blue", 120, "received 120", "less than or equal to 100"),
    edit(f"{ONLINE}.traffic.blue", "most", 'received "most"', "valid integer"),
    Invalid(
        f"{ONLINE}.mirrorTraffic",
        "green gets live traffic too (10 %)",
        "set its share",
        {f"{ONLINE}.mirrorTraffic.green": 20},
    ),
    Invalid(
        f"{ONLINE}.mirrorTraffic",
        "green gets 60 %",
        "at most 50 %: lower it",
        {f"{ONLINE}.traffic": {"blue": 100}, f"{ONLINE}.mirrorTraffic": {"green": 60}},
    ),
    Invalid(f"{ONLINE}.tags.a/b", '"a/b"', "leave it out", {f"{ONLINE}.tags": {"a/b": "c"}}),
    Invalid(f"{ONLINE}.tags.team", "2 times", "keep one", {f"{ONLINE}.tags": {"team": "a", "Team": "b"}}),
    edit(f"{BATCH}.tags", {f"t{at}": "" for at in range(51)}, "51 tags", "remove 1"),
    edit("onlineEndpoints.Tumor-Online", {}, "onlineEndpoints.tumor-online", "rename one"),
    Invalid(
        "batchEndpoints.tumor-online",
        "is the name of an online endpoint too",
        "rename one",
        {"batchEndpoints.tumor-online.deployments.blue": {"model": "azureml:tumor:3", "compute": "aml-cluster"}},
    ),
    edit("onlineEndpoints.tumor_2", {}, '"tumor_2"', "letters, digits and hyphens, a letter first"),
    edit("onlineEndpoints.x" + "y" * 32, {}, "(33 characters)", "use 3 to 32"),
    Invalid(
        "onlineEndpoints",
        "102 endpoints",
        "spread them over stacks",
        {f"onlineEndpoints.more{at}": {} for at in range(100)},
    ),
    edit("onlineEndpoints.more.deployments", many(21), "21 deployments", "Azure allows 20 an endpoint: remove"),
    edit(f"{BATCH}.deployments", {}, "is empty", f"give at least one deployment, or remove {BATCH}"),
    edit(f"{BATCH}.defaultDeployment", "MLflow", '"MLflow"', 'did you mean "mlflow"?'),
    edit(f"{BATCH}.defaultDeployment", REMOVED, "is missing", "name one of custom, mlflow"),
]
DEPLOYMENTS = [
    Invalid(
        f"{ONLINE}.deployments.code.instanceTyp",
        "is not a known key",
        'did you mean "instanceType"?',
        {f"{ONLINE}.deployments.code": {**many(1)["blue0"], "instanceTyp": "Standard_DS3_v2"}},
    ),
    Invalid(
        f"{ONLINE}.deployments.attempt.requestSettings.requestTimeout",
        "is not a known key",
        'did you mean "requestTimeoutMs"?',
        {f"{ONLINE}.deployments.attempt": {**many(1)["blue0"], "requestSettings": {"requestTimeout": 5}}},
    ),
    Invalid(
        f"{BLUE}.autoscale.rules.0.above",
        "valid number, but received true",
        "correct the value",
        {f"{BLUE}.autoscale": {"maxInstances": 5, "rules": [{"metric": "cpu", "above": True}]}},
    ),
    Invalid(
        f"{BLUE}.autoscale.rules.0.metrics",
        "is not a known key",
        'did you mean "metric"?',
        {f"{BLUE}.autoscale": {"maxInstances": 5, "rules": [{**SCALED["rules"][0], "metrics": "cpu"}]}},
    ),
    edit(f"{BLUE}.instancCount", 2, "is not a known key", 'did you mean "instanceCount"?'),
    edit(f"{BLUE}.instance_count", 2, "is not a known key", 'did you mean "instanceCount"?'),
    edit(f"{BLUE}.instanceType", REMOVED, "is missing", "add it"),
    edit(f"{BLUE}.instanceType", "small", '"small"', "give the endpoint a kubernetes cluster"),
    edit(f"{BLUE}.instanceType", "Standard-F4s-v2", '"Standard-F4s-v2"', 'did you mean "Standard_F4s_v2"?'),
    edit(f"{BLUE}.instanceCount", 0, "received 0", "greater than or equal to 1"),
    edit(f"{BLUE}.instanceCount", 51, "received 51", "less than or equal to 50"),
    edit(f"{BLUE}.instanceCount", "two", 'received "two"', "valid integer"),
    edit(f"{ONLINE}.deployments.Red", many(1)["blue0"], '"Red" (3 characters)', "lower-case letters"),
    edit(f"{ONLINE}.deployments.b{'l' * 23}ue", many(1)["blue0"], "(26 characters)", "use 3 to 23"),
    edit(f"{BLUE}.model", "azureml:tumor", '"azureml:tumor"', "write azureml:<name>:<version>"),
    edit(f"{BLUE}.model", REMOVED, "is missing", "add it"),
    edit(f"{BLUE}.model.type", "MLflow_Model", 'received "MLflow_Model"', 'did you mean "mlflow_model"?'),
    edit(f"{BLUE}.model.path", "", "is empty", "name a file or folder, relative to the project"),
    edit(f"{BLUE}.model.path", "/", '"/" holds the whole project', "name the file or folder itself"),
    edit(f"{BLUE}.model.path", "x" * 300, "x" * 300, "correct the path"),
    edit(f"{GREEN}.code.script", "x" * 300, "x" * 300, "correct the name"),
    edit(f"{ENVIRONMENT}.condaFile", "x" * 300, "x" * 300, "correct the path"),
    edit(f"{BLUE}.smokeTest.request", "x" * 300, "x" * 300, "correct the path"),
    edit(f"{BLUE}.model.path", "models/none", '"models/none"', "correct the path"),
    edit(f"{BLUE}.model.path", "scoring/online", '"scoring/online" holds no file MLmodel', "name the folder"),
    edit(f"{BLUE}.model.path", "invalid/crate", "(there is: crate)", "set model.type to custom_model"),
    edit(f"{BLUE}.code", {"path": "scoring/online", "script": "score.py"}, "served without code", "remove it"),
    edit(f"{GREEN}.code", REMOVED, "is missing", "a custom_model needs code and environment"),
    edit(f"{GREEN}.code.path", "scoring/none", '"scoring/none"', "correct the path"),
    edit(f"{GREEN}.code.script", "main.py", '"main.py" in "scoring/online"', "correct the name"),
    Invalid(
        f"{GREEN}.code.script",
        "(line 1)",
        "correct the script",
        {f"{GREEN}.code": {"path": "invalid", "script": "broken.py"}},
    ),
    Invalid(
        f"{GREEN}.code.script",
        '"no_run.py" defines no run(raw_data)',
        'did you mean it by "Run"? Rename that',
        {f"{GREEN}.code": {"path": "invalid", "script": "no_run.py"}},
    ),
    Invalid(
        f"{CUSTOM}.code.script",
        '"two.py" (line 2) asks for more too',
        "write def run(mini_batch)",
        {f"{CUSTOM}.code": {"path": "invalid", "script": "two.py"}},
    ),
    edit(f"{GREEN}.code.script", "../batch/score.py", '"../batch/score.py" is outside', "move it there"),
    edit(ENVIRONMENT, REMOVED, "is missing", "a custom_model needs code and environment"),
    edit(ENVIRONMENT, "azureml:mine", '"azureml:mine"', "write azureml:<name>:<version>"),
    edit(f"{ENVIRONMENT}.condaFile", "conda.yml", '"conda.yml"', "correct the path"),
    edit(f"{ENVIRONMENT}.condaFile", "invalid/broken.yaml", '"invalid/broken.yaml" is not YAML', "correct the file"),
    edit(f"{ENVIRONMENT}.condaFile", "invalid/bare.yaml", '"invalid/bare.yaml"', "add azureml-inference-server-http"),
    edit(f"{CUSTOM}.environment.condaFile", "invalid/bare.yaml", '"invalid/bare.yaml"', "add azureml-core"),
    edit(f"{ENVIRONMENT}.condaFile", REMOVED, "is missing", "add azureml-inference-server-http"),
    edit(f"{ENVIRONMENT}.dockerfile", "Dockerfile", "image says already what it is", "remove one of the two"),
    Invalid(f"{VARIABLES}.DB_PASSWORD", "a password", "keep it in a key vault", {VARIABLES: {"DB_PASSWORD": SECRET}}),
    Invalid(
        f"{VARIABLES}.API_KEY",
        "a key or a token",
        "in a key vault",
        {VARIABLES: {"API_KEY": SECRET.removeprefix("hunter2-")}},
    ),
    Invalid(
        f"{VARIABLES}.STORE",
        "a connection string",
        "in a key vault",
        {VARIABLES: {"STORE": f"AccountName=a;AccountKey={SECRET}"}},
    ),
    Invalid(f"{VARIABLES}.WORKERS", "not shown", "put it in quotes", {VARIABLES: {"WORKERS": 4}}),
    Invalid(f"{VARIABLES}.A=B", '"A=B"', 'without "="', {VARIABLES: {"A=B": "c"}}),
    Invalid(
        f"{BLUE}.livenessProbe.period", "received 0", "greater than or equal to 1", {f"{BLUE}.livenessProbe.period": 0}
    ),
    edit(f"{BLUE}.readinessProbe.timeout", 86_401, "received 86401", "less than or equal to 86400"),
    edit(f"{BLUE}.startupProbe.periods", 5, "is not a known key", 'did you mean "period"?'),
    edit(f"{BLUE}.livenessProbe.successThreshold", 2, "is 2", "remove it"),
    edit(f"{BLUE}.requestSettings.requestTimeoutMs", 180_001, "180001 is more than 180000", "lower it"),
    edit(f"{BLUE}.requestSettings.maxConcurrentRequestsPerInstance", 0, "received 0", "greater than or equal to 1"),
    edit(f"{GREEN}.modelMountPath", "models", '"models"', "write one like /var/models"),
    edit(f"{BLUE}.autoscale.maxInstances", 51, "received 51", "less than or equal to 50"),
    edit(f"{BLUE}.autoscale", {"maxInstances": 5}, "neither rules nor a timetable", "give one of them"),
    Invalid(
        f"{BLUE}.autoscale.rules.0.metric",
        'received "CPU"',
        'did you mean "cpu"?',
        {f"{BLUE}.autoscale": {"maxInstances": 5, "rules": [{"metric": "CPU", "above": 70}]}},
    ),
    Invalid(
        f"{BLUE}.instanceCount",
        "6 is not within",
        "change it, or leave it out",
        {f"{BLUE}.instanceCount": 6, f"{BLUE}.autoscale": SCALED},
    ),
    edit(f"{BLUE}.resources", {"limits": {"cpu": 1}}, "is for Kubernetes endpoints", "remove it"),
    edit(f"{BLUE}.smokeTest.request", "none.json", '"none.json"', "correct the path"),
    edit(
        f"{BLUE}.smokeTest.request", "invalid/request.json", '"invalid/request.json" holds no JSON', "correct the file"
    ),
    edit(f"{BLUE}.smokeTest.request", "invalid/deep.json", "nested too deeply", "correct the file"),
    Invalid(
        f"{BLUE}.smokeTest.schema",
        '"$schema" of "invalid/schema.json" is no text',
        "or leave it out",
        {f"{BLUE}.smokeTest": {"request": "scoring/samples/request.json", "schema": "invalid/schema.json"}},
    ),
    Invalid(
        f"{BLUE}.dataCollector.collections.a b",
        '"a b"',
        "use letters, digits, - and _",
        {f"{BLUE}.dataCollector": {"collections": {"a b": {}}}},
    ),
    Invalid(
        f"{ONLINE}.deployments.blue.instanceType",
        "is the size of a virtual machine",
        "small",
        {
            "kubernetesClusters": {"aks": {"cluster": AKS, "instanceTypes": {"small": {}}}},
            f"{ONLINE}.kubernetes": "aks",
            f"{GREEN}.instanceType": "small",
        },
    ),
]
BATCHES = [
    edit(f"{MLFLOW}.compute", "aml-clutser", '"aml-clutser"', 'did you mean "aml-cluster"?'),
    edit(f"{MLFLOW}.compute", REMOVED, "is missing", "add it"),
    edit(f"{MLFLOW}.instanceCount", 5, "5 is more than maxInstances of aml-cluster (4)", "lower the one"),
    edit(f"{MLFLOW}.miniBatchSize", 0, "received 0", "greater than or equal to 1"),
    edit(f"{MLFLOW}.outputAction", "Append_Row", 'received "Append_Row"', 'did you mean "append_row"?'),
    edit(f"{MLFLOW}.outputAction", "AppendRow", 'received "AppendRow"', 'did you mean "append_row"?'),
    edit(f"{MLFLOW}.loggingLevel", "INFO", 'received "INFO"', 'did you mean "info"?'),
    edit(f"{MLFLOW}.errorThreshold", -2, "received -2", "greater than or equal to -1"),
    edit(f"{MLFLOW}.retrySettings.maxRetry", 3, "is not a known key", 'did you mean "maxRetries"?'),
    edit(f"{MLFLOW}.retrySettings.timeout", 0, "received 0", "greater than or equal to 1"),
    edit(f"{NIGHTLY}.at", "2:00", '"2:00"', 'write it as "02:00"'),
    edit(f"{NIGHTLY}.every", "Day", 'received "Day"', 'did you mean "day"?'),
    edit(f"{NIGHTLY}.timeZone", "Europe/Londn", '"Europe/Londn"', "write one as Europe/London or UTC"),
    edit(f"{NIGHTLY}.on", ["monday"], "is for every: week", "say every: week"),
    edit(f"{NIGHTLY}.end", "2001-01-01", "2001-01-01 is long past", "move it"),
    edit(f"{NIGHTLY}.deployment", "Custom", '"Custom"', 'did you mean "custom"?'),
    edit(f"{NIGHTLY}.input", REMOVED, "is missing", "add it"),
]
INVALID = [*TOP, *CLUSTERS, *ENDPOINTS, *DEPLOYMENTS, *BATCHES]
