"""Who is let in where: by private endpoints, firewalls and public network access, from inside and from the internet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted, served
from tests.localazure.providers.networking import (
    endpoint,
    endpoint_body,
    named,
    network,
    network_body,
    storage,
    subnet,
    subnet_body,
    with_network,
)

BLOBS = "storage1.blob.core.windows.net"
Origin = Literal["private", "public"]


@contextmanager
def seen_from(folder: Path, origin: Origin, **settings: Any) -> Iterator[Cloud]:
    """A cloud whose clients are there, with a network and an endpoint that has a deployment."""
    with booted(folder / "home", FakeServing(), Settings(client_network=origin, **settings)) as cloud:
        cloud.prepare()
        with_network(cloud)
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        yield cloud


@pytest.fixture
def inside(tmp_path: Path, files: None) -> Iterator[Cloud]:
    with seen_from(tmp_path, "private") as cloud:
        yield cloud


@pytest.fixture
def outside(tmp_path: Path, files: None) -> Iterator[Cloud]:
    with seen_from(tmp_path, "public") as cloud:
        yield cloud


def change(cloud: Cloud, path: str, **properties: Any) -> None:
    """Changes properties of a resource, by a PUT of all of it."""
    found = cloud.get(path)
    cloud.put(path, {**found, "properties": {**found["properties"], **properties}})


def close_storage(cloud: Cloud) -> None:
    rules = {"defaultAction": "Deny", "bypass": "AzureServices"}
    change(cloud, storage(cloud), publicNetworkAccess="Disabled", networkAcls=rules)


def link(cloud: Cloud, target: str, group: str) -> None:
    """Makes a private endpoint that leads there."""
    cloud.put(endpoint(cloud, group), endpoint_body(cloud, target, group))


def ask(cloud: Cloud, host: str, path: str = "/") -> httpx.Response:
    """A request that the proxy has sent to the control plane for a host."""
    return cloud.client.get(path, headers={"Host": host, "Authorization": "Bearer x"})


def is_walled(cloud: Cloud, host: str) -> bool:
    """Whether the proxy sends whoever asks for a host to the walls, which then refuse."""
    answer = ask(cloud, host)
    if answer.status_code == 403:
        assert cloud.azure.upstream(host) == cloud.azure._control_port, "nobody would ask the walls"
    return answer.status_code == 403


def host_of(cloud: Cloud) -> str:
    return cloud.get(cloud.endpoint())["properties"]["scoringUri"].split("/")[2]


def test_open_resources_are_reached_from_everywhere(outside: Cloud) -> None:
    assert not is_walled(outside, BLOBS)
    assert not is_walled(outside, host_of(outside))


def test_a_closed_storage_account_refuses_as_the_blob_service_does(outside: Cloud) -> None:
    close_storage(outside)
    assert is_walled(outside, BLOBS)
    answer = ask(outside, BLOBS, "/inbox?restype=container")
    assert answer.headers["x-ms-error-code"] == "AuthorizationFailure"
    assert answer.headers["content-type"] == "application/xml"
    assert "<Code>AuthorizationFailure</Code>" in answer.text
    assert "This request is not authorized to perform this operation." in answer.text


def test_a_private_endpoint_leads_in_from_inside_and_not_from_the_internet(inside: Cloud) -> None:
    close_storage(inside)
    assert is_walled(inside, BLOBS), "inside, too, without a private endpoint"
    link(inside, storage(inside), "file")
    assert is_walled(inside, BLOBS), "one to the files does not lead to the blobs"
    link(inside, storage(inside), "blob")
    assert not is_walled(inside, BLOBS)


def test_the_internet_stays_out_whatever_private_endpoints_there_are(outside: Cloud) -> None:
    close_storage(outside)
    link(outside, storage(outside), "blob")
    assert is_walled(outside, BLOBS)


def test_a_connection_that_is_not_approved_leads_nowhere(inside: Cloud) -> None:
    close_storage(inside)
    inside.put(endpoint(inside), endpoint_body(inside, storage(inside), "blob", manual=True))
    assert is_walled(inside, BLOBS)
    (connection,) = inside.get(storage(inside))["properties"]["privateEndpointConnections"]
    state = {"privateLinkServiceConnectionState": {"status": "Approved"}}
    inside.put(connection["id"], {"properties": state})
    assert not is_walled(inside, BLOBS)


@pytest.mark.parametrize(("rule", "walled"), [("203.0.113.0/24", False), ("203.0.113.7", False), ("8.8.8.8", True)])
def test_a_firewall_lets_listed_addresses_in(tmp_path: Path, files: None, rule: str, walled: bool) -> None:
    with seen_from(tmp_path, "public", client_address=IPv4Address("203.0.113.7")) as cloud:
        rules = {"defaultAction": "Deny", "ipRules": [{"value": rule, "action": "Allow"}]}
        change(cloud, storage(cloud), networkAcls=rules)
        assert is_walled(cloud, BLOBS) is walled


def test_a_firewall_lets_a_listed_subnet_in(inside: Cloud) -> None:
    change(inside, storage(inside), networkAcls={"defaultAction": "Deny"})
    assert is_walled(inside, BLOBS)
    inside.put(subnet(inside), subnet_body(serviceEndpoints=[{"service": "Microsoft.Storage"}]))
    rules = [{"id": subnet(inside), "action": "Allow"}]
    change(inside, storage(inside), networkAcls={"defaultAction": "Deny", "virtualNetworkRules": rules})
    assert not is_walled(inside, BLOBS)
    inside.put(subnet(inside), subnet_body())
    assert is_walled(inside, BLOBS), "it no longer leads there"


def test_an_endpoint_without_public_access_is_scored_from_inside_only(outside: Cloud) -> None:
    outside.put(outside.endpoint("closed"), outside.endpoint_body(publicNetworkAccess="Disabled"))
    host = outside.get(outside.endpoint("closed"))["properties"]["scoringUri"].split("/")[2]
    link(outside, outside.workspace, "amlworkspace")
    answer = ask(outside, host, "/score")
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith("Access to workspace was denied")


def test_a_private_workspace_closes_its_endpoints_and_opens_them_to_its_private_endpoint(inside: Cloud) -> None:
    change(inside, inside.workspace, publicNetworkAccess="Disabled")
    assert is_walled(inside, host_of(inside)), "the endpoint itself says Enabled"
    link(inside, inside.workspace, "amlworkspace")
    assert not is_walled(inside, host_of(inside))


def test_a_batch_endpoint_of_a_private_workspace_takes_no_job_from_the_internet(outside: Cloud) -> None:
    path = f"{outside.workspace}/batchEndpoints/batch"
    outside.put(path, {"location": "eastus", "properties": {"authMode": "AADToken"}})
    host = outside.get(path)["properties"]["scoringUri"].split("/")[2]
    assert not is_walled(outside, host)
    change(outside, outside.workspace, publicNetworkAccess="Disabled")
    assert is_walled(outside, host)


def test_resource_manager_is_reached_from_everywhere_and_the_run_history_is_not(outside: Cloud) -> None:
    change(outside, outside.workspace, publicNetworkAccess="Disabled")
    assert outside.get(f"{outside.workspace}/models/custom/versions/1")["name"] == "1"
    sent = {"Host": "eastus.api.azureml.ms", "Authorization": f"Bearer {outside.token}"}
    answer = outside.client.get(f"/history/v1.0{outside.workspace}/runs/any", headers=sent)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "UserError"


def run_history(cloud: Cloud, app: Any) -> int:
    """The status of the answer to whoever asks an application for a run of the workspace."""
    sent = {"Host": "eastus.api.azureml.ms", "Authorization": f"Bearer {cloud.token}"}
    with served(app) as url, httpx.Client(base_url=url, headers=sent, trust_env=False) as client:
        return client.get(f"/history/v1.0{cloud.workspace}/runs/any").status_code


def test_the_run_history_goes_by_who_asks_wherever_clients_are(inside: Cloud) -> None:
    change(inside, inside.workspace, publicNetworkAccess="Disabled")
    link(inside, inside.workspace, "amlworkspace")
    assert run_history(inside, inside.azure.app) == 404, "there is no such run, which a client learns"
    assert run_history(inside, inside.azure._public_app) == 403, "a Logic App is on the internet"


def test_a_jobs_own_calls_reach_its_run_history_while_clients_are_outside(outside: Cloud) -> None:
    change(outside, outside.workspace, publicNetworkAccess="Disabled")
    link(outside, outside.workspace, "amlworkspace")
    assert run_history(outside, outside.azure.app) == 403
    assert run_history(outside, outside.azure.inner_app) == 404


def is_walled_within(cloud: Cloud) -> bool:
    """Whether the workspace's machines do not reach the blobs."""
    return cloud.azure._reach.refusal(BLOBS, "managed") is not None


