"""Azure's rules for online endpoints: what traffic may be, what a deployment must say, and the defaults filled in.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-endpoint-online,
reference-yaml-deployment-managed-online, how-to-safely-rollout-online-endpoints, how-to-manage-quotas,
how-to-access-resources-from-endpoints-managed-identities, and recorded answers of the live service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import inference_refusal, invalid, not_emulated, user_error
from localazure.arm.store import Resource
from localazure.providers.ml import kubernetes
from localazure.providers.ml.endpoint_rules import code_configuration
from localazure.providers.ml.endpoints import same_ids

Json = dict[str, Any]

AUTH_MODES = ("AMLToken", "Key", "AADToken")
MOST_INSTANCES = 50
LONGEST_TIMEOUT = 180.0
MOST_MIRRORED = 50
# Linux takes 4,096; below a state folder there is less.
LONGEST_MOUNT_PATH = 1024
# Above what anybody waits for, and below what a clock or a socket takes no more. Azure documents no bound.
LONGEST_PROBE = 24 * 3600


def serving_name(deployment_id: str) -> tuple[str, str]:
    """What a deployment goes by where it runs: its endpoint's name and its own."""
    return ids.segment(deployment_id, "onlineEndpoints"), ids.name(deployment_id)


# Endpoints --------------------------------------------------------------------------------------------------------


def auth_mode(sent: Json, existing: Resource | None) -> str:
    """How requests are let in; it is chosen once. Raises ArmError (400)."""
    mode = read.choice(sent, "authMode", AUTH_MODES, None, "properties")
    if mode is None:
        raise invalid("'properties.authMode' is required.", "ValidationError")
    has = existing.properties["authMode"] if existing else mode
    if mode != has:
        raise user_error(
            400,
            f"'properties.authMode' of an endpoint cannot be changed from {has} to {mode}: create another endpoint.",
        )
    return mode


def keys(sent: Json, existing: Resource | None) -> tuple[str | None, str | None]:
    """The keys that a new endpoint is to have, where any are given. Raises ArmError (400)."""
    given = read.mapping(sent, "keys", "properties")
    pair = key(given, "primaryKey", "properties.keys"), key(given, "secondaryKey", "properties.keys")
    if pair == (None, None):
        return pair
    if read.text(sent, "authMode", "properties") and (auth_mode(sent, None) != "Key"):
        raise user_error(400, "'properties.keys' are for endpoints with auth mode Key only.")
    if existing is not None and any(one and one != has for one, has in zip(pair, existing.hidden["keys"], strict=True)):
        raise user_error(400, "'properties.keys' are taken at creation only; use regenerateKeys to change one.")
    if pair[0] == pair[1]:
        raise user_error(400, "'properties.keys' has the same key twice; give two that differ.")
    return pair


def key(holder: Json, name: str, where: str = "") -> str | None:
    """A key that a caller chose; it has to fit in a header. Raises ArmError (400), without the key in it."""
    value = read.text(holder, name, where)
    if value is not None and not re.fullmatch(r"[!-~]{1,256}", value):
        raise user_error(400, f"'{where}{'.' if where else ''}{name}' must be 1 to 256 printable ASCII characters.")
    return value


def check_identity(block: Json | None) -> None:
    """Raises ArmError (400) for a user-assigned identity that names none."""
    if block and "UserAssigned" in block["type"].split(",") and not block["userAssignedIdentities"]:
        raise user_error(400, "'identity.userAssignedIdentities' names no identity, and 'identity.type' asks for one.")


def refuse_other_identity(block: Json | None, existing: Resource) -> None:
    """The identity of an endpoint is immutable. Raises ArmError (400)."""
    has = existing.document["identity"]
    named = (block or has).get("userAssignedIdentities") or {}
    if block and (block["type"] != has["type"] or not same_ids(named, has.get("userAssignedIdentities") or {})):
        raise user_error(
            400,
            f"The identity of endpoint {existing.name} cannot be changed after its creation; it is {has['type']}. "
            "Create another endpoint.",
        )


def require_mode(endpoint: Resource, mode: str, what: str) -> None:
    """Raises ArmError (400) for an endpoint of another auth mode."""
    has = endpoint.properties["authMode"]
    if has != mode:
        raise user_error(400, f"Endpoint {endpoint.name} has auth mode {has}; only one with {mode} {what}.")


# Traffic ----------------------------------------------------------------------------------------------------------


