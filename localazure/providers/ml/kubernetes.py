"""What is different about online endpoints and deployments on an attached Kubernetes cluster.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-kubernetes-online,
how-to-manage-quotas, how-to-manage-kubernetes-instance-types and how-to-kubernetes-inference-routing-azureml-fe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import inference_refusal, invalid, user_error
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml.compute_types import KUBERNETES, quantities
from localazure.providers.ml.names import (
    COMPUTE_TYPE,
    DELETING,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_TYPE,
    SUCCEEDED,
)

Json = dict[str, Any]

LONGEST_TIMEOUT = 300.0
ENDPOINTS_PER_CLUSTER = 60
DEPLOYMENTS_PER_CLUSTER = 100
LONGEST_NAMES = 62
MOST_INSTANCES = 50
MANAGED = "Managed"
# ARM knows a third, which nobody documents and Local Azure does not emulate.
COMPUTE_TYPES = (MANAGED, KUBERNETES, "AzureMLCompute")


# Endpoints --------------------------------------------------------------------------------------------------------


def endpoint_compute(cloud: Cloud, sent: Json, existing: Resource | None, resource_id: str) -> str | None:
    """The id of the attached cluster that an endpoint is on; None for a managed one. It stays as it was created.

    Raises:
        ArmError: 400 for what is no attached cluster of the workspace, for another one, and for one that is full.
    """
    named = read.text(sent, "compute", "properties")
    if existing is not None:
        has = existing.properties["compute"]
        # A client that read the endpoint may leave out what it did not set.
        if named and not (has and ids.same(_compute_id(named, resource_id), has)):
            raise user_error(
                400,
                f"The compute of endpoint {existing.name} cannot be changed from {has or 'managed'} to {named}: create "
                "another endpoint.",
            )
        return has
    if not named:
        return None
    compute = _attached(cloud, _compute_id(named, resource_id), named)
    there = len(_endpoints_in_cluster(cloud, compute))
    if there >= ENDPOINTS_PER_CLUSTER:
        raise user_error(
            400, f"The cluster '{_cluster(compute)}' has {there} endpoints; the limit is {ENDPOINTS_PER_CLUSTER}."
        )
    return compute.id


def _compute_id(named: str, endpoint_id: str) -> str:
    workspace = ids.parent(endpoint_id)
    return named if named.startswith("/") else f"{workspace}/computes/{named.removeprefix('azureml:')}"


def _attached(cloud: Cloud, compute_id: str, named: str) -> Resource:
    found = cloud.store.get(compute_id)
    if found is None or found.type.lower() != COMPUTE_TYPE.lower():
        raise user_error(400, f"The compute '{named}' that 'properties.compute' names was not found in the workspace.")
    kind = found.properties["computeType"]
    if kind != KUBERNETES:
        raise user_error(
            400, f"The compute '{found.name}' is of type {kind}; an online endpoint can be on one of type {KUBERNETES}."
        )
    if found.state != SUCCEEDED:
        raise user_error(
            400, f"The compute '{found.name}' is in {found.state} provisioning state; it must be {SUCCEEDED}."
        )
    return found


def kind_of(compute: str | None) -> str:
    """The `kind` of an endpoint, and the `endpointComputeType` of its deployments."""
    return KUBERNETES if compute else MANAGED


def endpoints_on(cloud: Cloud, compute: Resource) -> list[Resource]:
    """The online endpoints on an attached cluster."""
    found = cloud.store.of_type(ONLINE_ENDPOINT_TYPE)
    return [
        each for each in found if each.properties.get("compute") and ids.same(each.properties["compute"], compute.id)
    ]


def _cluster(compute: Resource) -> str:
    return compute.properties["resourceId"]


def _endpoints_in_cluster(cloud: Cloud, compute: Resource) -> list[Resource]:
    """The online endpoints on the cluster behind a compute, which may be attached more than once."""
    attached = [each for each in cloud.store.of_type(COMPUTE_TYPE) if each.properties["computeType"] == KUBERNETES]
    same = [each for each in attached if ids.same(_cluster(each), _cluster(compute))]
    return [endpoint for each in same for endpoint in endpoints_on(cloud, each)]


def refuse_mirror(cloud: Cloud, mirror: Mapping[str, int], endpoint_id: str) -> None:
    """Raises ArmError (400) for mirrored traffic on a Kubernetes endpoint."""
    endpoint = cloud.store.get(endpoint_id)
    if mirror and endpoint is not None and endpoint.properties.get("compute"):
        raise user_error(400, "Traffic cannot be mirrored on a Kubernetes online endpoint, only on a managed one.")


# Deployments ------------------------------------------------------------------------------------------------------


def deployment_body(cloud: Cloud, body: Json, resource_id: str) -> Json:
    """A deployment's body with its cluster's usual instance type filled in; that of a managed one as it is.

    Raises:
        ArmError: 400 where endpoint and deployment are of two kinds, and by the limits of a cluster.
    """
    endpoint = cloud.store.get(ids.parent(resource_id))
    compute_id = endpoint.properties.get("compute") if endpoint else None
    sent = read.mapping(body, "properties", required=True)
    kind = read.choice(sent, "endpointComputeType", COMPUTE_TYPES, None, "properties")
    if kind in (MANAGED, KUBERNETES) and kind != kind_of(compute_id):
        raise user_error(
            400,
            f"'properties.endpointComputeType' is {kind}, but endpoint {ids.name(ids.parent(resource_id))} is of kind "
            f"{kind_of(compute_id)}; they must be the same.",
        )
    if not compute_id:
        return body
    compute = cloud.store.get(compute_id)
    if compute is None or compute.state == DELETING:
        raise user_error(400, f"The cluster '{compute_id}' of the endpoint is not attached any more.")
    if cloud.store.get(resource_id) is None:
        _check_new(cloud, compute, resource_id)
    return {**body, "properties": {**sent, "instanceType": _instance_type(sent, compute)}}


def _check_new(cloud: Cloud, compute: Resource, resource_id: str) -> None:
    endpoint, name = ids.name(ids.parent(resource_id)), ids.name(resource_id)
    if len(endpoint) + len(name) > LONGEST_NAMES:
        raise inference_refusal(
            f"The names of endpoint '{endpoint}' and deployment '{name}' have {len(endpoint) + len(name)} characters "
            f"together; on Kubernetes the limit is {LONGEST_NAMES}."
        )
    endpoints = _endpoints_in_cluster(cloud, compute)
    there = sum(len(cloud.store.below(each.id, ONLINE_DEPLOYMENT_TYPE)) for each in endpoints)
    if there >= DEPLOYMENTS_PER_CLUSTER:
        raise inference_refusal(
            f"The cluster '{_cluster(compute)}' has {there} deployments; the limit is {DEPLOYMENTS_PER_CLUSTER}."
        )


def _instance_type(sent: Json, compute: Resource) -> str:
    inner = compute.properties["properties"]
    named = read.text(sent, "instanceType", "properties") or inner["defaultInstanceType"]
    if named not in inner["instanceTypes"]:
        raise user_error(
            400,
            f"The instance type '{named}' is none of the cluster '{compute.name}', which has: "
            f"{', '.join(inner['instanceTypes'])}. On Kubernetes it is one of these, not a size of a virtual machine.",
        )
    return named


def resources(sent: Json) -> Json:
    """What a container asks for and may take at most. Raises ArmError (400)."""
    name = "containerResourceRequirements"
    where, found = f"properties.{name}", read.mapping(sent, name, "properties")
    return {
        part: _amounts(read.mapping(found, part, where), f"{where}.{part}")
        for part in ("containerResourceRequests", "containerResourceLimits")
    }


def _amounts(sent: Json, where: str) -> Json | None:
    if not sent:
        return None
    for name in sent:
        if name not in ("cpu", "memory", "gpu"):
            raise invalid(f"'{where}.{name}' is not known; a container has cpu, memory and gpu.", "ValidationError")
    return {"cpu": None, "memory": None, "gpu": None, **quantities(sent, where)}


def scale(sent: Json) -> Json:
    """A fixed number of instances, or as many as the cluster's router finds needed. Raises ArmError (400)."""
    where = "properties.scaleSettings"
    kind = read.choice(sent, "scaleType", ("Default", "TargetUtilization"), None, where)
    if kind is None and sent:
        raise invalid(f"'{where}.scaleType' is required: Default or TargetUtilization.", "ValidationError")
    if kind != "TargetUtilization":
        return {"scaleType": "Default"}
    least = read.integer(sent, "minInstances", 1, where, least=1, most=MOST_INSTANCES)
    most = read.integer(sent, "maxInstances", 1, where, least=1, most=MOST_INSTANCES)
    if least > most:
        raise user_error(400, f"'{where}.minInstances' is {least}, more than maxInstances, which is {most}.")
    interval = read.text(sent, "pollingInterval", where) or "PT1S"
    if read.seconds(interval, f"{where}.pollingInterval") < 1:
        raise user_error(400, f"'{where}.pollingInterval' is {interval}; it must be at least 1 second (PT1S).")
    return {
        "scaleType": kind,
        "minInstances": least,
        "maxInstances": most,
        "pollingInterval": interval,
        "targetUtilizationPercentage": read.integer(sent, "targetUtilizationPercentage", 70, where, least=1, most=100),
    }


