"""One Local Azure: the providers put together, the hosts they answer at, and what the command line asks of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.types import ASGIApp

from localazure.arm.app import create_app
from localazure.arm.errors import not_emulated
from localazure.arm.operations import Operations
from localazure.arm.routes import Answer, Call, Route, Table
from localazure.arm.store import Resource, Store
from localazure.arm.weather import Weather
from localazure.clock import MovableClock
from localazure.errors import LocalAzureError, UnknownName
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.outgoing import Outgoing
from localazure.overview import Overview
from localazure.providers import networks, private_dns, security_groups, storage
from localazure.providers.autoscale import Autoscale
from localazure.providers.autoscaler import Autoscaler
from localazure.providers.cloud import Cloud
from localazure.providers.common import guarded, poll_routes
from localazure.providers.diagnostics import Diagnostics
from localazure.providers.groups import Groups
from localazure.providers.identities import Identities
from localazure.providers.insights import Insights
from localazure.providers.keyvault import TYPE as VAULT_TYPE
from localazure.providers.keyvault import Vaults
from localazure.providers.kubernetes import KubernetesClusters
from localazure.providers.locks import Locks, refuse_locked
from localazure.providers.logic.engine import Engine
from localazure.providers.logic.http_action import Reply, Request
from localazure.providers.logic.workflows import Workflows
from localazure.providers.lookups import Lookups
from localazure.providers.metrics import Metrics
from localazure.providers.ml.assets import FAMILIES, Assets
from localazure.providers.ml.batch import BatchDeployments, BatchEndpoints
from localazure.providers.ml.clusters import Clusters
from localazure.providers.ml.computes import Computes
from localazure.providers.ml.datastores import Datastores
from localazure.providers.ml.endpoints import inference_host
from localazure.providers.ml.job_runner import JobRunner
from localazure.providers.ml.jobs import Jobs
from localazure.providers.ml.managed_network import ManagedNetworks
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_FAMILY,
    BATCH_ENDPOINT_FAMILY,
    BATCH_ENDPOINT_TYPE,
    ONLINE_DEPLOYMENT_FAMILY,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_FAMILY,
    ONLINE_ENDPOINT_TYPE,
    WORKSPACE_TYPE,
    workspace_of,
)
from localazure.providers.ml.online import OnlineEndpoints
from localazure.providers.ml.online_deployments import OnlineDeployments
from localazure.providers.ml.online_serving import OnlineServing
from localazure.providers.ml.quota import Quotas
from localazure.providers.ml.router import Router
from localazure.providers.ml.runs import Runs
from localazure.providers.ml.schedules import Schedules
from localazure.providers.ml.workspaces import Workspaces
from localazure.providers.networks import ENDPOINT_TYPE, GROUP_TYPE, NETWORK_TYPE, SUBNET_TYPE, Networks
from localazure.providers.private_dns import PrivateDns
from localazure.providers.private_endpoints import PrivateEndpoints
from localazure.providers.private_links import disconnect
from localazure.providers.reach import Origin, Reach
from localazure.providers.registries import ContainerRegistries
from localazure.providers.security_groups import SecurityGroups
from localazure.providers.storage import Storage
from localazure.providers.templates import Templates
from localazure.serving import Serving
from localazure.serving.meter import Meter
from localazure.serving.metrics import Clock, History, utc_now
from localazure.settings import Settings
from localazure.walls import Walls
from localazure.weather import PROFILES

ARM_HOST = "management.azure.com"
REGIONAL_HOST = ".api.azureml.ms"
SCORING_HOST = ".inference.ml.azure.com"
# What a token is for. The regional host takes both: clients read a job's runs with ARM's and list an endpoint's jobs
# with Azure ML's (`azure.ai.ml.operations`).
ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
ML_AUDIENCES = ("https://ml.azure.com",)
# What autoscale says when it scales a deployment.
AUTOSCALE_API_VERSION = "2025-12-01"


def _is_free(host: str) -> bool:
    """Whether a host has no walls of its own."""
    return host == ARM_HOST or host.endswith(REGIONAL_HOST)


class LocalAzure:
    """A stand-in for Azure's control and data plane, without its sockets."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        tokens: TokenIssuer,
        fleet: AzuriteFleet,
        serving: Serving | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        """`serving` replaces the one that runs Envoy and inference servers; metrics, autoscale and the nodes of
        compute clusters go by `clock`; workflows by one that begins there and can be put forward."""
        store = Store(home.database)
        self._serving = serving or Serving(settings, home, jwks=tokens.jwks(), issuer=tokens.issuer)
        self.weather = Weather(settings.weather, PROFILES, store)
        operations = Operations(store, weather=self.weather)
        self._cloud = Cloud(settings, home, store, operations, tokens, fleet, self._serving)
        self._control_port = self._inner_port = 0
        self._envoy_port = 0
        self._router = Router(self._cloud)
        self._online = OnlineServing(self._cloud, self._router)
        self._clusters = Clusters(self._cloud, self.weather, clock)
        self._runner = JobRunner(self._cloud, self._clusters)
        self._jobs = Jobs(self._cloud, self._runner)
        self._history = History(home.metrics)
        self._clock = clock
        self.meter = Meter(self._serving.reading, self._history, clock)
        self.autoscaler = Autoscaler(self._cloud, self._history, clock, self._scale)
        self.schedule = Engine(self._cloud, MovableClock(store, clock), self._outgoing)
        self._workflows = Workflows(self._cloud, self.schedule)
        self._overview = Overview(self._cloud, self._workflows.status)
        self._identities = Identities(self._cloud, self._router.push)
        self._storage = Storage(self._cloud)
        self._vaults = Vaults(self._cloud)
        self._private_endpoints = PrivateEndpoints(self._cloud)
        self._workspaces = Workspaces(self._cloud, self._take_down, self._jobs.cancel_below)
        guards = [guarded(self._cloud, route, refuse_locked) for route in self._arm_routes()]
        self._arm = Table(guards, ARM_AUDIENCES, versioned=True)
        self._scoring = Table(self._jobs.scoring_routes(), ML_AUDIENCES)
        self._reach = Reach(self._cloud)
        self.app: ASGIApp = self._app(settings.client_network)
        # What runs in the networks of workspaces: scoring scripts and jobs.
        self.inner_app: ASGIApp = self._app("managed")
        # Logic Apps of the Consumption plan are in no network but the internet.
        self._public_app = self._app("public")

    def _arm_routes(self) -> list[Route]:
        cloud = self._cloud
        return [
            *Lookups(cloud).routes(),
            *Groups(cloud, self._take_down, self._refuse_removal).routes(),
            *Templates(cloud, lambda: self._arm).routes(),
            *self._storage.routes(),
            *self._vaults.routes(),
            *Insights(cloud).routes(),
            *Autoscale(cloud).routes(),
            *ContainerRegistries(cloud).routes(),
            *KubernetesClusters(cloud).routes(),
            *Networks(cloud, lambda network: private_dns.unlink(cloud, network)).routes(),
            *SecurityGroups(cloud).routes(),
            *PrivateDns(cloud).routes(),
            *self._private_endpoints.routes(),
            *self._workspaces.routes(),
            *ManagedNetworks(cloud).routes(),
            *Computes(cloud, self._clusters).routes(),
            *Quotas(cloud).routes(),
            *Datastores(cloud).routes(),
            *(route for asset in FAMILIES for route in Assets(cloud, asset).routes()),
            *OnlineEndpoints(cloud, self._router).routes(),
            *OnlineDeployments(cloud, self._online).routes(),
            *BatchEndpoints(cloud).routes(),
            *BatchDeployments(cloud).routes(),
            *self._jobs.routes(),
            *Schedules(cloud).routes(),
            *self._workflows.routes(),
            *poll_routes(
                cloud, ONLINE_ENDPOINT_FAMILY, ONLINE_DEPLOYMENT_FAMILY, BATCH_ENDPOINT_FAMILY, BATCH_DEPLOYMENT_FAMILY
            ),
            # Last: metrics, locks and role assignments hang below any resource, so their patterns are the widest.
            *Diagnostics(cloud).routes(),
            *Locks(cloud).routes(),
            *Metrics(cloud, self._history, self._clock).routes(),
            *self._identities.routes(),
        ]

    def routes(self) -> dict[str, tuple[Route, ...]]:
        """Every operation that is answered, by the host that answers it."""
        return {
            ARM_HOST: self._arm.routes,
            "<region>" + REGIONAL_HOST: self._regional("public").routes,
            "<endpoint>.<region>" + SCORING_HOST: self._scoring.routes,
        }

    # Life ----------------------------------------------------------------------------------------------------

    def start(self, control_port: int, inner_port: int = 0) -> None:
        """Recovers what an earlier run left: storage accounts, operations, deployments, jobs.

        Returns at once; deployments come back in the background. `app` answers at the first port, `inner_app` at the
        other.
        """
        self._control_port, self._inner_port = control_port, inner_port
        self._recover_accounts()
        self._envoy_port = self._serving.start()
        self._router.push()
        lost = self._online.lost()
        self._cloud.operations.resume()
        self._runner.resume()
        for deployment in lost:
            threading.Thread(target=self._online.bring_up, args=(deployment.id,), daemon=True).start()
        self.meter.start()
        self.autoscaler.start()
        self.schedule.start()

    def _recover_accounts(self) -> None:
        accounts = self._cloud.store.of_type(storage.TYPE)
        for account in accounts:
            storage.register(self._cloud, account)
        # A kill between the end of an account and that of its files must not give its blobs to the next of that name.
        folder = self._cloud.home.azurite
        left = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        for name in left - {account.name for account in accounts}:
            self._cloud.fleet.remove(name)

    def stop(self) -> None:
        """Ends what runs; the store keeps what was under way for the next start."""
        self.schedule.stop()
        self.autoscaler.stop()
        self.meter.stop()
        self._online.stop()
        self._router.stop()
        self._cloud.operations.stop()
        self._runner.stop()
        self._serving.stop()
        self._cloud.store.close()

    def _scale(self, deployment_id: str, capacity: int) -> None:
        """Sets a deployment's capacity as a client's PATCH does. Raises ArmError. Called in a transaction."""
        route, holes, _ = self._arm.find("PATCH", deployment_id)
        if route is None:
            raise not_emulated(f"scaling of {deployment_id}")
        body = json.dumps({"sku": {"capacity": capacity}}).encode()
        query = {"api-version": AUTOSCALE_API_VERSION}
        route.handler(Call("PATCH", ARM_HOST, holes, query, {}, body, {}, route.resource))

    def _take_down(self, resource: Resource) -> None:
        """Ends what a resource that goes with its group or workspace runs outside the store."""
        hooks: dict[str, Callable[[Resource], None]] = {
            ONLINE_DEPLOYMENT_TYPE: self._online.take_down,
            ONLINE_ENDPOINT_TYPE: lambda each: self._router.push(),
            storage.TYPE: self._storage.take_down,
            VAULT_TYPE: lambda each: self._vaults.remember(None, each),
            ENDPOINT_TYPE: self._private_endpoints.take_down,
            NETWORK_TYPE: lambda each: private_dns.unlink(self._cloud, each),
            WORKSPACE_TYPE: self._workspaces.take_down,
        }
        disconnect(self._cloud, resource.id)
        folded = {kind.lower(): hook for kind, hook in hooks.items()}
        if hook := folded.get(resource.type.lower()):
            hook(resource)

    def _refuse_removal(self, resource: Resource, group: str) -> None:
        """Raises ArmError where a resource may not go with its group, for what is outside of that."""
        hooks: dict[str, Callable[[], None]] = {
            SUBNET_TYPE: lambda: networks.refuse_used(self._cloud, resource, but=group),
            GROUP_TYPE: lambda: security_groups.refuse_used(self._cloud, resource, but=group),
            ENDPOINT_TYPE: lambda: self._private_endpoints.refuse_removal(resource),
        }
        folded = {kind.lower(): hook for kind, hook in hooks.items()}
        if hook := folded.get(resource.type.lower()):
            hook()

    # Hosts ---------------------------------------------------------------------------------------------------

    def _app(self, origin: Origin) -> Walls:
        """What answers whoever asks from there."""
        cloud, regional = self._cloud, self._regional(origin)
        table = lambda host: regional if host.endswith(REGIONAL_HOST) else self._table(host)  # noqa: E731
        location = cloud.settings.location
        app = create_app(table, store=cloud.store, tokens=cloud.tokens, location=location, weather=self.weather)
        return Walls(app, lambda host: self._reach.refusal(host, origin), _is_free, location)

    def _regional(self, origin: Origin) -> Table:
        runs = [self._within_walls(route, origin) for route in Runs(self._cloud).routes()]
        discovery = Route.of("GET", "/discovery", self._discovery, open=True)
        return Table([discovery, *runs], ARM_AUDIENCES + ML_AUDIENCES)

    def _within_walls(self, route: Route, origin: Origin) -> Route:
        def handler(call: Call) -> Answer:
            self._reach.require_workspace(workspace_of(self._cloud, call), origin)
            return route.handler(call)

        return replace(route, handler=handler)

    def upstream(self, host: str) -> int | None:
        """The loopback port that answers a client for a host name, or None where Local Azure does not serve it."""
        return self._upstream(host, self._cloud.settings.client_network)

    def inner_upstream(self, host: str) -> int | None:
        """As `upstream`, for what runs in the networks of workspaces: scoring scripts and jobs."""
        return self._upstream(host, "managed")

    def _upstream(self, host: str, origin: Origin) -> int | None:
        folded = host.lower()
        control = self._inner_port if origin == "managed" else self._control_port
        if not _is_free(folded) and self._reach.refusal(folded, origin):
            # Whom a host does not let in, the walls answer.
            return control
        if folded == ARM_HOST or folded.endswith(REGIONAL_HOST):
            return control
        if folded.endswith(SCORING_HOST):
            if any(folded == inference_host(each) for each in self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE)):
                return self._envoy_port
            if any(
                each.properties.get("scoringUri") == f"https://{folded}/jobs"
                for each in self._cloud.store.of_type(BATCH_ENDPOINT_TYPE)
            ):
                return control
        return None

    def _outgoing(self, request: Request) -> Reply:
        """Sends what a workflow sends, as a client's request comes in. Raises Unreachable."""
        outside = lambda host: self._upstream(host, "public")  # noqa: E731
        return Outgoing(self._public_app, self._answers_itself, outside)(request)

    def _answers_itself(self, host: str) -> bool:
        if self._reach.refusal(host, "public"):
            return True
        return not any(host == inference_host(each) for each in self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE))

    def principal(self, selector: str) -> str | None:
        """The object id of a user-assigned identity, as `Identities.principal`."""
        return self._identities.principal(selector)

    def _table(self, host: str) -> Table | None:
        if host == ARM_HOST:
            return self._arm
        return self._scoring if host.endswith(SCORING_HOST) else None

    def _discovery(self, call: Call) -> Answer:
        base = f"https://{call.host}"
        services = ("api", "history", "experimentation", "studio", "execution", "model", "data", "mlflow")
        return Answer(200, dict.fromkeys(services, base))

    # The command line ----------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Endpoints with their traffic and deployments, processes, and jobs that run."""
        return self._overview.status()

    def logs(self, name: str) -> dict[str, Any]:
        """Where a deployment or a job logs, as `Overview.logs`."""
        return self._overview.logs(name)

    def pass_time(self, seconds: float = 0.0, until: datetime | None = None) -> dict[str, Any]:
        """Puts the clock of workflows forward, by so much or to a time (UTC, where it has no offset).

        Returns:
            What it shows then, and by how many seconds it differs from the machine's.

        Raises:
            ClockRefused: it would go back, or more than 400 days forward.
        """
        clock = self.schedule.clock
        if until is not None:
            self.schedule.pass_time(until if until.tzinfo else until.replace(tzinfo=UTC))
        elif seconds:
            self.schedule.pass_time(clock.now() + timedelta(seconds=min(max(seconds, -1e9), 1e9)))
        return {"now": clock.now().isoformat(), "aheadSeconds": clock.ahead.total_seconds()}

    def preempt(self, cluster: str, count: int, seconds: float) -> dict[str, Any]:
        """Takes nodes of a low-priority cluster back, as `Clusters.preempt`."""
        return self._clusters.preempt(cluster, count, seconds)

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
