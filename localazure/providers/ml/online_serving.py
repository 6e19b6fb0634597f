"""What runs for online deployments: started, replaced, ended, and brought back after a restart."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.locks import KeyedLocks
from localazure.providers.cloud import Cloud
from localazure.providers.common import with_state
from localazure.providers.ml import online_rules as rules
from localazure.providers.ml import permissions
from localazure.providers.ml.content import code_folder, model_files, mounted
from localazure.providers.ml.names import (
    DELETING,
    FAILED,
    ONLINE_DEPLOYMENT_TYPE,
    SUCCEEDED,
    find_asset,
    is_wanted,
    workspace_above,
)
from localazure.providers.ml.router import Router
from localazure.serving import DeploymentSpec, EnvironmentSpec, Probe, Probes, ServingError

log = logging.getLogger(__name__)

Json = dict[str, Any]


class OnlineServing:
    """Keeps what runs at what the store says of online deployments."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        self._router = router
        # One at a time brings up a deployment: what an update starts must not be overtaken by what was before it.
        self._starting = KeyedLocks()
        self._stopping = False

    # Start -----------------------------------------------------------------------------------------------------

    def replace(self, deployment_id: str, desired: Json) -> None:
        """Starts what is desired in place of what runs; returns when it answers. Raises OperationFailed."""
        with self._starting.hold(ids.key(deployment_id)):
            stored = self._cloud.store.get(deployment_id)
            if stored is not None and stored.hidden.get("created") and not self._router.is_ready(stored.id):
                self._bring_back(stored)
            self._require_permissions(deployment_id)
            self._deploy(deployment_id, desired)

    def _require_permissions(self, deployment_id: str) -> None:
        endpoint = self._cloud.store.get(ids.parent(deployment_id))
        if endpoint is not None:
            permissions.require(self._cloud, workspace_above(self._cloud, deployment_id), endpoint)

    def _bring_back(self, stored: Resource) -> None:
        # An update that was under way when Local Azure ended: until it is done, what was there before serves.
        try:
            self._deploy(stored.id, rules.as_sent(stored))
        except Exception:
            log.exception("deployment %s did not come back ahead of its update", stored.id)

    def _deploy(self, deployment_id: str, document: Json) -> None:
        """Starts what a document describes. Raises OperationFailed, also where the deployment went meanwhile."""
        if is_wanted(self._cloud, deployment_id):
            self._start(self.spec(deployment_id, document))
            self._router.ready(deployment_id, True)
        # Asked again: its group or workspace may have been deleted while it started, and then nobody else ends it.
        if not is_wanted(self._cloud, deployment_id):
            self.end(deployment_id)
            raise OperationFailed("ResourceNotFound", "The deployment was deleted while it was being started.")

    def _start(self, spec: DeploymentSpec) -> None:
        try:
            self._cloud.serving.deploy(spec)
        except ServingError as error:
            raise OperationFailed(error.code, error.message) from None

    def spec(self, deployment_id: str, document: Json) -> DeploymentSpec:
        """What is to run for a deployment, with its model and code on disk. Raises OperationFailed."""
        workspace = workspace_above(self._cloud, deployment_id)
        properties = document["properties"]
        model = self._cloud.store.get(properties["model"]) or find_asset(
            self._cloud, workspace, properties["model"], "models", "model"
        )
        files = mounted(model_files(self._cloud, workspace, model), properties["modelMountPath"])
        code = properties["codeConfiguration"]
        settings = properties["requestSettings"]
        endpoint, name = rules.serving_name(document["id"])
        return DeploymentSpec(
            endpoint=endpoint,
            name=name,
            model_dir=files.root,
            mlflow=code is None,
            mlflow_path=files.content if code is None else None,
            code_dir=code_folder(self._cloud, workspace, code),
            script=code["scoringScript"] if code else None,
            environment=environment_spec(self._cloud, workspace, properties["environmentId"]),
            environment_variables=dict(properties["environmentVariables"]),
            instances=document["sku"]["capacity"],
            timeout_ms=round(read.seconds(settings["requestTimeout"], "requestTimeout") * 1000),
            max_concurrent=settings["maxConcurrentRequestsPerInstance"],
            probes=_probes(properties),
        )

    # End -------------------------------------------------------------------------------------------------------

    def end(self, deployment_id: str) -> None:
        """Ends the processes of a deployment, after what it has in flight."""
        self._router.ready(deployment_id, False)
        self._cloud.serving.remove(*rules.serving_name(deployment_id))

    def take_down(self, deployment: Resource) -> None:
        """Ends the processes of a deployment whose workspace or group goes."""
        self.end(deployment.id)

    def stop(self) -> None:
        """From here on, what does not start does so because Local Azure ends."""
        self._stopping = True

    # Restart ---------------------------------------------------------------------------------------------------

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
        with self._starting.hold(ids.key(deployment_id)):
            deployment = self._cloud.store.get(deployment_id)
            if deployment is None or self._is_under_way(deployment) or self._router.is_ready(deployment_id):
                return
            try:
                self._deploy(deployment.id, rules.as_sent(deployment))
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


def _probes(properties: Json) -> Probes:
    startup = properties.get("startupProbe")
    return Probes(
        liveness=_probe(properties["livenessProbe"]),
        readiness=_probe(properties["readinessProbe"]),
        startup=_probe(startup) if startup else None,
    )


def _probe(stored: Json) -> Probe:
    return Probe(
        initial_delay=read.seconds(stored["initialDelay"], "initialDelay"),
        period=read.seconds(stored["period"], "period"),
        timeout=read.seconds(stored["timeout"], "timeout"),
        success_threshold=stored["successThreshold"],
        failure_threshold=stored["failureThreshold"],
    )


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
