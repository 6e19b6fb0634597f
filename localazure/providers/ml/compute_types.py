"""What Azure ML takes for each type of compute, what it fills in, and what it never changes again."""

from __future__ import annotations

import re
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import invalid, not_emulated, user_error
from localazure.arm.store import Resource, now

KINDS = (
    "AKS",
    "Kubernetes",
    "AmlCompute",
    "ComputeInstance",
    "DataFactory",
    "VirtualMachine",
    "HDInsight",
    "Databricks",
    "DataLakeAnalytics",
    "SynapseSpark",
)
AML_COMPUTE, COMPUTE_INSTANCE, KUBERNETES = "AmlCompute", "ComputeInstance", "Kubernetes"
WHERE = "properties.properties"

# The most nodes that Azure gives a cluster without asking its support.
_MOST_NODES = 100
_SCALE = {"nodeIdleTimeBeforeScaleDown": "PT120S", "minNodeCount": 0}
# What an update does not change: the client sends them along, and may not have them as they are.
_FIXED = {
    AML_COMPUTE: ("vmSize", "vmPriority", "osType", "subnet", "enableNodePublicIp", "isolatedNetwork"),
    COMPUTE_INSTANCE: ("vmSize", "subnet", "enableNodePublicIp"),
    KUBERNETES: ("namespace",),
}
_CLUSTER_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
    r"(Microsoft\.ContainerService/managedClusters|Microsoft\.Kubernetes/connectedClusters)/[^/]+",
    re.IGNORECASE,
)


def compute_type(sent: dict[str, Any]) -> str:
    """The type of a compute's properties. Raises ArmError (400, 501 for those that are not emulated)."""
    kind = read.choice(sent, "computeType", KINDS, None, "properties")
    if kind is None:
        raise invalid("'properties.computeType' is required.", "ValidationError")
    if kind not in _FIXED:
        raise not_emulated(f"computes of type {kind}")
    return kind


# AmlCompute --------------------------------------------------------------------------------------------------


