"""The rules for where the deployments of an online endpoint run: on Azure's machines, or on a Kubernetes cluster.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-kubernetes-online,
how-to-manage-quotas and how-to-manage-kubernetes-instance-types.
"""

import re
from collections.abc import Iterator, Mapping

from settings.kubernetes import BUILT_IN, ContainerResources, KubernetesClusterSettings, quantity
from settings.models import OnlineDeploymentSettings, OnlineEndpointSettings
from settings.scale_rules import kubernetes_findings, managed_findings
from settings.shapes import key_path
from settings.sizes import size_findings

CLUSTER_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
    r"(Microsoft\.ContainerService/managedClusters|Microsoft\.Kubernetes/connectedClusters)/[^/]+",
    re.IGNORECASE,
)
# What Kubernetes takes as the name of an object.
OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VM_SIZE = re.compile(r"standard_\w+", re.IGNORECASE)
MANAGED_TIMEOUT_MS = 180_000
# Of the names of an endpoint and of a deployment together.
MAX_NAMES = 62

Findings = Iterator[str]
Clusters = Mapping[str, KubernetesClusterSettings]


def cluster_findings(path: str, cluster: KubernetesClusterSettings) -> Findings:
    """What is wrong with a Kubernetes cluster to attach; that it exists only Azure knows."""
    if not CLUSTER_ID.fullmatch(cluster.cluster):
        yield (
            f'{path}.cluster: "{cluster.cluster}" is not the ARM id of a Kubernetes cluster; it has the form '
            "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.ContainerService/managedClusters/<name>."
        )
    if not OBJECT_NAME.fullmatch(cluster.namespace):
        yield f'{path}.namespace: "{cluster.namespace}" is no name in Kubernetes; use lower case, digits and hyphens.'
    types = cluster.instance_types
    for name in (name for name in types if not OBJECT_NAME.fullmatch(name)):
        yield f"{path}.instanceTypes.{name}: is no name in Kubernetes; use lower case, digits and hyphens."
    for name, offered in types.items():
        yield from _amounts(f"{path}.instanceTypes.{name}", offered)
    usual = cluster.default_instance_type
    if usual is not None and usual not in (types or (BUILT_IN,)):
        yield f'{path}.defaultInstanceType: "{usual}" is none of instanceTypes ({", ".join(types) or BUILT_IN}).'
    if usual is None and len(types) > 1:
        yield f"{path}.defaultInstanceType: is missing; name one of {', '.join(sorted(types))}."


def managed_target_findings(path: str, endpoint: OnlineEndpointSettings) -> Findings:
    """What is wrong with deployments on Azure's own machines."""
    for name, deployment in endpoint.deployments.items():
        own = key_path(path, "deployments", name)
        size, timeout = deployment.instance_type, deployment.request_settings.request_timeout_ms
        if size is None:
            yield f"{own}.instanceType: is missing; add it."
        else:
            yield from size_findings(f"{own}.instanceType", size, "give the endpoint a kubernetes cluster")
        if deployment.resources is not None:
            yield f"{own}.resources: is for Kubernetes endpoints; remove it, or choose another instanceType."
        if timeout > MANAGED_TIMEOUT_MS:
            yield f"{own}.requestSettings.requestTimeoutMs: {timeout} is more than {MANAGED_TIMEOUT_MS}: lower it."
        if deployment.autoscale:
            yield from managed_findings(key_path(own, "autoscale"), deployment.autoscale)
            yield from _start(own, deployment)


def kubernetes_target_findings(path: str, endpoint: OnlineEndpointSettings, in_azure: str, known: Clusters) -> Findings:
    """What is wrong with deployments on a Kubernetes cluster; `in_azure` is the endpoint's name there."""
    if any(endpoint.mirror_traffic.values()):
        yield f"{path}.mirrorTraffic: Azure mirrors on managed endpoints only; remove it."
    if endpoint.auth_mode == "aad_token":
        yield f"{path}.authMode: aad_token is for managed endpoints only; use key or aml_token."
    cluster = known.get(str(endpoint.kubernetes))
    for name, deployment in endpoint.deployments.items():
        own, revision = key_path(path, "deployments", name), f"{name}-00000000"
        if (length := len(in_azure) + len(revision)) > MAX_NAMES:
            yield (
                f"{own}: the names of the endpoint ({in_azure}) and of a revision ({name}-<8 digits>) have {length} "
                f"characters together; on Kubernetes Azure takes {MAX_NAMES}: shorten one."
            )
        yield from _instance_type(own, deployment.instance_type, cluster)
        if deployment.resources is not None:
            yield from _amounts(f"{own}.resources", deployment.resources)
        if deployment.egress_public_network_access == "disabled":
            yield f"{own}.egressPublicNetworkAccess: is for managed endpoints; here the cluster's network decides."
        if deployment.autoscale:
            yield from kubernetes_findings(key_path(own, "autoscale"), deployment.autoscale)
            yield from _start(own, deployment)


def _amounts(path: str, resources: ContainerResources) -> Findings:
    for key in type(resources.requests).model_fields:
        asked, most = getattr(resources.requests, key), getattr(resources.limits, key)
        if asked is not None and most is not None and quantity(asked) > quantity(most):
            yield (
                f"{path}.requests.{key}: {asked} is more than limits.{key} ({most}); lower the one or raise the other."
            )


def _instance_type(path: str, named: str | None, cluster: KubernetesClusterSettings | None) -> Findings:
    if named is None:
        if cluster is None:
            yield f"{path}.instanceType: is missing; name an instance type of the cluster, which is not of this stack."
        return
    there = list(cluster.instance_types) or [BUILT_IN] if cluster else []
    if VM_SIZE.fullmatch(named):
        hint = f": {', '.join(there)}" if there else ""
        yield (
            f'{path}.instanceType: "{named}" is the size of a virtual machine; on Kubernetes name an instance type of '
            f"the cluster{hint}, or none for its usual one."
        )
    elif cluster and named not in there:
        yield f'{path}.instanceType: "{named}" is no instance type of the cluster; there is: {", ".join(there)}.'


def _start(path: str, deployment: OnlineDeploymentSettings) -> Findings:
    scale, count = deployment.autoscale, deployment.instance_count
    if scale is None or "instance_count" not in deployment.model_fields_set:
        return
    least, most = scale.bounds()
    if least <= most and not least <= count <= most:
        yield (
            f"{path}.instanceCount: {count} is not within autoscale's {least} to {most}; it is what the first revision "
            "starts with: change it, or leave it out."
        )
