"""Layer: the list of machines' sizes, and the cores that a stack needs by it."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

import settings
from localazure.providers.ml import quota as local_quota
from localazure.providers.ml import sizes as local_sizes
from settings import Settings, parse
from settings.quota import deployment_cores, need_lines, needs
from settings.sizes import find, known, size_warnings

ROOT = Path(__file__).parents[1]
MODEL = "azureml:tumor:3"
KUBERNETES = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/k"


def stack(
    deployments: dict[str, Any] | None = None, clusters: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "azure-native:location": "eastus",
        "nameSuffix": "",
        "workspace": {"name": "aml-test"},
        "onlineEndpoints": {"tumor": {"deployments": deployments}} if deployments else {},
        "computeClusters": clusters or {},
        **more,
    }


def deployment(size: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "instanceType": size, **more}


def test_the_list_and_local_azure_say_the_same_of_a_size() -> None:
    both = known().keys() & local_sizes.SIZES.keys()
    assert len(both) > 150
    for name in both:
        ours, theirs = known()[name], local_sizes.SIZES[name]
        assert (ours.name, ours.family.lower(), ours.cores) == (theirs.name, theirs.family.lower(), theirs.cores)
        assert ours.reserve == theirs.reserve, name


def test_local_azure_runs_every_size_that_azure_serves_on() -> None:
    assert [size.name for name, size in known().items() if size.online and name not in local_sizes.SIZES] == []


@pytest.mark.parametrize("size", ["Standard_DS3_v2", "Standard_NC24ads_A100_v4", "Standard_ND96asr_v4"])
def test_the_cores_of_a_deployment_are_those_that_local_azure_asks_for(size: str) -> None:
    ours, theirs = find(size), local_sizes.find(size)
    assert ours
    assert theirs
    for count in range(1, 51):
        assert deployment_cores(ours, count) == local_quota.deployment_cores(theirs, count)


def test_the_need_is_summed_by_family_with_what_adds_up_to_it() -> None:
    scaled = {"minInstances": 1, "maxInstances": 5, "rules": [{"metric": "cpu", "above": 70, "below": 30}]}
    raw = stack(
        {
            "blue": deployment("Standard_DS3_v2", instanceCount=3),
            "green": deployment("standard_ds2_V2", autoscale=scaled),
            "large": deployment("Standard_NC24ads_A100_v4", instanceCount=3),
        },
        {
            "usual": {"vmSize": "Standard_DS2_v2", "maxInstances": 4},
            "cheap": {"vmSize": "Standard_DS2_v2", "maxInstances": 2, "tier": "low_priority"},
        },
    )
    assert need_lines(parse(raw, ROOT)) == [
        "Cores of standardDSv2Family: 28 for online deployments (tumor.blue 16, tumor.green 12); "
        "8 at most for clusters (usual 8); 4 of low priority at most for clusters (cheap 4).",
        "Cores of standardNCADSA100v4Family: 72 for online deployments (tumor.large 72).",
    ]


def test_the_most_of_a_timetable_counts() -> None:
    scaled = {
        "maxInstances": 2,
        "timetable": [{"name": "sale", "from": "08:00", "until": "20:00", "maxInstances": 10}],
    }
    found = needs(parse(stack({"blue": deployment("Standard_DS2_v2", autoscale=scaled)}), ROOT))
    assert found["standardDSv2Family"].online == {"tumor.blue": 24}


def test_what_runs_on_kubernetes_or_is_there_already_needs_no_cores_of_the_stack() -> None:
    there = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/computes/c"
    here = {"workspace": {"existing": there.partition("/computes")[0]}}
    raw = stack(clusters={"old": {"existing": there}}, kubernetesClusters={"aks": {"cluster": KUBERNETES}}, **here)
    raw["onlineEndpoints"] = {"edge": {"kubernetes": "aks", "deployments": {"blue": {"model": MODEL}}}}
    assert needs(parse(raw, ROOT)) == {}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            stack({"blue": deployment("Standard_DS33_v2")}),
            'onlineEndpoints.tumor.deployments.blue.instanceType: "Standard_DS33_v2" is not in the list of Azure ML\'s '
            'sizes for managed endpoints of 2025-10-18; did you mean "Standard_DS3_v2"?',
        ),
        (stack({"blue": deployment("Standard_D4ds_v5")}), '"Standard_D4ds_v5" is not in the list'),
        (
            stack(clusters={"c": {"vmSize": "Standard_E4-2s_v3"}}, nameSuffix="abc"),
            'computeClusters.c.vmSize: "Standard_E4-2s_v3" is not in the list of Azure ML\'s sizes for clusters',
        ),
    ],
)
def test_a_size_that_the_list_lacks_is_a_warning_until_it_is_allowed(raw: dict[str, Any], told: str) -> None:
    (line,) = size_warnings(parse(raw, ROOT))
    assert told in line
    assert "set allowUnknownSizes to true" in line
    assert size_warnings(parse({**raw, "allowUnknownSizes": "true"}, ROOT)) == []


def test_a_size_is_warned_of_once_and_case_is_no_matter() -> None:
    two = {"blue": deployment("Standard_D4ds_v9"), "green": deployment("standard_d4DS_v9")}
    assert len(size_warnings(parse(stack(two), ROOT))) == 1
    assert size_warnings(parse(stack({"blue": deployment("STANDARD_DS3_V2")}), ROOT)) == []


def test_loading_tells_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda line: said.append(("warn", line)))
    monkeypatch.setattr(pulumi.log, "info", lambda line: said.append(("info", line)))
    two = {"blue": deployment("Standard_DS3_v2"), "green": deployment("Standard_D4ds_v9")}
    monkeypatch.setattr(settings, "parse", lambda *_, **__: parse(stack(two), ROOT))
    assert isinstance(settings.load(), Settings)
    assert [kind for kind, _ in said] == ["warn", "info"]
    assert "tumor.blue 8" in said[1][1]
