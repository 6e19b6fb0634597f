"""Azure's rules that hold for online and batch endpoints and deployments alike.

Source: https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online, how-to-manage-quotas,
how-to-troubleshoot-online-endpoints, and what users have been answered by the live service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import conflict, inference_refusal, invalid, not_emulated, user_error
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import check_name, normal_location
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_TYPE,
    BATCH_ENDPOINT_TYPE,
    CREATING,
    DELETING,
    ENDPOINT_NAME,
    ENDPOINT_NAME_RULE,
    FAILED,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_TYPE,
    UPDATING,
    find_asset,
    region,
    workspace_above,
)

ENDPOINTS_PER_REGION = 100
DEPLOYMENTS_PER_REGION = 500
DEPLOYMENTS_PER_ENDPOINT = 20
_BUSY = (CREATING, UPDATING, DELETING)


# What is new ------------------------------------------------------------------------------------------------------


def check_new_endpoint(cloud: Cloud, resource_id: str, location: str) -> None:
    """Refuses a region that is not the workspace's, and a name that is none or that an endpoint has, online or batch.

    Raises:
        ArmError: 400, or 409 for a name that is taken.
    """
    name = ids.name(resource_id)
    check_name(name, ENDPOINT_NAME, "endpoint", ENDPOINT_NAME_RULE)
    workspace = workspace_above(cloud, resource_id)
    if normal_location(location) != region(workspace):
        raise user_error(
            400,
            f"The endpoint '{name}' is in location '{location}', but its workspace '{workspace.name}' is in "
            f"'{region(workspace)}': they must be in the same.",
        )
    others = cloud.store.of_type(ONLINE_ENDPOINT_TYPE) + cloud.store.of_type(BATCH_ENDPOINT_TYPE)
    _check_free(name, others)
    here = _in_region(others, location)
    if here >= ENDPOINTS_PER_REGION:
        raise user_error(
            400, f"The subscription has {here} endpoints in region '{location}'; the limit is {ENDPOINTS_PER_REGION}."
        )


def _check_free(name: str, endpoints: Sequence[Resource]) -> None:
    for taken in (each for each in endpoints if each.name.lower() == name.lower()):
        # Azure allows one in each region. Here a deployment's processes and files go by the endpoint's name.
        raise user_error(
            409,
            f"There is already an endpoint with this name: '{name}' is taken in region "
            f"'{taken.document['location']}'. Choose another.",
        )


def _in_region(resources: Sequence[Resource], location: str) -> int:
    return sum(each.document["location"] == normal_location(location) for each in resources)


def check_new_deployment(cloud: Cloud, endpoint: Resource, name: str) -> None:
    """Refuses a deployment's name that is not one, and one deployment too many. Raises ArmError (400)."""
    check_name(name, ENDPOINT_NAME, "deployment", ENDPOINT_NAME_RULE)
    deployments = cloud.store.of_type(ONLINE_DEPLOYMENT_TYPE) + cloud.store.of_type(BATCH_DEPLOYMENT_TYPE)
    siblings = sum(ids.same(ids.parent(each.id), endpoint.id) for each in deployments)
    if siblings >= DEPLOYMENTS_PER_ENDPOINT:
        raise inference_refusal(
            f"Endpoint {endpoint.name} has {siblings} deployments; the limit is {DEPLOYMENTS_PER_ENDPOINT}."
        )
    location = endpoint.document["location"]
    here = _in_region(deployments, location)
    if here >= DEPLOYMENTS_PER_REGION:
        raise inference_refusal(
            f"The subscription has {here} deployments in region '{location}'; the limit is {DEPLOYMENTS_PER_REGION}."
        )


def check_location(name: str, location: str, endpoint: Resource) -> None:
    """A deployment is where its endpoint is. Raises ArmError (400)."""
    if normal_location(location) != endpoint.document["location"]:
        raise user_error(
            400,
            f"The deployment '{name}' is in location '{location}', but its endpoint '{endpoint.name}' is in "
            f"'{endpoint.document['location']}': they must be in the same.",
        )


# States -----------------------------------------------------------------------------------------------------------


