"""The provider over gRPC, against a fake ARM: what an engine sees."""

from __future__ import annotations

import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from localazure.pulumi_plugin.shapes import Catalogue, path_parameters
from localazure.pulumi_plugin.table import RESOURCES
from localazure.pulumi_plugin.values import UNKNOWN, marshal, unmarshal
from tests.localazure.pulumi_plugin.conftest import Engine, urn
from tests.localazure.pulumi_plugin.fake_arm import GROUP, SUBSCRIPTION, WORKSPACE, Answer, FakeArm

ONLINE_ENDPOINT = "machinelearningservices:OnlineEndpoint"
ENDPOINT_ID = f"{WORKSPACE}/onlineEndpoints/ep"
ENDPOINT = {
    "resourceGroupName": "rg",
    "workspaceName": "ws",
    "endpointName": "ep",
    "location": "eastus",
    "tags": {"team": "a"},
    "properties": {"authMode": "Key", "publicNetworkAccess": "Enabled"},
}
VAULT = {
    "resourceGroupName": "rg",
    "vaultName": "v",
    "location": "eastus",
    "properties": {"tenantId": "t", "sku": {"family": "A", "name": "standard"}},
}


def refusal(call: Any, request: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call(request)
    return refused.value.details() or ""


def test_it_names_its_version(engine: Engine) -> None:
    assert engine.stub.GetPluginInfo(empty_pb2.Empty()).version == "3.29.0"


def test_handshake_and_configuration_say_the_same(engine: Engine) -> None:
    shaken = engine.stub.Handshake(provider_pb2.ProviderHandshakeRequest())
    configured = engine.stub.Configure(provider_pb2.ConfigureRequest())

    assert configured.supportsPreview
    assert (shaken.accept_secrets, shaken.accept_resources, shaken.accept_outputs) == (
        configured.acceptSecrets,
        configured.acceptResources,
        configured.acceptOutputs,
    )
    assert shaken.supports_autonaming_configuration == configured.supports_autonaming_configuration


def test_the_schema_has_every_resource_type(engine: Engine) -> None:
    schema = json.loads(engine.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)

    assert schema["resources"].keys() == RESOURCES.keys()
    endpoint = schema["resources"][f"azure-native:{ONLINE_ENDPOINT}"]
    assert endpoint["requiredInputs"] == ["properties", "resourceGroupName", "workspaceName"]
    assert endpoint["inputProperties"]["tags"] == {"type": "object", "additionalProperties": {"type": "string"}}


def test_other_configuration_is_accepted_and_ignored(engine: Engine) -> None:
    news = marshal({"metadataHost": "elsewhere.example", "useMsi": "true"})

    assert engine.stub.CheckConfig(provider_pb2.CheckRequest(news=news)).inputs == news
    assert not engine.stub.DiffConfig(provider_pb2.DiffRequest()).replaces


def test_a_create_writes_the_body_follows_the_operation_and_reads_back(engine: Engine, fake: FakeArm) -> None:
    fake.operation = "async"
    fake.computed = lambda resource: resource["properties"].update(scoringUri="https://ep/score")

    created = engine.create(ONLINE_ENDPOINT, ENDPOINT)

    outputs = unmarshal(created.properties)
    assert created.id == ENDPOINT_ID
    assert outputs["properties"]["scoringUri"] == "https://ep/score"
    assert outputs["azureApiVersion"] == "2025-12-01"
    assert outputs["name"] == "ep"
    (put,) = fake.sent("PUT")
    assert put.query == {"api-version": "2025-12-01"}
    assert put.body == {key: ENDPOINT[key] for key in ("location", "tags", "properties")}
    assert fake.requests[0].method == "GET", "it looks first whether the resource exists"


def test_what_exists_is_not_adopted(engine: Engine, fake: FakeArm) -> None:
    engine.create(ONLINE_ENDPOINT, ENDPOINT)

    request = provider_pb2.CreateRequest(urn=urn(ONLINE_ENDPOINT), properties=marshal(ENDPOINT))

    assert refusal(engine.stub.Create, request) == f"cannot create already existing resource '{ENDPOINT_ID}'"
    assert len(fake.sent("PUT")) == 1


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_every_type_can_be_created_refreshed_without_change_and_deleted(
    engine: Engine, fake: FakeArm, catalogue: Catalogue, token: str
) -> None:
    shape = catalogue.resource(token)
    assert shape is not None
    type = token.removeprefix("azure-native:")
    # The last name is left to the plugin.
    given = dict.fromkeys(path_parameters(shape.row.path)[:-1], "above") | {"name": "thing", "properties": {}}
    given |= {"scope": "/subscriptions/x", "resourceUri": "/subscriptions/x", "location": "eastus"}
    inputs = {name: value for name, value in given.items() if name in shape.inputs.properties}
    inputs = unmarshal(engine.check(type, inputs).inputs)
    created = engine.create(type, inputs)

    read = engine.stub.Read(
        provider_pb2.ReadRequest(id=created.id, urn=urn(type), properties=created.properties, inputs=marshal(inputs))
    )
    engine.stub.Delete(provider_pb2.DeleteRequest(id=created.id, urn=urn(type), properties=created.properties))

    assert unmarshal(read.inputs) == inputs
    assert read.properties == created.properties
    assert fake.resources == {} or shape.row.default is not None


def test_what_comes_and_goes_with_its_parent_is_created_over_it_and_deleted_to_its_default(
    engine: Engine, fake: FakeArm
) -> None:
    path = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct/blobServices/default"
    fake.resources[path.lower()] = {"id": path, "name": "default", "properties": {}}
    inputs = {"resourceGroupName": "rg", "accountName": "acct", "blobServicesName": "default"}

    created = engine.create("storage:BlobServiceProperties", {**inputs, "isVersioningEnabled": True})
    delete = provider_pb2.DeleteRequest(id=created.id, urn=urn("storage:BlobServiceProperties"))
    engine.stub.Delete(delete)
    fake.faults["PUT"] = [Answer(404, {"error": {"code": "ParentResourceNotFound", "message": "gone"}})]
    engine.stub.Delete(delete)

    assert [put.body for put in fake.sent("PUT")] == [{"properties": {"isVersioningEnabled": True}}, {}, {}]
    assert fake.sent("DELETE") == [], "ARM has none for it"


def test_a_type_within_another_has_its_properties_where_arm_has_them(engine: Engine, fake: FakeArm) -> None:
    link = {"name": "blob", "privateLinkServiceId": "/account", "groupIds": ["blob"]}
    inputs = {"resourceGroupName": "rg", "privateEndpointName": "pe", "location": "eastus", "subnet": {"id": "/subnet"}}

    created = engine.create("network:PrivateEndpoint", {**inputs, "privateLinkServiceConnections": [link]})

    (put,) = fake.sent("PUT")
    inner = {"privateLinkServiceId": "/account", "groupIds": ["blob"]}
    assert put.body["properties"] == {
        "subnet": {"id": "/subnet"},
        "privateLinkServiceConnections": [{"name": "blob", "properties": inner}],
    }
    assert unmarshal(created.properties)["privateLinkServiceConnections"] == [link]


def test_a_network_keeps_the_subnets_that_others_made(engine: Engine, fake: FakeArm) -> None:
    inputs = {"resourceGroupName": "rg", "virtualNetworkName": "net", "location": "eastus"}
    created = engine.create("network:VirtualNetwork", inputs)
    fake.resources[created.id.lower()]["properties"]["subnets"] = [{"name": "a", "properties": {"addressPrefix": "p"}}]

    news = marshal({**inputs, "tags": {"a": "b"}})
    kind = "network:VirtualNetwork"
    engine.stub.Update(provider_pb2.UpdateRequest(id=created.id, urn=urn(kind), news=news, olds=created.properties))

    assert fake.sent("PUT")[0].body["properties"] == {"subnets": []}
    assert fake.sent("PUT")[1].body["properties"]["subnets"][0]["name"] == "a"


def test_a_preview_calls_nobody(engine: Engine, fake: FakeArm) -> None:
    created = engine.create(ONLINE_ENDPOINT, {**ENDPOINT, "workspaceName": UNKNOWN}, preview=True)

    outputs = unmarshal(created.properties)
    assert created.id == ""
    assert outputs["properties"]["scoringUri"] is UNKNOWN
    assert outputs["location"] == "eastus"
    assert fake.requests == []


def test_a_failed_operation_leaves_the_resource_in_the_state(engine: Engine, fake: FakeArm) -> None:
    fake.operation = "async"
    fake.failure = {"code": "ResourceNotReady", "message": "User container has crashed"}
    request = provider_pb2.CreateRequest(urn=urn(ONLINE_ENDPOINT), properties=marshal(ENDPOINT))

    with pytest.raises(grpc.RpcError) as failed:
        engine.stub.Create(request)

    metadata = {item.key: item.value for item in failed.value.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert detail.id == ENDPOINT_ID
    assert unmarshal(detail.properties)["properties"]["authMode"] == "Key"
    assert unmarshal(detail.inputs) == ENDPOINT
    assert "User container has crashed" in detail.reasons[0]


def test_a_refused_create_leaves_nothing_in_the_state(engine: Engine, fake: FakeArm) -> None:
    fake.faults["PUT"] = [Answer(400, {"error": {"code": "BadRequest", "message": "no"}})]

    with pytest.raises(grpc.RpcError) as failed:
        engine.create(ONLINE_ENDPOINT, ENDPOINT)

    assert failed.value.details() == 'Status=400 Code="BadRequest" Message="no"'
    assert not failed.value.trailing_metadata()


def test_an_update_sends_everything_again(engine: Engine, fake: FakeArm) -> None:
    olds = engine.create(ONLINE_ENDPOINT, ENDPOINT).properties
    news = {**ENDPOINT, "properties": {"authMode": "Key", "traffic": {"blue": 100.0}}}

    updated = engine.stub.Update(
        provider_pb2.UpdateRequest(id=ENDPOINT_ID, urn=urn(ONLINE_ENDPOINT), olds=olds, news=marshal(news))
    )

    assert unmarshal(updated.properties)["properties"] == news["properties"]
    body = fake.sent("PUT")[-1].body
    assert body["properties"] == {"authMode": "Key", "traffic": {"blue": 100}}
    assert body["tags"] == ENDPOINT["tags"]


def test_the_preview_of_an_update_keeps_what_never_changes(engine: Engine, fake: FakeArm) -> None:
    olds = engine.create(ONLINE_ENDPOINT, ENDPOINT).properties
    requests = len(fake.requests)

    previewed = engine.stub.Update(
        provider_pb2.UpdateRequest(
            id=ENDPOINT_ID, urn=urn(ONLINE_ENDPOINT), olds=olds, news=marshal(ENDPOINT), preview=True
        )
    )

    outputs = unmarshal(previewed.properties)
    assert outputs["name"] == "ep"
    assert outputs["properties"]["scoringUri"] is UNKNOWN
    assert len(fake.requests) == requests


def test_a_refresh_carries_what_changed_in_azure_into_the_inputs(engine: Engine, fake: FakeArm) -> None:
    fake.computed = lambda resource: resource["properties"].setdefault("traffic", {})
    created = engine.create(ONLINE_ENDPOINT, ENDPOINT)
    fake.resources[ENDPOINT_ID.lower()]["properties"]["traffic"] = {"blue": 100}
    fake.resources[ENDPOINT_ID.lower()]["properties"]["scoringUri"] = "https://moved"

    read = engine.stub.Read(
        provider_pb2.ReadRequest(
            id=ENDPOINT_ID, urn=urn(ONLINE_ENDPOINT), properties=created.properties, inputs=marshal(ENDPOINT)
        )
    )

    inputs = unmarshal(read.inputs)
    assert inputs == {**ENDPOINT, "properties": {**ENDPOINT["properties"], "traffic": {"blue": 100.0}}}
    assert unmarshal(read.properties)["properties"]["scoringUri"] == "https://moved"


def test_a_refresh_of_what_could_not_be_read_before_takes_nothing_for_drift(engine: Engine, fake: FakeArm) -> None:
    created = engine.create(ONLINE_ENDPOINT, ENDPOINT)
    fake.resources[created.id.lower()]["kind"] = "Managed"

    read = engine.stub.Read(
        provider_pb2.ReadRequest(id=created.id, urn=urn(ONLINE_ENDPOINT), properties=None, inputs=marshal(ENDPOINT))
    )

    assert unmarshal(read.inputs) == ENDPOINT
    assert unmarshal(read.properties)["kind"] == "Managed"


def test_what_is_gone_is_read_as_gone(engine: Engine) -> None:
    request = provider_pb2.ReadRequest(id=ENDPOINT_ID, urn=urn(ONLINE_ENDPOINT), inputs=marshal(ENDPOINT))

    assert engine.stub.Read(request).id == ""


def test_an_import_makes_inputs_from_the_id_and_the_answer(engine: Engine, fake: FakeArm) -> None:
    body = {key: ENDPOINT[key] for key in ("location", "tags", "properties")}
    fake.resources[ENDPOINT_ID.lower()] = {
        **body,
        "id": ENDPOINT_ID,
        "name": "ep",
        "properties": {**ENDPOINT["properties"], "traffic": {}, "provisioningState": "Succeeded"},
    }

    read = engine.stub.Read(provider_pb2.ReadRequest(id=ENDPOINT_ID, urn=urn(ONLINE_ENDPOINT)))

    assert unmarshal(read.inputs) == ENDPOINT
    assert unmarshal(read.properties)["properties"]["provisioningState"] == "Succeeded"


def test_the_import_of_a_foreign_id_is_refused(engine: Engine, fake: FakeArm) -> None:
    fake.resources[GROUP.lower()] = {"id": GROUP, "location": "eastus"}

    request = provider_pb2.ReadRequest(id=GROUP, urn=urn(ONLINE_ENDPOINT))

    assert "does not match expected pattern" in refusal(engine.stub.Read, request)


def test_an_address_is_no_id(engine: Engine) -> None:
    request = provider_pb2.ReadRequest(id="https://elsewhere.example/subscriptions/x", urn=urn(ONLINE_ENDPOINT))

    assert "is no id of ARM's" in refusal(engine.stub.Read, request)


def test_an_imported_role_assignment_knows_its_scope(engine: Engine, fake: FakeArm) -> None:
    id = f"{WORKSPACE}/providers/Microsoft.Authorization/roleAssignments/guid"
    fake.resources[id.lower()] = {"id": id, "properties": {"principalId": "p", "roleDefinitionId": "r"}}

    read = engine.stub.Read(provider_pb2.ReadRequest(id=id, urn=urn("authorization:RoleAssignment")))

    assert unmarshal(read.inputs) == {
        "scope": WORKSPACE,
        "roleAssignmentName": "guid",
        "principalId": "p",
        "roleDefinitionId": "r",
    }


def test_a_vaults_access_policies_are_kept_if_the_program_does_not_name_them(engine: Engine, fake: FakeArm) -> None:
    created = engine.create("keyvault:Vault", VAULT)
    assert fake.sent("PUT")[0].body["properties"]["accessPolicies"] == []
    policies = [{"objectId": "o", "tenantId": "t", "permissions": {}}]
    fake.resources[created.id.lower()]["properties"]["accessPolicies"] = policies

    read = engine.stub.Read(
        provider_pb2.ReadRequest(
            id=created.id, urn=urn("keyvault:Vault"), properties=created.properties, inputs=marshal(VAULT)
        )
    )
    engine.stub.Update(
        provider_pb2.UpdateRequest(
            id=created.id, urn=urn("keyvault:Vault"), olds=read.properties, news=marshal({**VAULT, "tags": {"a": "b"}})
        )
    )

    assert "accessPolicies" not in unmarshal(read.inputs)["properties"]
    assert fake.sent("PUT")[-1].body["properties"]["accessPolicies"] == policies


def test_a_datastores_skip_validation_is_a_query_parameter(engine: Engine, fake: FakeArm) -> None:
    inputs = {"resourceGroupName": "rg", "workspaceName": "ws", "name": "ds", "skipValidation": True}

    engine.create("machinelearningservices:Datastore", {**inputs, "properties": {"datastoreType": "AzureBlob"}})

    (put,) = fake.sent("PUT")
    assert put.query == {"api-version": "2025-12-01", "skipValidation": "true"}
    assert put.body == {"properties": {"datastoreType": "AzureBlob"}}


def test_the_default_location_is_the_resource_groups_asked_once(engine: Engine, fake: FakeArm) -> None:
    fake.resources[GROUP.lower()] = {"id": GROUP, "location": "norwayeast"}
    inputs = {name: value for name, value in ENDPOINT.items() if name != "location"}

    located = [unmarshal(engine.check(ONLINE_ENDPOINT, inputs).inputs)["location"] for _ in range(2)]

    assert located == ["norwayeast", "norwayeast"]
    assert len(fake.requests) == 1


def test_the_configured_location_comes_before_the_resource_groups(engine: Engine, fake: FakeArm) -> None:
    variables = {"azure-native:config:location": "westus"}
    engine.stub.Configure(provider_pb2.ConfigureRequest(variables=variables))
    inputs = {name: value for name, value in ENDPOINT.items() if name != "location"}

    assert unmarshal(engine.check(ONLINE_ENDPOINT, inputs).inputs)["location"] == "westus"
    assert fake.requests == []


def test_the_location_of_an_unknown_group_is_unknown(engine: Engine) -> None:
    inputs = {**ENDPOINT, "resourceGroupName": UNKNOWN}
    del inputs["location"]

    checked = engine.check(ONLINE_ENDPOINT, inputs)

    assert unmarshal(checked.inputs)["location"] is UNKNOWN
    assert not checked.failures


def test_check_reports_all_failures(engine: Engine) -> None:
    checked = engine.check(ONLINE_ENDPOINT, {**ENDPOINT, "properties": {"traffic": "all"}})

    assert [failure.reason for failure in checked.failures] == [
        "missing required property 'properties.authMode'",
        "'properties.traffic' should be of type 'object' but got a string",
    ]


def test_diff_tells_paths_kinds_and_replacement(engine: Engine) -> None:
    old = {**ENDPOINT, "azureApiVersion": "2025-12-01"}
    new = {**old, "location": "westus", "tags": {"team": "b"}}

    diff = engine.stub.Diff(
        provider_pb2.DiffRequest(urn=urn(ONLINE_ENDPOINT), old_inputs=marshal(old), news=marshal(new))
    )

    assert diff.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(diff.replaces) == ["location"]
    assert diff.deleteBeforeReplace
    assert diff.detailedDiff["location"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE
    assert diff.detailedDiff["tags.team"].kind == provider_pb2.PropertyDiff.UPDATE


def invoke(engine: Engine, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
    request = provider_pb2.InvokeRequest(tok=f"azure-native:{token}", args=marshal(arguments))
    return unmarshal(getattr(engine.stub.Invoke(request), "return"))


def test_the_client_configuration_is_who_the_token_says(engine: Engine) -> None:
    assert invoke(engine, "authorization:getClientConfig", {}) == {
        "clientId": "client",
        "objectId": "object",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": "tenant",
    }
    assert invoke(engine, "authorization:getClientToken", {})["token"].startswith("e30.")


@pytest.mark.parametrize(
    ("token", "arguments", "path", "body"),
    [
        ("listOnlineEndpointKeys", {"endpointName": "ep"}, "/onlineEndpoints/ep/listKeys", {}),
        ("listBatchEndpointKeys", {"endpointName": "ep"}, "/batchEndpoints/ep/listkeys", {}),
        ("getOnlineEndpointToken", {"endpointName": "ep"}, "/onlineEndpoints/ep/token", {}),
        ("listWorkspaceKeys", {}, "/listKeys", {}),
        (
            "getOnlineDeploymentLogs",
            {"endpointName": "ep", "deploymentName": "blue", "tail": 5.0, "containerType": "InferenceServer"},
            "/onlineEndpoints/ep/deployments/blue/getLogs",
            {"tail": 5, "containerType": "InferenceServer"},
        ),
    ],
)
def test_functions_post_to_their_action(
    engine: Engine, fake: FakeArm, token: str, arguments: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    fake.actions[path.split("/")[-1]] = {"primaryKey": "k", "accessToken": "t", "content": "log", "userStorageKey": "u"}

    result = invoke(
        engine,
        f"machinelearningservices:{token}",
        {"resourceGroupName": "rg", "workspaceName": "ws", **arguments},
    )

    assert len(result) == 1, "only what the function's type has comes back"
    (post,) = fake.sent("POST")
    assert post.path == WORKSPACE + path
    assert post.body == body


def test_storage_keys_are_listed(engine: Engine, fake: FakeArm) -> None:
    fake.actions["listKeys"] = {"keys": [{"keyName": "key1", "value": "v", "permissions": "FULL"}]}

    result = invoke(engine, "storage:listStorageAccountKeys", {"resourceGroupName": "rg", "accountName": "acct"})

    assert result == {"keys": [{"keyName": "key1", "value": "v", "permissions": "FULL"}]}


def test_a_get_function_yields_the_resources_outputs_and_its_id(engine: Engine) -> None:
    engine.create(ONLINE_ENDPOINT, ENDPOINT)
    arguments = {"resourceGroupName": "rg", "workspaceName": "ws", "endpointName": "ep"}

    result = invoke(engine, "machinelearningservices:getOnlineEndpoint", arguments)

    assert result["id"] == ENDPOINT_ID
    assert result["properties"] == ENDPOINT["properties"]
    assert result["azureApiVersion"] == "2025-12-01"


def test_what_it_does_not_know_it_says(engine: Engine) -> None:
    create = provider_pb2.CreateRequest(urn=urn("network:Firewall"))
    call = provider_pb2.InvokeRequest(tok="azure-native:network:getFirewall")

    assert "azure-native:network:Firewall not found" in refusal(engine.stub.Create, create)
    assert "azure-native:network:getFirewall not found" in refusal(engine.stub.Invoke, call)


def test_after_a_cancellation_a_waiting_create_ends_and_keeps_its_resource(engine: Engine, fake: FakeArm) -> None:
    fake.operation = "async"
    fake.polls = 10**6
    request = provider_pb2.CreateRequest(urn=urn(ONLINE_ENDPOINT), properties=marshal(ENDPOINT))
    running = engine.stub.Create.future(request)
    while not fake.sent("PUT"):
        time.sleep(0.01)

    engine.stub.Cancel(empty_pb2.Empty())

    assert isinstance(running.exception(timeout=20), grpc.RpcError)
    assert "cancelled" in running.details()
    assert "grpc-status-details-bin" in {key for key, _ in running.trailing_metadata()}