def within(sku: Json, scale_settings: Json) -> Json:
    """The SKU with a number of instances that the scale settings allow."""
    if scale_settings["scaleType"] == "Default":
        return sku
    least, most = scale_settings["minInstances"], scale_settings["maxInstances"]
    return {**sku, "capacity": min(max(sku["capacity"], least), most)}


# Clusters ---------------------------------------------------------------------------------------------------------


def refuse_detach(cloud: Cloud, compute: Resource) -> None:
    """Raises ArmError (400) for a cluster that endpoints are on."""
    if names := ", ".join(sorted(each.name for each in endpoints_on(cloud, compute))):
        raise user_error(
            400,
            f"The compute '{compute.name}' cannot be detached: the online endpoints {names} are on it; delete them.",
        )


def refuse_types_gone(cloud: Cloud, compute: Resource, inner: Mapping[str, Any]) -> None:
    """Raises ArmError (400) for an update of a cluster without an instance type that a deployment is of."""
    if compute.properties["computeType"] != KUBERNETES:
        return
    for endpoint in endpoints_on(cloud, compute):
        for deployment in cloud.store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE):
            # The answer to an update has no instance type; what is stored always has one.
            if (used := deployment.properties["instanceType"]) and used not in inner["instanceTypes"]:
                raise user_error(
                    400,
                    f"Deployment {endpoint.name}/{deployment.name} is of the instance type '{used}', which "
                    f"'properties.properties.instanceTypes' of compute '{compute.name}' leaves out.",
                )
