"""Batch endpoints and their deployments. Nothing runs until a job does; jobs are in `jobs.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import identity
from localazure.providers.ml import batch_rules as rules
from localazure.providers.ml import endpoint_rules
from localazure.providers.ml.deployments import Deployments
from localazure.providers.ml.endpoints import BATCH, Endpoints, inference_host
from localazure.providers.ml.names import CREATING, UPDATING

Json = dict[str, Any]


class BatchEndpoints(Endpoints):
    """`…/workspaces/batchEndpoints`. Jobs outlive them and their deployments.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-use-batch-model-deployments, where the endpoint
    is deleted: "Batch scoring jobs won't be deleted."
    """

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, BATCH)

    def routes(self) -> list[Route]:
        refused = "always refused: batch endpoints take tokens only"
        return [*super().routes(), Route.of("POST", BATCH.path + "/listkeys", self.list_keys, simplified=refused)]

    def list_keys(self, call: Call) -> Answer:
        """POST listkeys: batch endpoints take AAD tokens only."""
        raise user_error(400, f"Batch endpoint {self._find(call).name} has auth mode AADToken; it has no keys.")

    def _compose(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Json:
        sent = read.mapping(body, "properties", required=True)
        before = existing.properties if existing else {}
        own = {
            "BatchEndpointCreationApiVersion": call.api_version,
            **(before.get("properties") or {}),
            **read.strings(sent, "properties", "properties"),
        }
        properties = {
            "description": read.text(sent, "description", "properties"),
            "properties": {**own, "azureml.onlineendpointid": resource_id},
            "scoringUri": before.get("scoringUri"),
            "swaggerUri": None,
            "authMode": rules.auth_mode(sent),
            "provisioningState": UPDATING if existing else CREATING,
            "defaults": before.get("defaults") or {"deploymentName": None},
        }
        block = identity(self._cloud, body, existing)
        return {"properties": properties, **({"identity": block} if block else {})}

    def _desired(self, body: Json, resource_id: str) -> Json:
        name = rules.default_deployment(self._cloud, read.mapping(body, "properties"), resource_id)
        return {"defaults": {"deploymentName": name}}

    def _in_force(self, endpoint: Resource, desired: Mapping[str, Any]) -> Json:
        return {**desired, "scoringUri": f"https://{inference_host(endpoint)}/jobs"}

    def _work(self, operation: Operation) -> None:
        """Nothing: the next invocation reads what the store has."""

    def _ended(self, endpoint_id: str) -> None:
        """Nothing stands beside the store."""

    def _take_down(self, operation: Operation) -> None:
        """Nothing: a job has all that it needs, and goes on without what it was begun by."""


class BatchDeployments(Deployments):
    """`…/batchEndpoints/deployments`."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, BATCH)

    def _compose(self, body: Json, existing: Resource | None, workspace: Resource) -> Json:
        properties = rules.deployment(read.mapping(body, "properties", required=True))
        reference = properties["model"]["assetId"]
        model = endpoint_rules.asset(self._cloud, workspace, reference, "models", "properties.model.assetId")
        endpoint_rules.check_sources(self._cloud, workspace, properties, model)
        rules.check_compute(self._cloud, workspace, properties["compute"])
        return {"properties": properties}

    def _patched(self, existing: Resource, sent: Json) -> tuple[Json, str]:
        changes = endpoint_rules.patched(sent, "tags", "properties")
        own = endpoint_rules.patched(read.mapping(changes, "properties"), "description")
        return {**existing.document, **changes, "properties": {**existing.properties, **own}}, UPDATING

    def _answer(self, desired: Json, existing: Resource | None, poll: str) -> Json:
        # As recorded: a new one is `Updating`, too.
        return {**desired, "properties": {**desired["properties"], "provisioningState": UPDATING}}

    def _work(self, operation: Operation) -> None:
        """Nothing: a job starts what it needs."""

    def _take_down(self, operation: Operation) -> None:
        """Nothing: its jobs go on, as those of an endpoint that goes."""

    def _refuse_delete(self, deployment: Resource, endpoint: Resource) -> None:
        rules.refuse_delete_of_default(deployment, endpoint)
