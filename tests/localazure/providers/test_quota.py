"""Quota over ARM: what deployments and computes hold, what does not fit, and the look-ups of sizes and usage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from localazure.errors import SettingsInvalid
from localazure.home import Home
from localazure.providers.ml import sizes
from localazure.providers.ml.quota import deployment_cores
from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted
from tests.localazure.providers.test_computes import cluster, compute, instance

Boot = Callable[..., Cloud]


@pytest.fixture
def boot(tmp_path: Path, files: None) -> Iterator[Boot]:
    """Starts a Local Azure with a quota, and an endpoint to deploy to."""
    with ExitStack() as stack:

        def start(**quota: int) -> Cloud:
            made = stack.enter_context(booted(tmp_path / "home", FakeServing(), Settings(quota=quota)))
            made.prepare()
            made.put(made.endpoint(), made.endpoint_body())
            return made

        yield start


def deploy(cloud: Cloud, name: str, capacity: int = 1, size: str = "Standard_DS3_v2") -> Any:
    answer = cloud.send(
        "PUT", f"{cloud.endpoint()}/deployments/{name}", cloud.deployment_body(capacity, instanceType=size)
    )
    if answer.status_code == 201:
        cloud.wait(answer)
    return answer


def usage(cloud: Cloud, name: str, kind: str = "dedicatedCores", location: str = "eastus") -> tuple[int, int]:
    """What is held of a quota, and its limit."""
    place = f"/subscriptions/{cloud.subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
    rows = cloud.get(f"{place}/usages")["value"]
    (row,) = [each for each in rows if each["name"]["value"] == name and f"/{kind}/" in each["type"]]
    return row["currentValue"], row["limit"]


def errors(answer: Any) -> dict[str, Any]:
    """The live service's reasons, out of the JSON text within a detail."""
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("BadRequest", "The request is invalid.")
    detail = error["details"][0]
    assert detail["code"] == "InferencingClientCreateDeploymentFailed"
    prefix, _, inner = detail["message"].partition("error detail: ")
    assert prefix == "InferencingClient HttpRequest error, "
    return json.loads(inner)["errors"]


@pytest.mark.parametrize(
    ("size", "instances", "cores"),
    [
        ("Standard_DS3_v2", 1, 8),
        ("Standard_DS3_v2", 5, 24),
        ("Standard_DS3_v2", 10, 48),
        ("Standard_F4s_v2", 2, 12),
        ("Standard_NC24ads_A100_v4", 2, 48),
        ("Standard_NC40ads_H100_v5", 1, 40),
        ("Standard_ND96asr_v4", 1, 96),
        ("Standard_NC6s_v3", 1, 12),
    ],
)
def test_a_deployment_needs_a_fifth_more_than_its_instances_but_on_the_largest_gpus(
    size: str, instances: int, cores: int
) -> None:
    found = sizes.find(size.upper())
    assert found is not None
    assert deployment_cores(found, instances) == cores


def test_what_does_not_fit_is_refused_in_the_live_services_words(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=6)
    refused = deploy(cloud, "blue")
    assert errors(refused)["VmSize"] == [
        f"Not enough quota available for Standard_DS3_v2 in SubscriptionId {cloud.subscription}. "
        "Current usage/limit: 0/6. Additional needed: 8 "
        "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
    ]
    assert "LOCALAZURE_QUOTA" in refused.text, "the way out"
    assert cloud.send("GET", f"{cloud.endpoint()}/deployments/blue").status_code == 404
    assert deploy(cloud, "blue", size="Standard_DS2_v2").status_code == 201, "half the cores fit"
    assert usage(cloud, "standardDSv2Family") == (4, 6)


def test_a_deployment_that_is_scaled_up_beyond_the_quota_stays_as_it_is(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=16)
    deploy(cloud, "blue")
    assert "Current usage/limit: 0/16. Additional needed: 24" in errors(deploy(cloud, "blue", 5))["VmSize"][0]
    assert cloud.get(f"{cloud.endpoint()}/deployments/blue")["sku"]["capacity"] == 1
    assert deploy(cloud, "blue", 3).status_code == 201
    patch = cloud.send("PATCH", f"{cloud.endpoint()}/deployments/blue", {"sku": {"name": "Default", "capacity": 5}})
    assert patch.status_code == 400, "PATCH scales too"


def test_another_deployment_gets_what_is_left_and_what_is_deleted_is_free_again(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=12)
    deploy(cloud, "blue")
    assert "8/12. Additional needed: 8" in errors(deploy(cloud, "green"))["VmSize"][0]
    cloud.wait(cloud.send("DELETE", f"{cloud.endpoint()}/deployments/blue"))
    assert deploy(cloud, "green").status_code == 201


def test_all_families_together_have_a_limit_too(boot: Boot) -> None:
    cloud = boot(TotalDedicatedCores=12)
    deploy(cloud, "blue")
    assert "8/12" in errors(deploy(cloud, "green", size="Standard_F4s_v2"))["VmSize"][0]
    assert usage(cloud, "TotalDedicatedCores", "totalCores") == (8, 12)


def test_gpus_have_to_be_asked_for(boot: Boot) -> None:
    cloud = boot(standardNCadsH100v5Family=40)
    refused = errors(deploy(cloud, "blue", size="Standard_NC24ads_A100_v4"))["VmSize"][0]
    assert "Current usage/limit: 0/0. Additional needed: 24" in refused
    assert deploy(cloud, "blue", size="Standard_NC40ads_H100_v5").status_code == 201