def test_machines_in_no_network_of_ones_own_reach_no_private_endpoint_there(inside: Cloud) -> None:
    close_storage(inside)
    link(inside, storage(inside), "blob")
    assert is_walled_within(inside), "they are in a network of Azure's"
    inside.put(network(inside, "far"), network_body(named("train", "10.9.1.0/24"), prefix="10.9.0.0/16"))
    cluster(inside, "far", f"{network(inside, 'far')}/subnets/train")
    assert is_walled_within(inside), "nor does that network lead there"
    inside.put(subnet(inside, "train"), subnet_body("10.0.2.0/24"))
    cluster(inside, "near", subnet(inside, "train"))
    assert not is_walled_within(inside)


def test_the_nodes_of_a_kubernetes_cluster_reach_what_their_network_leads_to(inside: Cloud) -> None:
    close_storage(inside)
    link(inside, storage(inside), "blob")
    pool = {"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}
    aks = f"{inside.group}/providers/Microsoft.ContainerService/managedClusters/aks"
    for place, walled in ({}, True), ({"vnetSubnetID": subnet(inside)}, False):
        inside.put(aks, {"location": "eastus", "properties": {"dnsPrefix": "aks", "agentPoolProfiles": [pool | place]}})
        assert is_walled_within(inside) is walled


def test_a_firewall_lets_in_the_machines_of_its_subnets(inside: Cloud) -> None:
    inside.put(subnet(inside), subnet_body(serviceEndpoints=[{"service": "Microsoft.Storage"}]))
    rules = [{"id": subnet(inside), "action": "Allow"}]
    change(inside, storage(inside), networkAcls={"defaultAction": "Deny", "virtualNetworkRules": rules})
    assert is_walled_within(inside)
    cluster(inside, "near", subnet(inside))
    assert not is_walled_within(inside)


def cluster(cloud: Cloud, name: str, place: str) -> None:
    """Makes a cluster in a subnet."""
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}, "subnet": {"id": place}}
    body = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}
    cloud.put(f"{cloud.workspace}/computes/{name}", body)


