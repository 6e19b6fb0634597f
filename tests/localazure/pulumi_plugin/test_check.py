"""Check: what is wrong with inputs, in azure-native's words, and which inputs it adds."""

from __future__ import annotations

from typing import Any

import pytest

from localazure.pulumi_plugin.check import AUTO_NAMED, Autonaming, Naming, failures, with_defaults
from localazure.pulumi_plugin.convert import Converter
from localazure.pulumi_plugin.shapes import Catalogue, ResourceShape
from localazure.pulumi_plugin.values import UNKNOWN

IN_WORKSPACE = {"resourceGroupName": "rg", "workspaceName": "ws"}
ENDPOINT = {**IN_WORKSPACE, "endpointName": "ep", "location": "eastus", "properties": {"authMode": "Key"}}
DEPLOYMENT = {
    **IN_WORKSPACE,
    "endpointName": "ep",
    "deploymentName": "blue",
    "location": "eastus",
    "properties": {"endpointComputeType": "Managed"},
}


@pytest.fixture
def wrong(catalogue: Catalogue) -> Any:
    def check(type: str, inputs: dict[str, Any]) -> list[str]:
        return failures(_shape(catalogue, type), inputs, Converter(catalogue))

    return check


def _shape(catalogue: Catalogue, type: str) -> ResourceShape:
    shape = catalogue.resource(f"azure-native:{type}")
    assert shape is not None
    return shape


def test_good_inputs_have_nothing_wrong(wrong: Any) -> None:
    assert wrong("machinelearningservices:OnlineEndpoint", ENDPOINT | {"azureApiVersion": "x", AUTO_NAMED: True}) == []


def test_a_missing_required_property_is_named_with_its_path(wrong: Any) -> None:
    inputs = {**ENDPOINT, "properties": {}}
    del inputs["resourceGroupName"]

    assert wrong("machinelearningservices:OnlineEndpoint", inputs) == [
        "missing required property 'resourceGroupName'",
        "missing required property 'properties.authMode'",
    ]


def test_a_missing_location_says_how_to_configure_one(wrong: Any) -> None:
    (reason,) = wrong("resources:ResourceGroup", {"resourceGroupName": "rg"})

    assert reason == (
        "missing required property 'location'. "
        "Either set it explicitly or configure it with 'pulumi config set azure-native:location <value>'."
    )


def test_a_misspelt_property_gets_a_suggestion(wrong: Any) -> None:
    (reason,) = wrong("machinelearningservices:OnlineEndpoint", {**ENDPOINT, "propertys": {}})
    (nested,) = wrong(
        "machinelearningservices:OnlineDeployment",
        {**DEPLOYMENT, "properties": {"endpointComputeType": "Managed", "instanceTyp": "x"}},
    )

    assert "unknown property 'propertys'" in reason
    assert "did you mean 'properties'?" in reason
    assert "did you mean 'properties.instanceType'?" in nested


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"authMode": 1.0}, "'properties.authMode' should be of type 'string' but got a number"),
        ({"authMode": ["Key"]}, "'properties.authMode' should be of type 'string' but got an array"),
        ({"authMode": {}}, "'properties.authMode' should be of type 'string' but got an object"),
        ({"authMode": "Key", "traffic": "x"}, "'properties.traffic' should be of type 'object' but got a string"),
        ({"authMode": "Key", "traffic": {"b": 0.5}}, "'properties.traffic.b' must be an integer but got 0.500000"),
        ("x", "'properties' should be of type 'object' but got a string"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(wrong: Any, value: Any, reason: str) -> None:
    assert wrong("machinelearningservices:OnlineEndpoint", {**ENDPOINT, "properties": value}) == [reason]


def test_enum_values_are_azures_business(wrong: Any) -> None:
    assert wrong("machinelearningservices:OnlineEndpoint", {**ENDPOINT, "properties": {"authMode": "Handshake"}}) == []


def test_what_is_not_known_yet_is_not_wrong(wrong: Any) -> None:
    unknown = dict.fromkeys(ENDPOINT, UNKNOWN)

    assert wrong("machinelearningservices:OnlineEndpoint", unknown) == []


def test_items_of_lists_are_checked_where_they_are(wrong: Any) -> None:
    inputs = {
        "resourceGroupName": "rg",
        "accountName": "a",
        "kind": "StorageV2",
        "location": "eastus",
        "sku": {"name": "Standard_LRS"},
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"iPAddressOrRange": "1.2.3.4"}, {"value": "x"}]},
    }

    reasons = wrong("storage:StorageAccount", inputs)

    assert "missing required property 'networkRuleSet.ipRules[1].iPAddressOrRange'" in reasons
    assert any("unknown property 'networkRuleSet.ipRules[1].value'" in reason for reason in reasons)


