"""Managed networks of workspaces over ARM: isolation modes, outbound rules, provisioning."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.networking import named, network, network_body, storage, subnet

FQDN = {"type": "FQDN", "destination": "pypi.org"}
TAG = {"type": "ServiceTag", "destination": {"serviceTag": "DataFactory", "protocol": "TCP", "portRanges": "80, 443"}}


def isolated(cloud: Cloud, mode: str, **network: Any) -> dict[str, Any]:
    """The workspace's body with a managed network."""
    found = cloud.get(cloud.workspace)
    properties = {**found["properties"], "managedNetwork": {"isolationMode": mode, **network}}
    return {**found, "properties": properties}


def isolate(cloud: Cloud, mode: str, **network: Any) -> dict[str, Any]:
    """Gives the workspace a managed network; its `managedNetwork` then."""
    return cloud.put(cloud.workspace, isolated(cloud, mode, **network))["properties"]["managedNetwork"]


def rule(cloud: Cloud, name: str = "pypi") -> str:
    return f"{cloud.workspace}/outboundRules/{name}"


def private(cloud: Cloud, group: str = "blob") -> dict[str, Any]:
    destination = {"serviceResourceId": storage(cloud), "subresourceTarget": group}
    return {"type": "PrivateEndpoint", "destination": destination}


def rules(cloud: Cloud) -> dict[str, Any]:
    return cloud.get(cloud.workspace)["properties"]["managedNetwork"]["outboundRules"]


def test_a_network_that_lets_out_only_what_is_approved_has_azures_own_rules(cloud: Cloud) -> None:
    found = isolate(cloud, "AllowOnlyApprovedOutbound")
    assert found["status"] == {"status": "Inactive", "sparkReady": False}
    kinds = {each["type"] for each in found["outboundRules"].values()}
    assert kinds == {"PrivateEndpoint", "ServiceTag"}
    assert all(each["category"] != "UserDefined" for each in found["outboundRules"].values())
    listed = cloud.get(f"{cloud.workspace}/outboundRules")["value"]
    assert {each["name"]: each["properties"] for each in listed} == found["outboundRules"]


def test_a_network_that_lets_all_out_has_endpoints_to_what_takes_no_public_requests(cloud: Cloud) -> None:
    cloud.send("PATCH", storage(cloud), {"properties": {"publicNetworkAccess": "Disabled"}})
    found = isolate(cloud, "AllowInternetOutbound")["outboundRules"]
    ends = {
        each["destination"]["subresourceTarget"]: each["destination"]["serviceResourceId"] for each in found.values()
    }
    assert ends == {"blob": storage(cloud), "file": storage(cloud)}, "and none to the vault, which takes them"


@pytest.mark.parametrize("category", ["Required", "Recommended", "Dependency"])
def test_azures_own_rules_are_not_taken_back(cloud: Cloud, category: str) -> None:
    found = isolate(cloud, "AllowOnlyApprovedOutbound")["outboundRules"]
    own = isolated(cloud, "AllowOnlyApprovedOutbound", outboundRules=found)
    assert "Azure's own" in cloud.refusal(cloud.send("PUT", cloud.workspace, own), 400)
    sent = {**private(cloud, "queue"), "category": category}
    assert category in cloud.refusal(cloud.send("PUT", rule(cloud, "queues"), {"properties": sent}), 400)
    patched = cloud.send("PATCH", cloud.workspace, {"properties": {"friendlyName": "mine"}})
    assert patched.status_code == 202, "a PATCH does not speak of them"
    cloud.wait(patched)
    assert rules(cloud) == found


def test_a_network_has_one_endpoint_to_a_part_of_a_resource(cloud: Cloud) -> None:
    isolate(cloud, "AllowOnlyApprovedOutbound")
    assert "__SYS_PE_" in cloud.refusal(cloud.send("PUT", rule(cloud, "a"), {"properties": private(cloud)}), 400)
    cloud.put(rule(cloud, "queues"), {"properties": private(cloud, "queue")})
    cloud.put(rule(cloud, "queues"), {"properties": private(cloud, "queue")})
    twice = cloud.send("PUT", rule(cloud, "again"), {"properties": private(cloud, "queue")})
    assert "'queues'" in cloud.refusal(twice, 400)
    body = isolated(cloud, "AllowOnlyApprovedOutbound", outboundRules={"again": private(cloud, "queue")})
    assert "'queues'" in cloud.refusal(cloud.send("PUT", cloud.workspace, body), 400)


