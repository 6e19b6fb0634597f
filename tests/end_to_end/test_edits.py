"""What an edit of a stack file touches: a table of edits, each with the whole plan of the real `pulumi preview`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.end_to_end.conftest import Clone
from tests.end_to_end.test_stacks import set_up

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

Config = dict[str, Any]
Change = Callable[[Config], None]
# What a name takes from content: a revision, or the beginning of an id.
CONTENT = re.compile(r"-[0-9a-f]{8}(?=-|$)")


@dataclass(frozen=True)
class Edit:
    """An edit and all that it plans, `*` for what a name takes from content; or how the preview refuses it."""

    title: str
    change: Change
    plan: tuple[str, ...] = ()
    refused: str = ""


def put(path: str, value: Any) -> Change:
    """Sets what a path leads to, and makes what is not there on the way."""
    *parents, last = path.split(".")

    def change(config: Config) -> None:
        place = config
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value

    return change


def drop(path: str) -> Change:
    """Removes what a path leads to."""
    *parents, last = path.split(".")

    def change(config: Config) -> None:
        place = config
        for part in parents:
            place = place[part]
        del place[last]

    return change


ENDPOINT = "tumor-online"
ONLINE = f"onlineEndpoints.{ENDPOINT}"
BLUE, GREEN = f"{ONLINE}.deployments.blue", f"{ONLINE}.deployments.green"
BATCH = "batchEndpoints.tumor-batch"
NIGHTLY = f"{BATCH}.schedules.nightly"
CLUSTER = "computeClusters.aml-cluster"
SCALED = {"minInstances": 1, "maxInstances": 3, "rules": [{"metric": "cpu", "above": 70, "below": 30}]}


def as_text(config: Config) -> None:
    config["onlineEndpoints"][ENDPOINT]["traffic"] = {"green": "10", "blue": "90"}
    config["onlineEndpoints"][ENDPOINT]["deployments"]["blue"]["instanceCount"] = "1"


def turned(config: Config) -> None:
    for endpoint in (*config["onlineEndpoints"].values(), *config["batchEndpoints"].values()):
        endpoint["deployments"] = dict(reversed(endpoint["deployments"].items()))


def autoscaled(config: Config) -> None:
    drop(f"{BLUE}.instanceCount")(config)
    put(f"{BLUE}.autoscale", SCALED)(config)


def third(config: Config) -> None:
    deployments = config["onlineEndpoints"][ENDPOINT]["deployments"]
    deployments["teal"] = {**deployments["blue"], "instanceCount": 2}


def without_green(config: Config) -> None:
    drop(GREEN)(config)
    put(f"{ONLINE}.traffic", {"blue": 100})(config)


def second(config: Config) -> None:
    blue = config["onlineEndpoints"][ENDPOINT]["deployments"]["blue"]
    config["onlineEndpoints"]["tumor-second"] = {"deployments": {"blue": blue}, "traffic": {"blue": 100}}


def loosened(config: Config) -> None:
    drop("network.outboundRules")(config)
    drop("network.firewallSku")(config)
    put("network.isolation", "allow_internet_outbound")(config)


def each(operation: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{operation} {name}" for name in names)


def replaced(deployment: str) -> tuple[str, ...]:
    """Another revision comes up, gets the traffic, and the old one goes; nothing is changed or replaced in place."""
    both = (f"{ENDPOINT}-{deployment}-*", f"{ENDPOINT}-{deployment}-*-removal")
    return (*each("create", *both), f"update {ENDPOINT}-traffic", *each("delete", *both))


WITH_CODE = ("", "-model", "-code", "-environment", "-*", "-*-removal")
NO_CODE = ("", "-model", "-*", "-*-removal")
SCHEDULED = tuple(
    f"tumor-batch-{part}"
    for part in (
        *("nightly", "nightly-workflow", "invoker", "invoker-user", "invoker-definition", "invoker-defined"),
        *("invoker-role", "invoker-blobs", "invoker-effective"),
    )
)
LOGGED = ("blob", "file", "queue", "registry", "table", "vault", "workspace")
LOCAL = (
    Edit("numbers as text, shares in another order", as_text),
    Edit("deployments in another order", turned),
    Edit("the wait for roles, when they are there", put("roleAssignmentSeconds", 5)),
    Edit("how long an old revision drains", put("drainSeconds", 30), ("update tumor-online-traffic",)),
    Edit("traffic", put(f"{ONLINE}.traffic", {"blue": 25, "green": 75}), ("update tumor-online-traffic",)),
    Edit("description of an endpoint", put(f"{ONLINE}.description", "Other"), ("update tumor-online-endpoint",)),
    Edit("tag of an endpoint", put(f"{ONLINE}.tags", {"team": "a"}), ("update tumor-online-endpoint",)),
    Edit("how clients log in", put(f"{ONLINE}.authMode", "aad_token"), refused=f"{ONLINE}.authMode: is Key in Azure"),
    Edit("identity of an endpoint", put(f"{ONLINE}.identity", "user"), refused=f"{ONLINE}.identity: is SystemAssigned"),
    Edit("instance count", put(f"{BLUE}.instanceCount", 2), ("update tumor-online-blue-*",)),
    Edit(
        "autoscale in place of a count",
        autoscaled,
        each("create", *(f"tumor-online-blue-*-{part}" for part in ("capacity", "autoscale", "autoscale-setting"))),
    ),
    Edit("request settings", put(f"{BLUE}.requestSettings.requestTimeoutMs", 9000), ("update tumor-online-blue-*",)),
    Edit("probe", put(f"{GREEN}.livenessProbe.period", 20), ("update tumor-online-green-*",)),
    Edit("smoke test of what serves", put(f"{BLUE}.smokeTest.request", "scoring/samples/request.json")),
    Edit("instance type", put(f"{GREEN}.instanceType", "Standard_DS3_v2"), replaced("green")),
    Edit("environment variable", put(f"{GREEN}.environmentVariables.LEVEL", "debug"), replaced("green")),
    Edit("another attempt", put(f"{BLUE}.attempt", 1), replaced("blue")),
    Edit(
        "image",
        put(f"{GREEN}.environment.image", "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"),
        (*replaced("green"), "update tumor-online-green-environment"),
    ),
    Edit("deployment without traffic", third, each("create", *(f"tumor-online-teal{part}" for part in NO_CODE))),
    Edit(
        "deployment removed",
        without_green,
        (*each("delete", *(f"tumor-online-green{part}" for part in WITH_CODE)), "update tumor-online-traffic"),
    ),
    Edit(
        "second endpoint",
        second,
        each(
            "create",
            *(f"tumor-second{part}" for part in ("", "-endpoint", "-ready", "-traffic")),
            *(f"tumor-second-blue{part}" for part in NO_CODE),
        ),
    ),
    Edit(
        "endpoint removed",
        drop(ONLINE),
        each(
            "delete",
            *(f"tumor-online{part}" for part in ("", "-endpoint", "-ready", "-traffic")),
            *(f"tumor-online-blue{part}" for part in NO_CODE),
            *(f"tumor-online-green{part}" for part in WITH_CODE),
        ),
    ),
    Edit(
        "batch endpoint removed",
        drop(BATCH),
        each(
            "delete",
            *(f"tumor-batch{part}" for part in ("", "-endpoint", "-ready", "-default")),
            *(f"tumor-batch-mlflow{part}" for part in NO_CODE),
            *(f"tumor-batch-custom{part}" for part in WITH_CODE),
            *SCHEDULED,
        ),
    ),
    Edit("mini-batches", put(f"{BATCH}.deployments.mlflow.miniBatchSize", 10), ("update tumor-batch-mlflow-*",)),
    Edit("default deployment", put(f"{BATCH}.defaultDeployment", "custom"), ("update tumor-batch-default",)),
    Edit("time of a schedule", put(f"{NIGHTLY}.at", "03:30"), ("update tumor-batch-nightly-workflow",)),
    Edit("schedule begins", put(f"{NIGHTLY}.paused", False), ("update tumor-batch-nightly-workflow",)),
    Edit("schedules removed", drop(f"{BATCH}.schedules"), each("delete", *SCHEDULED)),
    Edit("nodes of a cluster", put(f"{CLUSTER}.maxInstances", 5), ("update aml-cluster-cluster",)),
    Edit(
        "VM size of a cluster",
        put(f"{CLUSTER}.vmSize", "Standard_DS2_v2"),
        refused=f"{CLUSTER}.vmSize: is Standard_DS3_v2 in Azure",
    ),
    Edit("tier of a cluster", put(f"{CLUSTER}.tier", "low_priority"), refused=f"{CLUSTER}.tier: is Dedicated in Azure"),
    Edit(
        "second cluster",
        put("computeClusters.aml-second", {"vmSize": "Standard_DS3_v2", "maxInstances": 1}),
        each("create", *(f"aml-second{part}" for part in ("", "-cluster", "-removal"))),
    ),
    Edit("purge", put("purgeOnDestroy", False), each("update", "workspace-purge", "workspace-vault-purge")),
    Edit(
        "diagnostics",
        put("security.diagnostics", True),
        each(
            "create",
            "workspace-diagnostics",
            *(f"workspace-diagnostics-{part}" for part in LOGGED),
        ),
    ),
    Edit(
        "purge protection",
        put("security.purgeProtection", True),
        ("update workspace-vault", "delete workspace-vault-purge"),
    ),
    Edit("another region for copies", put("workspace.storageAccount.redundancy", "grs"), ("update workspace-storage",)),
    Edit(
        "zones of the storage account",
        put("workspace.storageAccount.redundancy", "zrs"),
        refused="workspace.storageAccount.redundancy: is Standard_LRS in Azure",
    ),
    Edit(
        "keys",
        put("security.keyless", True),
        refused="security.keyless: is unset in Azure, and Azure does not let it become True",
    ),
)


PROD = (
    Edit("traffic", put(f"{ONLINE}.traffic", {"blue": 25, "green": 75}), ("update tumor-online-traffic",)),
    Edit(
        "host that may be reached",
        put("network.outboundRules.internal", {"fqdn": "models.example.org"}),
        ("create workspace-internal-rule", "update workspace-workspace"),
    ),
    Edit(
        "bounds of autoscale",
        put(f"{BLUE}.autoscale.maxInstances", 10),
        ("update tumor-online-blue-*-autoscale-setting",),
    ),
    Edit("days that deleted blobs are kept", put("security.softDeleteDays", 60), ("update workspace-blobs",)),
    Edit(
        "diagnostics",
        put("security.diagnostics", False),
        each("delete", "workspace-diagnostics", *(f"workspace-diagnostics-{part}" for part in LOGGED)),
    ),
    Edit(
        "who deploys",
        put("security.deployers", ["11111111-1111-1111-1111-111111111111"]),
        ("create workspace-uploader-*", "delete workspace-uploader-*"),
    ),
    Edit("protection, which is Pulumi's own", put("protect", False)),
    Edit(
        "network may grow",
        put("network.virtualNetwork.addressSpace", "10.40.0.0/21"),
        ("update workspace-network-vnet",),
    ),
    Edit(
        "subnet in use",
        put("network.virtualNetwork.privateEndpoints", "10.40.0.128/26"),
        refused="network.virtualNetwork.privateEndpoints: is 10.40.0.0/26 in Azure",
    ),
    Edit("more may be reached", loosened, refused="network: is AllowOnlyApprovedOutbound in Azure"),
    Edit("identity of an endpoint", put(f"{ONLINE}.identity", "system"), refused=f"{ONLINE}.identity: is UserAssigned"),
    Edit(
        "zones of the storage account",
        put("workspace.storageAccount.redundancy", "lrs"),
        refused="workspace.storageAccount.redundancy: is Standard_GZRS in Azure",
    ),
    Edit(
        "zones of the registry",
        put("workspace.containerRegistry.zoneRedundancy", False),
        refused="workspace.containerRegistry.zoneRedundancy: is Enabled in Azure",
    ),
    Edit("keys", put("security.keyless", False), refused="security.keyless: is True in Azure"),
    Edit("vault that may be purged", put("security.purgeProtection", False), refused="marked for protection"),
    Edit("name of the workspace", put("workspace.name", "aml-other"), refused="marked for protection"),
)


def differs_from(clone: Clone, stack: str, edit: Edit) -> str | None:
    """What a preview of an edit does otherwise than it should."""
    clone.edit(edit.change, stack)
    done = clone.with_local_azure(f"pulumi preview --json --stack {stack} 2>/dev/null")
    if edit.refused:
        return None if done.code and edit.refused in done.out else f"{edit.title}: not refused, but {done.out[-2000:]}"
    if done.code:
        return f"{edit.title}: {done.out[-2000:]}"
    steps = [step for step in json.loads(done.out)["steps"] if step["op"] not in ("same", "read", "refresh")]
    plan = sorted(f"{step['op']} {CONTENT.sub('-*', step['urn'].rpartition('::')[2])}" for step in steps)
    return None if plan == sorted(edit.plan) else f"{edit.title}: {plan}"


@pytest.mark.parametrize(("stack", "table"), [("local", LOCAL), ("prod", PROD)])
def test_an_edit_touches_what_it_is_about_and_nothing_else(
    clone: Clone, stack: str, table: tuple[Edit, ...], subtests: pytest.Subtests
) -> None:
    set_up(clone, stack)
    for _ in range(2):  # what the first refresh finds is read by the second
        clone.with_local_azure(f"make up STACK={stack}").ok()
    file = clone.path / f"Pulumi.{stack}.yaml"
    as_it_is_up = file.read_text()
    for edit in table:
        with subtests.test(edit.title):
            assert differs_from(clone, stack, edit) is None
        file.write_text(as_it_is_up)
