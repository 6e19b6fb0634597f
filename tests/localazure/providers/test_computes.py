"""Computes over ARM: clusters with their nodes, compute instances, attached Kubernetes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud

NO_NODES = {f"{state}NodeCount": 0 for state in ("idle", "running", "preparing", "unusable", "leaving", "preempted")}


def cluster(least: int = 0, most: int = 4, **properties: Any) -> dict[str, Any]:
    scale = {"minNodeCount": least, "maxNodeCount": most, "nodeIdleTimeBeforeScaleDown": "PT1M40S"}
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": scale, **properties}
    return {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}


def instance(**properties: Any) -> dict[str, Any]:
    own = {"vmSize": "Standard_DS3_v2", **properties}
    return {"location": "eastus", "properties": {"computeType": "ComputeInstance", "properties": own}}


def kubernetes(cloud: Cloud, **properties: Any) -> dict[str, Any]:
    aks = f"{cloud.group}/providers/Microsoft.ContainerService/managedClusters/aks"
    pools = [{"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}]
    cloud.put(aks, {"location": "eastus", "properties": {"dnsPrefix": "aks", "agentPoolProfiles": pools}})
    own = {"computeType": "Kubernetes", "resourceId": aks, "properties": {"namespace": "models"}, **properties}
    return {"location": "eastus", "properties": own}


def compute(cloud: Cloud, name: str = "machine") -> str:
    return f"{cloud.workspace}/computes/{name}"


def inner(cloud: Cloud, name: str = "machine") -> dict[str, Any]:
    return cloud.get(compute(cloud, name))["properties"]["properties"]


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "properties": {**document["properties"], "modifiedOn": None}}


# Clusters ------------------------------------------------------------------------------------------------------------


def test_the_first_answer_knows_no_counts_and_the_cluster_then_has_its_smallest_number_of_nodes(cloud: Cloud) -> None:
    first = cloud.send("PUT", compute(cloud), cluster(2))
    assert first.status_code == 201
    assert "computeOperationsStatus" in first.headers["azure-asyncoperation"]
    assert "location" not in first.headers
    answered = first.json()
    assert answered["tags"] is None
    assert "computeLocation" not in answered["properties"]
    assert answered["properties"]["properties"]["vmSize"] == "STANDARD_DS3_V2"
    assert answered["properties"]["properties"]["nodeStateCounts"] is None
    assert cloud.wait(first) == {"status": "Succeeded", "percentComplete": 100.0}
    found = inner(cloud)
    assert found["vmSize"] == "Standard_DS3_v2"
    assert (found["currentNodeCount"], found["targetNodeCount"], found["allocationState"]) == (2, 2, "Steady")
    assert found["nodeStateCounts"] == {**NO_NODES, "idleNodeCount": 2}
    nodes = cloud.send("POST", f"{compute(cloud)}/listNodes").json()["nodes"]
    assert [node["nodeState"] for node in nodes] == ["idle", "idle"]
    assert len({node["nodeId"] for node in nodes}) == 2


def test_scale_settings_are_patched_and_the_nodes_follow(cloud: Cloud) -> None:
    cloud.put(compute(cloud), cluster(0))
    scale = {"minNodeCount": 1, "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT5M"}
    answer = cloud.send("PATCH", compute(cloud), {"properties": {"properties": {"scaleSettings": scale}}})
    assert answer.status_code == 200
    cloud.wait(answer)
    assert inner(cloud)["scaleSettings"] == scale
    assert inner(cloud)["currentNodeCount"] == 1


def test_an_update_answers_as_recorded(cloud: Cloud) -> None:
    cloud.put(compute(cloud), cluster(0))
    answer = cloud.send("PUT", compute(cloud), cluster(0, 2))
    assert answer.status_code == 201
    assert answer.json()["properties"]["provisioningState"] == "Creating"
    assert "/Microsoft.BatchAI/" in answer.json()["properties"]["resourceId"]
    cloud.wait(answer)
    assert cloud.get(compute(cloud))["properties"]["resourceId"] is None


@pytest.mark.parametrize("kind", ["cluster", "instance", "kubernetes"])
def test_putting_what_was_read_changes_nothing(cloud: Cloud, kind: str) -> None:
    bodies = {
        "cluster": cluster(1, userAccountCredentials={"adminUserName": "me", "adminUserPassword": "s3cret"}),
        "instance": instance(idleTimeBeforeShutdown="PT30M"),
        "kubernetes": kubernetes(cloud),
    }
    read = cloud.put(compute(cloud), {**bodies[kind], "tags": {"a": "b"}, "identity": {"type": "SystemAssigned"}})
    assert timeless(cloud.put(compute(cloud), read)) == timeless(read)
    assert "s3cret" not in str(read)


@pytest.mark.parametrize(
    "change",
    [
        {"vmSize": "Standard_DS2_v2"},
        {"vmPriority": "LowPriority"},
        {"osType": "Windows"},
        {"enableNodePublicIp": False},
        {"subnet": {"id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s"}},
    ],
)
def test_what_a_cluster_is_created_with_stays(cloud: Cloud, change: dict[str, Any]) -> None:
    cloud.put(compute(cloud), cluster())
    refused = cloud.refusal(cloud.send("PUT", compute(cloud), cluster(**change)), 400)
    assert next(iter(change)) in refused
    assert "create it again" in refused


def test_what_the_client_reads_and_sends_back_differently_is_kept(cloud: Cloud) -> None:
    cloud.put(compute(cloud), cluster())
    body = cluster(remoteLoginPortPublicAccess="Disabled")
    body["properties"]["disableLocalAuth"] = True
    found = cloud.put(compute(cloud), body)["properties"]
    assert (found["disableLocalAuth"], found["properties"]["remoteLoginPortPublicAccess"]) == (False, "NotSpecified")


@pytest.mark.parametrize("name", ["ab", "1abc", "a_bc", "a" * 25, "cluster-1"])
def test_a_bad_name_is_refused(cloud: Cloud, name: str) -> None:
    assert "compute name" in cloud.refusal(cloud.send("PUT", compute(cloud, name), cluster()), 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"location": "eastus"}, "'properties' is required"),
        ({"properties": {}}, "properties.computeType"),
        (cluster(vmSize=None), "vmSize' is required"),
        (cluster(vmSize="Standard_DS33_v2"), "Standard_DS3_v2"),
        (cluster(vmSize="huge"), "vmSizes lists"),
        (cluster(scaleSettings={}), "maxNodeCount' is required"),
        (cluster(3, 2), "more than maxNodeCount"),
        (cluster(0, 101), "between 0 and 100"),
        (cluster(-1), "minNodeCount"),
        (cluster(scaleSettings={"maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "2 minutes"}), "ISO-8601"),
        (cluster(scaleSettings={"maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": 120}), "must be a string"),
        (cluster(vmPriority="Cheap"), "Dedicated, LowPriority"),
        (cluster(userAccountCredentials={"adminUserPassword": "x"}), "adminUserName"),
        (cluster(subnet={"name": "s"}), "subnet.id"),
        (instance(idleTimeBeforeShutdown="PT1M"), "PT15M and P3D"),
        (instance(applicationSharingPolicy="Open"), "Personal, Shared"),
    ],
)
def test_a_compute_that_says_something_wrong_is_refused_and_not_stored(
    cloud: Cloud, body: dict[str, Any], said: str
) -> None:
    assert said in cloud.refusal(cloud.send("PUT", compute(cloud), body), 400)
    assert cloud.send("GET", compute(cloud)).status_code == 404


@pytest.mark.parametrize("kind", ["VirtualMachine", "Databricks", "SynapseSpark", "AKS"])
def test_types_that_are_not_emulated_say_so(cloud: Cloud, kind: str) -> None:
    body = {"properties": {"computeType": kind, "properties": {}}}
    assert kind in cloud.refusal(cloud.send("PUT", compute(cloud), body), 501)


@pytest.mark.parametrize("other", [{"tags": {}}, {"properties": {"description": "x"}}])
def test_a_patch_of_anything_but_the_scale_is_refused(cloud: Cloud, other: dict[str, Any]) -> None:
    cloud.put(compute(cloud), cluster())
    assert "scaleSettings' only" in cloud.refusal(cloud.send("PATCH", compute(cloud), other), 400)


def test_a_delete_says_what_becomes_of_the_machines(cloud: Cloud) -> None:
    cloud.put(compute(cloud), cluster())
    assert "underlyingResourceAction" in cloud.refusal(cloud.send("DELETE", compute(cloud)), 400)
    detach = f"{compute(cloud)}{API}&underlyingResourceAction=Detach"
    assert "use Delete" in cloud.refusal(cloud.send("DELETE", detach), 400)
    delete = f"{compute(cloud)}{API}&underlyingResourceAction=Delete"
    answer = cloud.send("DELETE", delete)
    assert (answer.status_code, answer.content) == (202, b"")
    assert "location" not in answer.headers
    cloud.wait(answer)
    assert cloud.send("GET", compute(cloud)).status_code == 404
    assert cloud.send("DELETE", delete).status_code == 204


def test_computes_are_listed_with_their_nodes(cloud: Cloud) -> None:
    cloud.put(compute(cloud, "one"), cluster(1))
    cloud.put(compute(cloud, "two"), instance())
    found = {each["name"]: each for each in cloud.get(f"{cloud.workspace}/computes")["value"]}
    assert found["one"]["properties"]["properties"]["currentNodeCount"] == 1
    assert found["two"]["properties"]["computeType"] == "ComputeInstance"


# Compute instances ---------------------------------------------------------------------------------------------------


def test_an_instance_is_stopped_started_and_restarted(cloud: Cloud) -> None:
    assert cloud.put(compute(cloud), instance())["properties"]["properties"]["state"] == "Running"
    for action, state in (("stop", "Stopped"), ("start", "Running"), ("restart", "Running")):
        answer = cloud.send("POST", f"{compute(cloud)}/{action}")
        assert answer.status_code == 202
        cloud.wait(answer)
        found = inner(cloud)
        assert found["state"] == state
        assert found["lastOperation"]["operationName"] == action.capitalize()
        assert found["lastOperation"]["operationStatus"] == "Succeeded"


def test_an_instance_that_runs_is_not_started_and_a_stopped_one_not_stopped(cloud: Cloud) -> None:
    cloud.put(compute(cloud), instance())
    assert "must be Stopped" in cloud.refusal(cloud.send("POST", f"{compute(cloud)}/start"), 400)
    cloud.wait(cloud.send("POST", f"{compute(cloud)}/stop"))
    assert "must be Running" in cloud.refusal(cloud.send("POST", f"{compute(cloud)}/stop"), 400)


def test_only_instances_start_and_only_clusters_have_nodes(cloud: Cloud) -> None:
    cloud.put(compute(cloud, "one"), cluster())
    cloud.put(compute(cloud, "two"), instance())
    assert "can be started" in cloud.refusal(cloud.send("POST", f"{compute(cloud, 'one')}/start"), 400)
    assert "can list nodes" in cloud.refusal(cloud.send("POST", f"{compute(cloud, 'two')}/listNodes"), 400)
    assert "has no keys" in cloud.refusal(cloud.send("POST", f"{compute(cloud, 'one')}/listKeys"), 400)
    scale = {"properties": {"properties": {"scaleSettings": {"maxNodeCount": 1}}}}
    assert "can be scaled" in cloud.refusal(cloud.send("PATCH", compute(cloud, "two"), scale), 400)
    assert cloud.send("POST", f"{compute(cloud, 'none')}/start").status_code == 404


def test_the_name_of_an_instance_is_its_regions(cloud: Cloud) -> None:
    cloud.put(compute(cloud), instance())
    other = cloud.workspace + "2"
    cloud.put(other, cloud.get(cloud.workspace))
    assert "is taken in eastus" in cloud.refusal(cloud.send("PUT", f"{other}/computes/machine", instance()), 409)


def test_a_compute_does_not_change_its_type(cloud: Cloud) -> None:
    cloud.put(compute(cloud), instance())
    assert "computeType" in cloud.refusal(cloud.send("PUT", compute(cloud), cluster()), 400)


# Kubernetes ----------------------------------------------------------------------------------------------------------


def test_a_kubernetes_cluster_is_attached_and_detached(cloud: Cloud) -> None:
    found = cloud.put(compute(cloud), kubernetes(cloud))["properties"]
    assert found["isAttachedCompute"] is True
    assert found["properties"]["namespace"] == "models"
    delete = f"{compute(cloud)}{API}&underlyingResourceAction="
    assert "use Detach" in cloud.refusal(cloud.send("DELETE", delete + "Delete"), 400)
    cloud.wait(cloud.send("DELETE", delete + "Detach"))
    assert cloud.send("GET", compute(cloud)).status_code == 404


def test_only_a_kubernetes_cluster_is_attached_and_it_stays_the_same(cloud: Cloud) -> None:
    wrong = kubernetes(cloud, resourceId=cloud.workspace)
    assert "managedClusters" in cloud.refusal(cloud.send("PUT", compute(cloud), wrong), 400)
    missing = kubernetes(cloud, resourceId=None)
    assert "resourceId' is required" in cloud.refusal(cloud.send("PUT", compute(cloud), missing), 400)
    cloud.put(compute(cloud), kubernetes(cloud))
    elsewhere = kubernetes(cloud, properties={"namespace": "other"})
    assert "namespace" in cloud.refusal(cloud.send("PUT", compute(cloud), elsewhere), 400)
