"""Diff: which changes there are, which replace, and what a refresh takes over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localazure.pulumi_plugin.check import AUTO_NAMED
from localazure.pulumi_plugin.diff import Change, Plan, PropertyChange, plan, with_drift
from localazure.pulumi_plugin.shapes import Catalogue
from localazure.pulumi_plugin.values import UNKNOWN

JSON = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
# A machine may be busy with other things.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@pytest.fixture
def planned(catalogue: Catalogue) -> Any:
    def make(type: str, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any] | None = None) -> Plan:
        shape = catalogue.resource(f"azure-native:machinelearningservices:{type}" if ":" not in type else type)
        assert shape is not None
        version = {"azureApiVersion": shape.api_version}
        return plan(shape, version | old, version | new, state or {})

    return make


def test_equal_inputs_are_no_change(planned: Any) -> None:
    inputs = {"endpointName": "e", "properties": {"traffic": {"blue": 100.0}}}

    assert planned("OnlineEndpoint", inputs, inputs).changes == {}


def test_changes_carry_the_path_of_what_changed(planned: Any) -> None:
    old = {"properties": {"traffic": {"blue": 90.0, "green": 10.0}}, "tags": {"a.b": "1"}}
    new = {"properties": {"traffic": {"blue": 80.0, "red": 20.0}}, "tags": {"a.b": "2"}}

    found = planned("OnlineEndpoint", old, new)

    assert found.changes == {
        "properties.traffic.blue": PropertyChange(Change.UPDATE),
        "properties.traffic.green": PropertyChange(Change.DELETE),
        "properties.traffic.red": PropertyChange(Change.ADD),
        'tags["a.b"]': PropertyChange(Change.UPDATE),
    }
    assert found.properties == ["properties", "tags"]
    assert not found.replaces


@pytest.mark.parametrize(
    ("type", "old", "new", "replaces"),
    [
        ("OnlineEndpoint", {"endpointName": "a"}, {"endpointName": "b"}, ["endpointName"]),
        ("OnlineEndpoint", {"location": "eastus"}, {"location": "westus"}, ["location"]),
        ("OnlineEndpoint", {"location": "East US"}, {"location": "eastus"}, []),
        ("OnlineEndpoint", {"resourceGroupName": "RG"}, {"resourceGroupName": "rg"}, []),
        (
            "OnlineEndpoint",
            {"properties": {"keys": {"primaryKey": "a"}}},
            {"properties": {"keys": {"primaryKey": "b"}}},
            ["properties.keys.primaryKey"],
        ),
        ("OnlineEndpoint", {"properties": {"authMode": "Key"}}, {"properties": {"authMode": "AMLToken"}}, []),
        # A union: azure-native sends the change in place, though Azure calls the property create-only.
        ("OnlineDeployment", {"properties": {"instanceType": "a"}}, {"properties": {"instanceType": "b"}}, []),
        ("DataVersion", {"properties": {"dataUri": "a"}}, {"properties": {"dataUri": "b"}}, []),
        ("EnvironmentVersion", {"properties": {"image": "a"}}, {"properties": {"image": "b"}}, ["properties.image"]),
        ("EnvironmentVersion", {"properties": {}}, {"properties": {"image": "b"}}, ["properties.image"]),
        ("Workspace", {"location": "eastus"}, {"location": "westus"}, []),
        ("azure-native:storage:StorageAccount", {"isHnsEnabled": True}, {"isHnsEnabled": False}, ["isHnsEnabled"]),
        ("azure-native:authorization:RoleAssignment", {"principalId": "a"}, {"principalId": "b"}, ["principalId"]),
        ("azure-native:authorization:RoleAssignment", {"scope": "/a"}, {"scope": "/b"}, ["scope"]),
    ],
)
def test_what_replaces_is_what_azure_native_replaces(
    planned: Any, type: str, old: dict[str, Any], new: dict[str, Any], replaces: list[str]
) -> None:
    found = planned(type, old, new)

    assert found.replaces == replaces
    assert found.delete_first == bool(replaces)


def test_an_auto_named_resource_is_created_before_its_predecessor_goes(planned: Any) -> None:
    old = {AUTO_NAMED: True, "location": "eastus"}

    found = planned("OnlineEndpoint", old, old | {"location": "westus"})

    assert found.replaces == ["location"]
    assert not found.delete_first


def test_an_unknown_value_is_a_change(planned: Any) -> None:
    found = planned("OnlineEndpoint", {"tags": {"a": "b"}}, {"tags": {"a": UNKNOWN}})

    assert found.changes == {"tags.a": PropertyChange(Change.UPDATE)}


def test_naming_the_location_that_azure_chose_replaces_nothing(planned: Any) -> None:
    found = planned("OnlineEndpoint", {}, {"location": "eastus"}, {"location": "eastus"})

    assert found.changes == {"location": PropertyChange(Change.ADD)}


def test_a_state_without_the_api_version_is_not_changed_by_it(catalogue: Catalogue) -> None:
    shape = catalogue.resource("azure-native:machinelearningservices:OnlineEndpoint")
    assert shape is not None

    assert plan(shape, {}, {"azureApiVersion": "2025-12-01"}, {"azureApiVersion": "2025-12-01"}).changes == {}


@UNHURRIED
@given(inputs=OBJECTS, outputs=OBJECTS)
def test_without_drift_inputs_stay_as_they_are(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    assert with_drift(inputs, outputs, outputs) == inputs


@UNHURRIED
@given(old=OBJECTS, new=OBJECTS)
def test_inputs_that_say_everything_become_what_is_there(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert with_drift(old, old, new) == new


@UNHURRIED
@given(inputs=OBJECTS, old=OBJECTS, new=OBJECTS)
def test_what_azure_has_not_changed_is_never_taken_over(
    inputs: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> None:
    result = with_drift(inputs, old, new)

    for name in old.keys() & new.keys():
        if old[name] == new[name]:
            assert result.get(name) == inputs.get(name)


def test_azures_defaults_do_not_become_inputs_when_something_beside_them_changes() -> None:
    inputs = {"properties": {"authMode": "Key"}}
    old = {"properties": {"authMode": "Key", "publicNetworkAccess": "Enabled", "traffic": {}}}
    new = {"properties": {"authMode": "Key", "publicNetworkAccess": "Enabled", "traffic": {"blue": 100}}}

    assert with_drift(inputs, old, new) == {"properties": {"authMode": "Key", "traffic": {"blue": 100}}}


def test_a_list_that_grew_in_azure_grows_in_the_inputs() -> None:
    assert with_drift({"l": [{"a": 1}]}, {"l": [{"a": 1, "d": 0}]}, {"l": [{"a": 2, "d": 0}, {"a": 3}]}) == {
        "l": [{"a": 2}, {"a": 3}]
    }
