"""Online endpoints and their deployments: Azure's rules, and the processes and routes behind them."""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, not_emulated, user_error
from localazure.arm.operations import Kind, OperationFailed
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, envelope, identity, long_headers, page, require_location, with_state
from localazure.providers.ml import online_rules as rules
from localazure.providers.ml.content import code_folder, model_files
from localazure.providers.ml.endpoints import (
    check_new_deployment,
    check_new_endpoint,
    deployment_of,
    endpoint_of,
    refuse_broken_deployment,
    refuse_broken_endpoint,
    refuse_busy,
    shown,
)
from localazure.providers.ml.names import (
    CREATING,
    DELETING,
    FAILED,
    ONLINE_DEPLOYMENT_FAMILY,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_FAMILY,
    ONLINE_ENDPOINT_TYPE,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    find_asset,
    front_end_system_data,
    guid,
    is_wanted,
    region,
    workspace_above,
    workspace_of,
)
from localazure.providers.ml.router import Router, scoring_host
from localazure.serving import DeploymentSpec, EnvironmentSpec, ServingError

log = logging.getLogger(__name__)

ENDPOINT = WORKSPACE + "/onlineEndpoints/{endpoint}"
DEPLOYMENT = ENDPOINT + "/deployments/{deployment}"
AUTH_MODES = ("AMLToken", "Key", "AADToken")
_PAGE = 100