def traffic(sent: Mapping[str, Any], deployments: Mapping[str, Resource]) -> dict[str, int]:
    """Live weights: whole percentages, of deployments that exist, that add up to 0 or 100.

    Args:
        sent: as sent; a weight of 0 counts as left out.
        deployments: the endpoint's deployments by lower-case name.

    Raises:
        ArmError: 400.
    """
    weights = _percentages(sent, deployments, "traffic")
    total = sum(weights.values())
    if total not in (0, 100):
        listed = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        raise user_error(400, f"Traffic percentages add up to {total} ({listed}); the sum must be 0 or 100.")
    return weights


def mirror(sent: Mapping[str, Any], live: Mapping[str, int], deployments: Mapping[str, Resource]) -> dict[str, int]:
    """Mirrored weights: one deployment, at most 50 %, with no live traffic of its own. Raises ArmError (400)."""
    weights = _percentages(sent, deployments, "mirrorTraffic")
    if len(weights) > 1:
        raise user_error(400, f"Traffic can be mirrored to one deployment only, not to {', '.join(weights)}.")
    for name, weight in weights.items():
        if weight > MOST_MIRRORED:
            raise user_error(400, f"Mirror traffic to {name} is {weight} %; the most is {MOST_MIRRORED} %.")
        if live.get(name):
            raise user_error(
                400, f"Deployment {name} has {live[name]} % live traffic; it cannot receive mirrored traffic as well."
            )
    return weights


def _percentages(sent: Mapping[str, Any], deployments: Mapping[str, Resource], what: str) -> dict[str, int]:
    weights: dict[str, int] = {}
    for name in sent:
        weight = read.integer(sent, name, 0, f"properties.{what}", least=0, most=100)
        found = _taker(name, weight, deployments, what)
        if found.name in weights:
            raise user_error(400, f"Deployment '{found.name}' is in {what} twice; names are the same in any case.")
        weights[found.name] = weight
    return {name: weight for name, weight in weights.items() if weight}


def _taker(name: str, weight: int, deployments: Mapping[str, Resource], what: str) -> Resource:
    found = deployments.get(name.lower())
    if found is None:
        known = ", ".join(sorted(each.name for each in deployments.values())) or "none"
        raise user_error(
            400, f"Deployment '{name}' in {what} does not exist in the endpoint; its deployments are: {known}."
        )
    if weight and not found.hidden.get("created"):
        raise user_error(
            400,
            f"Deployment '{name}' in {what} is {found.state}; only one that was created successfully takes traffic.",
        )
    return found


def refuse_delete_with_traffic(name: str, endpoint: Mapping[str, Any]) -> None:
    """Raises ArmError (400) for a deployment that requests still go to."""
    for what in ("traffic", "mirrorTraffic"):
        if weight := endpoint[what].get(name):
            raise inference_refusal(
                f"Deployment {name} has {weight} % {what}; set it to 0 before the deployment is deleted."
            )


# Deployments ------------------------------------------------------------------------------------------------------


def sku(sent: Json) -> Json:
    """The one SKU there is, with the instance count. Raises ArmError (400)."""
    if sent and (read.text(sent, "name", "sku", required=True) or "").lower() != "default":
        raise user_error(400, f"'sku.name' is '{sent['name']}'; online deployments have the SKU Default only.")
    count = read.integer(sent, "capacity", 1, "sku", least=1, most=MOST_INSTANCES)
    return {"name": "Default", "tier": "Standard", "capacity": count}


def refuse_other_size(properties: Json, existing: Resource | None) -> None:
    """The instance type is create-only. Raises ArmError (400).

    Source: the service's own model marks it so, and an update "can't change instance type"
    (https://github.com/Azure/AML-Kubernetes/issues/247).
    """
    has = existing.properties["instanceType"] if existing else properties["instanceType"]
    if properties["instanceType"].lower() != has.lower():
        raise user_error(
            400,
            f"'properties.instanceType' of a deployment cannot be changed from {has} to "
            f"{properties['instanceType']}: create another deployment and move the traffic to it.",
        )


def refuse_other_egress(properties: Json, existing: Resource | None) -> None:
    """Where a deployment may reach out to is chosen once. Raises ArmError (400).

    Source: https://learn.microsoft.com/azure/machine-learning/concept-secure-online-endpoint (an attempt "will fail").
    """
    asked = properties["egressPublicNetworkAccess"]
    has = existing.properties["egressPublicNetworkAccess"] if existing else asked
    if asked != has:
        raise user_error(
            400,
            f"'properties.egressPublicNetworkAccess' of a deployment cannot be changed from {has} to {asked}: create "
            "another deployment and move the traffic to it.",
        )


