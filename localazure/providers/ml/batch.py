"""Batch endpoints and their deployments: Azure's rules and defaults. Jobs are in `jobs.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import inference_refusal, not_emulated, user_error
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, envelope, identity, long_headers, page, require_location, with_state
from localazure.providers.ml.endpoints import (
    check_new_deployment,
    check_new_endpoint,
    code_configuration,
    deployment_of,
    endpoint_of,
    refuse_broken_deployment,
    refuse_broken_endpoint,
    refuse_busy,
)
from localazure.providers.ml.job_request import output_file_name, retry_settings
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_FAMILY,
    BATCH_DEPLOYMENT_TYPE,
    BATCH_ENDPOINT_FAMILY,
    BATCH_ENDPOINT_TYPE,
    COMPUTE_TYPE,
    CREATING,
    DELETING,
    FAILED,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    find_asset,
    front_end_system_data,
    guid,
    region,
    workspace_of,
)

ENDPOINT = WORKSPACE + "/batchEndpoints/{endpoint}"
DEPLOYMENT = ENDPOINT + "/deployments/{deployment}"
_PAGE = 100


class BatchEndpoints:
    """`…/workspaces/batchEndpoints`."""

    def __init__(self, cloud: Cloud, cancel_jobs: Callable[[str], None]) -> None:
        """`cancel_jobs` ends the jobs of an endpoint or deployment that goes."""
        self._cloud = cloud
        self._cancel_jobs = cancel_jobs
        cloud.operations.register("batch.endpoint.write", Kind(lambda operation: None, self._settle, self._failed))
        cloud.operations.register("batch.delete", Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", ENDPOINT, self.create),
            Route.of("PATCH", ENDPOINT, self.patch),
            Route.of("GET", ENDPOINT, lambda call: Answer(200, self._find(call).document)),
            Route.of("DELETE", ENDPOINT, self.delete),
            Route.of("GET", ENDPOINT.rpartition("/")[0], self.list),
            Route.of("POST", ENDPOINT + "/listkeys", self.list_keys),
        ]

    def _find(self, call: Call) -> Resource:
        return endpoint_of(self._cloud, call, "batchEndpoints")

    def list(self, call: Call) -> Answer:
        """The endpoints of a workspace."""
        return page(
            call, call.path, self._cloud.store.below(workspace_of(self._cloud, call).id, BATCH_ENDPOINT_TYPE), _PAGE
        )

    def list_keys(self, call: Call) -> Answer:
        """POST listkeys: batch endpoints take AAD tokens only."""
        raise user_error(400, f"Batch endpoint {self._find(call).name} has auth mode AADToken; it has no keys.")

    def create(self, call: Call) -> Answer:
        """PUT: 201 always. The default deployment has to exist."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and identity."""
        existing = self._find(call)
        sent = {name: value for name, value in call.json().items() if name in ("tags", "identity")}
        return self._write(call, {**existing.document, **sent})

    def _write(self, call: Call, body: dict[str, Any]) -> Answer:
        workspace = workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        require_location(body, existing)
        if existing is None:
            check_new_endpoint(self._cloud, resource_id, str(body["location"]))
        else:
            refuse_broken_endpoint(existing)
            refuse_busy(self._cloud, existing, "update settings")
        document = self._compose(call, body, existing, resource_id)
        default = self._default(read.mapping(body, "properties"), resource_id)
        operation = self._cloud.operations.begin(
            "batch.endpoint.write", resource_id, {"default": default}, prefix=f"bebes:{guid(workspace)}"
        )
        hidden = existing.hidden if existing else {"created": False}
        self._cloud.store.put(
            Resource(resource_id, BATCH_ENDPOINT_TYPE, document, hidden, existing.created if existing else now())
        )
        headers = long_headers(
            self._cloud, call, BATCH_ENDPOINT_FAMILY, operation, region(workspace), resource=resource_id
        )
        return Answer(201, document, headers)

    def _default(self, sent: dict[str, Any], resource_id: str) -> str | None:
        name = read.text(read.mapping(sent, "defaults", "properties"), "deploymentName", "properties.defaults")
        if not name:
            return None
        found = self._cloud.store.get(f"{resource_id}/deployments/{name}")
        if found is None or not found.hidden.get("created"):
            raise user_error(
                400,
                f"The default deployment '{name}' does not exist in endpoint {ids.name(resource_id)}, "
                "or was not created successfully.",
            )
        return found.name

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> dict[str, Any]:
        sent = read.mapping(body, "properties", required=True)
        mode = read.choice(sent, "authMode", ("AADToken",), None, "properties")
        if mode is None:
            raise user_error(400, "'properties.authMode' is required; batch endpoints take AADToken.")
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
            "authMode": mode,
            "provisioningState": UPDATING if existing else CREATING,
            "defaults": before.get("defaults") or {"deploymentName": None},
        }
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        document = envelope(
            resource_id,
            BATCH_ENDPOINT_TYPE,
            body,
            properties=properties,
            systemData=front_end_system_data(existing, data),
        )
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return document

    def _settle(self, operation: Operation, _outcome: object) -> None:
        endpoint = self._cloud.store.get(operation.resource)
        if endpoint is None:
            return
        host = f"{endpoint.name}.{endpoint.document['location']}.inference.ml.azure.com".lower()
        changed = endpoint.with_properties(
            provisioningState=SUCCEEDED,
            scoringUri=f"https://{host}/jobs",
            defaults={"deploymentName": operation.payload["default"]},
        )
        self._cloud.store.put(replace(changed, hidden={**endpoint.hidden, "created": True}))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if found := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(found, FAILED))

    def delete(self, call: Call) -> Answer:
        """DELETE: takes the deployments with it."""
        workspace = workspace_of(self._cloud, call)
        endpoint = self._cloud.store.get(call.path)
        if endpoint is None:
            return Answer(204)
        refuse_busy(self._cloud, endpoint, "delete a deployment")
        self._cloud.store.put(with_state(endpoint, DELETING))
        operation = self._cloud.operations.begin("batch.delete", endpoint.id, prefix=f"bebes:{guid(workspace)}")
        return Answer(202, None, long_headers(self._cloud, call, BATCH_ENDPOINT_FAMILY, operation, region(workspace)))

    def _take_down(self, operation: Operation) -> None:
        self._cancel_jobs(operation.resource)

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)


