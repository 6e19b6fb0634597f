"""Online endpoints: their traffic, their identity, and the keys and tokens that let requests in."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import invalid, user_error
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import identity
from localazure.providers.ml import endpoint_rules, kubernetes
from localazure.providers.ml import online_rules as rules
from localazure.providers.ml.endpoints import ONLINE, Endpoints, inference_host
from localazure.providers.ml.names import CREATING, ONLINE_DEPLOYMENT_TYPE, UPDATING, guid, workspace_of
from localazure.providers.ml.router import Router

Json = dict[str, Any]

_DAY = 24 * 3600


class OnlineEndpoints(Endpoints):
    """`…/workspaces/onlineEndpoints`."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        super().__init__(cloud, ONLINE)
        self._router = router
        rekey = Kind(self._work, self._rekeyed, lambda operation, failure: self._ended(operation.resource))
        cloud.operations.register("online.endpoint.keys", rekey)

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            Route.of("POST", ONLINE.path + "/listKeys", self.list_keys),
            Route.of("POST", ONLINE.path + "/regenerateKeys", self.regenerate_keys),
            Route.of("POST", ONLINE.path + "/token", self.token),
        ]

    # Write -----------------------------------------------------------------------------------------------------

    def _compose(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Json:
        sent = read.mapping(body, "properties", required=True)
        compute = kubernetes.endpoint_compute(self._cloud, sent, existing, resource_id)
        before = existing.properties if existing else {}
        own = {**read.strings(sent, "properties", "properties"), "azureml.onlineendpointid": resource_id.lower()}
        access = read.choice(sent, "publicNetworkAccess", ("Enabled", "Disabled"), "Enabled", "properties")
        properties = {
            "description": read.text(sent, "description", "properties"),
            "properties": own,
            "scoringUri": before.get("scoringUri"),
            "swaggerUri": before.get("swaggerUri"),
            "authMode": rules.auth_mode(sent, existing),
            "provisioningState": UPDATING if existing else CREATING,
            "compute": compute,
            "traffic": before.get("traffic") or {},
            "mirrorTraffic": before.get("mirrorTraffic") or {},
            "publicNetworkAccess": access,
        }
        kind = kubernetes.kind_of(compute)
        return {"properties": properties, "kind": kind, "identity": self._identity(body, existing)}

    def _identity(self, body: Json, existing: Resource | None) -> Json | None:
        if existing is None:
            block = identity(self._cloud, body, None, default="SystemAssigned")
            rules.check_identity(block)
            return block
        block = identity(self._cloud, body, existing) if read.mapping(body, "identity") else None
        rules.refuse_other_identity(block, existing)
        return existing.document["identity"]

    def _hidden(self, body: Json, existing: Resource | None) -> Json:
        sent = read.mapping(body, "properties")
        given = rules.keys(sent, existing)
        return existing.hidden if existing else {"keys": [each or _key() for each in given], "created": False}

    def _desired(self, body: Json, resource_id: str) -> Json:
        sent = read.mapping(body, "properties")
        deployments = {each.name.lower(): each for each in self._cloud.store.below(resource_id, ONLINE_DEPLOYMENT_TYPE)}
        traffic = rules.traffic(read.mapping(sent, "traffic", "properties"), deployments)
        mirror = rules.mirror(read.mapping(sent, "mirrorTraffic", "properties"), traffic, deployments)
        kubernetes.refuse_mirror(self._cloud, mirror, resource_id)
        return {"traffic": traffic, "mirrorTraffic": mirror}

    def _work(self, operation: Operation) -> None:
        self._router.stage(operation.resource, operation.payload)

    def _in_force(self, endpoint: Resource, desired: Mapping[str, Any]) -> Json:
        base = f"https://{inference_host(endpoint)}"
        return {**desired, "scoringUri": f"{base}/score", "swaggerUri": f"{base}/swagger.json"}

    def _ended(self, endpoint_id: str) -> None:
        self._cloud.store.after_commit(lambda: self._router.settle(endpoint_id))

    def _take_down(self, operation: Operation) -> None:
        self._router.push()
        for deployment in self._cloud.store.below(operation.resource, ONLINE_DEPLOYMENT_TYPE):
            self._router.ready(deployment.id, False)
            self._cloud.serving.remove(*rules.serving_name(deployment.id))

    # Keys and tokens -------------------------------------------------------------------------------------------

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys."""
        endpoint = self._find(call)
        rules.require_mode(endpoint, "Key", "has keys")
        primary, secondary = endpoint.hidden["keys"]
        return Answer(200, {"primaryKey": primary, "secondaryKey": secondary})

    def regenerate_keys(self, call: Call) -> Answer:
        """POST regenerateKeys: one key at a time, so that callers can move to the other first."""
        endpoint = self._find(call)
        rules.require_mode(endpoint, "Key", "has keys")
        endpoint_rules.refuse_broken_endpoint(endpoint)
        endpoint_rules.refuse_busy(self._cloud, endpoint, f"regenerate a key of endpoint {endpoint.name}")
        keys = self._renewed(call.json(), endpoint.hidden["keys"])
        operation = self._begin(call, "keys", endpoint.id, {"keys": keys})
        return Answer(202, headers=self._headers(call, operation))

    def _renewed(self, sent: Json, keys: list[str]) -> list[str]:
        kind = read.choice(sent, "keyType", ("Primary", "Secondary"), None)
        if kind is None:
            raise invalid("'keyType' is required: Primary or Secondary.", "ValidationError")
        at = 0 if kind == "Primary" else 1
        given = rules.key(sent, "keyValue")
        if given == keys[1 - at]:
            raise user_error(400, f"'keyValue' is the {'secondary' if at == 0 else 'primary'} key; give another.")
        # Clients send the present value along where a person gives none, and want a fresh one.
        fresh = given if given and given != keys[at] else _key()
        return [fresh, keys[1]] if at == 0 else [keys[0], fresh]

    def _rekeyed(self, operation: Operation, _outcome: object) -> None:
        if endpoint := self._cloud.store.get(operation.resource):
            self._cloud.store.put(replace(endpoint, hidden={**endpoint.hidden, **operation.payload}))
        self._ended(operation.resource)

    def token(self, call: Call) -> Answer:
        """POST token: for 24 hours, to be refreshed after 12."""
        endpoint = self._find(call)
        rules.require_mode(endpoint, "AMLToken", "hands out tokens")
        claims = {
            "canRefresh": "False",
            "workspaceId": guid(workspace_of(self._cloud, call)),
            "actions": json.dumps(["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"]),
            "endpointName": endpoint.name,
            "serviceId": endpoint.name,
            "iss": "azureml",
        }
        token = self._cloud.tokens.issue(
            "azureml", object_id=self._cloud.caller, lifetime=timedelta(seconds=_DAY), claims=claims
        )
        moment = int(time.time())
        times = {"expiryTimeUtc": moment + _DAY, "refreshAfterTimeUtc": moment + _DAY // 2}
        return Answer(200, {"accessToken": token, "tokenType": "Bearer", **times})


def _key() -> str:
    # Keys of the live service are 32 letters and digits.
    return re.sub(r"[^A-Za-z0-9]", "x", secrets.token_urlsafe(32))[:32]
