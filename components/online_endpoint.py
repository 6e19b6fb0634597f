"""An online endpoint: HTTPS scoring, its deployments, and the traffic between them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.autoscale import Autoscale
from components.cluster import Cluster, compute_there
from components.endpoint import Endpoint, given
from components.endpoint_identity import EndpointIdentity
from components.kubernetes_cluster import KubernetesCluster
from components.kubernetes_properties import on_kubernetes
from components.online_properties import managed
from components.unchangeable import Unchangeable, kept
from components.workspace import MLWorkspace
from dynamic.capacity import StartingCapacity
from dynamic.traffic import TrafficSplit
from settings import AutoscaleSettings, OnlineDeploymentSettings, OnlineEndpointSettings, SmokeTestSettings

AUTH_MODES = {"key": "Key", "aml_token": "AMLToken", "aad_token": "AADToken"}


class OnlineEndpoint(Endpoint):
    """An online endpoint with its deployments, brought up one after another, and then its traffic.

    `drain_seconds` is how long a revision that lost its traffic lives on; by default the longest request timeout and
    30 seconds.

    ```python
    endpoint = OnlineEndpoint("tumor-online", endpoint_name="tumor-online", settings=settings, workspace=workspace)
    ```
    """

    kind = "online"

    def __init__(
        self,
        name: str,
        *,
        endpoint_name: str,
        settings: OnlineEndpointSettings,
        workspace: MLWorkspace,
        drain_seconds: int | None = None,
        clusters: Mapping[str, Cluster] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, settings=settings, workspace=workspace, clusters=clusters or {}, opts=opts)
        self._settings, self._endpoint_name = settings, endpoint_name
        self._scaled: list[Callable[[pulumi.Resource], Autoscale]] = []
        self._identity = self._make_identity(endpoint_name)
        endpoint = self._make_endpoint(endpoint_name)
        self._bring_up(endpoint, settings.deployments, *([self._identity.effective] if self._identity else []))
        traffic = self._make_traffic(endpoint, _drain(settings) if drain_seconds is None else drain_seconds)
        # Only now: a revision that waits for its traffic is idle, and would be made small before it gets it.
        for autoscale in self._scaled:
            autoscale(traffic)
        self.outputs: dict[str, Any] = {
            "name": endpoint_name,
            "scoringUri": endpoint.properties.scoring_uri,
            "swaggerUri": endpoint.properties.swagger_uri,
            "traffic": dict(settings.traffic),
            "mirrorTraffic": dict(settings.mirror_traffic),
            "deployments": self.deployments,
        }
        self.register_outputs(self.outputs)

    def _make_identity(self, endpoint_name: str) -> EndpointIdentity | None:
        """The identity that the stack is to make; none where it is the system's, or is there already."""
        if self._settings.identity != "user":
            return None
        return EndpointIdentity(
            f"{self._prefix}-identity",
            identity_name=f"id-{self._workspace.workspace_name}-{endpoint_name}",
            workspace=self._workspace,
            collects=any(deployment.data_collector for deployment in self._settings.deployments.values()),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _works_under(self) -> ml.ManagedServiceIdentityArgs:
        if self._settings.identity == "system":
            return ml.ManagedServiceIdentityArgs(type="SystemAssigned")
        ids = [self._identity.id] if self._identity else list(self._settings.identity)
        return ml.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=ids)

    def _make_endpoint(self, endpoint_name: str) -> ml.OnlineEndpoint:
        settings = self._settings
        # The service and the SDK write into these; the traffic is TrafficSplit's. What a refresh read there is what any
        # other PUT of the endpoint carries, so that no PUT drops the traffic.
        foreign = ["properties.traffic", "properties.mirrorTraffic", "properties.properties"]
        return ml.OnlineEndpoint(
            f"{self._prefix}-endpoint",
            endpoint_name=endpoint_name,
            **self._place,
            identity=self._works_under(),
            tags=dict(settings.tags),
            properties=ml.OnlineEndpointPropertiesArgs(
                auth_mode=AUTH_MODES[settings.auth_mode],
                description=settings.description,
                public_network_access=settings.public_network_access.capitalize(),
                compute=self._compute(),
            ),
            opts=self._workspace.in_workspace(
                self,
                ignore_changes=foreign,
                # The whole cluster: as long as the endpoint is there it cannot be detached.
                depends_on=self._cluster(),
                hooks=kept(f"{self._prefix}-endpoint", *_stays(f"onlineEndpoints.{self._prefix}")),
            ),
        )

    def _cluster(self) -> list[KubernetesCluster]:
        named = self._clusters.get(self._settings.kubernetes or "")
        return [named] if isinstance(named, KubernetesCluster) else []

    def _compute(self) -> pulumi.Input[str] | None:
        """The ARM id of the attached cluster that the endpoint is on; none for Azure's own machines."""
        name = self._settings.kubernetes
        own = [cluster.id for cluster in self._cluster()]
        path = f"onlineEndpoints.{self._prefix}.kubernetes"
        return own[0] if own else name and compute_there(path, name, self._workspace)

    def _make_deployment(
        self, assets: DeploymentAssets, deployment: OnlineDeploymentSettings, **common: Any
    ) -> ml.OnlineDeployment:
        count: pulumi.Input[int] = deployment.instance_count
        if deployment.autoscale:
            count = self._starting_count(deployment, deployment.autoscale, common["deployment_name"])
            # From here on it is autoscale's: an update carries the count that a refresh has read.
            theirs = pulumi.ResourceOptions(ignore_changes=["sku.capacity"])
            common["opts"] = pulumi.ResourceOptions.merge(common["opts"], theirs)
        # Azure takes the number of instances as the capacity of the SKU.
        sku = ml.SkuArgs(name="Default", capacity=count)
        if self._settings.kubernetes:
            properties = on_kubernetes(deployment, assets, self._workspace, self._instance_type(deployment))
        else:
            properties = managed(deployment, assets, self._workspace)
        return ml.OnlineDeployment(sku=sku, properties=properties, **common)

    def _instance_type(self, deployment: OnlineDeploymentSettings) -> str | None:
        return deployment.instance_type or next((cluster.usual_type for cluster in self._cluster()), None)

    def _starting_count(
        self, deployment: OnlineDeploymentSettings, scale: AutoscaleSettings, named: str
    ) -> pulumi.Output[int]:
        """As many instances as the live revision has, or the fewest where the configuration names no number."""
        count = deployment.instance_count if "instance_count" in deployment.model_fields_set else scale.min_instances
        inputs = {
            **self._address,
            **_bounds(scale, named),
            "revision": named,
            "instanceCount": count,
            "liveTraffic": self._endpoint.properties.traffic,
        }
        return StartingCapacity(f"{self._prefix}-{named}-capacity", inputs=inputs, opts=self._opts()).instance_count

    def _complete(
        self, made: ml.OnlineDeployment, deployment: OnlineDeploymentSettings, named: str, removal: pulumi.Resource
    ) -> None:
        # On Kubernetes the cluster's own router scales, by what the deployment says.
        scale = deployment.autoscale
        if scale is None or self._settings.kubernetes:
            return

        def autoscale(traffic: pulumi.Resource) -> Autoscale:
            return Autoscale(
                f"{self._prefix}-{named}-autoscale",
                settings=scale,
                endpoint=self._endpoint,
                deployment=made,
                setting_name=f"{self._endpoint_name}-{named}",
                deployment_name=named,
                workspace=self._workspace,
                after=[removal, traffic],
                opts=pulumi.ResourceOptions(parent=self),
            )

        self._scaled.append(autoscale)

    def _runs(self, deployment: OnlineDeploymentSettings) -> dict[str, Any]:
        closed = deployment.egress_public_network_access == "disabled"
        return {"instanceType": self._instance_type(deployment)} | given(
            modelMountPath=deployment.model_mount_path,
            egressPublicNetworkAccess="disabled" if closed else None,
            resources=deployment.resources and deployment.resources.model_dump(exclude_none=True),
        )

    def _make_traffic(self, endpoint: ml.OnlineEndpoint, drain_seconds: int) -> TrafficSplit:
        live, settings = endpoint.properties, self._settings
        inputs = {
            **self._address,
            "traffic": self._by_revision(settings.traffic),
            "mirrorTraffic": self._by_revision(settings.mirror_traffic),
            "liveTraffic": live.traffic,
            "liveMirrorTraffic": live.mirror_traffic,
            "provisioningStates": self._states(),
            "smokeTests": self._smoke_tests(),
            "autoscaled": self._autoscaled(),
            "drainSeconds": drain_seconds,
        }
        # Not deleted with the endpoint: its own deletion lets the last requests come to an end, before all is purged.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[*self._made, *self._workspace.purge])
        return TrafficSplit(f"{self._prefix}-traffic", inputs=inputs, opts=opts)

    def _smoke_tests(self) -> dict[str, dict[str, Any]]:
        """What each revision must answer well before it gains traffic."""
        deployments = self._settings.deployments.items()
        return {self.deployments[name]: _smoke_test(own.smoke_test) for name, own in deployments if own.smoke_test}

    def _autoscaled(self) -> dict[str, dict[str, Any]]:
        """Within what bounds each revision is grown before it gains traffic. A cluster's router needs no such help."""
        if self._settings.kubernetes:
            return {}
        named = {self.deployments[name]: own.autoscale for name, own in self._settings.deployments.items()}
        return {revision: _bounds(scale, revision) for revision, scale in named.items() if scale}

    def _by_revision(self, traffic: Mapping[str, int]) -> dict[str, int]:
        return {self.deployments[deployment]: share for deployment, share in traffic.items() if share}