def test_an_unknown_size_is_refused_with_those_that_it_may_have_meant(boot: Boot) -> None:
    assert "Standard_F4s_v2" in errors(deploy(boot(), "blue", size="Standard_F4_v2"))["VmSize"][0]


def test_a_cluster_holds_the_cores_of_the_nodes_that_it_has(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=16)
    cloud.put(compute(cloud, "empty"), cluster(0, 50))
    assert usage(cloud, "standardDSv2Family") == (0, 16)
    cloud.put(compute(cloud, "full"), cluster(2, 4))
    assert usage(cloud, "standardDSv2Family") == (8, 16)
    assert usage(cloud, "TotalClusters", "totalClusters") == (2, 200)
    assert usage(cloud, "standardDSv2Family", location="westus") == (0, 16), "each region has its own"
    assert deploy(cloud, "blue").status_code == 201
    assert "16/16" in errors(deploy(cloud, "green"))["VmSize"][0], "clusters and deployments share it"


def test_a_cluster_whose_smallest_number_of_nodes_does_not_fit_is_refused(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=6)
    answer = cloud.send("PUT", compute(cloud), cluster(2, 4))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "BadRequest"
    assert error["details"][0]["code"] == "ClusterMinNodesExceedCoreQuota"
    assert error["message"].startswith(
        "The specified subscription has a Standard DSv2 family vCPU quota of 6 and cannot accomodate for at least "
        "2 requested managed compute nodes which maps to 8 vCPUs."
    )
    big = cluster(0, 1, vmSize="Standard_DS4_v2")
    assert "1 requested managed compute node which maps to 8 vCPUs" in cloud.send("PUT", compute(cloud), big).text
    assert cloud.put(compute(cloud), cluster(1, 4))["properties"]["provisioningState"] == "Succeeded"


def test_low_priority_machines_are_counted_apart(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=0, TotalLowPriorityCores=4)
    cloud.put(compute(cloud), cluster(1, 4, vmPriority="LowPriority"))
    assert usage(cloud, "standardDSv2Family") == (0, 0)
    assert usage(cloud, "standardDSv2Family", "lowPriorityCores") == (4, -1)
    assert usage(cloud, "TotalLowPriorityCores", "totalCores") == (4, 4)
    more = cloud.send("PUT", compute(cloud, "other"), cluster(1, 4, vmPriority="LowPriority"))
    assert "a total vCPU quota of 4" in cloud.refusal(more, 400)


def test_a_stopped_instance_keeps_its_cores(boot: Boot) -> None:
    cloud = boot(standardDSv2Family=4)
    cloud.put(compute(cloud), instance())
    cloud.wait(cloud.send("POST", f"{compute(cloud)}/stop"))
    assert usage(cloud, "standardDSv2Family") == (4, 4)
    assert cloud.send("PUT", compute(cloud, "other"), instance()).status_code == 400


def test_a_region_has_so_many_clusters(boot: Boot) -> None:
    cloud = boot(TotalClusters=1)
    cloud.put(compute(cloud), cluster())
    assert "TotalClusters" in cloud.refusal(cloud.send("PUT", compute(cloud, "other"), cluster()), 400)
    assert cloud.put(compute(cloud), cluster(0, 5)), "the one that is there can be changed"


def test_sizes_and_limits_are_listed_as_the_client_reads_them(cloud: Cloud) -> None:
    place = f"/subscriptions/{cloud.subscription}/providers/Microsoft.MachineLearningServices/locations/eastus"
    found = {each["name"]: each for each in cloud.get(f"{place}/vmSizes")["value"]}
    assert found["Standard_DS3_v2"].items() >= {"family": "standardDSv2Family", "vCPUs": 4, "memoryGB": 14}.items()
    assert found["Standard_NC24ads_A100_v4"]["gpus"] == 1
    assert "AmlCompute" in found["Standard_F4s_v2"]["supportedComputeTypes"]
    rows = [row for row in cloud.get(f"{place}/quotas")["value"] if row["name"]["value"] == "standardDSv2Family"]
    assert [row["name"]["localizedValue"] for row in rows] == [
        "Standard DSv2 Family Cluster Dedicated vCPUs",
        "Standard DSv2 Family Cluster Low Priority vCPUs",
    ]
    assert rows[0]["limit"] == Settings().default_quota
    other = place.replace(cloud.subscription, "00000000-0000-4000-8000-000000000000")
    for what in ("vmSizes", "usages", "quotas"):
        assert cloud.send("GET", f"{other}/{what}").status_code == 404


def test_the_quota_is_a_setting_in_a_file_or_a_variable(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.create()
    home.settings_file.write_text('{"quota": {"standardDSv2Family": 8}, "default_quota": 24}')
    assert Settings.load(home, {}).quota == {"standardDSv2Family": 8}
    named = Settings.load(home, {"LOCALAZURE_QUOTA": '{"standarddsv2family": 6}', "LOCALAZURE_DEFAULT_QUOTA": "50"})
    assert (named.quota, named.default_quota) == ({"standardDSv2Family": 6}, 50)


@pytest.mark.parametrize("value", ["6", "{", '{"standardXFamily": 6}', '{"standardDSv2Family": -1}'])
def test_a_quota_that_makes_no_sense_is_refused_with_its_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsInvalid, match="quota"):
        Settings.load(Home.at(tmp_path), {"LOCALAZURE_QUOTA": value})