def test_a_rule_that_is_there_stays_when_azure_would_make_its_own(cloud: Cloud) -> None:
    isolate(cloud, "AllowInternetOutbound", outboundRules={"blobs": private(cloud)})
    cloud.send("PATCH", storage(cloud), {"properties": {"publicNetworkAccess": "Disabled"}})
    again = isolate(cloud, "AllowInternetOutbound", outboundRules={"blobs": private(cloud)})["outboundRules"]
    ends = [each["destination"]["subresourceTarget"] for each in again.values()]
    assert sorted(ends) == ["blob", "file"], "one to the blobs"


def test_a_rule_is_made_shown_by_its_workspace_and_deleted(cloud: Cloud) -> None:
    isolate(cloud, "AllowOnlyApprovedOutbound")
    made = cloud.put(rule(cloud), {"properties": FQDN})
    assert made["properties"] == {**FQDN, "category": "UserDefined", "status": "Inactive"}
    assert rules(cloud)["pypi"] == made["properties"]
    answer = cloud.send("DELETE", rule(cloud))
    assert answer.status_code == 202
    cloud.wait(answer)
    assert "pypi" not in rules(cloud)
    assert cloud.send("DELETE", rule(cloud)).status_code == 204
    assert cloud.refusal(cloud.send("GET", rule(cloud)), 404)


def test_a_put_of_the_workspace_keeps_the_rules_and_the_network(cloud: Cloud) -> None:
    isolate(cloud, "AllowOnlyApprovedOutbound", outboundRules={"data": TAG}, firewallSku="Basic")
    cloud.put(rule(cloud), {"properties": FQDN})
    again = isolate(cloud, "AllowOnlyApprovedOutbound")
    assert {"pypi", "data"} <= again["outboundRules"].keys()
    assert again["firewallSku"] == "Basic"


def test_the_network_is_active_once_it_is_provisioned(cloud: Cloud) -> None:
    isolate(cloud, "AllowInternetOutbound")
    cloud.put(rule(cloud, "blobs"), {"properties": private(cloud)})
    answer = cloud.send("POST", f"{cloud.workspace}/provisionManagedNetwork", {"includeSpark": True})
    assert answer.status_code == 202
    cloud.wait(answer)
    found = cloud.get(cloud.workspace)["properties"]["managedNetwork"]
    assert found["status"] == {"status": "Active", "sparkReady": True}
    assert {each["status"] for each in found["outboundRules"].values()} == {"Active"}


def test_a_workspace_without_a_managed_network_has_no_rules(cloud: Cloud) -> None:
    assert cloud.get(f"{cloud.workspace}/outboundRules")["value"] == []
    assert "no managed network" in cloud.refusal(cloud.send("PUT", rule(cloud), {"properties": FQDN}), 400)
    assert "no managed network" in cloud.refusal(
        cloud.send("POST", f"{cloud.workspace}/provisionManagedNetwork", {}), 400
    )


def test_azures_own_rules_are_not_deleted(cloud: Cloud) -> None:
    own = next(iter(isolate(cloud, "AllowOnlyApprovedOutbound")["outboundRules"]))
    assert "system's own" in cloud.refusal(cloud.send("DELETE", rule(cloud, own)), 400)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"type": "FQDN", "destination": "https://pypi.org"}, "host name"),
        ({"type": "FQDN"}, "destination"),
        ({"destination": "pypi.org"}, "type"),
        ({"type": "Everything"}, "Everything"),
        ({"type": "ServiceTag", "destination": {"serviceTag": "Sql", "protocol": "TCP"}}, "portRanges"),
        ({"type": "ServiceTag", "destination": {**TAG["destination"], "protocol": "HTTP"}}, "HTTP"),
        ({"type": "PrivateEndpoint", "destination": {"serviceResourceId": "/none", "subresourceTarget": "a"}}, "/none"),
    ],
)
def test_a_rule_that_says_something_wrong_is_not_made(cloud: Cloud, sent: Any, said: str) -> None:
    isolate(cloud, "AllowOnlyApprovedOutbound")
    assert said in cloud.refusal(cloud.send("PUT", rule(cloud), {"properties": sent}), 400)
    wrong = cloud.send("PUT", rule(cloud), {"properties": private(cloud, "vault")})
    assert "blob, file" in cloud.refusal(wrong, 400)
    assert cloud.refusal(cloud.send("GET", rule(cloud)), 404)