def deploy(cloud: Cloud, name: str, egress: str) -> httpx.Response:
    body = cloud.deployment_body(egressPublicNetworkAccess=egress)
    return cloud.send("PUT", f"{cloud.endpoint()}/deployments/{name}", body)


def test_a_deployment_reaches_its_workspace_over_the_public_network_or_by_a_private_endpoint(inside: Cloud) -> None:
    assert "needs a private endpoint" in inside.refusal(deploy(inside, "blue", "Disabled"), 400)
    inside.wait(deploy(inside, "green", "Enabled"))
    close_storage(inside)
    change(inside, inside.workspace, publicNetworkAccess="Disabled")
    assert "takes no public requests" in inside.refusal(deploy(inside, "blue", "Enabled"), 400)
    link(inside, inside.workspace, "amlworkspace")
    assert is_walled_within(inside)
    inside.wait(deploy(inside, "blue", "Disabled"))
    assert not is_walled_within(inside), "Azure gives it a private endpoint of its own to the workspace's blobs"


def test_what_runs_in_a_managed_network_reaches_what_that_is_linked_with(outside: Cloud) -> None:
    close_storage(outside)
    azure = outside.azure
    outside.wait(outside.send("DELETE", outside.endpoint()))
    assert azure.inner_upstream(BLOBS) == azure._inner_port, "nothing links them yet"
    change(outside, outside.workspace, managedNetwork={"isolationMode": "AllowInternetOutbound"})
    outside.wait(outside.send("POST", f"{outside.workspace}/provisionManagedNetwork", {}))
    assert azure.inner_upstream(BLOBS) is None, "Azurite answers"
    assert is_walled(outside, BLOBS), "and the client stays where it is"
