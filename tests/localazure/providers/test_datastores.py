"""Datastores over ARM: every type, its secrets, the query of lists, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud

OWN = {"workspaceblobstore", "workspaceartifactstore", "workspacefilestore", "workspaceworkingdirectory"}
PRINCIPAL = {"clientId": "11111111-0000-4000-8000-000000000000", "tenantId": "22222222-0000-4000-8000-000000000000"}


def credentials(kind: str, **secret: str) -> dict[str, Any]:
    shown = {"Certificate": {**PRINCIPAL, "thumbprint": "AB12"}, "ServicePrincipal": PRINCIPAL}.get(kind, {})
    block = {"credentialsType": kind, **shown}
    return {**block, "secrets": {"secretsType": kind, **secret}} if secret else block


def blob(**properties: Any) -> dict[str, Any]:
    own = {"datastoreType": "AzureBlob", "accountName": "elsewhere", "containerName": "inbox"}
    return {**own, "credentials": credentials("AccountKey", key="a2V5"), **properties}


KINDS: dict[str, dict[str, Any]] = {
    "blob-key": blob(),
    "blob-sas": blob(credentials=credentials("Sas", sasToken="?sv=2024&sig=abc")),
    "blob-none": blob(credentials=credentials("None")),
    "file": {
        "datastoreType": "AzureFile",
        "accountName": "elsewhere",
        "fileShareName": "share",
        "credentials": credentials("AccountKey", key="a2V5"),
    },
    "gen2": {
        "datastoreType": "AzureDataLakeGen2",
        "accountName": "elsewhere",
        "filesystem": "lake",
        "credentials": credentials("ServicePrincipal", clientSecret="hush"),
    },
    "gen1": {
        "datastoreType": "AzureDataLakeGen1",
        "storeName": "old",
        "credentials": credentials("Certificate", certificate="pem"),
    },
    "onelake": {
        "datastoreType": "OneLake",
        "oneLakeWorkspaceName": "fabric",
        "artifact": {"artifactType": "LakeHouse", "artifactName": "house"},
        "credentials": credentials("None"),
    },
}
SECRETS = {"blob-key": "a2V5", "blob-sas": "?sv=2024&sig=abc", "file": "a2V5", "gen2": "hush", "gen1": "pem"}


def store(cloud: Cloud, name: str = "own") -> str:
    return f"{cloud.workspace}/datastores/{name}"


def put(cloud: Cloud, name: str, properties: dict[str, Any]) -> Any:
    return cloud.send("PUT", f"{store(cloud, name)}{API}&skipValidation=true", {"properties": properties})


def names(cloud: Cloud, query: str) -> list[str]:
    return [each["name"] for each in cloud.get(f"{cloud.workspace}/datastores{API}&{query}")["value"]]


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_is_stored_without_its_secret_and_putting_what_was_read_changes_nothing(
    cloud: Cloud, kind: str
) -> None:
    first = put(cloud, "own", KINDS[kind])
    assert first.status_code == 201, first.text
    read = cloud.get(store(cloud))
    assert read["type"] == "Microsoft.MachineLearningServices/workspaces/datastores"
    assert "secrets" not in read["properties"]["credentials"], "a GET never shows a secret"
    sent = {name: value for name, value in KINDS[kind].items() if name != "credentials"}
    assert sent.items() <= read["properties"].items()
    again = put(cloud, "own", read["properties"])
    assert again.status_code == 200, again.text
    assert cloud.get(store(cloud))["properties"] == read["properties"]
    if secret := SECRETS.get(kind):
        listed = cloud.send("POST", f"{store(cloud)}/listSecrets", {}).json()
        assert secret in listed.values(), "the secret outlives an update that does not send it"
        assert listed["secretsType"] == read["properties"]["credentials"]["credentialsType"]


def test_azure_fills_in_endpoint_protocol_and_identity(cloud: Cloud) -> None:
    put(cloud, "own", KINDS["blob-key"])
    found = cloud.get(store(cloud))["properties"]
    assert (found["endpoint"], found["protocol"]) == ("core.windows.net", "https")
    assert found["serviceDataAccessAuthIdentity"] == "None"
    put(cloud, "lake", {**KINDS["gen2"]})
    lake = cloud.get(store(cloud, "lake"))["properties"]["credentials"]
    assert lake["authorityUrl"] == "https://login.microsoftonline.com"
    assert lake["resourceUrl"] == "https://storage.azure.com/"


def test_a_new_secret_takes_the_place_of_the_old_one(cloud: Cloud) -> None:
    put(cloud, "own", KINDS["blob-key"])
    assert put(cloud, "own", blob(credentials=credentials("AccountKey", key="bmV3"))).status_code == 200
    assert cloud.send("POST", f"{store(cloud)}/listSecrets").json() == {"secretsType": "AccountKey", "key": "bmV3"}
    assert put(cloud, "own", blob(credentials=credentials("Sas"))).status_code == 400, "another credential, no secret"


def test_a_store_without_credentials_has_no_secrets_in_the_live_services_words(cloud: Cloud) -> None:
    put(cloud, "own", KINDS["blob-none"])
    said = cloud.send("POST", f"{store(cloud)}/listSecrets", {"expirableSecret": True})
    assert said.status_code == 400
    assert said.json()["error"]["message"] == "No secrets for credentials of type None."


def test_a_secret_that_expires_is_a_sas_where_the_account_is_known(cloud: Cloud) -> None:
    secrets = f"{store(cloud, 'workspaceblobstore')}/listSecrets"
    assert cloud.send("POST", secrets).json()["secretsType"] == "AccountKey", "as older clients ask"
    asked = {"expirableSecret": True, "expireAfterHours": 1}
    listed = cloud.send("POST", secrets, asked).json()
    assert listed["secretsType"] == "Sas"
    assert listed["sasToken"].startswith("?")
    put(cloud, "own", KINDS["blob-key"])
    assert cloud.send("POST", f"{store(cloud)}/listSecrets", asked).json()["secretsType"] == "AccountKey"


@pytest.mark.parametrize("asked", [{"expireAfterHours": 0}, {"expireAfterHours": "1"}, {"expirableSecret": "yes"}])
def test_a_bad_request_for_secrets_is_refused(cloud: Cloud, asked: dict[str, Any]) -> None:
    answer = cloud.send("POST", f"{store(cloud, 'workspaceblobstore')}/listSecrets", asked)
    assert next(iter(asked)) in cloud.refusal(answer, 400)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "datastoreType"),
        ({**blob(), "datastoreType": "Hdfs"}, "must be one of"),
        ({**blob(), "accountName": None}, "properties.accountName"),
        ({**blob(), "containerName": None}, "properties.containerName"),
        ({**KINDS["file"], "fileShareName": None}, "properties.fileShareName"),
        ({**KINDS["gen2"], "filesystem": None}, "properties.filesystem"),
        ({**KINDS["gen1"], "storeName": None}, "properties.storeName"),
        ({**KINDS["onelake"], "artifact": {}}, "properties.artifact"),
        (blob(credentials=None), "properties.credentials"),
        (blob(credentials={}), "credentialsType"),
        (blob(credentials=credentials("AccountKey")), "secrets.key' is required"),
        (blob(credentials={**credentials("AccountKey", key="k"), "secrets": {"secretsType": "Sas"}}), "secretsType"),
        (blob(credentials=credentials("Certificate", certificate="pem")), "takes AccountKey, Sas, None"),
        ({**KINDS["gen2"], "credentials": {"credentialsType": "ServicePrincipal"}}, "credentials.clientId"),
        (blob(serviceDataAccessAuthIdentity="Mine"), "serviceDataAccessAuthIdentity"),
    ],
)
def test_a_datastore_that_lacks_something_is_refused_and_not_stored(
    cloud: Cloud, properties: dict[str, Any], said: str
) -> None:
    assert said in cloud.refusal(put(cloud, "own", properties), 400)
    assert cloud.send("GET", store(cloud)).status_code == 404


@pytest.mark.parametrize("name", ["has.dot", "-dash", "blank%20"])
def test_a_bad_name_is_refused(cloud: Cloud, name: str) -> None:
    assert "datastore name" in cloud.refusal(put(cloud, name, blob()), 400)


@pytest.mark.parametrize(
    "change", [{"containerName": "other"}, {"accountName": "other"}, {"endpoint": "x.net"}, {"protocol": "http"}]
)
def test_a_datastore_keeps_pointing_where_it_points(cloud: Cloud, change: dict[str, str]) -> None:
    put(cloud, "own", KINDS["blob-key"])
    assert "cannot become" in cloud.refusal(put(cloud, "own", blob(**change)), 400)
    assert "datastoreType" in cloud.refusal(put(cloud, "own", KINDS["gen2"]), 400)


def test_without_skip_validation_the_account_and_its_key_are_looked_for(cloud: Cloud) -> None:
    unknown = cloud.send("PUT", store(cloud), {"properties": blob()})
    assert "'elsewhere' does not exist" in cloud.refusal(unknown, 400)
    here = blob(accountName="storage1")
    assert "skipValidation=true" in cloud.refusal(cloud.send("PUT", store(cloud), {"properties": here}), 400)
    account = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1"
    key = cloud.send("POST", f"{account}/listKeys").json()["keys"][1]["value"]
    right = blob(accountName="storage1", credentials=credentials("AccountKey", key=key))
    assert cloud.send("PUT", store(cloud), {"properties": right}).status_code == 201
    asked = cloud.send("PUT", f"{store(cloud)}{API}&skipValidation=maybe", {"properties": right})
    assert "true or false" in cloud.refusal(asked, 400)


def test_the_default_is_the_services_choice_and_no_client_moves_it(cloud: Cloud) -> None:
    put(cloud, "own", blob(isDefault=True))
    assert cloud.get(store(cloud))["properties"]["isDefault"] is False
    assert names(cloud, "isDefault=true") == ["workspaceblobstore"]


@pytest.mark.parametrize("name", sorted(OWN))
def test_the_workspaces_own_datastores_cannot_be_deleted(cloud: Cloud, name: str) -> None:
    assert "cannot be deleted" in cloud.refusal(cloud.send("DELETE", store(cloud, name)), 400)
    assert cloud.send("GET", store(cloud, name)).status_code == 200


def test_a_datastore_is_deleted_once_and_then_is_not_there(cloud: Cloud) -> None:
    put(cloud, "own", blob())
    assert cloud.send("DELETE", store(cloud)).status_code == 200
    assert cloud.send("DELETE", store(cloud)).status_code == 204
    missing = cloud.send("GET", store(cloud))
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "UserError"


def test_a_list_is_what_the_query_asks_for(cloud: Cloud) -> None:
    for name in ("beta", "alpha"):
        put(cloud, name, blob())
    assert set(names(cloud, "count=30")) == OWN | {"alpha", "beta"}
    assert names(cloud, "names=alpha,beta,none") == ["beta", "alpha"], "oldest first where no order is asked for"
    assert names(cloud, "searchText=LPH") == ["alpha"]
    assert names(cloud, "searchText=a&isDefault=false&orderBy=name&orderByAsc=true")[:2] == ["alpha", "beta"]
    assert names(cloud, "orderBy=createdTime&orderByAsc=false")[0] == "alpha"
    page = cloud.get(f"{cloud.workspace}/datastores{API}&count=2&orderBy=name&orderByAsc=true")
    assert [each["name"] for each in page["value"]] == ["alpha", "beta"]
    after = cloud.get(page["nextLink"])
    assert after["value"][0]["name"] == "workspaceartifactstore"


@pytest.mark.parametrize("query", ["orderBy=size", "isDefault=perhaps", "orderBy=name&orderByAsc=up", "count=0"])
def test_a_list_that_cannot_be_made_is_refused(cloud: Cloud, query: str) -> None:
    assert "must be" in cloud.refusal(cloud.send("GET", f"{cloud.workspace}/datastores{API}&{query}"), 400)