def _stays(key: str) -> list[Unchangeable]:
    another = "add an endpoint of another name beside it, move the callers, and remove this one."
    return [
        Unchangeable(f"{key}.authMode", "properties.authMode", another),
        Unchangeable(f"{key}.identity", "identity.type", another),
        Unchangeable(f"{key}.identity", "identity.userAssignedIdentities", another, _same_identities),
        Unchangeable(f"{key}.kubernetes", "properties.compute", another),
    ]


def _same_identities(before: Any, after: Any) -> bool:
    # A list as it is sent, a mapping as it is read. None on one side is another type, of which there is a finding.
    one, other = ({str(each).lower() for each in ids or ()} for ids in (before, after))
    return one == other or not one or not other


def _drain(settings: OnlineEndpointSettings) -> int:
    timeouts = [deployment.request_settings.request_timeout_ms for deployment in settings.deployments.values()]
    return max(timeouts, default=0) // 1000 + 30


def _bounds(scale: AutoscaleSettings, revision: str) -> dict[str, Any]:
    """Within what bounds a revision starts with as many instances as the one of its deployment that serves."""
    return {"deployment": revision.rpartition("-")[0], "least": scale.min_instances, "most": scale.most()}


def _smoke_test(settings: SmokeTestSettings) -> dict[str, Any]:
    expected = settings.expected
    if settings.expected_file:
        expected = json.loads(Path(settings.expected_file).read_text(encoding="utf-8"))
    return {
        "request": settings.request,
        "status": settings.status,
        # As text: of an object as an input, Pulumi drops the keys that are null.
        "json": None if expected is None else json.dumps(expected),
        "schema": settings.schema_file,
        "timeLimit": settings.time_limit,
    }
