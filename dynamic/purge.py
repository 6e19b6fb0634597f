"""Removing for good what Azure would keep.

azure-native's DELETE carries nothing but `api-version`. So a destroyed workspace keeps its name for 14 days and a vault
for 90, and a cluster cannot be removed at all (`underlyingResourceAction` is required). Nor does azure-native try again
when Azure refuses the removal of a deployment because another one is being removed, as happens when a revision that
failed goes together with the one it was to replace. Each resource here does nothing until it is deleted, and then does
what that DELETE cannot; azure-native's own DELETE then meets nothing, which it takes as success. Of a cluster it is
never sent (`retain_on_delete`), for without that parameter it is refused even where there is nothing left.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import AzureProvider, Pace, Props, differs
from dynamic.login import Login
from dynamic.wait import unless_busy

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

VAULT_API_VERSION = "2024-11-01"


def purge_workspace(client: "MLClient", name: str) -> None:
    """Deletes a workspace and frees its name. One that is gone already is fine."""
    from azure.core.exceptions import ResourceNotFoundError

    with suppress(ResourceNotFoundError):
        poller = client.workspaces.begin_delete(name, delete_dependent_resources=False, permanently_delete=True)
        poller.result()


def remove_cluster(client: "MLClient", name: str, action: str = "Delete") -> None:
    """Deletes a cluster together with its machines, or detaches (`Detach`) one. One that is gone already is fine."""
    from azure.core.exceptions import ResourceNotFoundError

    with suppress(ResourceNotFoundError):
        client.compute.begin_delete(name, action=action).result()


def remove_deployment(client: "MLClient", kind: str, endpoint: str, name: str, pace: Pace) -> None:
    """Deletes a deployment, however often Azure says that its endpoint is busy. One that is gone already is fine."""
    from azure.core.exceptions import ResourceNotFoundError

    deployments: Any = client.online_deployments if kind == "online" else client.batch_deployments

    def gone() -> bool:
        with suppress(ResourceNotFoundError), unless_busy():
            deployments.begin_delete(name=name, endpoint_name=endpoint).result()
        return True

    pace.until(gone, f"deployment {name} of endpoint {endpoint} is not deleted, because the endpoint is busy,")


def remove_outbound_rule(client: "MLClient", workspace: str, name: str) -> None:
    """Takes a rule out of the managed network of a workspace. One that is gone already is fine."""
    from azure.core.exceptions import ResourceNotFoundError

    with suppress(ResourceNotFoundError):
        client.workspace_outbound_rules.begin_remove(workspace, name).result()


def purge_vault(arm: Any, host: str, props: Props, pace: Pace) -> None:
    """Purges a deleted vault; `arm` is a client of the resource manager at `host`. One that is not there is fine."""
    from azure.core.rest import HttpRequest

    subscription, location, name = props["subscriptionId"], props["location"], props["name"]
    vaults = f"{host}/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults"
    query = {"api-version": VAULT_API_VERSION}
    answer = arm.send_request(HttpRequest("POST", f"{vaults}/{name}/purge", params=query))
    if answer.status_code == 404:
        return
    answer.raise_for_status()

    def gone() -> bool:
        return arm.send_request(HttpRequest("GET", f"{vaults}/{name}", params=query)).status_code == 404

    pace.until(gone, f"vault {name} is not purged")


def arm_client(login: Login) -> Any:
    """A client for the few requests to Azure's resource manager that azure-ai-ml has no method for."""
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy

    host = login.cloud.resource_manager
    policies = [RetryPolicy(), BearerTokenCredentialPolicy(login.credential(), f"{host}/.default")]
    return PipelineClient(host, policies=policies)


class RemovalProvider(AzureProvider):
    """Does nothing until it is deleted, and then only where `enabled`.

    The resource is there in any case: one that came and went with the setting would purge when that is turned off.
    """

    compared = (
        "subscriptionId",
        "resourceGroupName",
        "workspaceName",
        "endpointName",
        "location",
        "name",
        "enabled",
    )

    def create(self, props: Props) -> CreateResult:
        return CreateResult(f"{props.get('name') or props['workspaceName']}/removal", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        return UpdateResult(_news)


class WorkspacePurgeProvider(RemovalProvider):
    """Deletes the workspace before azure-native would."""

    def delete(self, _id: str, _props: Props) -> None:
        if _props["enabled"]:
            purge_workspace(self.ml_client(_props), _props["workspaceName"])


class ClusterRemovalProvider(RemovalProvider):
    """Deletes the cluster in azure-native's place, or detaches it where `action` says so.

    A cluster under another name, or in another workspace, is another one: this is replaced with it, and what is deleted
    at the end of that run removes the cluster that was.
    """

    compared = ("subscriptionId", "resourceGroupName", "workspaceName", "name")

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        moved = [key for key in self.compared if differs(_olds.get(key), _news.get(key))]
        return DiffResult(changes=bool(moved), replaces=moved)

    def delete(self, _id: str, _props: Props) -> None:
        remove_cluster(self.ml_client(_props), _props["name"], _props.get("action") or "Delete")


class DeploymentRemovalProvider(RemovalProvider):
    """Deletes the deployment before azure-native would, which gives up when the endpoint is busy."""

    def delete(self, _id: str, _props: Props) -> None:
        remove_deployment(self.ml_client(_props), _props["kind"], _props["endpointName"], _props["name"], Pace())


class OutboundRuleRemovalProvider(RemovalProvider):
    """Removes the rule where the workspace stays: Azure keeps one that an update of the workspace leaves out."""

    def delete(self, _id: str, _props: Props) -> None:
        remove_outbound_rule(self.ml_client(_props), _props["workspaceName"], _props["name"])


class VaultPurgeProvider(RemovalProvider):
    """Purges the vault after azure-native has deleted it."""

    def delete(self, _id: str, _props: Props) -> None:
        if _props["enabled"]:
            purge_vault(arm_client(self.login), self.login.cloud.resource_manager, _props, Pace())


class WorkspacePurge(Resource, module="azureml", name="WorkspacePurge"):
    """Purges a workspace when it is destroyed; depends on the workspace, so that it goes first."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(WorkspacePurgeProvider(), name, inputs, opts)


class ClusterRemoval(Resource, module="azureml", name="ClusterRemoval"):
    """Removes a cluster when it is destroyed; the cluster depends on it, and is left alone by azure-native."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(ClusterRemovalProvider(), name, inputs, opts)


class DeploymentRemoval(Resource, module="azureml", name="DeploymentRemoval"):
    """Removes a deployment when it is destroyed; depends on the deployment, so that it goes first."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(DeploymentRemovalProvider(), name, inputs, opts)


class OutboundRuleRemoval(Resource, module="azureml", name="OutboundRuleRemoval"):
    """Removes an outbound rule that the configuration no longer has; depends on the workspace, and goes with it."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(OutboundRuleRemovalProvider(), name, inputs, opts)


class VaultPurge(Resource, module="azureml", name="VaultPurge"):
    """Purges a vault when it is destroyed; the vault depends on it, so that it goes last."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(VaultPurgeProvider(), name, inputs, opts)
