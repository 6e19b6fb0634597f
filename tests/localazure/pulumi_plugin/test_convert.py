"""The mapping between the SDK's shape and ARM's, for every type in the table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localazure.pulumi_plugin.convert import Converter, plain, without_empty
from localazure.pulumi_plugin.shapes import Catalogue, ObjectType, ResourceShape, Shape
from localazure.pulumi_plugin.table import RESOURCES
from localazure.pulumi_plugin.values import UNKNOWN, marshal, unmarshal

CATALOGUE = Catalogue.load()
CONVERTER = Converter(CATALOGUE)
# A machine may be busy with other things.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text("abcXYZ-_./ 09", max_size=6)


def resource(name: str) -> ResourceShape:
    shape = CATALOGUE.resource(f"azure-native:{name}")
    assert shape is not None
    return shape


def values(shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    """Values of a type, as an engine sends them. Nothing empty at the ends, so that nothing can be lost unnoticed."""
    match shape.kind:
        case "string":
            return TEXT
        case "const":
            return st.just(shape.constant)
        case "integer":
            return st.integers(-5, 1000).map(float)
        case "number":
            return st.floats(-100, 100, width=32)
        case "boolean":
            return st.booleans()
        case "set":
            return st.lists(TEXT, unique=True, max_size=2)
    if shape.names:
        return st.sampled_from(shape.names).flatmap(lambda name: objects(CATALOGUE.type(name), depth - 1))
    if depth <= 0:
        return st.just([] if shape.kind == "array" else {})
    if shape.kind == "array" and shape.item:
        return st.lists(values(shape.item, depth - 1), max_size=2)
    return st.dictionaries(TEXT, values(shape.item or Shape("string"), depth - 1), max_size=2)


def objects(type_: ObjectType, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    names = sorted(type_.properties) if depth > 0 else []
    # Without its constant a value could be any member of a union.
    always = {name for name, shape in type_.properties.items() if shape.kind == "const"}
    chosen = st.lists(st.sampled_from(names), max_size=4, unique=True) if names else st.just([])
    return chosen.flatmap(
        lambda some: st.fixed_dictionaries({name: values(type_.properties[name], depth) for name in always.union(some)})
    )


@pytest.mark.parametrize("token", sorted(RESOURCES))
@given(data=st.data())
@settings(UNHURRIED, max_examples=25)
def test_what_is_sent_to_arm_and_answered_comes_back_as_the_inputs(token: str, data: st.DataObject) -> None:
    shape = CATALOGUE.resource(token)
    assert shape is not None
    inputs = data.draw(objects(shape.body, 3))

    body = CONVERTER.to_body(shape.body, inputs)

    assert CONVERTER.to_outputs(shape.body, body) == inputs
    assert set(body) <= shape.row.root | {"properties", "name"}, "nothing but the known may lie at the body's root"


@UNHURRIED
@given(value=st.recursive(st.none() | st.booleans() | st.floats(-9, 9) | TEXT, lambda inner: st.lists(inner)))
def test_no_integral_float_reaches_arm(value: Any) -> None:
    flat = [plain(value)]
    while flat:
        item = flat.pop()
        if isinstance(item, list):
            flat.extend(item)
        assert not (isinstance(item, float) and item.is_integer())


@UNHURRIED
@given(
    st.dictionaries(
        TEXT,
        st.recursive(
            st.booleans() | st.floats(-9, 9) | TEXT | st.just(UNKNOWN),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_values_survive_the_way_through_a_message(properties: dict[str, Any]) -> None:
    assert unmarshal(marshal(properties)) == properties


def test_secrets_arrive_unwrapped() -> None:
    wrapped = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hush"}

    assert unmarshal(marshal({"key": wrapped})) == {"key": "hush"}


def test_numbers_of_a_deployment_become_integers_in_the_body() -> None:
    inputs = {
        "location": "eastus",
        "sku": {"name": "Default", "capacity": 1.0},
        "properties": {
            "endpointComputeType": "Managed",
            "requestSettings": {"maxConcurrentRequestsPerInstance": 2.0},
            "dataCollector": {"collections": {"in": {"samplingRate": 0.5}}},
        },
    }

    body = CONVERTER.to_body(resource("machinelearningservices:OnlineDeployment").body, inputs)

    assert type(body["sku"]["capacity"]) is int
    assert type(body["properties"]["requestSettings"]["maxConcurrentRequestsPerInstance"]) is int
    assert body["properties"]["dataCollector"]["collections"]["in"]["samplingRate"] == 0.5


def test_identities_are_a_list_in_the_program_a_map_in_arm_and_a_map_of_ids_in_the_outputs() -> None:
    shape = resource("machinelearningservices:OnlineEndpoint")
    inputs = {"identity": {"type": "UserAssigned", "userAssignedIdentities": ["/a", "/b"]}}

    body = CONVERTER.to_body(shape.body, inputs)
    answer = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/a": {"clientId": "c"}, "/b": {}}}}
    outputs = CONVERTER.to_outputs(shape.outputs, answer)

    assert body["identity"]["userAssignedIdentities"] == {"/a": {}, "/b": {}}
    assert outputs["identity"]["userAssignedIdentities"] == {"/a": {"clientId": "c"}, "/b": {}}
    assert CONVERTER.to_inputs(shape.body, outputs) == inputs


def test_application_insights_gets_the_capitals_that_arm_wants() -> None:
    shape = resource("applicationinsights:Component")
    inputs = {"kind": "web", "applicationType": "web", "retentionInDays": 30.0, "workspaceResourceId": "/w"}

    body = CONVERTER.to_body(shape.body, inputs)

    assert body == {
        "kind": "web",
        "properties": {"Application_Type": "web", "RetentionInDays": 30, "WorkspaceResourceId": "/w"},
    }
    answer = {"properties": {"InstrumentationKey": "k", "ConnectionString": "c", "AppId": "a", "Unheard": 1}}
    assert CONVERTER.to_outputs(shape.outputs, answer) == {
        "instrumentationKey": "k",
        "connectionString": "c",
        "appId": "a",
    }


def test_storage_renames_at_every_level() -> None:
    inputs = {
        "sku": {"name": "Standard_LRS"},
        "enableHttpsTrafficOnly": True,
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"iPAddressOrRange": "1.2.3.4"}]},
    }

    body = CONVERTER.to_body(resource("storage:StorageAccount").body, inputs)

    assert body == {
        "sku": {"name": "Standard_LRS"},
        "properties": {
            "supportsHttpsTrafficOnly": True,
            "networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]},
        },
    }


def test_an_identity_shows_what_lies_in_its_properties() -> None:
    answer = {"name": "id", "location": "eastus", "properties": {"principalId": "p", "clientId": "c", "tenantId": "t"}}

    outputs = CONVERTER.to_outputs(resource("managedidentity:UserAssignedIdentity").outputs, answer)

    assert outputs == {"name": "id", "location": "eastus", "principalId": "p", "clientId": "c", "tenantId": "t"}


def test_nulls_and_the_unknown_to_the_sdk_are_no_outputs() -> None:
    answer = {"etag": "e", "properties": {"authMode": "Key", "scoringUri": None, "kindOfMagic": 1}}

    outputs = CONVERTER.to_outputs(resource("machinelearningservices:OnlineEndpoint").outputs, answer)

    assert outputs == {"properties": {"authMode": "Key"}}


def test_a_preview_knows_what_is_given_and_nothing_else() -> None:
    inputs = {
        "location": "eastus",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": ["/a"]},
        "properties": {"authMode": "Key", "traffic": {"blue": 100.0}},
    }

    outputs = CONVERTER.preview(resource("machinelearningservices:OnlineEndpoint").outputs, inputs)

    assert outputs["properties"]["traffic"] == {"blue": 100.0}
    assert outputs["properties"]["scoringUri"] is UNKNOWN
    assert outputs["name"] is UNKNOWN
    # A list where the SDK expects a map would break the program.
    assert outputs["identity"]["userAssignedIdentities"] is UNKNOWN


def test_empty_things_are_left_out_of_an_import() -> None:
    assert without_empty({"a": {}, "b": [], "c": {"d": [{}]}, "e": "", "f": False}) == {"e": "", "f": False}
