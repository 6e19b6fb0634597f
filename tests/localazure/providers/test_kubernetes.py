"""Kubernetes over ARM: clusters, their attachment, and the online endpoints and deployments on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from localazure.providers.ml import kubernetes
from tests.localazure.providers.conftest import API, Cloud

AKS_TYPE = "Microsoft.ContainerService/managedClusters"
POOLS = [{"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}]
TYPES = {
    "small": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "1Gi"}}},
    "large": {"nodeSelector": {"pool": "gpu"}, "resources": {"limits": {"cpu": "4", "nvidia.com/gpu": "1"}}},
}


def aks(cloud: Cloud, name: str = "aks") -> str:
    return f"{cloud.group}/providers/{AKS_TYPE}/{name}"


def aks_body(**properties: Any) -> dict[str, Any]:
    return {"location": "eastus", "properties": {"dnsPrefix": "aks", "agentPoolProfiles": POOLS, **properties}}


def compute(cloud: Cloud, name: str = "aks") -> str:
    return f"{cloud.workspace}/computes/{name}"


def attachment(cloud: Cloud, **inner: Any) -> dict[str, Any]:
    own = {"instanceTypes": TYPES, "defaultInstanceType": "small", **inner}
    kind = {"computeType": "Kubernetes", "resourceId": aks(cloud), "properties": own}
    return {"location": "eastus", "properties": kind}


def endpoint_body(cloud: Cloud, **properties: Any) -> dict[str, Any]:
    return cloud.endpoint_body(compute=compute(cloud), **properties)


def deployment_body(cloud: Cloud, capacity: int = 1, **properties: Any) -> dict[str, Any]:
    own = {"endpointComputeType": "Kubernetes", "instanceType": None, **properties}
    return cloud.deployment_body(capacity, **own)


@pytest.fixture
def attached(cloud: Cloud) -> Cloud:
    """A cloud with an AKS cluster that is attached to its workspace."""
    cloud.put(aks(cloud), aks_body())
    cloud.put(compute(cloud), attachment(cloud))
    return cloud


@pytest.fixture
def served(attached: Cloud) -> Cloud:
    """With an endpoint on it and a deployment, `blue`."""
    attached.put(attached.endpoint(), endpoint_body(attached))
    attached.put(f"{attached.endpoint()}/deployments/blue", deployment_body(attached))
    return attached


def refused(cloud: Cloud, path: str, body: Mapping[str, Any]) -> str:
    return cloud.refusal(cloud.send("PUT", path, body), 400)


# Clusters ------------------------------------------------------------------------------------------------------------


def test_a_cluster_is_made_read_listed_tagged_and_deleted(cloud: Cloud) -> None:
    secret = {"clientId": "me", "secret": "s3cret"}
    made = cloud.put(aks(cloud), aks_body(servicePrincipalProfile=secret))
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["fqdn"].endswith(".hcp.eastus.azmk8s.io")
    assert made["properties"]["agentPoolProfiles"][0]["count"] == 1
    assert "s3cret" not in str(made)
    assert cloud.send("PATCH", aks(cloud), {"tags": {"team": "x"}}).json()["tags"] == {"team": "x"}
    assert "only tags can" in cloud.refusal(cloud.send("PATCH", aks(cloud), {"properties": {}}), 400)
    assert [each["name"] for each in cloud.get(aks(cloud).rpartition("/")[0])["value"]] == ["aks"]
    assert cloud.send("DELETE", aks(cloud)).status_code == 200
    assert cloud.send("GET", aks(cloud)).status_code == 404


@pytest.mark.parametrize("kind", [AKS_TYPE, "Microsoft.Kubernetes/connectedClusters"])
def test_a_cluster_of_either_kind_is_found_in_its_group_and_subscription_until_it_goes(cloud: Cloud, kind: str) -> None:
    arc = {"location": "eastus", "properties": {"agentPublicKeyCertificate": ""}}
    path = f"{cloud.group}/providers/{kind}/one"
    cloud.put(path, aks_body() if kind == AKS_TYPE else arc)
    assert cloud.send("PATCH", path, {"tags": {"team": "models"}}).json()["tags"] == {"team": "models"}
    lists = [f"{cloud.group}/providers/{kind}", f"/subscriptions/{cloud.subscription}/providers/{kind}"]
    assert [[each["name"] for each in cloud.get(one)["value"]] for one in lists] == [["one"], ["one"]]
    assert cloud.send("DELETE", path).status_code == 200
    assert [cloud.get(one)["value"] for one in lists] == [[], []]


def test_putting_a_cluster_back_as_it_was_read_changes_nothing(cloud: Cloud) -> None:
    cloud.put(aks(cloud), {**aks_body(), "identity": {"type": "SystemAssigned"}})
    cloud.unchanged(aks(cloud))


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"dnsPrefix": None}, "dnsPrefix"),
        ({"agentPoolProfiles": []}, "agentPoolProfiles"),
        ({"agentPoolProfiles": [{"count": 1}]}, "agentPoolProfiles[0].name"),
        ({"agentPoolProfiles": ["system"]}, "must be an object"),
        ({"agentPoolProfiles": [{"name": "a", "count": -1}]}, "count"),
        ({"windowsProfile": "x"}, "windowsProfile"),
    ],
)
def test_a_cluster_that_is_none_is_refused(cloud: Cloud, properties: dict[str, Any], told: str) -> None:
    assert told in refused(cloud, aks(cloud), aks_body(**properties))


def test_a_cluster_that_arc_connects_can_be_attached_too(cloud: Cloud) -> None:
    arc = f"{cloud.group}/providers/Microsoft.Kubernetes/connectedClusters/arc"
    own = {"agentPublicKeyCertificate": "certificate"}
    cloud.put(arc, {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own})
    body = attachment(cloud)
    body["properties"]["resourceId"] = arc
    assert cloud.put(compute(cloud), body)["properties"]["resourceId"] == arc


# Attachment ----------------------------------------------------------------------------------------------------------


def test_a_cluster_that_does_not_exist_is_not_attached(cloud: Cloud) -> None:
    assert "managedClusters/aks" in refused(cloud, compute(cloud), attachment(cloud))


def test_an_attached_cluster_has_the_extensions_instance_type_where_none_is_given(cloud: Cloud) -> None:
    cloud.put(aks(cloud), aks_body())
    inner = cloud.put(compute(cloud), attachment(cloud, instanceTypes=None, defaultInstanceType=None))
    properties = inner["properties"]["properties"]
    assert properties["namespace"] == "default"
    assert list(properties["instanceTypes"]) == [properties["defaultInstanceType"]] == ["defaultinstancetype"]


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ({"defaultInstanceType": "huge"}, "none of instanceTypes: small, large"),
        ({"instanceTypes": {"small": "x"}}, "must be an object"),
        ({"instanceTypes": {"small": {"resources": {"limits": {"cpu": "much"}}}}}, "an amount such as 100m"),
        ({"instanceTypes": {"small": {"resources": {"limits": {"cpu": True}}}}}, "must be a string"),
        ({"instanceTypes": {"Standard_F4s_v2": {}}, "defaultInstanceType": None}, "no name in Kubernetes"),
    ],
)
def test_instance_types_that_are_none_are_refused(cloud: Cloud, inner: dict[str, Any], told: str) -> None:
    cloud.put(aks(cloud), aks_body())
    assert told in refused(cloud, compute(cloud), attachment(cloud, **inner))


def test_a_cluster_is_not_detached_while_an_endpoint_is_on_it(served: Cloud) -> None:
    detach = f"{compute(served)}{API}&underlyingResourceAction=Detach"
    assert "online" in served.refusal(served.send("DELETE", detach), 400)
    served.wait(served.send("DELETE", served.endpoint()))
    served.wait(served.send("DELETE", detach))
    assert served.send("GET", compute(served)).status_code == 404


def test_an_instance_type_that_a_deployment_is_of_is_not_taken_away(served: Cloud) -> None:
    less = attachment(served, instanceTypes={"large": TYPES["large"]}, defaultInstanceType="large")
    assert "online/blue" in refused(served, compute(served), less)
    more = attachment(served, instanceTypes={**TYPES, "tiny": {}})
    assert "tiny" in served.put(compute(served), more)["properties"]["properties"]["instanceTypes"]


# Endpoints -----------------------------------------------------------------------------------------------------------


def test_an_endpoint_on_a_cluster_is_of_kind_kubernetes_and_stays_there(served: Cloud) -> None:
    found = served.get(served.endpoint())
    assert (found["kind"], found["properties"]["compute"]) == ("Kubernetes", compute(served))
    listed = served.get(f"{served.endpoint().rpartition('/')[0]}{API}&computeType=Kubernetes")
    assert [each["name"] for each in listed["value"]] == ["online"]
    assert served.put(served.endpoint(), found)["properties"]["compute"] == compute(served)
    left_out = served.put(served.endpoint(), served.endpoint_body())
    assert left_out["properties"]["compute"] == compute(served)
    other = served.endpoint_body(compute=f"{served.workspace}/computes/other")
    assert "cannot be changed" in refused(served, served.endpoint(), other)


def test_a_managed_endpoint_does_not_move_to_a_cluster(attached: Cloud) -> None:
    attached.put(attached.endpoint(), attached.endpoint_body())
    assert "cannot be changed from managed" in refused(attached, attached.endpoint(), endpoint_body(attached))


def test_an_endpoint_is_on_an_attached_cluster_only(attached: Cloud) -> None:
    missing = attached.endpoint_body(compute=compute(attached, "none"))
    assert "was not found" in refused(attached, attached.endpoint(), missing)
    machines = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    body = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": machines}}
    attached.put(compute(attached, "machines"), body)
    wrong = attached.endpoint_body(compute=compute(attached, "machines"))
    assert "of type AmlCompute" in refused(attached, attached.endpoint(), wrong)


def test_a_cluster_has_as_many_endpoints_and_deployments_as_azure_allows(
    served: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "ENDPOINTS_PER_CLUSTER", 1)
    monkeypatch.setattr(kubernetes, "DEPLOYMENTS_PER_CLUSTER", 1)
    assert "has 1 endpoints" in refused(served, served.endpoint("second"), endpoint_body(served))
    green = f"{served.endpoint()}/deployments/green"
    assert "has 1 deployments" in refused(served, green, deployment_body(served))
    served.put(f"{served.endpoint()}/deployments/blue", deployment_body(served, 2))


def test_the_limits_are_a_clusters_however_often_it_is_attached(served: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    served.put(aks(served, "other"), aks_body())
    for name, cluster in (("again", aks(served).upper()), ("other", aks(served, "other"))):
        body = attachment(served)
        body["properties"]["resourceId"] = cluster
        served.put(compute(served, name), body)
    again, other = (served.endpoint_body(compute=compute(served, name)) for name in ("again", "other"))
    monkeypatch.setattr(kubernetes, "ENDPOINTS_PER_CLUSTER", 1)
    assert "has 1 endpoints" in refused(served, served.endpoint("second"), again)
    served.put(served.endpoint("third"), other)
    monkeypatch.setattr(kubernetes, "ENDPOINTS_PER_CLUSTER", 2)
    monkeypatch.setattr(kubernetes, "DEPLOYMENTS_PER_CLUSTER", 1)
    served.put(served.endpoint("second"), again)
    on_second, on_third = (f"{served.endpoint(name)}/deployments/blue" for name in ("second", "third"))
    assert "has 1 deployments" in refused(served, on_second, deployment_body(served))
    served.put(on_third, deployment_body(served))


def test_traffic_is_split_and_not_mirrored(served: Cloud) -> None:
    served.put(f"{served.endpoint()}/deployments/green", deployment_body(served))
    split = endpoint_body(served, traffic={"blue": 60, "green": 40})
    assert served.put(served.endpoint(), split)["properties"]["traffic"] == {"blue": 60, "green": 40}
    for body in (
        endpoint_body(served, traffic={"blue": 100}, mirrorTraffic={"green": 10}),
        served.endpoint_body(traffic={"blue": 100}, mirrorTraffic={"green": 10}),
    ):
        assert "cannot be mirrored" in refused(served, served.endpoint(), body)


def test_a_kubernetes_endpoint_has_keys_and_a_scoring_uri_like_a_managed_one(served: Cloud) -> None:
    uri = served.get(served.endpoint())["properties"]["scoringUri"]
    assert uri == "https://online.eastus.inference.ml.azure.com/score"
    assert len(served.send("POST", f"{served.endpoint()}/listKeys").json()["primaryKey"]) == 32


# Deployments ---------------------------------------------------------------------------------------------------------


def test_a_deployment_gets_the_usual_instance_type_and_is_served(served: Cloud) -> None:
    found = served.get(f"{served.endpoint()}/deployments/blue")
    assert found["kind"] == "Kubernetes"
    assert found["properties"]["instanceType"] == "small"
    assert found["properties"]["containerResourceRequirements"] == {
        "containerResourceRequests": None,
        "containerResourceLimits": None,
    }
    assert served.serving.deployed["online/blue"].instances == 1
    served.unchanged(f"{served.endpoint()}/deployments/blue")


def test_the_quota_of_virtual_machines_is_not_touched(served: Cloud) -> None:
    served.put(f"{served.endpoint()}/deployments/blue", deployment_body(served, 50))
    place = f"/subscriptions/{served.subscription}/providers/Microsoft.MachineLearningServices/locations/eastus"
    used = [row for row in served.get(f"{place}/usages")["value"] if row["currentValue"]]
    assert used == [], "containers on somebody's cluster hold no cores of Azure ML's"


def test_what_a_container_asks_for_is_kept(served: Cloud) -> None:
    wanted = {"containerResourceRequests": {"cpu": "100m", "memory": 1}, "containerResourceLimits": {"gpu": "1"}}
    path = f"{served.endpoint()}/deployments/blue"
    body = deployment_body(served, containerResourceRequirements=wanted)
    assert served.put(path, body)["properties"]["containerResourceRequirements"] == {
        "containerResourceRequests": {"cpu": "100m", "memory": "1", "gpu": None},
        "containerResourceLimits": {"cpu": None, "memory": None, "gpu": "1"},
    }


@pytest.mark.parametrize(("sent", "kept"), [(2147483648, "2147483648"), (0.00001, "0.00001"), (2.50, "2.5")])
def test_an_amount_may_be_a_number(served: Cloud, sent: float, kept: str) -> None:
    path = f"{served.endpoint()}/deployments/green"
    own: dict[str, Any] = {"containerResourceRequirements": {"containerResourceLimits": {"memory": sent}}}
    found = served.put(path, deployment_body(served, **own))["properties"]["containerResourceRequirements"]
    assert found["containerResourceLimits"]["memory"] == kept


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"instanceType": "Standard_F4s_v2"}, "which has: small, large"),
        ({"instanceType": "huge"}, "not a size of a virtual machine"),
        ({"endpointComputeType": "Managed", "instanceType": "Standard_F4s_v2"}, "must be the same"),
        ({"endpointComputeType": "managed", "instanceType": "Standard_F4s_v2"}, "must be the same"),
        ({"containerResourceRequirements": {"containerResourceLimits": {"cpu": -(10**400)}}}, "must be an amount"),
        ({"requestSettings": {"requestTimeout": "PT301S"}}, "at most 300 seconds"),
        ({"scaleSettings": {"minInstances": 1}}, "scaleType' is required"),
        ({"scaleSettings": {"scaleType": "TargetUtilization", "minInstances": 3}}, "more than maxInstances"),
        ({"scaleSettings": {"scaleType": "TargetUtilization", "pollingInterval": "PT0S"}}, "at least 1 second"),
        ({"containerResourceRequirements": {"containerResourceLimits": {"disk": "1"}}}, "cpu, memory and gpu"),
        ({"containerResourceRequirements": {"containerResourceLimits": {"cpu": []}}}, "must be a string"),
        ({"containerResourceRequirements": 5}, "must be an object"),
    ],
)
def test_a_deployment_that_a_cluster_cannot_run_is_refused(
    served: Cloud, properties: dict[str, Any], told: str
) -> None:
    body = deployment_body(served, **properties)
    assert told in refused(served, f"{served.endpoint()}/deployments/green", body)


def test_a_kubernetes_deployment_is_refused_on_a_managed_endpoint(attached: Cloud) -> None:
    attached.put(attached.endpoint(), attached.endpoint_body())
    body = deployment_body(attached, instanceType="small")
    assert "must be the same" in refused(attached, f"{attached.endpoint()}/deployments/blue", body)


def test_a_request_may_take_five_minutes(served: Cloud) -> None:
    slow = deployment_body(served, requestSettings={"requestTimeout": "PT300S"})
    served.put(f"{served.endpoint()}/deployments/blue", slow)
    assert served.serving.deployed["online/blue"].timeout_ms == 300_000


def test_names_together_have_62_characters_at_most(attached: Cloud) -> None:
    attached.put(attached.endpoint("e" * 32), endpoint_body(attached))
    path = f"{attached.endpoint('e' * 32)}/deployments/"
    assert "63 characters together" in refused(attached, path + "d" * 31, deployment_body(attached))
    attached.put(path + "d" * 30, deployment_body(attached))


def test_utilization_keeps_the_number_of_instances_within_its_bounds(served: Cloud) -> None:
    scale = {"scaleType": "TargetUtilization", "minInstances": 2, "maxInstances": 3}
    path = f"{served.endpoint()}/deployments/blue"
    found = served.put(path, deployment_body(served, 1, scaleSettings=scale))
    assert found["sku"]["capacity"] == served.serving.deployed["online/blue"].instances == 2
    assert found["properties"]["scaleSettings"] == {
        **scale,
        "pollingInterval": "PT1S",
        "targetUtilizationPercentage": 70,
    }
    served.wait(served.send("PATCH", path, {"sku": {"name": "Default", "capacity": 9}}))
    assert served.get(path)["sku"]["capacity"] == 3


def test_azure_monitor_does_not_scale_what_the_clusters_router_scales(served: Cloud) -> None:
    capacity = {"minimum": "1", "maximum": "2", "default": "1"}
    own = {
        "targetResourceUri": f"{served.endpoint()}/deployments/blue",
        "profiles": [{"name": "usual", "capacity": capacity, "rules": []}],
    }
    setting = f"{served.group}/providers/Microsoft.Insights/autoscaleSettings/blue"
    assert "of kind Kubernetes" in refused(served, setting, {"location": "eastus", "properties": own})


def test_an_instance_type_stays_that_of_the_first_put(served: Cloud) -> None:
    path = f"{served.endpoint()}/deployments/blue"
    assert "cannot be changed" in refused(served, path, deployment_body(served, instanceType="large"))