def refuse_busy(cloud: Cloud, endpoint: Resource, what: str) -> None:
    """One write at a time on an endpoint and all of its deployments.

    Args:
        what: what is asked for, such as `create a deployment in endpoint blue`.

    Raises:
        ArmError: 409.
    """
    state = endpoint.state
    if state in _BUSY or cloud.store.running(endpoint.id):
        raise conflict(f"Cannot {what} because it is in {state if state in _BUSY else UPDATING} provisioning state.")


def never_created(resource: Resource) -> bool:
    """Whether the first creation of an endpoint or deployment failed, after which nothing but a deletion helps."""
    return resource.state == FAILED and not resource.hidden.get("created")


def refuse_broken_endpoint(endpoint: Resource) -> None:
    """A failed first creation of an endpoint is terminal. Raises ArmError (400)."""
    if never_created(endpoint):
        raise inference_refusal(
            f"Specified endpoint [{endpoint.name}] has not been created successfully. Please recreate the endpoint."
        )


def refuse_below_broken_endpoint(endpoint: Resource) -> None:
    """Nothing is deployed to an endpoint that never came up, or that goes. Raises ArmError (400)."""
    if never_created(endpoint) or endpoint.state == DELETING:
        raise inference_refusal(
            "This endpoint has not been created successfully or is in deleting provisioning state. "
            "Please recreate endpoint and then try again to create deployment."
        )


def refuse_broken_deployment(existing: Resource | None) -> None:
    """A failed first creation of a deployment is terminal. Raises ArmError (400)."""
    if existing is not None and never_created(existing):
        raise inference_refusal(
            f"Specified deployment [{existing.name}] failed during initial provisioning and is in an "
            "unrecoverable state. Delete and re-create."
        )


# Bodies -----------------------------------------------------------------------------------------------------------


def patched(sent: Mapping[str, Any], *allowed: str) -> dict[str, Any]:
    """What a PATCH changes; null leaves alone. Raises ArmError (400) for what only a PUT can change."""
    for name in sent:
        if name not in allowed:
            raise invalid(
                f"'{name}' cannot be patched, only {' and '.join(allowed)} can; send the whole resource with PUT.",
                "ValidationError",
            )
    return {name: value for name, value in sent.items() if value is not None}


def code_configuration(sent: dict[str, Any]) -> dict[str, Any] | None:
    """A deployment's code and its scoring script, which lies below it. Raises ArmError (400)."""
    where = "properties.codeConfiguration"
    code = read.mapping(sent, "codeConfiguration", "properties")
    if not code:
        return None
    script = read.text(code, "scoringScript", where, required=True) or ""
    path = PurePosixPath(script)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise user_error(400, f"'{where}.scoringScript' is '{script}'; it must be a path below the code's folder.")
    return {"codeId": read.text(code, "codeId", where, required=True), "scoringScript": script}


def asset(cloud: Cloud, workspace: Resource, reference: str, kind: str, field: str) -> Resource:
    """The version that a reference names, which is one of the workspace's own.

    Raises:
        ArmError: 400 for a reference to nothing or into another workspace, 501 for one into a registry.
    """
    found = find_asset(cloud, workspace, reference, kind, field)
    if not ids.key(found.id).startswith(ids.key(workspace.id) + "/"):
        raise user_error(
            400,
            f"'{field}' names '{reference}', which is not of workspace '{workspace.name}'. Register the asset there.",
        )
    return found


def check_sources(cloud: Cloud, workspace: Resource, properties: Mapping[str, Any], model: Resource) -> None:
    """What a deployment runs has to exist and to fit together.

    An MLflow model brings its script and environment with it; a custom model needs both. A script always needs an
    environment.

    Raises:
        ArmError: 400, or 501 for a custom container.
    """
    code, reference = properties["codeConfiguration"], properties["environmentId"]
    environment = asset(cloud, workspace, reference, "environments", "properties.environmentId") if reference else None
    if code is not None:
        asset(cloud, workspace, code["codeId"], "codes", "properties.codeConfiguration.codeId")
        if environment is None:
            raise user_error(400, "A deployment with a scoring script needs 'environmentId'.")
    elif environment is not None and environment.properties.get("inferenceConfig"):
        raise not_emulated("custom containers (an environment with 'inferenceConfig' and no scoring script)")
    elif model.properties["modelType"] != "mlflow_model":
        raise user_error(
            400,
            f"The model '{model.id}' is a {model.properties['modelType']}: the deployment needs "
            "'codeConfiguration' (a scoring script).",
        )
