"""Online deployments: their definition over ARM. What runs for them is in `online_serving.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml import endpoint_lists, endpoint_rules, kubernetes, managed_network, quota
from localazure.providers.ml import online_rules as rules
from localazure.providers.ml.deployments import Deployments
from localazure.providers.ml.endpoints import ONLINE
from localazure.providers.ml.names import (
    CREATING,
    ONLINE_DEPLOYMENT_TYPE,
    SCALING,
    SUCCEEDED,
    UPDATING,
    find_asset,
    has_label,
    workspace_above,
)
from localazure.providers.ml.online_serving import OnlineServing
from localazure.serving.model import Container

Json = dict[str, Any]


class OnlineDeployments(Deployments):
    """`…/onlineEndpoints/deployments`."""

    def __init__(self, cloud: Cloud, serving: OnlineServing) -> None:
        super().__init__(cloud, ONLINE)
        self._serving = serving

    def routes(self) -> list[Route]:
        path = ONLINE.deployment_path
        return [
            *super().routes(),
            Route.of("POST", path + "/getLogs", self.logs, slow=True),
            Route.of("GET", path + "/skus", self.skus),
        ]

    # Write -----------------------------------------------------------------------------------------------------

    def _desired(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Json:
        return super()._desired(call, kubernetes.deployment_body(self._cloud, body, resource_id), existing, resource_id)

    def _compose(self, body: Json, existing: Resource | None, workspace: Resource) -> Json:
        properties = rules.deployment(read.mapping(body, "properties", required=True))
        rules.refuse_other_size(properties, existing)
        rules.refuse_other_egress(properties, existing)
        if existing is None and properties["endpointComputeType"] == kubernetes.MANAGED:
            managed_network.refuse_deployment(self._cloud, workspace, properties["egressPublicNetworkAccess"])
        self._pin(workspace, properties)
        model = endpoint_rules.asset(self._cloud, workspace, properties["model"], "models", "properties.model")
        endpoint_rules.check_sources(self._cloud, workspace, properties, model)
        sku = rules.sku(read.mapping(body, "sku"))
        kind = properties["endpointComputeType"]
        if kind == kubernetes.MANAGED:
            quota.require(self._cloud, workspace, properties["instanceType"], sku["capacity"], existing)
        else:
            sku = kubernetes.within(sku, properties["scaleSettings"])
        if existing:
            properties["environmentVariables"] = rules.own_variables(properties["environmentVariables"], existing)
        return {"properties": properties, "kind": kind, "sku": sku}

    def _pin(self, workspace: Resource, properties: Json) -> None:
        """What a label names is looked up once: a deployment must not change by itself when the label moves."""
        for key, kind in (("model", "models"), ("environmentId", "environments")):
            if (reference := properties[key]) and has_label(reference):
                found = endpoint_rules.asset(self._cloud, workspace, reference, kind, f"properties.{key}")
                properties[key] = found.id

    def _patched(self, existing: Resource, sent: Json) -> tuple[Json, str]:
        changes = endpoint_rules.patched(sent, "tags", "sku")
        sku = {**existing.document["sku"], **read.mapping(changes, "sku")}
        scaled = sku["capacity"] != existing.document["sku"]["capacity"]
        return {**existing.document, **changes, "sku": sku}, SCALING if scaled else UPDATING

    def _answer(self, desired: Json, existing: Resource | None, poll: str) -> Json:
        own = {**desired["properties"]["properties"], "AzureAsyncOperationUri": poll}
        properties = {**desired["properties"], "properties": own, "provisioningState": CREATING}
        if existing is None:
            return {**desired, "properties": properties}
        # As recorded: the answer to an update has no instance type and one date.
        return {
            **desired,
            "properties": {**properties, "instanceType": None},
            "systemData": {"lastModifiedAt": desired["systemData"]["lastModifiedAt"]},
        }

    def _view(self, call: Call, document: Json) -> Json:
        return rules.as_of(call.api_version, document)

    def _work(self, operation: Operation) -> Json:
        desired = operation.payload["desired"]
        filled = self._filled(desired)
        self._serving.replace(operation.resource, desired)
        return {"filled": filled}

    def _finish(self, desired: Json, existing: Resource, outcome: Mapping[str, Any]) -> Resource:
        filled = outcome["filled"]
        own = dict(desired["properties"]["properties"])
        # As recorded: a GET keeps the creation's operation and time, whatever has been updated since.
        if poll := (existing.properties.get("properties") or {}).get("AzureAsyncOperationUri"):
            own["AzureAsyncOperationUri"] = poll
        properties = {
            **desired["properties"],
            "properties": own,
            "environmentVariables": {**filled, **desired["properties"]["environmentVariables"]},
            "provisioningState": SUCCEEDED,
        }
        document = {**desired, "properties": properties, "systemData": existing.document["systemData"]}
        return replace(existing, document=document, hidden={"created": True, "filled": filled})

    def _filled(self, desired: Json) -> dict[str, str]:
        """The variables that the service adds to what was sent."""
        workspace = workspace_above(self._cloud, desired["id"])
        properties = desired["properties"]
        model = find_asset(self._cloud, workspace, properties["model"], "models", "properties.model")
        name = ids.name(ids.parent(model.id))
        mount = (properties["modelMountPath"] or "/var/azureml-app/azureml-models").rstrip("/")
        filled = {"AZUREML_MODEL_DIR": f"{mount}/{name}/{model.name}"}
        if code := properties["codeConfiguration"]:
            source = find_asset(self._cloud, workspace, code["codeId"], "codes", "properties.codeConfiguration.codeId")
            filled["AZUREML_ENTRY_SCRIPT"] = code["scoringScript"]
            filled["AML_APP_ROOT"] = "/var/azureml-app/" + ids.name(source.properties["codeUri"])
        return filled

    # Delete ----------------------------------------------------------------------------------------------------

    def _refuse_delete(self, deployment: Resource, endpoint: Resource) -> None:
        rules.refuse_delete_with_traffic(deployment.name, endpoint.properties)

    def _take_down(self, operation: Operation) -> None:
        self._serving.end(operation.resource)

    # Logs and sizes --------------------------------------------------------------------------------------------

    def logs(self, call: Call) -> Answer:
        """POST getLogs: the last lines of one of the two containers."""
        deployment = self._find(call)
        sent = call.json()
        kinds = ("InferenceServer", "StorageInitializer")
        container = cast("Container", read.choice(sent, "containerType", kinds, "InferenceServer"))
        tail = read.integer(sent, "tail", 50, least=1, most=10_000)
        endpoint, name = rules.serving_name(deployment.id)
        return Answer(200, {"content": self._cloud.serving.logs(endpoint, name, container, tail)})

    def skus(self, call: Call) -> Answer:
        """GET skus: the one there is, with the bounds of its capacity."""
        self._find(call)
        capacity = {"minimum": 1, "maximum": rules.MOST_INSTANCES, "default": 1, "scaleType": "Manual"}
        sku = {"name": "Default", "tier": "Standard"}
        return endpoint_lists.plain(call, [{"capacity": capacity, "resourceType": ONLINE_DEPLOYMENT_TYPE, "sku": sku}])