def cluster(sent: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The inner properties of an AmlCompute; `before` are those that it has, empty for a new one."""
    scale = scale_settings(read.mapping(sent, "scaleSettings", WHERE))
    same = before.get("scaleSettings") == scale
    return {
        "vmSize": sent["vmSize"],
        "vmPriority": read.choice(
            sent, "vmPriority", ("Dedicated", "LowPriority"), before.get("vmPriority") or "Dedicated", WHERE
        ),
        "osType": read.choice(sent, "osType", ("Linux", "Windows"), before.get("osType") or "Linux", WHERE),
        "scaleSettings": scale,
        "subnet": _subnet(sent, before),
        "isolatedNetwork": read.flag(sent, "isolatedNetwork", False, WHERE) if sent.get("isolatedNetwork") else None,
        "enableNodePublicIp": read.flag(sent, "enableNodePublicIp", before.get("enableNodePublicIp", True), WHERE),
        "remoteLoginPortPublicAccess": _remote_login(sent, before),
        "virtualMachineImage": read.mapping(sent, "virtualMachineImage", WHERE) or None,
        "userAccountCredentials": before.get("userAccountCredentials")
        or _login(read.mapping(sent, "userAccountCredentials", WHERE)),
        # The counts, and whether it is resizing, are made when it is asked for them: its nodes have them.
        "allocationState": "Steady",
        "allocationStateTransitionTime": before["allocationStateTransitionTime"] if before and same else now(),
        "errors": None,
        "propertyBag": {},
    }


def scale_settings(sent: dict[str, Any]) -> dict[str, Any]:
    """Scale settings with Azure's defaults. Raises ArmError (400)."""
    where = f"{WHERE}.scaleSettings"
    scale = {**_SCALE, **{name: value for name, value in sent.items() if value is not None}}
    most = read.integer(scale, "maxNodeCount", -1, where, least=0, most=_MOST_NODES)
    least = read.integer(scale, "minNodeCount", 0, where, least=0, most=_MOST_NODES)
    if most < 0:
        raise invalid(f"'{where}.maxNodeCount' is required.", "ValidationError")
    if least > most:
        raise invalid(f"'{where}.minNodeCount' is {least}, more than maxNodeCount, which is {most}.", "ValidationError")
    rest = read.text(scale, "nodeIdleTimeBeforeScaleDown", where, required=True) or ""
    read.seconds(rest, f"{where}.nodeIdleTimeBeforeScaleDown")
    return {"maxNodeCount": most, "minNodeCount": least, "nodeIdleTimeBeforeScaleDown": rest}


def _remote_login(sent: dict[str, Any], before: dict[str, Any]) -> str | None:
    choices = ("Enabled", "Disabled", "NotSpecified")
    chosen = read.choice(sent, "remoteLoginPortPublicAccess", choices, "NotSpecified", WHERE)
    # The client sends `Disabled` for what it reads as `NotSpecified`; Azure keeps what the cluster was created with.
    return before.get("remoteLoginPortPublicAccess") or chosen


def _login(sent: dict[str, Any]) -> dict[str, Any] | None:
    if not sent:
        return None
    where = f"{WHERE}.userAccountCredentials"
    return {
        "adminUserName": read.text(sent, "adminUserName", where, required=True),
        "adminUserPassword": None,
        "adminUserSshPublicKey": read.text(sent, "adminUserSshPublicKey", where),
    }


def _subnet(sent: dict[str, Any], before: dict[str, Any]) -> dict[str, Any] | None:
    found = read.mapping(sent, "subnet", WHERE)
    return {"id": read.text(found, "id", f"{WHERE}.subnet", required=True)} if found else before.get("subnet")


# ComputeInstance ---------------------------------------------------------------------------------------------


def instance(sent: dict[str, Any], caller: dict[str, str], before: dict[str, Any]) -> dict[str, Any]:
    """The inner properties of a ComputeInstance; there is no machine, so none of its applications either."""
    shutdown = read.text(sent, "idleTimeBeforeShutdown", WHERE)
    if shutdown is not None and not 15 * 60 <= read.seconds(shutdown, f"{WHERE}.idleTimeBeforeShutdown") <= 3 * 86400:
        raise invalid(
            f"'{WHERE}.idleTimeBeforeShutdown' is {shutdown}; it must lie between PT15M and P3D.", "ValidationError"
        )
    return {
        "vmSize": sent["vmSize"],
        "subnet": _subnet(sent, before),
        "applicationSharingPolicy": read.choice(
            sent, "applicationSharingPolicy", ("Personal", "Shared"), "Shared", WHERE
        ),
        "sshSettings": _ssh(read.mapping(sent, "sshSettings", WHERE)),
        "computeInstanceAuthorizationType": read.choice(
            sent, "computeInstanceAuthorizationType", ("personal",), "personal", WHERE
        ),
        "personalComputeInstanceSettings": read.mapping(sent, "personalComputeInstanceSettings", WHERE) or None,
        "setupScripts": read.mapping(sent, "setupScripts", WHERE) or None,
        "schedules": read.mapping(sent, "schedules", WHERE) or None,
        "customServices": read.sequence(sent, "customServices", WHERE) or None,
        "idleTimeBeforeShutdown": shutdown,
        "enableNodePublicIp": read.flag(sent, "enableNodePublicIp", before.get("enableNodePublicIp", True), WHERE),
        "enableSSO": read.flag(sent, "enableSSO", True, WHERE),
        "enableRootAccess": read.flag(sent, "enableRootAccess", True, WHERE),
        "enableOSPatching": read.flag(sent, "enableOSPatching", False, WHERE),
        "releaseQuotaOnStop": read.flag(sent, "releaseQuotaOnStop", False, WHERE),
        "state": before.get("state") or "Creating",
        "lastOperation": before.get("lastOperation") or last_operation("Create", "InProgress"),
        "createdBy": before.get("createdBy") or caller,
        "connectivityEndpoints": {"publicIpAddress": None, "privateIpAddress": None},
        "applications": [],
        "osImageMetadata": None,
        "errors": [],
        "containers": [],
        "dataDisks": [],
        "dataMounts": [],
        "versions": None,
    }


def last_operation(name: str, status: str) -> dict[str, str]:
    """What was done to an instance last."""
    return {
        "operationName": name,
        "operationTime": now(),
        "operationStatus": status,
        "operationTrigger": "User",
    }


def _ssh(sent: dict[str, Any]) -> dict[str, Any]:
    where = f"{WHERE}.sshSettings"
    return {
        "sshPublicAccess": read.choice(sent, "sshPublicAccess", ("Enabled", "Disabled"), "Disabled", where),
        "adminUserName": "azureuser",
        "sshPort": 22,
        "adminPublicKey": read.text(sent, "adminPublicKey", where),
    }


# Kubernetes --------------------------------------------------------------------------------------------------


def attached(sent: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The inner properties of an attached Kubernetes cluster. Raises ArmError (400)."""
    types = _instance_types(read.mapping(sent, "instanceTypes", WHERE)) or before.get("instanceTypes") or _USUAL_TYPES
    usual = read.text(sent, "defaultInstanceType", WHERE) or before.get("defaultInstanceType")
    # A cluster with types of its own and no word on which is the usual one: the only one, or the one that Azure brings.
    usual = usual or (next(iter(types)) if len(types) == 1 else DEFAULT_INSTANCE_TYPE)
    if usual not in types:
        known = ", ".join(types)
        raise user_error(400, f"'{WHERE}.defaultInstanceType' is '{usual}', which is none of instanceTypes: {known}.")
    return {
        "namespace": read.text(sent, "namespace", WHERE) or before.get("namespace") or "default",
        "defaultInstanceType": usual,
        "instanceTypes": types,
        "vcName": read.text(sent, "vcName", WHERE),
        "extensionPrincipalId": read.text(sent, "extensionPrincipalId", WHERE),
        "extensionInstanceReleaseTrain": read.text(sent, "extensionInstanceReleaseTrain", WHERE) or "stable",
    }


DEFAULT_INSTANCE_TYPE = "defaultinstancetype"
# What the extension makes in a cluster: how-to-manage-kubernetes-instance-types.
_USUAL_TYPES = {
    DEFAULT_INSTANCE_TYPE: {
        "nodeSelector": None,
        "resources": {
            "requests": {"cpu": "100m", "memory": "2Gi"},
            "limits": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": None},
        },
    }
}


def _instance_types(sent: dict[str, Any]) -> dict[str, Any]:
    where = f"{WHERE}.instanceTypes"
    for name in sent:
        if not _OBJECT_NAME.fullmatch(name):
            raise user_error(400, f"'{where}' has '{name[:80]}', which is no name in Kubernetes: use a-z, 0-9 and -.")
    return {name: _instance_type(read.mapping(sent, name, where), f"{where}.{name}") for name in sent}


def _instance_type(sent: dict[str, Any], where: str) -> dict[str, Any]:
    resources = read.mapping(sent, "resources", where)
    place = f"{where}.resources"
    return {
        "nodeSelector": read.strings(sent, "nodeSelector", where) or None,
        "resources": {
            part: quantities(read.mapping(resources, part, place), f"{place}.{part}") for part in ("requests", "limits")
        },
    }


_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?")


def _digits(number: float) -> str:
    """A number as one writes it: no exponent, and no zeroes at its end."""
    return str(number) if isinstance(number, int) else f"{number:.9f}".rstrip("0").rstrip(".")


def quantities(sent: dict[str, Any], where: str) -> dict[str, str | None]:
    """Amounts as Kubernetes writes them: `100m` of a processor, `2Gi` of memory. Raises ArmError (400)."""
    found: dict[str, str | None] = {}
    for name in sent:
        # A number is taken for its text: `1` is as good as `"1"`.
        number = isinstance(sent[name], int | float) and not isinstance(sent[name], bool)
        found[name] = _digits(sent[name]) if number else read.text(sent, name, where)
        if found[name] is not None and not _QUANTITY.fullmatch(found[name] or ""):
            raise user_error(400, f"'{where}.{name}' is '{found[name]}'; it must be an amount such as 100m, 1 or 2Gi.")
    return found


def cluster_id(sent: dict[str, Any]) -> str:
    """The ARM id of the Kubernetes cluster to attach. Raises ArmError (400)."""
    found = read.text(sent, "resourceId", "properties", required=True) or ""
    if not _CLUSTER_ID.fullmatch(found):
        raise user_error(
            400,
            f"'properties.resourceId' is '{found}'; it must be the id of an AKS cluster "
            "(Microsoft.ContainerService/managedClusters) or of an Arc-enabled one.",
        )
    return found


# Changes -----------------------------------------------------------------------------------------------------


def refuse_change(existing: Resource, wanted: dict[str, Any]) -> None:
    """Raises ArmError (400) where an update would change what is set for good; `wanted` are whole properties."""
    kind = existing.properties["computeType"]
    if kind != wanted["computeType"]:
        raise _fixed(existing, "computeType", kind, wanted["computeType"])
    if kind == KUBERNETES and existing.properties["resourceId"].lower() != wanted["resourceId"].lower():
        raise _fixed(existing, "resourceId", existing.properties["resourceId"], wanted["resourceId"])
    before, after = existing.properties["properties"], wanted["properties"]
    for name in _FIXED[kind]:
        if _folded(before.get(name)) != _folded(after.get(name)):
            raise _fixed(existing, name, before.get(name), after.get(name))


def _fixed(existing: Resource, name: str, before: Any, after: Any) -> Exception:
    return user_error(
        400,
        f"The compute '{existing.name}' has {name} {_plain(before)}, which cannot become {_plain(after)}: delete the "
        "compute and create it again.",
    )


def _folded(value: Any) -> str:
    return str(_plain(value)).lower()


def _plain(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value
