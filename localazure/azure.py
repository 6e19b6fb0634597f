"""One Local Azure: the providers put together, the hosts they answer at, and what the command line asks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from localazure.arm import ids
from localazure.arm.app import create_app
from localazure.arm.operations import Operations
from localazure.arm.routes import Answer, Call, Route, Table
from localazure.arm.store import Resource, Store
from localazure.errors import LocalAzureError, UnknownName
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import guarded, poll_routes
from localazure.providers.groups import Groups
from localazure.providers.identities import Identities
from localazure.providers.insights import Insights
from localazure.providers.keyvault import TYPE as VAULT_TYPE
from localazure.providers.keyvault import Vaults
from localazure.providers.ml.assets import CODES, DATA, ENVIRONMENTS, MODELS, Assets
from localazure.providers.ml.batch import BatchDeployments, BatchEndpoints
from localazure.providers.ml.computes import Computes
from localazure.providers.ml.datastores import Datastores
from localazure.providers.ml.job_runner import ENDED, JobRunner
from localazure.providers.ml.jobs import Jobs
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_FAMILY,
    BATCH_ENDPOINT_FAMILY,
    BATCH_ENDPOINT_TYPE,
    JOB_TYPE,
    ONLINE_DEPLOYMENT_FAMILY,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_FAMILY,
    ONLINE_ENDPOINT_TYPE,
    WORKSPACE_TYPE,
)
from localazure.providers.ml.online import OnlineDeployments, OnlineEndpoints
from localazure.providers.ml.router import Router, scoring_host
from localazure.providers.ml.runs import Runs
from localazure.providers.ml.workspaces import Workspaces
from localazure.providers.registries import ContainerRegistries
from localazure.providers.storage import Storage
from localazure.serving import Serving
from localazure.settings import Settings

ARM_HOST = "management.azure.com"
# What a token is for. The regional host takes both: clients read a job's runs with ARM's and list an endpoint's jobs
# with Azure ML's (`azure.ai.ml.operations`).
ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
ML_AUDIENCES = ("https://ml.azure.com",)


class LocalAzure:
    """A stand-in for Azure's control and data plane, without its sockets."""

    def __init__(
        self, settings: Settings, home: Home, tokens: TokenIssuer, fleet: AzuriteFleet, serving: Serving | None = None
    ) -> None:
        """`serving` replaces the one that runs Envoy and inference servers."""
        store = Store(home.database)
        self._serving = serving or Serving(settings, home, jwks=tokens.jwks(), issuer=tokens.issuer)
        self._cloud = Cloud(settings, home, store, Operations(store), tokens, fleet, self._serving)
        self._control_port = 0
        self._envoy_port = 0
        self._router = Router(self._cloud)
        self._online = OnlineDeployments(self._cloud, self._router)
        self._runner = JobRunner(self._cloud)
        self._jobs = Jobs(self._cloud, self._runner)
        self._storage = Storage(self._cloud)
        self._vaults = Vaults(self._cloud)
        self._workspaces = Workspaces(self._cloud, self._take_down)
        self._arm = Table([guarded(self._cloud, route) for route in self._arm_routes()], ARM_AUDIENCES)
        regional = [Route.of("GET", "/discovery", self._discovery, open=True), *Runs(self._cloud).routes()]
        self._regional = Table(regional, ARM_AUDIENCES + ML_AUDIENCES)
        self._scoring = Table(self._jobs.scoring_routes(), ML_AUDIENCES)
        self.app: Starlette = create_app(self._table, store=store, tokens=tokens, location=settings.location)

    def _arm_routes(self) -> list[Route]:
        cloud = self._cloud
        return [
            *Groups(cloud, self._take_down).routes(),
            *self._storage.routes(),
            *self._vaults.routes(),
            *Insights(cloud).routes(),
            *ContainerRegistries(cloud).routes(),
            *self._workspaces.routes(),
            *Computes(cloud).routes(),
            *Datastores(cloud).routes(),
            *(route for asset in (MODELS, ENVIRONMENTS, CODES, DATA) for route in Assets(cloud, asset).routes()),
            *OnlineEndpoints(cloud, self._router).routes(),
            *self._online.routes(),
            *BatchEndpoints(cloud, self._jobs.cancel_below).routes(),
            *BatchDeployments(cloud).routes(),
            *self._jobs.routes(),
            *poll_routes(
                cloud, ONLINE_ENDPOINT_FAMILY, ONLINE_DEPLOYMENT_FAMILY, BATCH_ENDPOINT_FAMILY, BATCH_DEPLOYMENT_FAMILY
            ),
            # Last: role assignments hang below any scope, so their pattern is the widest.
            *Identities(cloud).routes(),
        ]

    # Life ----------------------------------------------------------------------------------------------------

    def start(self, control_port: int) -> None:
        """Recovers what an earlier run left: storage accounts, operations, deployments, jobs.

        Returns at once; deployments come back in the background.
        """
        self._control_port = control_port
        for account in self._cloud.store.of_type(storage.TYPE):
            self._cloud.fleet.register(account.name, *account.hidden["keys"])
        self._envoy_port = self._serving.start()
        self._router.push()
        lost = self._online.lost()
        self._cloud.operations.resume()
        self._runner.resume()
        for deployment in lost:
            threading.Thread(target=self._online.bring_up, args=(deployment.id,), daemon=True).start()

    def stop(self) -> None:
        """Ends what runs; the store keeps what was under way for the next start."""
        self._online.stop()
        self._cloud.operations.stop()
        self._runner.stop()
        self._serving.stop()
        self._cloud.store.close()

    def _take_down(self, resource: Resource) -> None:
        """Ends what a resource that goes with its group or workspace runs outside the store."""
        hooks: dict[str, Callable[[Resource], None]] = {
            ONLINE_DEPLOYMENT_TYPE: self._online.take_down,
            BATCH_ENDPOINT_TYPE: lambda each: self._jobs.cancel_below(each.id),
            storage.TYPE: self._storage.take_down,
            VAULT_TYPE: lambda each: self._vaults.remember(None, each),
            WORKSPACE_TYPE: self._workspaces.take_down,
        }
        folded = {kind.lower(): hook for kind, hook in hooks.items()}
        if hook := folded.get(resource.type.lower()):
            hook(resource)

    # Hosts ---------------------------------------------------------------------------------------------------

    def upstream(self, host: str) -> int | None:
        """The loopback port that answers for a host name, or None where Local Azure does not serve it."""
        folded = host.lower()
        if folded == ARM_HOST or folded.endswith(".api.azureml.ms"):
            return self._control_port
        if folded.endswith(".inference.ml.azure.com"):
            if any(folded == scoring_host(each) for each in self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE)):
                return self._envoy_port
            if any(
                each.properties.get("scoringUri") == f"https://{folded}/jobs"
                for each in self._cloud.store.of_type(BATCH_ENDPOINT_TYPE)
            ):
                return self._control_port
        return None

    def _table(self, host: str) -> Table | None:
        if host == ARM_HOST:
            return self._arm
        if host.endswith(".api.azureml.ms"):
            return self._regional
        return self._scoring if host.endswith(".inference.ml.azure.com") else None

    def _discovery(self, call: Call) -> Answer:
        base = f"https://{call.host}"
        services = ("api", "history", "experimentation", "studio", "execution", "model", "data", "mlflow")
        return Answer(200, dict.fromkeys(services, base))

    # The command line ----------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Endpoints with their traffic and deployments, processes, and jobs that run."""
        store = self._cloud.store
        running = {(each["endpoint"], each["deployment"]): each["instances"] for each in self._serving.status()}
        online = []
        for endpoint in store.of_type(ONLINE_ENDPOINT_TYPE):
            deployments = [
                {"name": each.name, "state": each.state, "instances": running.get((endpoint.name, each.name), [])}
                for each in store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE)
            ]
            online.append(
                {
                    "name": endpoint.name,
                    "state": endpoint.state,
                    "scoringUri": endpoint.properties["scoringUri"],
                    "traffic": endpoint.properties["traffic"],
                    "mirrorTraffic": endpoint.properties["mirrorTraffic"],
                    "deployments": deployments,
                }
            )
        batch = [
            {
                "name": each.name,
                "state": each.state,
                "invokeUri": each.properties["scoringUri"],
                "defaultDeployment": each.properties["defaults"]["deploymentName"],
            }
            for each in store.of_type(BATCH_ENDPOINT_TYPE)
        ]
        jobs = [{"name": each.name, "status": each.properties["status"]} for each in store.of_type(JOB_TYPE)]
        return {
            "onlineEndpoints": online,
            "batchEndpoints": batch,
            "jobs": [job for job in jobs if job["status"] not in ENDED]
            + [job for job in jobs if job["status"] in ENDED][-10:],
            "operations": [{"kind": each.kind, "resource": each.resource} for each in store.running()],
            "storageAccounts": self._cloud.fleet.status(),
        }

    def endpoint_keys(self, name: str) -> dict[str, str]:
        """Both keys of an online endpoint.

        Raises:
            UnknownName: there is no such endpoint.
            LocalAzureError: it takes tokens, not keys.
        """
        endpoints = self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE)
        for endpoint in endpoints:
            if endpoint.name.lower() == name.lower():
                if endpoint.properties["authMode"] != "Key":
                    raise LocalAzureError(
                        f"{endpoint.name} has auth mode {endpoint.properties['authMode']}: it takes "
                        "tokens and has no keys."
                    )
                primary, secondary = endpoint.hidden["keys"]
                return {"primaryKey": primary, "secondaryKey": secondary}
        known = ", ".join(sorted(each.name for each in endpoints)) or "none"
        raise UnknownName(f"There is no online endpoint called {name!r}; there are: {known}.")

    def log_file(self, name: str) -> Path | None:
        """A deployment's log, by `endpoint/deployment` or `deployment`, each with or without the revision."""
        wanted = name.lower()
        for deployment in reversed(self._cloud.store.of_type(ONLINE_DEPLOYMENT_TYPE)):
            endpoint = ids.segment(deployment.id, "onlineEndpoints")
            folded = deployment.name.lower()
            spellings = {
                folded,
                folded.rpartition("-")[0],
                f"{endpoint}/{folded}".lower(),
                f"{endpoint}/{folded.rpartition('-')[0]}".lower(),
            }
            if wanted in spellings:
                return self._serving.log_file(endpoint, deployment.name)
        return None