class BatchDeployments:
    """`…/batchEndpoints/deployments`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        cloud.operations.register("batch.deployment.write", Kind(lambda operation: None, self._settle, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", DEPLOYMENT, self.create),
            Route.of("PATCH", DEPLOYMENT, self.patch),
            Route.of("GET", DEPLOYMENT, lambda call: Answer(200, self._find(call).document)),
            Route.of("DELETE", DEPLOYMENT, self.delete),
            Route.of("GET", DEPLOYMENT.rpartition("/")[0], self.list),
        ]

    def _endpoint(self, call: Call) -> Resource:
        return endpoint_of(self._cloud, call, "batchEndpoints")

    def _find(self, call: Call) -> Resource:
        return deployment_of(self._cloud, call, self._endpoint(call))

    def list(self, call: Call) -> Answer:
        """The deployments of an endpoint."""
        return page(call, call.path, self._cloud.store.below(self._endpoint(call).id, BATCH_DEPLOYMENT_TYPE), _PAGE)

    def create(self, call: Call) -> Answer:
        """PUT: 201. Nothing runs until a job does, as in Azure; what it names has to exist."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and description."""
        existing = self._find(call)
        sent = call.json()
        properties = {
            **existing.properties,
            **{k: v for k, v in read.mapping(sent, "properties").items() if k == "description"},
        }
        return self._write(
            call, {**existing.document, "tags": sent.get("tags", existing.document["tags"]), "properties": properties}
        )

    def _write(self, call: Call, body: dict[str, Any]) -> Answer:
        workspace = workspace_of(self._cloud, call)
        endpoint = self._endpoint(call)
        resource_id = f"{endpoint.id}/deployments/{call.params['deployment']}"
        existing = self._cloud.store.get(resource_id)
        refuse_broken_endpoint(endpoint)
        refuse_broken_deployment(existing)
        refuse_busy(self._cloud, endpoint, "update a deployment" if existing else "create a deployment")
        if existing is None:
            check_new_deployment(
                endpoint, call.params["deployment"], len(self._cloud.store.below(endpoint.id, BATCH_DEPLOYMENT_TYPE))
            )
        document = self._compose(call, body, existing, existing.id if existing else resource_id, workspace)
        operation = self._cloud.operations.begin(
            "batch.deployment.write", document["id"], prefix=f"bdbes:{guid(workspace)}"
        )
        headers = long_headers(
            self._cloud, call, BATCH_DEPLOYMENT_FAMILY, operation, region(workspace), resource=document["id"]
        )
        hidden = existing.hidden if existing else {"created": False}
        self._cloud.store.put(
            Resource(document["id"], BATCH_DEPLOYMENT_TYPE, document, hidden, existing.created if existing else now())
        )
        return Answer(201, document, headers)

    def _compose(
        self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str, workspace: Resource
    ) -> dict[str, Any]:
        require_location(body, existing)
        sent = read.mapping(body, "properties", required=True)
        if sent.get("deploymentConfiguration"):
            raise not_emulated("batch deployments of pipeline components")
        properties = _properties(sent)
        self._check_references(properties, workspace)
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        properties["provisioningState"] = UPDATING
        system_data = front_end_system_data(existing, data)
        return envelope(resource_id, BATCH_DEPLOYMENT_TYPE, body, properties=properties, systemData=system_data)

    def _check_references(self, properties: dict[str, Any], workspace: Resource) -> None:
        model = find_asset(self._cloud, workspace, properties["model"]["assetId"], "models", "properties.model.assetId")
        code = properties["codeConfiguration"]
        if code is None and model.properties["modelType"] != "mlflow_model":
            raise user_error(
                400,
                f"The model '{model.id}' is a {model.properties['modelType']}: the deployment needs "
                "'codeConfiguration' (a scoring script).",
            )
        if code is not None:
            find_asset(self._cloud, workspace, code["codeId"], "codes", "properties.codeConfiguration.codeId")
            if not properties["environmentId"]:
                raise user_error(400, "A batch deployment with a scoring script needs 'environmentId'.")
        if properties["environmentId"]:
            find_asset(self._cloud, workspace, properties["environmentId"], "environments", "properties.environmentId")
        compute = properties["compute"]
        found = (
            self._cloud.store.get(compute)
            if compute.startswith("/")
            else self._cloud.store.get(f"{workspace.id}/computes/{compute}")
        )
        if found is None or found.type.lower() != COMPUTE_TYPE.lower():
            raise user_error(
                400,
                f"The compute '{compute}' that 'properties.compute' names does not exist in workspace "
                f"'{workspace.name}'.",
            )

    def _settle(self, operation: Operation, _outcome: object) -> None:
        if found := self._cloud.store.get(operation.resource):
            self._cloud.store.put(replace(with_state(found, SUCCEEDED), hidden={**found.hidden, "created": True}))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if found := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(found, FAILED))

    def delete(self, call: Call) -> Answer:
        """DELETE: refused for the default deployment, which invocations go to."""
        workspace = workspace_of(self._cloud, call)
        endpoint = self._cloud.store.get(ids.Template(ENDPOINT).fill(dict(call.params)))
        found = self._cloud.store.get(call.path)
        if endpoint is None or found is None:
            return Answer(204)
        refuse_busy(self._cloud, endpoint, "delete a deployment")
        if endpoint.properties["defaults"]["deploymentName"] == found.name:
            raise inference_refusal(
                f"Deployment {found.name} is the default deployment of endpoint {endpoint.name}; name "
                "another before it is deleted."
            )
        self._cloud.store.put(with_state(found, DELETING))
        operation = self._cloud.operations.begin("batch.delete", found.id, prefix=f"bdbes:{guid(workspace)}")
        return Answer(202, None, long_headers(self._cloud, call, BATCH_DEPLOYMENT_FAMILY, operation, region(workspace)))