@pytest.fixture
def defaulted(catalogue: Catalogue) -> Any:
    def check(type: str, inputs: dict[str, Any], olds: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        naming = Naming("blue", fields.pop("seed", b"seed"), fields.pop("autonaming", None))
        return with_defaults(
            _shape(catalogue, type), inputs, olds or {}, naming, fields.get("location", lambda: "found")
        )

    return check


def test_a_missing_name_is_made_of_the_logical_one_and_the_seed(defaulted: Any) -> None:
    first = defaulted("machinelearningservices:OnlineEndpoint", IN_WORKSPACE)
    again = defaulted("machinelearningservices:OnlineEndpoint", IN_WORKSPACE)
    other = defaulted("machinelearningservices:OnlineEndpoint", IN_WORKSPACE, seed=b"other")

    assert first["endpointName"].startswith("blue")
    assert len(first["endpointName"]) == len("blue") + 8
    assert first[AUTO_NAMED] is True
    assert first == again, "the preview and the update must agree on the name"
    assert first["endpointName"] != other["endpointName"]


def test_without_a_seed_names_differ(defaulted: Any) -> None:
    names = {defaulted("storage:StorageAccount", {}, seed=b"")["accountName"] for _ in range(5)}

    assert len(names) == 5


def test_a_role_assignment_is_named_by_a_uuid(defaulted: Any) -> None:
    import uuid

    name = defaulted("authorization:RoleAssignment", {"scope": "/s"})["roleAssignmentName"]

    assert str(uuid.UUID(name)) == name


def test_a_name_once_made_stays(defaulted: Any) -> None:
    olds = {**IN_WORKSPACE, "endpointName": "blue12345678", AUTO_NAMED: True}

    inputs = defaulted("machinelearningservices:OnlineEndpoint", IN_WORKSPACE, olds, seed=b"new")

    assert inputs["endpointName"] == "blue12345678"
    assert inputs[AUTO_NAMED] is True


def test_a_given_name_is_not_marked_as_made(defaulted: Any) -> None:
    assert AUTO_NAMED not in defaulted("machinelearningservices:OnlineEndpoint", ENDPOINT)


def test_the_stacks_naming_rules_hold(defaulted: Any) -> None:
    def named(mode: Any, type: str = "storage:StorageAccount") -> dict[str, Any]:
        return defaulted(type, {"scope": "/s"}, autonaming=Autonaming(mode, "proposed"))

    assert named("propose")["accountName"] == "proposed"
    assert named("enforce")["accountName"] == "proposed"
    assert "accountName" not in named("disable")
    assert named("propose", "authorization:RoleAssignment")["roleAssignmentName"] != "proposed", "only a UUID will do"
    assert named("enforce", "authorization:RoleAssignment")["roleAssignmentName"] == "proposed"


def test_the_location_comes_from_the_program_else_the_state_else_it_is_looked_for(defaulted: Any) -> None:
    type = "machinelearningservices:OnlineEndpoint"

    assert defaulted(type, {"location": "a"}, {"location": "b"})["location"] == "a"
    assert defaulted(type, {}, {"location": "b"})["location"] == "b"
    assert defaulted(type, {})["location"] == "found"
    assert "location" not in defaulted(type, {}, location=lambda: None)


def test_what_has_no_location_gets_none(defaulted: Any) -> None:
    assert "location" not in defaulted("machinelearningservices:ModelVersion", IN_WORKSPACE)


def test_the_api_version_becomes_an_input(defaulted: Any) -> None:
    assert defaulted("machinelearningservices:OnlineEndpoint", ENDPOINT)["azureApiVersion"] == "2025-12-01"
