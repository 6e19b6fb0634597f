"""What online and batch endpoints have in common: the wait for the endpoint, and deployments named by revision."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.cluster import Cluster
from components.naming import name_in_azure, provisioning_state, revision
from components.workspace import MLWorkspace
from dynamic.purge import DeploymentRemoval
from dynamic.wait import EndpointReady
from settings import (
    BatchDeploymentSettings,
    BatchEndpointSettings,
    OnlineDeploymentSettings,
    OnlineEndpointSettings,
)

MLEndpoint = ml.OnlineEndpoint | ml.BatchEndpoint
MLDeployment = ml.OnlineDeployment | ml.BatchDeployment
EndpointSettings = OnlineEndpointSettings | BatchEndpointSettings
DeploymentSettings = OnlineDeploymentSettings | BatchDeploymentSettings


class Endpoint(pulumi.ComponentResource, ABC):
    """An endpoint with its deployments, brought up one after another; a kind of endpoint is a subclass.

    `clusters` are the stack's own, by the names that the configuration calls them. `deployments` maps the names of the
    configuration to revisions: `blue` to `blue-3fb2a9c1`.
    """

    kind: str
    """As Azure's paths begin: `online` or `batch`."""

    def __init__(
        self,
        name: str,
        *,
        settings: EndpointSettings,
        workspace: MLWorkspace,
        clusters: Mapping[str, Cluster],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        super().__init__(f"azureml-endpoints:index:{type(self).__name__}", name, None, opts)
        self._prefix, self._workspace, self._clusters = name, workspace, clusters
        self._parallel = settings.parallel_deployments
        self.deployments: dict[str, str] = {}
        self._made: list[MLDeployment] = []

    @abstractmethod
    def _make_deployment(self, assets: DeploymentAssets, deployment: Any, **common: Any) -> MLDeployment:
        """The deployment itself, from its settings and what every deployment takes."""

    @abstractmethod
    def _runs(self, deployment: Any) -> Mapping[str, Any]:
        """What makes a revision, beside the assets: a change of any of it is another deployment, never a change."""

    def _complete(self, made: Any, deployment: Any, named: str, removal: pulumi.Resource) -> None:
        """What else belongs to a deployment that is there; what waits for `removal` is gone before it."""

    @property
    def _place(self) -> dict[str, Any]:
        """Where an endpoint and its deployments are."""
        workspace = self._workspace
        return {
            "resource_group_name": workspace.resource_group_name,
            "workspace_name": workspace.name,
            "location": workspace.location,
        }

    def _bring_up(
        self, endpoint: MLEndpoint, deployments: Mapping[str, DeploymentSettings], *first: pulumi.Resource
    ) -> None:
        """Everything below an endpoint, but what says where its requests go; deployments wait for `first`."""
        self._endpoint = endpoint
        self._address = {**self._workspace.address, "endpointName": name_in_azure(endpoint)}
        # What is built for a deployment is built when that is made, which fails without a machine to build on.
        before = [self._make_ready(), *self._workspace.builders(self._clusters), *first]
        for name in sorted(deployments):
            # All that went before, not only the last: what is deleted later keeps this order too.
            after = [] if self._parallel else self._made
            self._made.append(self._make_revision(name, deployments[name], [*before, *after]))

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, deleted_with=self._endpoint, **options)

    def _make_ready(self) -> EndpointReady:
        inputs = {
            **self._address,
            "kind": self.kind,
            "provisioningState": provisioning_state(self._endpoint),
            "scoringUri": self._endpoint.properties.scoring_uri,
        }
        return EndpointReady(f"{self._prefix}-ready", inputs=inputs, opts=self._opts(depends_on=[self._endpoint]))

    def _make_revision(self, name: str, deployment: DeploymentSettings, after: list[pulumi.Resource]) -> MLDeployment:
        assets = DeploymentAssets(
            f"{self._prefix}-{name}",
            settings=deployment,
            workspace=self._workspace,
            opts=pulumi.ResourceOptions(parent=self),
        )
        runs = {**assets.identity, **_told(deployment), **self._runs(deployment)}
        named = self.deployments[name] = revision(name, runs)
        # The service fills these in; what we set there is part of the revision.
        foreign = ["properties.environmentVariables", "properties.properties"]
        made = self._make_deployment(
            assets,
            deployment,
            resource_name=f"{self._prefix}-{named}",
            deployment_name=named,
            endpoint_name=self._address["endpointName"],
            tags=dict(deployment.tags),
            opts=self._opts(depends_on=after, ignore_changes=foreign),
            **self._place,
        )
        removal = {**self._address, "kind": self.kind, "name": named}
        opts = self._opts(depends_on=[made])
        removed = DeploymentRemoval(f"{self._prefix}-{named}-removal", inputs=removal, opts=opts)
        self._complete(made, deployment, named, removed)
        return made

    def _states(self) -> dict[str, pulumi.Output[str | None]]:
        """The provisioning state of each revision: nothing goes to one that did not come up."""
        revisions = [self.deployments[name] for name in sorted(self.deployments)]
        return {name: provisioning_state(made) for name, made in zip(revisions, self._made, strict=True)}


def _told(deployment: DeploymentSettings) -> dict[str, Any]:
    """What every deployment runs, beside its assets."""
    return {"environmentVariables": deployment.environment_variables, "attempt": deployment.attempt} | given(
        properties=deployment.properties
    )


def given(**settings: Any) -> dict[str, Any]:
    """The settings that are set: one that is not leaves the names of revisions as they were before it was known."""
    return {key: value for key, value in settings.items() if value}
