"""What Envoy is to route, from the store and from what is being changed right now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Literal

from localazure.arm import ids
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml import permissions
from localazure.providers.ml.endpoints import inference_host
from localazure.providers.ml.names import DELETING, ONLINE_DEPLOYMENT_TYPE, ONLINE_ENDPOINT_TYPE, is_wanted
from localazure.serving import EndpointRoute

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_AUTH: dict[str, Literal["key", "aml_token", "aad_token"]] = {
    "Key": "key",
    "AMLToken": "aml_token",
    "AADToken": "aad_token",
}


class Router:
    """Keeps Envoy at what the store says, with staged changes over it.

    A change of weights or keys has to be in force before its operation is `Succeeded`, so it is staged, pushed, and
    settled once the store has it. Without the stage, another endpoint's push in between would bring the old ones back.

    Lock order: the router's lock before the store's, for a push reads the store. So no method of this class is called
    inside a transaction; what follows one goes through `Store.after_commit`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._staged: dict[str, dict[str, Any]] = {}
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._again: threading.Timer | None = None
        self._stopped = False

    def stage(self, endpoint_id: str, changes: Mapping[str, Any]) -> None:
        """Puts new `traffic`, `mirrorTraffic` or `keys` in force ahead of the store."""
        with self._lock:
            self._staged[ids.key(endpoint_id)] = dict(changes)
        self.push()

    def settle(self, endpoint_id: str) -> None:
        """Forgets what was staged, for the store has it now or it failed, and pushes."""
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
            # One whose workspace or group is going gets no more requests either.
            wanted = [each for each in endpoints if is_wanted(self._cloud, each.id)]
            self._cloud.serving.route([self._route(each) for each in wanted])
            self._push_again([each.id for each in wanted if _takes_identities(each)])

    def _push_again(self, endpoint_ids: list[str]) -> None:
        """Sees to a push at the moment at which a role assignment becomes effective."""
        if self._again:
            self._again.cancel()
            self._again = None
        seconds = permissions.next_scorer_in(self._cloud, endpoint_ids)
        if seconds is not None and not self._stopped:
            self._push_in(seconds)

    def _push_in(self, seconds: float) -> None:
        self._again = threading.Timer(seconds, self._push_later)
        self._again.daemon = True
        self._again.start()

    def _push_later(self) -> None:
        try:
            self.push()
        except Exception:
            log.exception("the routes were not brought to what the roles say; tried again")
            with self._lock:
                if not self._stopped:
                    self._push_in(_RETRY_SECONDS)

    def stop(self) -> None:
        """Pushes no more by itself."""
        with self._lock:
            self._stopped = True
            if self._again:
                self._again.cancel()

    def _route(self, endpoint: Resource) -> EndpointRoute:
        force = {**endpoint.properties, "keys": endpoint.hidden.get("keys", ())}
        force |= self._staged.get(ids.key(endpoint.id), {})
        deployments = self._cloud.store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE)
        return EndpointRoute(
            name=endpoint.name,
            hosts=(inference_host(endpoint),),
            auth=_AUTH[endpoint.properties["authMode"]],
            keys=tuple(force["keys"]),
            traffic=dict(force["traffic"]),
            mirror=dict(force["mirrorTraffic"]),
            deployments=tuple(each.name for each in deployments if ids.key(each.id) in self._ready),
            known=tuple(each.name for each in deployments if each.hidden.get("created") and each.state != DELETING),
            callers=permissions.scorers(self._cloud, endpoint.id) if _takes_identities(endpoint) else None,
        )


def _takes_identities(endpoint: Resource) -> bool:
    return endpoint.properties["authMode"] == "AADToken"
