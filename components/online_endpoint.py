"""An online endpoint: HTTPS scoring, its deployments, and the traffic between them."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.naming import name_in_azure, provisioning_state, revision
from components.workspace import MLWorkspace
from dynamic.purge import DeploymentRemoval
from dynamic.traffic import TrafficSplit
from dynamic.wait import EndpointReady
from settings import OnlineDeploymentSettings, OnlineEndpointSettings, ProbeSettings, RequestSettings

AUTH_MODES = {"key": "Key", "aml_token": "AMLToken", "aad_token": "AADToken"}


class OnlineEndpoint(pulumi.ComponentResource):
    """An online endpoint with its deployments, brought up one after another, and then its traffic.

    `deployments` maps the names of the configuration to revisions: `blue` to `blue-3fb2a9c1`. `drain_seconds` is how
    long a revision that lost its traffic lives on; by default the longest request timeout and 30 seconds.

    ```python
    endpoint = OnlineEndpoint("tumor-online", endpoint_name="tumor-online", settings=settings, workspace=workspace)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_name: str,
        settings: OnlineEndpointSettings,
        workspace: MLWorkspace,
        drain_seconds: int | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:OnlineEndpoint", name, None, opts)
        self._prefix, self._settings, self._workspace = name, settings, workspace
        self._endpoint = self._make_endpoint(endpoint_name)
        self._address = {**workspace.address, "endpointName": name_in_azure(self._endpoint)}
        self.deployments: dict[str, str] = {}
        self._made: list[ml.OnlineDeployment] = []
        ready = self._make_ready()
        for deployment in sorted(settings.deployments):
            before = [] if settings.parallel_deployments else self._made
            # All that went before, not only the last: what is deleted later keeps this order too.
            self._made.append(self._make_deployment(deployment, [ready, *before]))
        self._make_traffic(_drain(settings) if drain_seconds is None else drain_seconds)
        self.outputs: dict[str, Any] = {
            "name": endpoint_name,
            "scoringUri": self._endpoint.properties.scoring_uri,
            "swaggerUri": self._endpoint.properties.swagger_uri,
            "traffic": dict(settings.traffic),
            "mirrorTraffic": dict(settings.mirror_traffic),
            "deployments": self.deployments,
        }
        self.register_outputs(self.outputs)

    def _make_endpoint(self, endpoint_name: str) -> ml.OnlineEndpoint:
        settings, workspace = self._settings, self._workspace
        # The service and the SDK write into these; the traffic is TrafficSplit's. What a refresh read there is what any
        # other PUT of the endpoint carries, so that no PUT drops the traffic.
        foreign = ["properties.traffic", "properties.mirrorTraffic", "properties.properties"]
        return ml.OnlineEndpoint(
            f"{self._prefix}-endpoint",
            endpoint_name=endpoint_name,
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            identity=ml.ManagedServiceIdentityArgs(type="SystemAssigned"),
            tags=dict(settings.tags),
            properties=ml.OnlineEndpointPropertiesArgs(
                auth_mode=AUTH_MODES[settings.auth_mode],
                description=settings.description,
                public_network_access=settings.public_network_access.capitalize(),
            ),
            opts=workspace.in_workspace(self, ignore_changes=foreign),
        )

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, deleted_with=self._endpoint, **options)

    def _make_ready(self) -> EndpointReady:
        inputs = {
            **self._address,
            "kind": "online",
            "provisioningState": provisioning_state(self._endpoint),
            "scoringUri": self._endpoint.properties.scoring_uri,
        }
        return EndpointReady(f"{self._prefix}-ready", inputs=inputs, opts=self._opts(depends_on=[self._endpoint]))

    def _make_deployment(self, deployment: str, after: list[pulumi.Resource]) -> ml.OnlineDeployment:
        settings, workspace = self._settings.deployments[deployment], self._workspace
        assets = DeploymentAssets(
            f"{self._prefix}-{deployment}",
            settings=settings,
            workspace=workspace,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.deployments[deployment] = revision(deployment, _runs(settings, assets.identity))
        made = ml.OnlineDeployment(
            f"{self._prefix}-{self.deployments[deployment]}",
            deployment_name=self.deployments[deployment],
            endpoint_name=self._address["endpointName"],
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            tags=dict(settings.tags),
            # Azure takes the number of instances as the capacity of the SKU.
            sku=ml.SkuArgs(name="Default", capacity=settings.instance_count),
            properties=_properties(settings, assets),
            opts=self._opts(
                depends_on=after,
                # The service fills these in; what we set there is part of the revision.
                ignore_changes=["properties.environmentVariables", "properties.properties"],
            ),
        )
        removal = {**self._address, "kind": "online", "name": self.deployments[deployment]}
        name = f"{self._prefix}-{self.deployments[deployment]}-removal"
        DeploymentRemoval(name, inputs=removal, opts=self._opts(depends_on=[made]))
        return made

    def _make_traffic(self, drain_seconds: int) -> TrafficSplit:
        live, settings = self._endpoint.properties, self._settings
        states = {name: provisioning_state(made) for name, made in zip(self._revisions(), self._made, strict=True)}
        inputs = {
            **self._address,
            "traffic": self._by_revision(settings.traffic),
            "mirrorTraffic": self._by_revision(settings.mirror_traffic),
            "liveTraffic": live.traffic,
            "liveMirrorTraffic": live.mirror_traffic,
            "provisioningStates": states,
            "drainSeconds": drain_seconds,
        }
        return TrafficSplit(f"{self._prefix}-traffic", inputs=inputs, opts=self._opts(depends_on=self._made))

    def _revisions(self) -> list[str]:
        return [self.deployments[deployment] for deployment in sorted(self.deployments)]

    def _by_revision(self, traffic: Mapping[str, int]) -> dict[str, int]:
        return {self.deployments[deployment]: share for deployment, share in traffic.items() if share}


def _drain(settings: OnlineEndpointSettings) -> int:
    timeouts = [deployment.request_settings.request_timeout_ms for deployment in settings.deployments.values()]
    return max(timeouts, default=0) // 1000 + 30


def _runs(settings: OnlineDeploymentSettings, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a revision: a change of any of it is another deployment, never a change of this one."""
    return {
        **identity,
        "instanceType": settings.instance_type,
        "environmentVariables": settings.environment_variables,
        "attempt": settings.attempt,
    }


def _properties(settings: OnlineDeploymentSettings, assets: DeploymentAssets) -> ml.ManagedOnlineDeploymentArgs:
    code = settings.code and ml.CodeConfigurationArgs(code_id=assets.code_id, scoring_script=settings.code.script)
    return ml.ManagedOnlineDeploymentArgs(
        endpoint_compute_type="Managed",
        model=assets.model_id,
        code_configuration=code,
        environment_id=assets.environment_id,
        environment_variables=dict(settings.environment_variables),
        description=settings.description,
        instance_type=settings.instance_type,
        app_insights_enabled=settings.app_insights_enabled,
        scale_settings=ml.DefaultScaleSettingsArgs(scale_type="Default"),
        request_settings=_requests(settings.request_settings),
        liveness_probe=_probe(settings.liveness_probe),
        readiness_probe=_probe(settings.readiness_probe),
    )


def _requests(settings: RequestSettings) -> ml.OnlineRequestSettingsArgs:
    return ml.OnlineRequestSettingsArgs(
        request_timeout=_seconds(settings.request_timeout_ms / 1000),
        max_queue_wait=_seconds(settings.max_queue_wait_ms / 1000),
        max_concurrent_requests_per_instance=settings.max_concurrent_requests_per_instance,
    )


def _probe(settings: ProbeSettings) -> ml.ProbeSettingsArgs:
    return ml.ProbeSettingsArgs(
        initial_delay=_seconds(settings.initial_delay),
        period=_seconds(settings.period),
        timeout=_seconds(settings.timeout),
        success_threshold=settings.success_threshold,
        failure_threshold=settings.failure_threshold,
    )


def _seconds(seconds: float) -> str:
    """A duration as ISO 8601 writes it: 5 is `PT5S`, 0.5 is `PT0.5S`."""
    return f"PT{f'{seconds:.3f}'.rstrip('0').rstrip('.')}S"
