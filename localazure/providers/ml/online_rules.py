"""Azure's rules for online endpoints: what traffic may be, what a deployment must say, and the defaults filled in.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-endpoint-online,
how-to-safely-rollout-online-endpoints, how-to-manage-quotas, and recorded answers of the live service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import inference_refusal, invalid, not_emulated, user_error
from localazure.arm.store import Resource
from localazure.providers.ml.endpoints import code_configuration

MOST_INSTANCES = 50
LONGEST_TIMEOUT = 180.0
MOST_MIRRORED = 50
COMPUTE_TYPES = ("Managed", "Kubernetes", "AzureMLCompute")


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
        found = deployments.get(name.lower())
        if weight and found is None:
            known = ", ".join(sorted(each.name for each in deployments.values())) or "none"
            raise user_error(
                400, f"Deployment '{name}' in {what} does not exist in the endpoint; its deployments are: {known}."
            )
        if weight and found is not None:
            if not found.hidden.get("created"):
                raise user_error(
                    400,
                    f"Deployment '{name}' in {what} is {found.state}; only one that was created "
                    "successfully takes traffic.",
                )
            weights[found.name] = weight
    return weights


def refuse_delete_with_traffic(name: str, endpoint: Mapping[str, Any]) -> None:
    """Raises ArmError (400) for a deployment that requests still go to."""
    for what in ("traffic", "mirrorTraffic"):
        if weight := endpoint[what].get(name):
            raise inference_refusal(
                f"Deployment {name} has {weight} % {what}; set it to 0 before the deployment is deleted."
            )


def capacity(sku: Mapping[str, Any]) -> int:
    """The instance count. Raises ArmError (400)."""
    return read.integer(sku, "capacity", 1, "sku", least=1, most=MOST_INSTANCES)


def check_sources(properties: Mapping[str, Any], model: Resource) -> None:
    """A custom model needs a script and an environment; an MLflow model brings both. Raises ArmError (400)."""
    mlflow = model.properties["modelType"] == "mlflow_model"
    if properties["codeConfiguration"] is None and not mlflow:
        raise user_error(
            400,
            f"The model '{model.id}' is a {model.properties['modelType']}: the deployment needs "
            "'codeConfiguration' (a scoring script).",
        )
    if properties["environmentId"] is None and properties["codeConfiguration"] is not None:
        raise user_error(400, "A deployment with a scoring script needs 'environmentId'.")


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
        "modelMountPath": read.text(sent, "modelMountPath", where),
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
        "dataCollector": read.mapping(sent, "dataCollector", where) or None,
    }


def _scale(sent: dict[str, Any]) -> dict[str, Any]:
    kind = read.choice(sent, "scaleType", ("Default", "TargetUtilization"), "Default", "properties.scaleSettings")
    if kind != "Default":
        raise user_error(
            400,
            f"Managed online deployments take scaleSettings of type Default only, not {kind}; use "
            "autoscale settings of Azure Monitor.",
        )
    return {"scaleType": "Default"}


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
        read.seconds(value, f"{where}.{key}")
    counts = {
        key: read.integer(probe, key, default, where, least=1, most=10_000) for key, default in _PROBE_COUNTS.items()
    }
    return {**counts, **durations}


_PROBE_TIMES = {"timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}
_PROBE_COUNTS = {"failureThreshold": 30, "successThreshold": 1}
