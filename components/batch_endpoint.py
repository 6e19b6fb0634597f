"""A batch endpoint: scoring in bulk, its deployments, and the one that is the default."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.compute_cluster import ComputeCluster
from components.naming import name_in_azure, provisioning_state, revision
from components.workspace import MLWorkspace
from dynamic.default_deployment import DefaultDeployment
from dynamic.purge import DeploymentRemoval
from dynamic.wait import EndpointReady
from settings import BatchDeploymentSettings, BatchEndpointSettings

OUTPUT_ACTIONS = {"append_row": "AppendRow", "summary_only": "SummaryOnly"}


class BatchEndpoint(pulumi.ComponentResource):
    """A batch endpoint with its deployments, brought up one after another, and then its default.

    `clusters` are the stack's own, by the names that deployments call them; `deployments` maps the names of the
    configuration to revisions.

    ```python
    endpoint = BatchEndpoint(
        "tumor-batch", endpoint_name="tumor-batch", settings=settings, workspace=workspace, clusters=clusters
    )
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_name: str,
        settings: BatchEndpointSettings,
        workspace: MLWorkspace,
        clusters: Mapping[str, ComputeCluster],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:BatchEndpoint", name, None, opts)
        self._prefix, self._settings, self._workspace, self._clusters = name, settings, workspace, clusters
        self._endpoint = self._make_endpoint(endpoint_name)
        self._address = {**workspace.address, "endpointName": name_in_azure(self._endpoint)}
        self.deployments: dict[str, str] = {}
        self._made: list[ml.BatchDeployment] = []
        ready = self._make_ready()
        for deployment in sorted(settings.deployments):
            before = [] if settings.parallel_deployments else self._made
            # All that went before, not only the last: what is deleted later keeps this order too.
            self._made.append(self._make_deployment(deployment, [ready, *before]))
        default = settings.default_deployment or next(iter(settings.deployments), None)
        if default:
            self._make_default(self.deployments[default])
        self.outputs: dict[str, Any] = {
            "name": endpoint_name,
            "invokeUri": self._endpoint.properties.scoring_uri,
            "defaultDeployment": default,
            "deployments": self.deployments,
        }
        self.register_outputs(self.outputs)

    def _make_endpoint(self, endpoint_name: str) -> ml.BatchEndpoint:
        settings, workspace = self._settings, self._workspace
        return ml.BatchEndpoint(
            f"{self._prefix}-endpoint",
            endpoint_name=endpoint_name,
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            tags=dict(settings.tags),
            # Azure knows no other way to log in to a batch endpoint.
            properties=ml.BatchEndpointPropertiesArgs(auth_mode="AADToken", description=settings.description),
            # The service writes into the one, and DefaultDeployment into the other.
            opts=workspace.in_workspace(self, ignore_changes=["properties.defaults", "properties.properties"]),
        )

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, deleted_with=self._endpoint, **options)

    def _make_ready(self) -> EndpointReady:
        inputs = {
            **self._address,
            "kind": "batch",
            "provisioningState": provisioning_state(self._endpoint),
            "scoringUri": self._endpoint.properties.scoring_uri,
        }
        return EndpointReady(f"{self._prefix}-ready", inputs=inputs, opts=self._opts(depends_on=[self._endpoint]))

    def _make_deployment(self, deployment: str, after: list[pulumi.Resource]) -> ml.BatchDeployment:
        settings, workspace = self._settings.deployments[deployment], self._workspace
        assets = DeploymentAssets(
            f"{self._prefix}-{deployment}",
            settings=settings,
            workspace=workspace,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.deployments[deployment] = revision(deployment, _runs(settings, assets.identity))
        made = ml.BatchDeployment(
            f"{self._prefix}-{self.deployments[deployment]}",
            deployment_name=self.deployments[deployment],
            endpoint_name=self._address["endpointName"],
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            tags=dict(settings.tags),
            properties=_properties(settings, assets, self._compute(settings.compute)),
            opts=self._opts(
                depends_on=after,
                # The service fills these in; what we set there is part of the revision.
                ignore_changes=["properties.environmentVariables", "properties.properties"],
            ),
        )
        removal = {**self._address, "kind": "batch", "name": self.deployments[deployment]}
        name = f"{self._prefix}-{self.deployments[deployment]}-removal"
        DeploymentRemoval(name, inputs=removal, opts=self._opts(depends_on=[made]))
        return made

    def _compute(self, name: str) -> pulumi.Output[str]:
        """The ARM id of a cluster of the stack, or of one that is in the workspace already (`azureml:<name>`)."""
        if name in self._clusters:
            return self._clusters[name].id
        return self._workspace.id.apply(lambda id_: f"{id_}/computes/{name.removeprefix('azureml:')}")

    def _make_default(self, deployment: str) -> DefaultDeployment:
        revisions = [self.deployments[name] for name in sorted(self.deployments)]
        states = {name: provisioning_state(made) for name, made in zip(revisions, self._made, strict=True)}
        live = self._endpoint.properties.apply(lambda properties: properties.defaults)
        inputs = {
            **self._address,
            "deploymentName": deployment,
            "liveDeploymentName": live.apply(lambda defaults: (defaults and defaults.deployment_name) or ""),
            "provisioningStates": states,
        }
        return DefaultDeployment(f"{self._prefix}-default", inputs=inputs, opts=self._opts(depends_on=self._made))


def _runs(settings: BatchDeploymentSettings, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a revision: a change of any of it is another deployment, never a change of this one."""
    return {
        **identity,
        "compute": settings.compute,
        "environmentVariables": settings.environment_variables,
        "attempt": settings.attempt,
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