def _properties(sent: dict[str, Any]) -> dict[str, Any]:
    where = "properties"
    model = read.mapping(sent, "model", where, required=True)
    if read.choice(model, "referenceType", ("Id", "DataPath", "OutputPath"), None, "properties.model") != "Id":
        raise user_error(400, "'properties.model.referenceType' must be Id, with the model's ARM id in assetId.")
    resources = read.mapping(sent, "resources", where)
    most = 2**31 - 1
    return {
        "description": read.text(sent, "description", where),
        "properties": read.strings(sent, "properties", where),
        "model": {"referenceType": "Id", "assetId": read.text(model, "assetId", "properties.model", required=True)},
        "codeConfiguration": code_configuration(sent),
        "environmentId": read.text(sent, "environmentId", where),
        "environmentVariables": read.strings(sent, "environmentVariables", where),
        "compute": read.text(sent, "compute", where, required=True),
        "resources": {
            "instanceCount": read.integer(resources, "instanceCount", 1, "properties.resources", least=1, most=most),
            "instanceType": None,
            "properties": read.mapping(resources, "properties", "properties.resources") or None,
        },
        "errorThreshold": read.integer(sent, "errorThreshold", -1, where, least=-1, most=most),
        "retrySettings": retry_settings(sent, {"maxRetries": 3, "timeout": "PT30S"}),
        "miniBatchSize": read.integer(sent, "miniBatchSize", 10, where, least=1, most=most),
        "loggingLevel": read.choice(sent, "loggingLevel", ("Info", "Warning", "Debug"), "Info", where),
        "maxConcurrencyPerInstance": read.integer(sent, "maxConcurrencyPerInstance", 1, where, least=1, most=most),
        "outputAction": read.choice(sent, "outputAction", ("AppendRow", "SummaryOnly"), "AppendRow", where),
        "outputFileName": output_file_name(sent, "predictions.csv"),
    }