def own_variables(sent: Mapping[str, str], existing: Resource) -> dict[str, str]:
    """What is left of environment variables without those that the service added and a client sent back."""
    filled = existing.hidden.get("filled") or {}
    return {name: value for name, value in sent.items() if filled.get(name) != value}


def as_sent(deployment: Resource) -> Json:
    """A stored deployment's document as its PUT had it: without the variables that the service added."""
    variables = own_variables(deployment.properties["environmentVariables"], deployment)
    return deployment.with_properties(environmentVariables=variables).document


def as_of(api_version: str, document: Json) -> Json:
    """A document as an api-version has it: with `privateNetworkConnection` in the first, `startupProbe` since 2025."""
    properties = dict(document["properties"])
    if properties.get("startupProbe") is None and api_version < "2025":
        properties.pop("startupProbe", None)
    if api_version.startswith("2022-02-01"):
        properties["privateNetworkConnection"] = False
    return {**document, "properties": properties}


def deployment(sent: dict[str, Any]) -> dict[str, Any]:
    """The properties of a deployment, managed or on Kubernetes, with every default filled in. Raises ArmError (400)."""
    where = "properties"
    kind = read.choice(sent, "endpointComputeType", kubernetes.COMPUTE_TYPES, None, where)
    if kind is None:
        raise invalid("'properties.endpointComputeType' is required.", "ValidationError")
    if kind == "AzureMLCompute":
        raise not_emulated(f"online deployments of kind {kind}")
    managed = kind == kubernetes.MANAGED
    size = read.text(sent, "instanceType", where, required=True) or ""
    if managed and not re.fullmatch(r"(?i)standard_\w+", size):
        raise user_error(400, f"The instance type '{size}' is not a size of Azure's: they look like Standard_DS3_v2.")
    scale = read.mapping(sent, "scaleSettings", where)
    longest = LONGEST_TIMEOUT if managed else kubernetes.LONGEST_TIMEOUT
    own = {} if managed else {"containerResourceRequirements": kubernetes.resources(sent)}
    return {
        **own,
        "endpointComputeType": kind,
        "description": read.text(sent, "description", where),
        "properties": read.strings(sent, "properties", where),
        "model": read.text(sent, "model", where, required=True),
        "modelMountPath": _mount_path(sent),
        "codeConfiguration": code_configuration(sent),
        "environmentId": read.text(sent, "environmentId", where),
        "environmentVariables": _variables(sent),
        "instanceType": size,
        "appInsightsEnabled": read.flag(sent, "appInsightsEnabled", False, where),
        "egressPublicNetworkAccess": read.choice(
            sent, "egressPublicNetworkAccess", ("Enabled", "Disabled"), "Enabled", where
        ),
        "scaleSettings": _scale(scale) if managed else kubernetes.scale(scale),
        "requestSettings": _request_settings(read.mapping(sent, "requestSettings", where), longest),
        "livenessProbe": _probe(sent, "livenessProbe"),
        "readinessProbe": _probe(sent, "readinessProbe"),
        "startupProbe": _probe(sent, "startupProbe") if sent.get("startupProbe") else None,
        "dataCollector": _data_collector(read.mapping(sent, "dataCollector", where)),
    }


def _variables(sent: Json) -> dict[str, str]:
    """What a container's process can be given. Raises ArmError (400)."""
    found = read.strings(sent, "environmentVariables", "properties")
    for name, value in found.items():
        if not re.fullmatch(r"[ -<>-~]+", name) or "\0" in value:
            raise user_error(
                400,
                f"'properties.environmentVariables' has {name[:80]!r}: names are printable ASCII without '=', and "
                "values have no null character.",
            )
    return found


def _mount_path(sent: Json) -> str | None:
    """Where the model's folders are to lie. Raises ArmError (400) for what is no absolute path on Linux."""
    path = read.text(sent, "modelMountPath", "properties")
    if not path:
        return None
    parts = path.strip("/").split("/")
    plain = all(part not in ("", ".", "..") and len(part.encode()) <= 255 and part.isprintable() for part in parts)
    if not path.startswith("/") or not plain or len(path.encode()) > LONGEST_MOUNT_PATH:
        raise user_error(
            400,
            f"'properties.modelMountPath' is {path[:80]!r}; it must be an absolute path in Linux such as "
            f"/var/tfserving-model-mount, of {LONGEST_MOUNT_PATH} bytes at most.",
        )
    return path


