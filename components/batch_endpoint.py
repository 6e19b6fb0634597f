"""A batch endpoint: scoring in bulk, its deployments, the one that is the default, and its timetables."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.batch_invoker import BatchInvoker
from components.batch_schedule import BatchSchedule
from components.cluster import Cluster, compute_there
from components.endpoint import Endpoint
from components.workspace import MLWorkspace
from dynamic.default_deployment import DefaultDeployment
from settings import BatchDeploymentSettings, BatchEndpointSettings

OUTPUT_ACTIONS = {"append_row": "AppendRow", "summary_only": "SummaryOnly"}


class BatchEndpoint(Endpoint):
    """A batch endpoint with its deployments, brought up one after another, and then its default.

    `schedules` are the Logic Apps of each schedule, by their names in Azure.

    ```python
    endpoint = BatchEndpoint(
        "tumor-batch", endpoint_name="tumor-batch", settings=settings, workspace=workspace, clusters=clusters
    )
    ```
    """

    kind = "batch"

    def __init__(
        self,
        name: str,
        *,
        endpoint_name: str,
        settings: BatchEndpointSettings,
        workspace: MLWorkspace,
        clusters: Mapping[str, Cluster],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, settings=settings, workspace=workspace, clusters=clusters, opts=opts)
        self._settings = settings
        self.schedules: dict[str, list[str]] = {}
        endpoint = self._make_endpoint(endpoint_name)
        self._bring_up(endpoint, settings.deployments)
        default = settings.default_deployment or next(iter(settings.deployments), None)
        if default:
            made = self._make_default(endpoint, self.deployments[default])
            self._make_schedules(endpoint, endpoint_name, made)
        self.outputs: dict[str, Any] = {
            "name": endpoint_name,
            "invokeUri": endpoint.properties.scoring_uri,
            "defaultDeployment": default,
            "deployments": self.deployments,
            "schedules": self.schedules,
        }
        self.register_outputs(self.outputs)

    def _make_endpoint(self, endpoint_name: str) -> ml.BatchEndpoint:
        settings = self._settings
        return ml.BatchEndpoint(
            f"{self._prefix}-endpoint",
            endpoint_name=endpoint_name,
            **self._place,
            tags=dict(settings.tags),
            # Azure knows no other way to log in to a batch endpoint.
            properties=ml.BatchEndpointPropertiesArgs(auth_mode="AADToken", description=settings.description),
            # The service writes into the one, and DefaultDeployment into the other.
            opts=self._workspace.in_workspace(self, ignore_changes=["properties.defaults", "properties.properties"]),
        )

    def _make_deployment(
        self, assets: DeploymentAssets, deployment: BatchDeploymentSettings, **common: Any
    ) -> ml.BatchDeployment:
        name = common["deployment_name"].rpartition("-")[0]
        compute = self._compute(f"batchEndpoints.{self._prefix}.deployments.{name}.compute", deployment.compute)
        properties = _properties(deployment, assets, compute)
        return ml.BatchDeployment(properties=properties, **common)

    def _runs(self, deployment: BatchDeploymentSettings) -> dict[str, Any]:
        return {"compute": deployment.compute}

    def _compute(self, path: str, name: str) -> pulumi.Output[str]:
        """The ARM id of a cluster: one of the stack, or one that is in the workspace already."""
        own = self._clusters.get(name)
        return own.id if own else compute_there(path, name, self._workspace)

    def _make_default(self, endpoint: ml.BatchEndpoint, deployment: str) -> DefaultDeployment:
        live = endpoint.properties.apply(lambda properties: properties.defaults)
        inputs = {
            **self._address,
            "deploymentName": deployment,
            "liveDeploymentName": live.apply(lambda defaults: (defaults and defaults.deployment_name) or ""),
            "provisioningStates": self._states(),
        }
        return DefaultDeployment(f"{self._prefix}-default", inputs=inputs, opts=self._opts(depends_on=self._made))

    def _make_schedules(self, endpoint: ml.BatchEndpoint, endpoint_name: str, default: pulumi.Resource) -> None:
        """The timetables: begun when the endpoint has its default, and gone before anything that they need."""
        schedules, below = self._settings.schedules, pulumi.ResourceOptions(parent=self)
        if not schedules:
            return
        invoker = BatchInvoker(
            f"{self._prefix}-invoker", endpoint_name=endpoint_name, workspace=self._workspace, opts=below
        )
        self.schedules = {
            name: BatchSchedule(
                f"{self._prefix}-{name}",
                workflow_name=f"{endpoint_name}-{name}",
                settings=schedule,
                invoke_uri=endpoint.properties.scoring_uri,
                deployment=self.deployments[schedule.deployment] if schedule.deployment else None,
                invoker=invoker,
                workspace=self._workspace,
                ready=[endpoint, *self._made, default],
                opts=below,
            ).workflows
            for name, schedule in schedules.items()
        }


def _properties(
    settings: BatchDeploymentSettings, assets: DeploymentAssets, compute: pulumi.Input[str]
) -> ml.BatchDeploymentPropertiesArgs:
    code = settings.code and ml.CodeConfigurationArgs(code_id=assets.code_id, scoring_script=settings.code.script)
    return ml.BatchDeploymentPropertiesArgs(
        model=ml.IdAssetReferenceArgs(reference_type="Id", asset_id=assets.model_id),
        code_configuration=code,
        environment_id=assets.environment_id,
        environment_variables=dict(settings.environment_variables),
        description=settings.description,
        properties=dict(settings.properties) or None,
        compute=compute,
        resources=ml.DeploymentResourceConfigurationArgs(instance_count=settings.instance_count),
        max_concurrency_per_instance=settings.max_concurrency_per_instance,
        mini_batch_size=settings.mini_batch_size,
        output_action=OUTPUT_ACTIONS[settings.output_action],
        output_file_name=settings.output_file_name,
        retry_settings=ml.BatchRetrySettingsArgs(
            max_retries=settings.retry_settings.max_retries, timeout=f"PT{settings.retry_settings.timeout}S"
        ),
        error_threshold=settings.error_threshold,
        logging_level=settings.logging_level.capitalize(),
    )
