"""The default deployment of a batch endpoint: the one that answers a caller who names none.

As with traffic, it can be set only when the deployment exists, and a deployment that is the default cannot be deleted.
"""

from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import Pace, Props, is_unknown
from dynamic.wait import (
    AfterDeploymentsProvider,
    serving,
    wait_for_deployments,
    wait_for_endpoint,
    wait_until_settled,
    write_endpoint,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def apply_default(client: "MLClient", endpoint: str, deployment: str, pace: Pace) -> None:
    """Makes `deployment` the default, and returns when Azure says that it is. Raises `Refusal`."""
    wait_until_settled(client, "batch", endpoint, pace)
    if _default(client.batch_endpoints.get(endpoint)) == deployment:
        return

    def written() -> bool:
        wait_until_settled(client, "batch", endpoint, pace)
        found: Any = client.batch_endpoints.get(endpoint)
        found.defaults = {"deployment_name": deployment}
        write_endpoint(client.batch_endpoints, found)
        return True

    pace.until(written, f"the default deployment of endpoint {endpoint} cannot be set, because the endpoint is busy,")
    wait_for_endpoint(client, "batch", endpoint, pace)
    what = f"the default deployment of endpoint {endpoint} is not {deployment}"
    pace.until(lambda: _default(client.batch_endpoints.get(endpoint)) == deployment, what)


def _default(endpoint: Any) -> str | None:
    return getattr(endpoint.defaults, "deployment_name", None)


class DefaultDeploymentProvider(AfterDeploymentsProvider):
    """Compares the wanted default with the live one, as azure-native refreshed it."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        wanted, live = _news.get("deploymentName"), _news.get("liveDeploymentName")
        if is_unknown(live):
            live = _olds.get("deploymentName")
        return DiffResult(changes=not is_unknown(wanted) and wanted != live, replaces=[])

    def create(self, props: Props) -> CreateResult:
        self.apply(props)
        return CreateResult(f"{props['endpointName']}/default", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        self.apply(_news)
        return UpdateResult(_news)

    def apply(self, props: Props) -> None:
        """Waits for the deployments, then moves the default."""
        pace, client, endpoint = Pace(), self.ml_client(props), props["endpointName"]
        names, live = sorted(props["provisioningStates"]), serving(props)
        wait_for_deployments(client.batch_deployments, endpoint, names, pace, live)
        apply_default(client, endpoint, props["deploymentName"], pace)


class DefaultDeployment(Resource, module="azureml", name="DefaultDeployment"):
    """The default deployment of a batch endpoint, by revision."""

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(DefaultDeploymentProvider(), name, inputs, opts)
