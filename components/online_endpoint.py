"""An online endpoint: HTTPS scoring, its deployments, and the traffic between them."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.endpoint import Endpoint
from components.workspace import MLWorkspace
from dynamic.traffic import TrafficSplit
from settings import OnlineDeploymentSettings, OnlineEndpointSettings, ProbeSettings, RequestSettings

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
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, settings=settings, workspace=workspace, opts=opts)
        self._settings = settings
        endpoint = self._make_endpoint(endpoint_name)
        self._bring_up(endpoint, settings.deployments)
        self._make_traffic(endpoint, _drain(settings) if drain_seconds is None else drain_seconds)
        self.outputs: dict[str, Any] = {
            "name": endpoint_name,
            "scoringUri": endpoint.properties.scoring_uri,
            "swaggerUri": endpoint.properties.swagger_uri,
            "traffic": dict(settings.traffic),
            "mirrorTraffic": dict(settings.mirror_traffic),
            "deployments": self.deployments,
        }
        self.register_outputs(self.outputs)

    def _make_endpoint(self, endpoint_name: str) -> ml.OnlineEndpoint:
        settings = self._settings
        # The service and the SDK write into these; the traffic is TrafficSplit's. What a refresh read there is what any
        # other PUT of the endpoint carries, so that no PUT drops the traffic.
        foreign = ["properties.traffic", "properties.mirrorTraffic", "properties.properties"]
        return ml.OnlineEndpoint(
            f"{self._prefix}-endpoint",
            endpoint_name=endpoint_name,
            **self._place,
            identity=ml.ManagedServiceIdentityArgs(type="SystemAssigned"),
            tags=dict(settings.tags),
            properties=ml.OnlineEndpointPropertiesArgs(
                auth_mode=AUTH_MODES[settings.auth_mode],
                description=settings.description,
                public_network_access=settings.public_network_access.capitalize(),
            ),
            opts=self._workspace.in_workspace(self, ignore_changes=foreign),
        )

    def _make_deployment(
        self, assets: DeploymentAssets, deployment: OnlineDeploymentSettings, **common: Any
    ) -> ml.OnlineDeployment:
        # Azure takes the number of instances as the capacity of the SKU.
        sku = ml.SkuArgs(name="Default", capacity=deployment.instance_count)
        return ml.OnlineDeployment(sku=sku, properties=_properties(deployment, assets), **common)

    def _runs(self, deployment: OnlineDeploymentSettings) -> dict[str, Any]:
        return {
            "instanceType": deployment.instance_type,
            "environmentVariables": deployment.environment_variables,
            "attempt": deployment.attempt,
        }

    def _make_traffic(self, endpoint: ml.OnlineEndpoint, drain_seconds: int) -> TrafficSplit:
        live, settings = endpoint.properties, self._settings
        inputs = {
            **self._address,
            "traffic": self._by_revision(settings.traffic),
            "mirrorTraffic": self._by_revision(settings.mirror_traffic),
            "liveTraffic": live.traffic,
            "liveMirrorTraffic": live.mirror_traffic,
            "provisioningStates": self._states(),
            "drainSeconds": drain_seconds,
        }
        return TrafficSplit(f"{self._prefix}-traffic", inputs=inputs, opts=self._opts(depends_on=self._made))

    def _by_revision(self, traffic: Mapping[str, int]) -> dict[str, int]:
        return {self.deployments[deployment]: share for deployment, share in traffic.items() if share}


def _drain(settings: OnlineEndpointSettings) -> int:
    timeouts = [deployment.request_settings.request_timeout_ms for deployment in settings.deployments.values()]
    return max(timeouts, default=0) // 1000 + 30


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
