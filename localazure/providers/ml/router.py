"""What Envoy is to route, from the store and from what is being changed right now."""

from __future__ import annotations

import threading
from typing import Any, Literal, cast

from localazure.arm import ids
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml.names import DELETING, ONLINE_DEPLOYMENT_TYPE, ONLINE_ENDPOINT_TYPE
from localazure.serving import EndpointRoute

_AUTH: dict[str, Literal["key", "aml_token", "aad_token"]] = {
    "Key": "key",
    "AMLToken": "aml_token",
    "AADToken": "aad_token",
}


class Router:
    """Keeps Envoy at what the store says, with staged changes over it.

    A change of weights has to be in force before its operation is `Succeeded`, so it is staged, pushed, and settled
    once the store has it. Without the stage, another endpoint's push in between would bring the old weights back.

    Lock order: the router's lock before the store's, for a push reads the store. So no method of this class is called
    inside a transaction; what follows one goes through `Store.after_commit`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._staged: dict[str, dict[str, dict[str, int]]] = {}
        self._ready: set[str] = set()
        self._lock = threading.Lock()

    def stage(self, endpoint_id: str, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        """Puts new weights in force ahead of the store."""
        with self._lock:
            self._staged[ids.key(endpoint_id)] = {"traffic": traffic, "mirrorTraffic": mirror}
        self.push()

    def settle(self, endpoint_id: str) -> None:
        """Forgets staged weights, for the store has them now or they failed, and pushes."""
        with self._lock:
            self._staged.pop(ids.key(endpoint_id), None)
        self.push()

    def ready(self, deployment_id: str, is_ready: bool) -> None:
        """Says whether a deployment can be reached, and pushes."""
        with self._lock:
            (self._ready.add if is_ready else self._ready.discard)(ids.key(deployment_id))
        self.push()

    def is_ready(self, deployment_id: str) -> bool:
        """Whether a deployment can be reached."""
        with self._lock:
            return ids.key(deployment_id) in self._ready

    def push(self) -> None:
        """Brings Envoy to the present state; returns when it is in force."""
        with self._lock:
            endpoints = self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE)
            self._cloud.serving.route([self._route(each) for each in endpoints if each.state != DELETING])

    def _route(self, endpoint: Resource) -> EndpointRoute:
        weights: dict[str, Any] = self._staged.get(ids.key(endpoint.id)) or endpoint.properties
        deployments = self._cloud.store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE)
        return EndpointRoute(
            name=endpoint.name,
            hosts=(scoring_host(endpoint),),
            auth=_AUTH[endpoint.properties["authMode"]],
            keys=tuple(endpoint.hidden.get("keys", ())),
            traffic=cast("dict[str, int]", dict(weights["traffic"])),
            mirror=cast("dict[str, int]", dict(weights["mirrorTraffic"])),
            deployments=tuple(each.name for each in deployments if ids.key(each.id) in self._ready),
            known=tuple(each.name for each in deployments if each.hidden.get("created") and each.state != DELETING),
        )


def scoring_host(endpoint: Resource) -> str:
    """The host name of an endpoint's scoring URI."""
    return f"{endpoint.name}.{endpoint.document['location']}.inference.ml.azure.com".lower()