class OnlineEndpoints:
    """`…/workspaces/onlineEndpoints`."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        self._router = router
        cloud.operations.register("online.endpoint.write", Kind(self._stage, self._settle, self._failed))
        cloud.operations.register("online.endpoint.delete", Kind(self._take_down, self._gone, self._failed))
        cloud.operations.register(
            "online.endpoint.keys", Kind(lambda operation: None, self._rekeyed, lambda operation, failure: None)
        )

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", ENDPOINT, self.create),
            Route.of("PATCH", ENDPOINT, self.patch),
            Route.of("GET", ENDPOINT, lambda call: Answer(200, shown(self._cloud, self._find(call)))),
            Route.of("DELETE", ENDPOINT, self.delete),
            Route.of("GET", ENDPOINT.rpartition("/")[0], self.list),
            Route.of("POST", ENDPOINT + "/listKeys", self.list_keys),
            Route.of("POST", ENDPOINT + "/regenerateKeys", self.regenerate_keys),
            Route.of("POST", ENDPOINT + "/token", self.token),
        ]

    def _find(self, call: Call) -> Resource:
        return endpoint_of(self._cloud, call, "onlineEndpoints")

    def list(self, call: Call) -> Answer:
        """The endpoints of a workspace."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, ONLINE_ENDPOINT_TYPE)
        if name := call.query.get("name"):
            found = [each for each in found if each.name.lower() == name.lower()]
        return page(call, call.path, [replace(each, document=shown(self._cloud, each)) for each in found], _PAGE)

    # Write ---------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 always. An update's answer still shows the old traffic, as recorded."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and identity; traffic cannot be patched."""
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
            refuse_busy(self._cloud, existing, "update traffic or settings")
        desired = self._compose(call, body, existing, resource_id)
        weights = self._weights(read.mapping(body, "properties"), resource_id)
        operation = self._cloud.operations.begin(
            "online.endpoint.write", resource_id, weights, prefix=f"oeidp:{guid(workspace)}"
        )
        headers = long_headers(
            self._cloud, call, ONLINE_ENDPOINT_FAMILY, operation, region(workspace), resource=resource_id
        )
        desired["properties"]["properties"]["AzureAsyncOperationUri"] = headers["Azure-AsyncOperation"]
        hidden = existing.hidden if existing else {"keys": [_key(), _key()], "created": False}
        self._cloud.store.put(
            Resource(resource_id, ONLINE_ENDPOINT_TYPE, desired, hidden, existing.created if existing else now())
        )
        return Answer(201, desired, headers)

    def _weights(self, sent: dict[str, Any], resource_id: str) -> dict[str, Any]:
        deployments = {each.name.lower(): each for each in self._cloud.store.below(resource_id, ONLINE_DEPLOYMENT_TYPE)}
        traffic = rules.traffic(read.mapping(sent, "traffic", "properties"), deployments)
        return {
            "traffic": traffic,
            "mirrorTraffic": rules.mirror(read.mapping(sent, "mirrorTraffic", "properties"), traffic, deployments),
        }

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> dict[str, Any]:
        sent = read.mapping(body, "properties", required=True)
        mode = read.choice(sent, "authMode", AUTH_MODES, None, "properties")
        if mode is None:
            raise invalid("'properties.authMode' is required.", "ValidationError")
        if sent.get("compute"):
            raise not_emulated("Kubernetes online endpoints ('properties.compute')")
        before = existing.properties if existing else {}
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        own = {**read.strings(sent, "properties", "properties"), "azureml.onlineendpointid": resource_id.lower()}
        properties = {
            "description": read.text(sent, "description", "properties"),
            "properties": own,
            "scoringUri": before.get("scoringUri"),
            "swaggerUri": before.get("swaggerUri"),
            "authMode": mode,
            "provisioningState": UPDATING if existing else CREATING,
            "compute": None,
            "traffic": before.get("traffic") or {},
            "mirrorTraffic": before.get("mirrorTraffic") or {},
            "publicNetworkAccess": read.choice(
                sent, "publicNetworkAccess", ("Enabled", "Disabled"), "Enabled", "properties"
            ),
        }
        block = identity(self._cloud, body, existing, default="SystemAssigned")
        return envelope(
            resource_id,
            ONLINE_ENDPOINT_TYPE,
            body,
            properties=properties,
            systemData=front_end_system_data(existing, data),
            kind="Managed",
            identity=block,
        )

    def _stage(self, operation: Operation) -> None:
        self._router.stage(operation.resource, operation.payload["traffic"], operation.payload["mirrorTraffic"])

    def _settle(self, operation: Operation, _outcome: object) -> None:
        endpoint = self._cloud.store.get(operation.resource)
        if endpoint is None:
            return
        host = scoring_host(endpoint)
        changed = endpoint.with_properties(
            **operation.payload,
            provisioningState=SUCCEEDED,
            scoringUri=f"https://{host}/score",
            swaggerUri=f"https://{host}/swagger.json",
        )
        self._cloud.store.put(replace(changed, hidden={**endpoint.hidden, "created": True}))
        self._cloud.store.after_commit(lambda: self._router.settle(operation.resource))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if endpoint := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(endpoint, FAILED))
        self._cloud.store.after_commit(lambda: self._router.settle(operation.resource))

    # Delete --------------------------------------------------------------------------------------------------

    def delete(self, call: Call) -> Answer:
        """DELETE: takes the deployments with it, traffic or not. 204 where there was nothing."""
        workspace = workspace_of(self._cloud, call)
        endpoint = self._cloud.store.get(call.path)
        if endpoint is None:
            return Answer(204)
        refuse_busy(self._cloud, endpoint, "delete a deployment")
        self._cloud.store.put(with_state(endpoint, DELETING))
        operation = self._cloud.operations.begin(
            "online.endpoint.delete", endpoint.id, prefix=f"oeidp:{guid(workspace)}"
        )
        return Answer(202, None, long_headers(self._cloud, call, ONLINE_ENDPOINT_FAMILY, operation, region(workspace)))

    def _take_down(self, operation: Operation) -> None:
        self._router.push()
        for deployment in self._cloud.store.below(operation.resource, ONLINE_DEPLOYMENT_TYPE):
            self._router.ready(deployment.id, False)
            self._cloud.serving.remove(ids.segment(deployment.id, "onlineEndpoints"), deployment.name)

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)
        self._cloud.store.after_commit(lambda: self._router.settle(operation.resource))

    # Keys and tokens -----------------------------------------------------------------------------------------

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys."""
        endpoint = self._find(call)
        if endpoint.properties["authMode"] != "Key":
            raise user_error(
                400,
                f"Endpoint {endpoint.name} has auth mode {endpoint.properties['authMode']}; only "
                "endpoints with Key have keys.",
            )
        primary, secondary = endpoint.hidden["keys"]
        return Answer(200, {"primaryKey": primary, "secondaryKey": secondary})

    def regenerate_keys(self, call: Call) -> Answer:
        """POST regenerateKeys: one key at a time, so that callers can move to the other first."""
        workspace = workspace_of(self._cloud, call)
        endpoint = self._find(call)
        refuse_busy(self._cloud, endpoint, "regenerate keys")
        sent = call.json()
        kind = read.choice(sent, "keyType", ("Primary", "Secondary"), None)
        if kind is None:
            raise invalid("'keyType' is required: Primary or Secondary.", "ValidationError")
        # The client sends the current value along; a key is new only where it differs from what is there.
        given = read.text(sent, "keyValue")
        fresh = given if given and given not in endpoint.hidden["keys"] else _key()
        self._cloud.store.put(
            replace(with_state(endpoint, UPDATING), hidden={**endpoint.hidden, "nextKey": [kind, fresh]})
        )
        operation = self._cloud.operations.begin("online.endpoint.keys", endpoint.id, prefix=f"oeidp:{guid(workspace)}")
        return Answer(
            202, headers=long_headers(self._cloud, call, ONLINE_ENDPOINT_FAMILY, operation, region(workspace))
        )

    def _rekeyed(self, operation: Operation, _outcome: object) -> None:
        endpoint = self._cloud.store.get(operation.resource)
        if endpoint is None or "nextKey" not in endpoint.hidden:
            return
        kind, fresh = endpoint.hidden["nextKey"]
        primary, secondary = endpoint.hidden["keys"]
        keys = [fresh, secondary] if kind == "Primary" else [primary, fresh]
        self._cloud.store.put(replace(with_state(endpoint, SUCCEEDED), hidden={"keys": keys, "created": True}))
        self._cloud.store.after_commit(self._router.push)

    def token(self, call: Call) -> Answer:
        """POST token: for 24 hours, to be refreshed after 12."""
        endpoint = self._find(call)
        mode = endpoint.properties["authMode"]
        if mode != "AMLToken":
            raise user_error(
                400, f"Endpoint {endpoint.name} has auth mode {mode}; only endpoints with AMLToken hand out tokens."
            )
        claims = {
            "canRefresh": "False",
            "workspaceId": guid(workspace_of(self._cloud, call)),
            "actions": json.dumps(["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"]),
            "endpointName": endpoint.name,
            "serviceId": endpoint.name,
            "iss": "azureml",
        }
        token = self._cloud.tokens.issue(
            "azureml", object_id=self._cloud.caller, lifetime=timedelta(hours=24), claims=claims
        )
        moment = int(time.time())
        times = {"expiryTimeUtc": moment + 24 * 3600, "refreshAfterTimeUtc": moment + 12 * 3600}
        return Answer(200, {"accessToken": token, "tokenType": "Bearer", **times})


class OnlineDeployments:
    """`…/onlineEndpoints/deployments`."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        self._router = router
        # One at a time brings up a deployment: what an update starts must not be overtaken by what was before it.
        self._starting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._stopping = False
        cloud.operations.register("online.deployment.write", Kind(self._serve, self._served, self._failed))
        cloud.operations.register("online.deployment.delete", Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", DEPLOYMENT, self.create),
            Route.of("PATCH", DEPLOYMENT, self.patch),
            Route.of("GET", DEPLOYMENT, lambda call: Answer(200, self._find(call).document)),
            Route.of("DELETE", DEPLOYMENT, self.delete),
            Route.of("GET", DEPLOYMENT.rpartition("/")[0], self.list),
            Route.of("POST", DEPLOYMENT + "/getLogs", self.logs, slow=True),
            Route.of("GET", DEPLOYMENT + "/skus", self.skus),
        ]

    def _endpoint(self, call: Call) -> Resource:
        return endpoint_of(self._cloud, call, "onlineEndpoints")

    def _find(self, call: Call) -> Resource:
        return deployment_of(self._cloud, call, self._endpoint(call))

    def list(self, call: Call) -> Answer:
        """The deployments of an endpoint."""
        return page(call, call.path, self._cloud.store.below(self._endpoint(call).id, ONLINE_DEPLOYMENT_TYPE), _PAGE)

    def skus(self, call: Call) -> Answer:
        """GET skus: the one there is, with the bounds of its capacity."""
        self._find(call)
        capacity = {"minimum": 1, "maximum": rules.MOST_INSTANCES, "default": 1, "scaleType": "Manual"}
        sku = {
            "capacity": capacity,
            "resourceType": ONLINE_DEPLOYMENT_TYPE,
            "sku": {"name": "Default", "tier": "Standard"},
        }
        return Answer(200, {"value": [sku]})

    # Write ---------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201; `Succeeded` only once every process of it answers."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and instance count."""
        existing = self._find(call)
        sent = {name: value for name, value in call.json().items() if name in ("tags", "sku")}
        return self._write(call, {**existing.document, **sent})

    def _write(self, call: Call, body: dict[str, Any]) -> Answer:
        workspace = workspace_of(self._cloud, call)
        endpoint = self._endpoint(call)
        existing = self._cloud.store.get(f"{endpoint.id}/deployments/{call.params['deployment']}")
        refuse_broken_endpoint(endpoint)
        refuse_broken_deployment(existing)
        refuse_busy(self._cloud, endpoint, "update a deployment" if existing else "create a deployment")
        if existing is None:
            others = len(self._cloud.store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE))
            check_new_deployment(endpoint, call.params["deployment"], others)
        resource_id = existing.id if existing else f"{endpoint.id}/deployments/{call.params['deployment']}"
        desired = self._compose(call, body, existing, resource_id, workspace)
        operation = self._cloud.operations.begin(
            "online.deployment.write", resource_id, {"desired": desired}, prefix=f"odidp:{guid(workspace)}"
        )
        headers = long_headers(
            self._cloud, call, ONLINE_DEPLOYMENT_FAMILY, operation, region(workspace), resource=resource_id
        )
        return Answer(201, self._begin(desired, existing, headers["Azure-AsyncOperation"]), headers)

    def _begin(self, desired: dict[str, Any], existing: Resource | None, poll: str) -> dict[str, Any]:
        answer = {**desired, "properties": {**desired["properties"], "provisioningState": CREATING}}
        answer["properties"]["properties"] = {**answer["properties"]["properties"], "AzureAsyncOperationUri": poll}
        if existing is None:
            self._cloud.store.put(Resource(desired["id"], ONLINE_DEPLOYMENT_TYPE, answer, {"created": False}))
            return answer
        # Until it is done the deployment is what it was. The answer is as recorded: no instance type, one date.
        self._cloud.store.put(with_state(existing, UPDATING))
        return {
            **answer,
            "properties": {**answer["properties"], "instanceType": None},
            "systemData": {"lastModifiedAt": desired["systemData"]["lastModifiedAt"]},
        }

    def _compose(
        self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str, workspace: Resource
    ) -> dict[str, Any]:
        require_location(body, existing)
        sent = read.mapping(body, "properties", required=True)
        properties = rules.deployment(sent)
        model = find_asset(self._cloud, workspace, properties["model"], "models", "properties.model")
        rules.check_sources(properties, model)
        if properties["environmentId"]:
            find_asset(self._cloud, workspace, properties["environmentId"], "environments", "properties.environmentId")
        if code := properties["codeConfiguration"]:
            find_asset(self._cloud, workspace, code["codeId"], "codes", "properties.codeConfiguration.codeId")
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        capacity = rules.capacity(read.mapping(body, "sku"))
        return envelope(
            resource_id,
            ONLINE_DEPLOYMENT_TYPE,
            body,
            properties={**properties, "provisioningState": SUCCEEDED},
            systemData=front_end_system_data(existing, data),
            kind="Managed",
            sku={"name": "Default", "tier": "Standard", "capacity": capacity},
        )

    def _serve(self, operation: Operation) -> dict[str, Any]:
        with self._starting[ids.key(operation.resource)]:
            stored = self._cloud.store.get(operation.resource)
            if stored is not None and stored.hidden.get("created") and not self._router.is_ready(stored.id):
                self._bring_back(stored)
            self._deploy(operation.resource, operation.payload["desired"])
        return {}

    def _bring_back(self, stored: Resource) -> None:
        # An update that was under way when Local Azure ended: until it is done, what was there before serves.
        try:
            self._deploy(stored.id, stored.document)
        except Exception:
            log.exception("deployment %s did not come back ahead of its update", stored.id)

    def _deploy(self, resource_id: str, document: dict[str, Any]) -> None:
        """Starts what a document describes. Raises OperationFailed, also where the deployment went meanwhile."""
        if is_wanted(self._cloud, resource_id):
            self._start(self.spec(resource_id, document))
            self._router.ready(resource_id, True)
        # Asked again: its group or workspace may have been deleted while it started, and then nobody else ends it.
        if not is_wanted(self._cloud, resource_id):
            self._end(resource_id)
            raise OperationFailed("ResourceNotFound", "The deployment was deleted while it was being started.")

    def _start(self, spec: DeploymentSpec) -> None:
        try:
            self._cloud.serving.deploy(spec)
        except ServingError as error:
            raise OperationFailed(error.code, error.message) from None

    def spec(self, resource_id: str, document: dict[str, Any]) -> DeploymentSpec:
        """What is to run for a deployment, with its model and code on disk. Raises OperationFailed."""
        workspace = workspace_above(self._cloud, resource_id)
        properties = document["properties"]
        model = self._cloud.store.get(properties["model"]) or find_asset(
            self._cloud, workspace, properties["model"], "models", "model"
        )
        files = model_files(self._cloud, workspace, model)
        code = properties["codeConfiguration"]
        settings = properties["requestSettings"]
        return DeploymentSpec(
            endpoint=ids.segment(document["id"], "onlineEndpoints"),
            name=ids.name(document["id"]),
            model_dir=files.root,
            mlflow=code is None,
            mlflow_path=files.content if code is None else None,
            code_dir=code_folder(
                self._cloud, workspace, find_asset(self._cloud, workspace, code["codeId"], "codes", "codeId")
            )
            if code
            else None,
            script=code["scoringScript"] if code else None,
            environment=environment_spec(self._cloud, workspace, properties["environmentId"]),
            environment_variables=dict(properties["environmentVariables"]),
            instances=document["sku"]["capacity"],
            timeout_ms=round(read.seconds(settings["requestTimeout"], "requestTimeout") * 1000),
            max_concurrent=settings["maxConcurrentRequestsPerInstance"],
        )

    def _served(self, operation: Operation, _outcome: object) -> None:
        desired = operation.payload["desired"]
        existing = self._cloud.store.get(operation.resource)
        if existing is None:
            return
        kept = existing.properties.get("properties") or {}
        properties = {
            **desired["properties"],
            "provisioningState": SUCCEEDED,
            "environmentVariables": self._filled(desired),
        }
        properties["properties"] = {
            **desired["properties"]["properties"],
            **{k: v for k, v in kept.items() if k == "AzureAsyncOperationUri"},
        }
        document = {**desired, "properties": properties}
        self._cloud.store.put(
            Resource(existing.id, ONLINE_DEPLOYMENT_TYPE, document, {"created": True}, existing.created)
        )

    def _filled(self, desired: dict[str, Any]) -> dict[str, str]:
        """The variables that the service adds to what was sent."""
        properties = desired["properties"]
        code = properties["codeConfiguration"]
        name, version = (
            properties["model"].rstrip("/").split("/")[-3::2] if properties["model"].startswith("/") else ("model", "1")
        )
        own = {"AZUREML_MODEL_DIR": f"/var/azureml-app/azureml-models/{name}/{version}"}
        if code:
            workspace = workspace_above(self._cloud, desired["id"])
            uri = find_asset(self._cloud, workspace, code["codeId"], "codes", "codeId").properties["codeUri"]
            own |= {
                "AZUREML_ENTRY_SCRIPT": code["scoringScript"],
                "AML_APP_ROOT": "/var/azureml-app/" + uri.rstrip("/").rpartition("/")[2],
            }
        return {**own, **properties["environmentVariables"]}

    def _failed(self, operation: Operation, _failure: object) -> None:
        if deployment := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(deployment, FAILED))

    # Restart -------------------------------------------------------------------------------------------------

    def lost(self) -> list[Resource]:
        """The deployments that served before a restart and that no operation is about to start or end.

        One whose update failed is among them: it still serves what it was.
        """
        store = self._cloud.store
        found = store.of_type(ONLINE_DEPLOYMENT_TYPE)
        return [each for each in found if each.hidden.get("created") and not self._is_under_way(each)]

    def _is_under_way(self, deployment: Resource) -> bool:
        return deployment.state == DELETING or bool(self._cloud.store.running(deployment.id))

    def bring_up(self, deployment_id: str) -> None:
        """Starts a deployment that served before a restart; one that does not come back is `Failed`, with its reason.

        It is tried again at the next start, and an update of it is taken.
        """
        with self._starting[ids.key(deployment_id)]:
            deployment = self._cloud.store.get(deployment_id)
            if deployment is None or self._is_under_way(deployment) or self._router.is_ready(deployment_id):
                return
            try:
                self._deploy(deployment.id, deployment.document)
            except Exception as error:
                if not self._stopping:
                    log.error("deployment %s did not come back: %s", deployment_id, error)
                    self._mark(deployment_id, came_back=False)
                return
            self._mark(deployment_id, came_back=True)

    def _mark(self, deployment_id: str, *, came_back: bool) -> None:
        with self._cloud.store.transaction():
            found = self._cloud.store.get(deployment_id)
            if found is None or self._is_under_way(found):
                return
            hidden = {**found.hidden, "lost": not came_back}
            # A failed update stays `Failed` when the deployment comes back as it was before it.
            back = SUCCEEDED if found.hidden.get("lost") else found.state
            self._cloud.store.put(replace(with_state(found, back if came_back else FAILED), hidden=hidden))

    def stop(self) -> None:
        """From here on, what does not start does so because Local Azure ends."""
        self._stopping = True

    # Delete --------------------------------------------------------------------------------------------------

    def delete(self, call: Call) -> Answer:
        """DELETE: refused while the deployment has traffic, live or mirrored."""
        workspace = workspace_of(self._cloud, call)
        endpoint = self._cloud.store.get(ids.Template(ENDPOINT).fill(dict(call.params)))
        found = self._cloud.store.get(call.path)
        if endpoint is None or found is None:
            return Answer(204)
        refuse_busy(self._cloud, endpoint, "delete a deployment")
        rules.refuse_delete_with_traffic(found.name, endpoint.properties)
        self._cloud.store.put(with_state(found, DELETING))
        operation = self._cloud.operations.begin(
            "online.deployment.delete", found.id, prefix=f"odidp:{guid(workspace)}"
        )
        return Answer(
            202, None, long_headers(self._cloud, call, ONLINE_DEPLOYMENT_FAMILY, operation, region(workspace))
        )

    def _take_down(self, operation: Operation) -> None:
        self._end(operation.resource)

    def take_down(self, deployment: Resource) -> None:
        """Ends the processes of a deployment whose workspace or group goes."""
        self._end(deployment.id)

    def _end(self, deployment_id: str) -> None:
        self._router.ready(deployment_id, False)
        self._cloud.serving.remove(ids.segment(deployment_id, "onlineEndpoints"), ids.name(deployment_id))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)

    # Logs ----------------------------------------------------------------------------------------------------

    def logs(self, call: Call) -> Answer:
        """POST getLogs: the last lines of one of the two containers."""
        deployment = self._find(call)
        sent = call.json()
        container = read.choice(sent, "containerType", ("InferenceServer", "StorageInitializer"), "InferenceServer")
        tail = read.integer(sent, "tail", 50, least=1, most=10_000)
        endpoint = ids.segment(deployment.id, "onlineEndpoints")
        return Answer(200, {"content": self._cloud.serving.logs(endpoint, deployment.name, container, tail)})  # pyright: ignore[reportArgumentType]


def environment_spec(cloud: Cloud, workspace: Resource, reference: str | None) -> EnvironmentSpec | None:
    """A registered environment as serving takes it; None without one."""
    if not reference:
        return None
    found = find_asset(cloud, workspace, reference, "environments", "environmentId")
    if found.properties.get("build"):
        raise OperationFailed(
            "ImageBuildFailure",
            f"Environment '{found.id}' is built from a Dockerfile, which Local Azure cannot do: give "
            "an image and a conda file.",
        )
    conda = json.loads(found.properties["condaFile"]) if found.properties.get("condaFile") else None
    name = ids.name(ids.parent(found.id))
    return EnvironmentSpec(name=name, version=found.name, image=found.properties["image"], conda=conda)


def _key() -> str:
    # Keys of the live service are 32 letters and digits.
    return re.sub(r"[^A-Za-z0-9]", "x", secrets.token_urlsafe(32))[:32]
