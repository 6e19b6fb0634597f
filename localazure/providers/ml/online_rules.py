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
from localazure.providers.ml.endpoint_rules import code_configuration
from localazure.providers.ml.endpoints import same_ids

Json = dict[str, Any]

AUTH_MODES = ("AMLToken", "Key", "AADToken")
MOST_INSTANCES = 50
LONGEST_TIMEOUT = 180.0
MOST_MIRRORED = 50
COMPUTE_TYPES = ("Managed", "Kubernetes", "AzureMLCompute")


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
    """The properties of a managed deployment with every default filled in. Raises ArmError (400)."""
    where = "properties"
    kind = read.choice(sent, "endpointComputeType", COMPUTE_TYPES, None, where)
    if kind is None:
        raise invalid("'properties.endpointComputeType' is required.", "ValidationError")
    if kind != "Managed":
        raise not_emulated(f"online deployments of kind {kind}")
    size = read.text(sent, "instanceType", where, required=True) or ""
    if not re.fullmatch(r"(?i)standard_\w+", size):
        raise user_error(400, f"The instance type '{size}' is not a size of Azure's: they look like Standard_DS3_v2.")
    return {
        "endpointComputeType": kind,
        "description": read.text(sent, "description", where),
        "properties": read.strings(sent, "properties", where),
        "model": read.text(sent, "model", where, required=True),
        "modelMountPath": _no_mount_path(sent),
        "codeConfiguration": code_configuration(sent),
        "environmentId": read.text(sent, "environmentId", where),
        "environmentVariables": read.strings(sent, "environmentVariables", where),
        "instanceType": size,
        "appInsightsEnabled": read.flag(sent, "appInsightsEnabled", False, where),
        "egressPublicNetworkAccess": read.choice(
            sent, "egressPublicNetworkAccess", ("Enabled", "Disabled"), "Enabled", where
        ),
        "scaleSettings": _scale(read.mapping(sent, "scaleSettings", where)),
        "requestSettings": _request_settings(read.mapping(sent, "requestSettings", where)),
        "livenessProbe": _probe(sent, "livenessProbe"),
        "readinessProbe": _probe(sent, "readinessProbe"),
        "startupProbe": _probe(sent, "startupProbe") if sent.get("startupProbe") else None,
        "dataCollector": _data_collector(read.mapping(sent, "dataCollector", where)),
    }


def _no_mount_path(sent: Json) -> None:
    if read.text(sent, "modelMountPath", "properties"):
        raise not_emulated("custom containers ('properties.modelMountPath')")


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
    where = "properties.dataCollector"
    if not sent:
        return None
    collections = read.mapping(sent, "collections", where, required=True)
    answer: Json = {**sent, "collections": {}}
    for name in collections:
        each = read.mapping(collections, name, f"{where}.collections")
        mode = read.choice(each, "dataCollectionMode", ("Enabled", "Disabled"), None, f"{where}.collections.{name}")
        answer["collections"][name] = {**each, "dataCollectionMode": mode}
    if rate := read.choice(sent, "rollingRate", ("Year", "Month", "Day", "Hour", "Minute"), None, where):
        answer["rollingRate"] = rate
    return answer


def _request_settings(sent: dict[str, Any]) -> dict[str, Any]:
    where = "properties.requestSettings"
    timeout = read.text(sent, "requestTimeout", where) or "PT5S"
    if not 0 < read.seconds(timeout, f"{where}.requestTimeout") <= LONGEST_TIMEOUT:
        raise user_error(
            400, f"'{where}.requestTimeout' is {timeout}; it must be above 0 and at most {LONGEST_TIMEOUT:.0f} seconds."
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
        if read.seconds(value, f"{where}.{key}") < 1:
            raise user_error(400, f"'{where}.{key}' is {value}; it must be at least 1 second (PT1S).")
    counts = {
        key: read.integer(probe, key, default, where, least=1, most=10_000) for key, default in _PROBE_COUNTS.items()
    }
    return {**counts, **durations}


_PROBE_TIMES = {"timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}
_PROBE_COUNTS = {"failureThreshold": 30, "successThreshold": 1}
