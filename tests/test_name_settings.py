"""Layer: the stack configuration; regions, names, paths and numbers that only Azure would otherwise refuse."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from localazure.providers.regions import REGIONS as LOCAL_REGIONS
from settings import SettingsError, parse, warnings
from settings.regions import REGIONS
from tests.mutations.configurations import BATCH, ONLINE

ROOT = Path(__file__).parents[1]
GREEN = ("onlineEndpoints", "tumor-online", "deployments", "green")
CUSTOM = ("batchEndpoints", "tumor-batch", "deployments", "custom")


def changed(configuration: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    raw = deepcopy({key: own for key, own in configuration.items() if key != "azure-native:subscriptionId"})
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return raw


def test_the_regions_are_those_of_local_azure() -> None:
    assert set(LOCAL_REGIONS) == REGIONS


@pytest.mark.parametrize("region", ["eastus", "East US", "westeurope", "chinanorth3", "usgovvirginia"])
def test_a_region_may_be_spelt_as_the_portal_does_and_be_of_another_cloud(region: str) -> None:
    assert parse(changed(ONLINE, ("azure-native:location",), region), ROOT).location == region


@pytest.mark.parametrize(
    ("region", "told"),
    [
        ("indonesiacentral", "is not in the list of Azure ML's regions of October 2025; did you mean"),
        ("eastus1", 'did you mean "eastus"? If it is new, go on.'),
        ("moon", "is not in the list of Azure ML's regions of October 2025; If it is new"),
        ("East US", None),
        ("chinanorth3", None),
    ],
)
def test_a_region_that_the_list_lacks_is_a_warning(region: str, told: str | None) -> None:
    lines = warnings(parse(changed(ONLINE, ("azure-native:location",), region), ROOT))
    assert lines == [] if told is None else [line for line in lines if region in line and told in line]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("azure-native:location",), "east-us", '"east-us" is no region of Azure; did you mean "eastus"?'),
        (("azure-native:location",), "42", '"42" is no region of Azure; write one as eastus'),
        ((*GREEN, "model", "name"), "tumor model", '"tumor model" (11 characters) is not a name that Azure takes; use'),
        (
            (*GREEN, "environment", "name"),
            "-env",
            '"-env" (4 characters) is not a name that Azure takes',
        ),
        ((*GREEN, "modelMountPath"), "/var//models", '"/var//models" is not a folder in a container; write one like'),
        ((*GREEN, "modelMountPath"), "/" + "a" * 256, "is not a folder in a container; write one like /var/models"),
        ((*GREEN, "livenessProbe", "failureThreshold"), 10_001, "input should be less than or equal to 10000"),
        (
            (*GREEN, "requestSettings", "maxConcurrentRequestsPerInstance"),
            20_000,
            "input should be less than or equal to 10000",
        ),
        ((*GREEN, "requestSettings", "maxQueueWaitMs"), 2**31, "input should be less than or equal to 2147483647"),
        ((*GREEN, "attempt"), str(10**19), "input should be less than or equal to 2147483647"),
    ],
)
def test_what_azure_would_refuse_is_named_before(path: tuple[str, ...], value: Any, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(changed(ONLINE, path, value), ROOT)
    assert [finding for finding in error.value.findings if finding.startswith(".".join(path)) and told in finding]


@pytest.mark.parametrize("name", ["", "a/b.csv", "..", "a\0b"])
def test_predictions_go_to_a_file_and_not_to_a_path(name: str) -> None:
    with pytest.raises(SettingsError, match=r"custom\.outputFileName: .* is not the name of a file; write one as"):
        parse(changed(BATCH, (*CUSTOM, "outputFileName"), name), ROOT)
