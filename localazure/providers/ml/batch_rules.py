"""Azure's rules for batch endpoints: what a deployment must say, and the defaults filled in.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-batch and recorded answers of the
live service.
"""

from __future__ import annotations

from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import inference_refusal, invalid, not_emulated, user_error
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml.endpoint_rules import code_configuration
from localazure.providers.ml.job_request import output_file_name, retry_settings
from localazure.providers.ml.names import COMPUTE_TYPE, DELETING

Json = dict[str, Any]

_MOST = 2**31 - 1


def auth_mode(sent: Json) -> str:
    """Batch endpoints take tokens of Microsoft Entra ID only. Raises ArmError (400)."""
    mode = read.choice(sent, "authMode", ("AMLToken", "Key", "AADToken"), None, "properties")
    if mode is None:
        raise invalid("'properties.authMode' is required; batch endpoints take AADToken.", "ValidationError")
    if mode != "AADToken" or sent.get("keys"):
        raise user_error(400, f"Batch endpoints take 'properties.authMode' AADToken and no keys, not {mode}.")
    return mode


def default_deployment(cloud: Cloud, sent: Json, endpoint_id: str) -> str | None:
    """The deployment that invocations go to, which has to be there and well. Raises ArmError (400)."""
    name = read.text(read.mapping(sent, "defaults", "properties"), "deploymentName", "properties.defaults")
    if not name:
        return None
    found = cloud.store.get(f"{endpoint_id}/deployments/{name}")
    if found is None or not found.hidden.get("created"):
        raise user_error(
            400,
            f"The default deployment '{name}' does not exist in endpoint {ids.name(endpoint_id)}, "
            "or was not created successfully.",
        )
    return found.name


def refuse_delete_of_default(deployment: Resource, endpoint: Resource) -> None:
    """Raises ArmError (400) for the deployment that invocations go to."""
    if endpoint.properties["defaults"]["deploymentName"] == deployment.name:
        raise inference_refusal(
            f"Deployment {deployment.name} is the default deployment of endpoint {endpoint.name}; name another "
            "before it is deleted."
        )


def check_compute(cloud: Cloud, workspace: Resource, compute: str) -> None:
    """A batch deployment runs on a cluster of its workspace. Raises ArmError (400)."""
    found = cloud.store.get(compute if compute.startswith("/") else f"{workspace.id}/computes/{compute}")
    if (
        found is None
        or found.type.lower() != COMPUTE_TYPE.lower()
        or not ids.same(ids.parent(found.id), workspace.id)
        or found.state == DELETING
    ):
        raise user_error(
            400,
            f"The compute '{compute}' that 'properties.compute' names does not exist in workspace '{workspace.name}'.",
        )


def deployment(sent: Json) -> Json:
    """The properties of a batch deployment with every default filled in. Raises ArmError (400, 501)."""
    where = "properties"
    _model_only(read.mapping(sent, "deploymentConfiguration", where))
    model = read.mapping(sent, "model", where, required=True)
    if read.choice(model, "referenceType", ("Id", "DataPath", "OutputPath"), None, "properties.model") != "Id":
        raise user_error(400, "'properties.model.referenceType' must be Id, with the model's ARM id in assetId.")
    return {
        "description": read.text(sent, "description", where),
        "properties": read.strings(sent, "properties", where),
        "model": {"referenceType": "Id", "assetId": read.text(model, "assetId", "properties.model", required=True)},
        "codeConfiguration": code_configuration(sent),
        "environmentId": read.text(sent, "environmentId", where),
        "environmentVariables": read.strings(sent, "environmentVariables", where),
        "compute": read.text(sent, "compute", where, required=True),
        "resources": _resources(read.mapping(sent, "resources", where)),
        "errorThreshold": read.integer(sent, "errorThreshold", -1, where, least=-1, most=_MOST),
        "retrySettings": retry_settings(sent, {"maxRetries": 3, "timeout": "PT30S"}),
        "miniBatchSize": read.integer(sent, "miniBatchSize", 10, where, least=1, most=_MOST),
        "loggingLevel": read.choice(sent, "loggingLevel", ("Info", "Warning", "Debug"), "Info", where),
        "maxConcurrencyPerInstance": read.integer(sent, "maxConcurrencyPerInstance", 1, where, least=1, most=_MOST),
        "outputAction": read.choice(sent, "outputAction", ("AppendRow", "SummaryOnly"), "AppendRow", where),
        "outputFileName": output_file_name(sent, "predictions.csv"),
    }


def _model_only(sent: Json) -> None:
    kinds = ("Model", "PipelineComponent")
    kind = read.choice(sent, "deploymentConfigurationType", kinds, None, "properties.deploymentConfiguration")
    if sent:
        raise not_emulated(f"batch deployments with 'deploymentConfiguration' ({kind or 'of no type'})")


def _resources(sent: Json) -> Json:
    where = "properties.resources"
    return {
        "instanceCount": read.integer(sent, "instanceCount", 1, where, least=1, most=_MOST),
        "instanceType": read.text(sent, "instanceType", where),
        "properties": read.mapping(sent, "properties", where) or None,
    }