def test_host_names_and_service_tags_need_a_network_that_lets_out_only_what_is_approved(cloud: Cloud) -> None:
    isolate(cloud, "AllowInternetOutbound")
    for sent in (FQDN, TAG):
        assert "AllowOnlyApprovedOutbound" in cloud.refusal(cloud.send("PUT", rule(cloud), {"properties": sent}), 400)


# What is in the network ----------------------------------------------------------------------------------------


def deploy(cloud: Cloud, **properties: Any) -> Any:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    return cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body(**properties))


def cluster(cloud: Cloud, **inner: Any) -> Any:
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}, **inner}
    body = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}
    return cloud.send("PUT", f"{cloud.workspace}/computes/cpu", body)


def test_an_online_deployment_comes_up_in_a_network_that_is_there(cloud: Cloud) -> None:
    isolate(cloud, "AllowInternetOutbound")
    assert "not provisioned" in cloud.refusal(deploy(cloud), 400)
    cloud.wait(cluster(cloud, enableNodePublicIp=False))
    assert cloud.get(cloud.workspace)["properties"]["managedNetwork"]["status"]["status"] == "Active", "by a compute"
    assert "outbound rules" in cloud.refusal(deploy(cloud, egressPublicNetworkAccess="Disabled"), 400)
    cloud.wait(deploy(cloud))


def test_a_workspace_is_created_together_with_its_network(cloud: Cloud) -> None:
    found = cloud.get(cloud.workspace)
    network = {"isolationMode": "AllowOnlyApprovedOutbound"}
    kept = {name: found["properties"][name] for name in ("storageAccount", "keyVault")}
    properties = {**kept, "managedNetwork": network, "provisionNetworkNow": True}
    path = cloud.workspace.rpartition("/")[0] + "/second"
    made = cloud.put(path, {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties})
    assert made["properties"]["managedNetwork"]["status"]["status"] == "Active"


def test_a_compute_is_in_the_managed_network_or_in_a_subnet_that_is_there(cloud: Cloud) -> None:
    nowhere = {"id": subnet(cloud, "train")}
    assert "subnets/train" in cloud.refusal(cluster(cloud, subnet=nowhere), 400)
    assert "needs a subnet" in cloud.refusal(cluster(cloud, enableNodePublicIp=False), 400)
    cloud.put(network(cloud), network_body(named("train")))
    cloud.wait(cluster(cloud, subnet=nowhere, enableNodePublicIp=False))
    refused = cloud.refusal(cloud.send("DELETE", subnet(cloud, "train")), 400)
    assert "computes/cpu" in refused, "the cluster is in it"
    late = cloud.send("PUT", cloud.workspace, isolated(cloud, "AllowInternetOutbound"))
    assert "cpu: computes and online endpoints" in cloud.refusal(late, 400)


def test_a_managed_network_leaves_no_room_for_a_subnet(cloud: Cloud) -> None:
    cloud.put(network(cloud), network_body(named("train")))
    isolate(cloud, "AllowInternetOutbound")
    assert "managed network" in cloud.refusal(cluster(cloud, subnet={"id": subnet(cloud, "train")}), 400)


def test_a_managed_network_lets_no_more_out_than_before_and_is_not_given_up(cloud: Cloud) -> None:
    assert isolate(cloud, "AllowInternetOutbound")["changeableIsolationModes"] == [
        "AllowInternetOutbound",
        "AllowOnlyApprovedOutbound",
    ]
    assert isolate(cloud, "AllowOnlyApprovedOutbound")["changeableIsolationModes"] == ["AllowOnlyApprovedOutbound"]
    for mode in ("AllowInternetOutbound", "Disabled"):
        assert "cannot become" in cloud.refusal(cloud.send("PUT", cloud.workspace, isolated(cloud, mode)), 400)