def _scale(sent: Json) -> Json:
    where = "properties.scaleSettings"
    kind = read.choice(sent, "scaleType", ("Default", "TargetUtilization"), None, where)
    if sent and kind is None:
        raise invalid(f"'{where}.scaleType' is required: Default.", "ValidationError")
    if kind == "TargetUtilization":
        raise user_error(
            400,
            f"Managed online deployments take scaleSettings of type Default only, not {kind}; use "
            "autoscale settings of Azure Monitor.",
        )
    return {"scaleType": "Default"}


def _data_collector(sent: Json) -> Json | None:
    """What is to be collected of requests and answers, with the defaults of the service's own model."""
    where = "properties.dataCollector"
    if not sent:
        return None
    collections = read.mapping(sent, "collections", where, required=True)
    if "" in collections:
        raise user_error(400, f"'{where}.collections' has a collection without a name.")
    logging = read.mapping(sent, "requestLogging", where)
    return {
        "collections": {name: _collection(collections, name, f"{where}.collections") for name in collections},
        "requestLogging": {"captureHeaders": _headers(logging, f"{where}.requestLogging")} if logging else None,
        "rollingRate": read.choice(sent, "rollingRate", ("Year", "Month", "Day", "Hour", "Minute"), "Hour", where),
    }


def _collection(collections: Json, name: str, above: str) -> Json:
    sent, where = read.mapping(collections, name, above), f"{above}.{name}"
    return {
        "clientId": read.text(sent, "clientId", where),
        # Clients send it in lower case, and take any but the capitalised form for Disabled.
        "dataCollectionMode": read.choice(sent, "dataCollectionMode", ("Enabled", "Disabled"), "Disabled", where),
        "dataId": read.text(sent, "dataId", where),
        "samplingRate": read.number(sent, "samplingRate", 1.0, where, least=0, most=1),
    }


def _headers(sent: Json, where: str) -> list[str]:
    names = read.sequence(sent, "captureHeaders", where)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", name):
            raise user_error(400, f"'{where}.captureHeaders' has {str(name)[:80]!r}, which is no name of a header.")
    return names


def _request_settings(sent: dict[str, Any], longest: float) -> dict[str, Any]:
    where = "properties.requestSettings"
    timeout = read.text(sent, "requestTimeout", where) or "PT5S"
    if not 0 < read.seconds(timeout, f"{where}.requestTimeout") <= longest:
        raise user_error(
            400, f"'{where}.requestTimeout' is {timeout}; it must be above 0 and at most {longest:.0f} seconds."
        )
    queue = read.text(sent, "maxQueueWait", where) or "PT0S"
    read.seconds(queue, f"{where}.maxQueueWait")
    concurrent = read.integer(sent, "maxConcurrentRequestsPerInstance", 1, where, least=1, most=10_000)
    return {"maxQueueWait": queue, "requestTimeout": timeout, "maxConcurrentRequestsPerInstance": concurrent}


def _probe(sent: dict[str, Any], name: str) -> dict[str, Any]:
    where = f"properties.{name}"
    probe = read.mapping(sent, name, "properties")
    durations = {key: read.text(probe, key, where) or default for key, default in _PROBE_TIMES.items()}
    for key, value in durations.items():
        _check_probe_time(f"{where}.{key}", value)
    counts = {
        key: read.integer(probe, key, default, where, least=1, most=10_000) for key, default in _PROBE_COUNTS.items()
    }
    # Source: reference-yaml-deployment-managed-online#probesettings; a startup probe follows the liveness probe.
    if name != "readinessProbe" and counts["successThreshold"] != 1:
        raise user_error(400, f"'{where}.successThreshold' is {counts['successThreshold']}; it is fixed as 1.")
    return {**counts, **durations}


def _check_probe_time(where: str, value: str) -> None:
    seconds = read.seconds(value, where)
    if seconds < 1:
        raise user_error(400, f"'{where}' is {value}; it must be at least 1 second (PT1S).")
    if seconds % 1 or seconds > LONGEST_PROBE:
        raise user_error(400, f"'{where}' is {value}; it must be whole seconds, and at most a day (PT24H).")


_PROBE_TIMES = {"timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}
_PROBE_COUNTS = {"failureThreshold": 30, "successThreshold": 1}
