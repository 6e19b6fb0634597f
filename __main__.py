"""The whole stack on one page: settings, components, outputs."""

from functools import partial

import pulumi

import settings
from components.batch_endpoint import BatchEndpoint
from components.compute_cluster import ComputeCluster
from components.kubernetes_cluster import KubernetesCluster
from components.online_endpoint import OnlineEndpoint
from components.workspace import MLWorkspace

stack = settings.load()
workspace = MLWorkspace("workspace", settings=stack)
clusters = {
    name: ComputeCluster(name, cluster_name=stack.azure_name(name), settings=cluster, workspace=workspace)
    for name, cluster in stack.compute_clusters.items()
}
kubernetes = {
    name: KubernetesCluster(name, cluster_name=stack.azure_name(name), settings=cluster, workspace=workspace)
    for name, cluster in stack.kubernetes_clusters.items()
}
serve = partial(OnlineEndpoint, workspace=workspace, drain_seconds=stack.drain_seconds, clusters=clusters | kubernetes)
online = {
    name: serve(name, endpoint_name=stack.azure_name(name), settings=endpoint)
    for name, endpoint in stack.online_endpoints.items()
}
score = partial(BatchEndpoint, workspace=workspace, clusters=clusters)
batch = {
    name: score(name, endpoint_name=stack.azure_name(name), settings=endpoint)
    for name, endpoint in stack.batch_endpoints.items()
}
workspace.protect([*(clusters | kubernetes).values(), *(online | batch).values()])

for key, value in workspace.outputs.items():
    pulumi.export(key, value)
pulumi.export("computeClusters", {name: cluster.name for name, cluster in (clusters | kubernetes).items()})
pulumi.export("onlineEndpoints", {name: endpoint.outputs for name, endpoint in online.items()})
pulumi.export("batchEndpoints", {name: endpoint.outputs for name, endpoint in batch.items()})
