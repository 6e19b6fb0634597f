"""Layer: the stack configuration; autoscale, and where the deployments of an online endpoint run."""

import json
from decimal import Decimal
from typing import Any

import pytest

from localazure.providers.ml.time_zones import IANA
from settings import SettingsError, parse
from settings.kubernetes import quantity
from settings.time_zones import WINDOWS, windows_name

AKS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/aks"
CPU = {"metric": "cpu", "above": 70, "below": 30}
OFFICE = {"name": "office", "days": ["monday", "friday"], "from": "08:00", "until": "18:00", "minInstances": 3}


def configuration(
    deployment: dict[str, Any], endpoint: dict[str, Any] | None = None, clusters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A stack with one endpoint that has one deployment, `blue`."""
    blue = {"model": "azureml:tumor:1", **deployment}
    return {
        "azure-native:location": "eastus",
        "nameSuffix": "",
        "workspace": {"name": "aml-test"},
        "kubernetesClusters": clusters or {},
        "onlineEndpoints": {"tumor": {"deployments": {"blue": blue}, **(endpoint or {})}},
    }


def managed(**deployment: Any) -> dict[str, Any]:
    return configuration({"instanceType": "Standard_F4s_v2", **deployment})


def on_kubernetes(endpoint: dict[str, Any] | None = None, **deployment: Any) -> dict[str, Any]:
    types = {"small": {"limits": {"cpu": 1}}, "large": {}}
    cluster = {"cluster": AKS, "instanceTypes": types, "defaultInstanceType": "small"}
    return configuration(deployment, {"kubernetes": "aks", **(endpoint or {})}, {"aks": cluster})


def scaled(**autoscale: Any) -> dict[str, Any]:
    return managed(autoscale={"minInstances": 1, "maxInstances": 5, "rules": [CPU], **autoscale})


def clusters(**cluster: Any) -> dict[str, Any]:
    raw = on_kubernetes(instanceType="small")
    raw["kubernetesClusters"]["aks"] |= cluster
    return raw


def findings(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        parse(json.loads(json.dumps(raw)))
    return error.value.findings


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (scaled(minInstances=6), "autoscale.minInstances: 6 is more than maxInstances (5)"),
        (scaled(maxInstances=51), "autoscale.maxInstances: input should be less than or equal to 50, but received 51"),
        (scaled(maxInstances=None), "autoscale.maxInstances: input should be a valid integer"),
        (scaled(rules=[]), "autoscale: gives neither rules nor a timetable"),
        (scaled(rules=[{"metric": "memory", "above": 1}]), "rules.0.metric: input should be 'cpu', 'latency'"),
        (scaled(rules=[{"metric": "cpu"}]), "autoscale.rules.0.above: is missing; add it"),
        (scaled(rules=[CPU | {"abov": 1}]), 'rules.0.abov: is not a known key; did you mean "above"?'),
        (scaled(rules=[CPU | {"below": 70}]), "autoscale.rules.0.below: 70 is not less than above (70)"),
        (scaled(rules=[CPU | {"above": 100}]), "rules.0.above: 100 per cent of CPU is never exceeded"),
        (scaled(rules=[{"metric": "cpu", "above": 70}]), "autoscale.rules: none says below"),
        (scaled(rules=[CPU] * 6), "autoscale.rules: 12 rules, each below counted; Azure takes 10: remove 2"),
        (scaled(rules=[CPU | {"over": 60}]), "rules.0.over: input should be greater than or equal to 300"),
        (scaled(rules=[CPU | {"over": 330}]), "rules.0.over: input should be a multiple of 60"),
        (scaled(rules=[CPU | {"cooldown": 59}]), "rules.0.cooldown: input should be greater than or equal to 60"),
        (scaled(timeZone="Mars/Phobos"), 'autoscale.timeZone: "Mars/Phobos" is no time zone of Azure'),
        (scaled(timetable=[OFFICE | {"from": "8:00"}]), "timetable.0.from: string should match pattern"),
        (scaled(timetable=[OFFICE | {"days": ["montag"]}]), "timetable.0.days.0: input should be 'monday'"),
        (scaled(timetable=[OFFICE | {"days": []}]), "timetable.0.days: is empty; name days, or leave it out"),
        (scaled(timetable=[OFFICE | {"minInstances": 6}]), "timetable.0.minInstances: 6 is more than maxInstances (5)"),
        (scaled(timetable=[OFFICE | {"minInstances": None}]), "timetable.0: changes nothing"),
        (scaled(timetable=[OFFICE, OFFICE]), 'timetable.1.name: "office" is the name of another entry'),
        (scaled(targetUtilizationPercentage=70), "targetUtilizationPercentage: is for Kubernetes endpoints"),
        (managed(instanceCount=6, autoscale={"maxInstances": 5, "rules": [CPU]}), "instanceCount: 6 is not within"),
        (managed(instanceType=None), "blue.instanceType: is missing; add it"),
        (managed(instanceType="small"), 'blue.instanceType: "small" is no size of a virtual machine'),
        (managed(resources={"limits": {"cpu": 1}}), "blue.resources: is for Kubernetes endpoints"),
        (managed(requestSettings={"requestTimeoutMs": 180_001}), "requestTimeoutMs: 180001 is more than 180000"),
        (on_kubernetes(instanceType="Standard_F4s_v2"), "name an instance type of the cluster: small, large"),
        (on_kubernetes(instanceType="huge"), '"huge" is no instance type of the cluster; there is: small, large'),
        (on_kubernetes({"kubernetes": "ask"}, instanceType="small"), 'no cluster of kubernetesClusters "ask"; did you'),
        (on_kubernetes({"kubernetes": "azureml:old"}), "blue.instanceType: is missing; name an instance type"),
        (on_kubernetes({"mirrorTraffic": {"blue": 10}}), "mirrorTraffic: Azure mirrors on managed endpoints only"),
        (on_kubernetes({"authMode": "aad_token"}), "authMode: aad_token is for managed endpoints only; use key or"),
        (on_kubernetes(egressPublicNetworkAccess="disabled"), "egressPublicNetworkAccess: is for managed endpoints"),
        (on_kubernetes(requestSettings={"requestTimeoutMs": 300_001}), "requestTimeoutMs: input should be less than"),
        (on_kubernetes(resources={"limits": {"cpu": "much"}}), "resources.limits.cpu: string should match pattern"),
        (on_kubernetes(autoscale={"maxInstances": 5, "rules": [CPU]}), "rules: a Kubernetes deployment is scaled by"),
        (on_kubernetes(autoscale={"maxInstances": 5, "timetable": [OFFICE]}), "timetable: a Kubernetes deployment"),
        (on_kubernetes(autoscale={"minInstances": 6, "maxInstances": 5}), "minInstances: 6 is more than"),
        (clusters(cluster="aks"), 'kubernetesClusters.aks.cluster: "aks" is not the ARM id of a Kubernetes cluster'),
        (clusters(namespace="My Models"), 'aks.namespace: "My Models" is no name in Kubernetes'),
        (clusters(instanceTypes={"small": {}, "Big": {}}), "aks.instanceTypes.Big: is no name in Kubernetes"),
        (clusters(defaultInstanceType="tiny"), 'aks.defaultInstanceType: "tiny" is none of instanceTypes'),
        (clusters(defaultInstanceType=None), "aks.defaultInstanceType: is missing; name one of large, small"),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_the_way_out(raw: dict[str, Any], expected: str) -> None:
    found = findings(raw)
    assert expected in found[0], "\n".join(found)
    assert len(found) == 1, "\n".join(found)


def test_names_on_kubernetes_are_counted_together_with_the_revision() -> None:
    raw = on_kubernetes()
    endpoints = raw["onlineEndpoints"]
    endpoints["e" * 32] = endpoints.pop("tumor")
    deployments = endpoints["e" * 32]["deployments"]
    deployments["d" * 22] = deployments.pop("blue")
    (found,) = findings(raw)
    assert "have 63 characters together; on Kubernetes Azure takes 62" in found


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ({"from": "08:00", "until": "18:00"}, {"from": "17:59", "until": "20:00"}, True),
        ({"from": "08:00", "until": "18:00"}, {"from": "18:00", "until": "20:00"}, False),
        ({"days": ["sunday"], "from": "22:00", "until": "06:00"}, {"days": ["monday"], "from": "05:00"}, True),
        ({"days": ["sunday"], "from": "22:00", "until": "06:00"}, {"days": ["monday"], "from": "06:00"}, False),
        ({"days": ["monday"]}, {"days": ["tuesday"]}, False),
    ],
)
def test_entries_of_a_timetable_do_not_overlap(one: dict[str, Any], other: dict[str, Any], overlaps: bool) -> None:
    usual = {"from": "08:00", "until": "12:00", "minInstances": 2}
    timetable = [{"name": "one", **usual, **one}, {"name": "other", **usual, **other}]
    if overlaps:
        assert "other and one overlap" in findings(scaled(timetable=timetable))[0]
    else:
        parse(scaled(timetable=timetable))


def test_no_more_entries_than_azure_has_profiles_for() -> None:
    timetable = [
        {"name": f"h{hour}", "from": f"{hour:02}:00", "until": f"{hour + 1:02}:00", "minInstances": 2}
        for hour in range(11)
    ]
    assert "11 entries; Azure takes 10: remove 1" in findings(scaled(timetable=timetable))[0]


def test_an_amount_may_be_written_as_a_number() -> None:
    stack = parse(on_kubernetes(resources={"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"gpu": 2}}))
    resources = stack.online_endpoints["tumor"].deployments["blue"].resources
    assert resources is not None
    assert (resources.requests.cpu, resources.limits.gpu) == ("0.5", "2")


def test_five_minutes_are_allowed_on_kubernetes_and_a_cluster_of_the_workspace_can_be_named() -> None:
    parse(on_kubernetes(requestSettings={"requestTimeoutMs": 300_000}))
    parse(on_kubernetes({"kubernetes": "azureml:old"}, instanceType="small"))


def test_the_zones_are_those_that_azure_is_known_to_take() -> None:
    assert {WINDOWS[zone] for zone in WINDOWS} <= set(IANA)
    assert all(IANA[name] == zone for zone, name in WINDOWS.items())


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/London", "GMT Standard Time"),
        ("Europe/Dublin", "GMT Standard Time"),
        ("America/Detroit", "Eastern Standard Time"),
        ("Asia/Calcutta", "India Standard Time"),
        ("UTC", "UTC"),
        ("Europe", None),
        ("../etc/passwd", None),
        ("", None),
    ],
)
def test_a_zone_gets_the_name_of_one_whose_clocks_show_the_same(zone: str, name: str | None) -> None:
    assert windows_name(zone) == name


@pytest.mark.parametrize(
    ("written", "read", "worth"),
    [
        (1, "1", 1),
        (1.0, "1", 1),
        (0.5, "0.5", 0.5),
        (0, "0", 0),
        ("500m", "500m", 0.5),
        (2**30, "1073741824", 2**30),
        (2.0**30, "1073741824", 2**30),
        (1_000_000, "1000000", 10**6),
        ("1M", "1M", 10**6),
        ("2Gi", "2Gi", 2**31),
        ("512Ki", "512Ki", 2**19),
        ("1k", "1k", 1000),
    ],
)
def test_an_amount_keeps_its_digits_and_is_worth_what_kubernetes_says(written: Any, read: str, worth: float) -> None:
    stack = parse(on_kubernetes(resources={"limits": {"memory": written}}))
    resources = stack.online_endpoints["tumor"].deployments["blue"].resources
    assert resources
    assert resources.limits.memory == read
    assert quantity(read) == Decimal(worth)


@pytest.mark.parametrize("amount", ["2ki", "1e6", float("inf"), "2GiB", -1])
def test_what_is_no_amount_in_kubernetes_is_refused(amount: Any) -> None:
    (found,) = findings(on_kubernetes(resources={"limits": {"memory": amount}}))
    assert "limits.memory: string should match pattern" in found
