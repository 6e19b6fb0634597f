"""Models, environments, code, data and components as the control plane keeps them, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from localazure.locks import KeyedLocks
from localazure.providers.ml.asset_kinds import flavors_of
from localazure.providers.ml.names import find_asset
from tests.localazure.providers import conftest
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

URI = "azureml://datastores/workspaceblobstore/paths/x"
CONDA = "dependencies: [python=3.11]"
DATA = {"dataUri": URI, "dataType": "uri_folder"}
CONTEXT = {"contextUri": "https://storage1.blob.core.windows.net/c/context/"}
ROUTE = {"path": "/score", "port": 5001}

VERSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "model": ("models/m/versions/1", {"modelUri": URI, "tags": {"a": "b"}, "flavors": {"f": {"data": {"k": "v"}}}}),
    "environment": (
        "environments/e/versions/1",
        {"image": "i", "condaFile": CONDA, "inferenceConfig": {"scoringRoute": ROUTE}},
    ),
    "environment of an image": ("environments/e/versions/1", {"image": "i", "autoRebuild": "onbaseimageupdate"}),
    "environment of a build": ("environments/e/versions/1", {"build": CONTEXT}),
    "anonymous environment": ("environments/e/versions/abc", {"image": "i", "isAnonymous": True}),
    "code": ("codes/c/versions/1", {"codeUri": "https://storage1.blob.core.windows.net/c/", "isAnonymous": True}),
    "data": ("data/d/versions/1", {**DATA, "description": "some"}),
    "table": ("data/d/versions/1", {**DATA, "dataType": "MLTable", "referencedUris": [URI]}),
    "component": ("components/c/versions/1", {"componentSpec": {"type": "command", "command": "ls"}}),
    "model container": ("models/m", {"description": "all of them", "tags": {"a": "b"}}),
    "data container": ("data/d", {"dataType": "uri_file", "isArchived": True}),
}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for the tests that leave nothing behind or use names of their own."""
    with booted(tmp_path_factory.mktemp("assets") / "home", FakeServing()) as made:
        made.prepare()
        yield made


def put(cloud: Cloud, path: str, **properties: Any) -> httpx.Response:
    return cloud.send("PUT", f"{cloud.workspace}/{path}", {"properties": properties})


def listed(cloud: Cloud, path: str, **query: str) -> list[str]:
    text = "&".join(f"{name}={quote(value)}" for name, value in {"api-version": "2025-12-01", **query}.items())
    return [each["name"] for each in cloud.get(f"{cloud.workspace}/{path}?{text}")["value"]]


# Shapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_put_of_what_get_returned_changes_nothing(cloud: Cloud, kind: str) -> None:
    path, properties = VERSIONS[kind]
    assert put(cloud, path, **properties).status_code == 201
    cloud.unchanged(f"{cloud.workspace}/{path}")


def test_a_new_version_is_created_with_a_location_and_an_existing_one_is_not(standing: Cloud) -> None:
    for path, properties, again in (
        ("models/located/versions/1", {"modelUri": URI}, 200),
        ("codes/located/versions/1", {"codeUri": "https://storage1.blob.core.windows.net/c/"}, 200),
        ("environments/located/versions/1", {"image": "i"}, 201),
    ):
        first, second = put(standing, path, **properties), put(standing, path, **properties)
        assert (first.status_code, second.status_code) == (201, again), path
        assert f"/{path}?api-version=" in first.headers["location"]
        assert ("location" in second.headers) == (again == 201), "recorded: environments answer 201 each time"


def test_each_version_of_the_api_shows_what_it_knows(standing: Cloud) -> None:
    put(standing, "environments/shown/versions/1", image="i")
    path = f"{standing.workspace}/environments/shown/versions/1?api-version="
    old, preview, stable = (
        standing.get(path + version)["properties"] for version in ("2022-05-01", "2023-04-01-preview", "2025-12-01")
    )
    assert old == {
        "description": None,
        "tags": {},
        "properties": {},
        "isArchived": False,
        "isAnonymous": False,
        "environmentType": "UserCreated",
        "image": "i",
        "condaFile": "",
        "osType": "Linux",
    }, "as recorded in 2023: what an environment does not have is absent"
    added = {"autoRebuild": "Disabled", "provisioningState": "Succeeded", "stage": "Development"}
    assert stable == {**old, **added, "properties": {"azureml.labels": "latest"}}
    assert preview == {**stable, "autoDeleteSetting": None, "intellectualProperty": None}


def test_what_was_sent_as_anonymous_code_comes_back_as_not(standing: Cloud) -> None:
    answer = put(standing, "codes/anon/versions/1", codeUri="u", isAnonymous=True, properties={"hash_version": 202208})
    own = answer.json()["properties"]
    assert own["isAnonymous"] is False
    assert own["properties"] == {"hash_version": "202208"}, "a number comes back as text"


def test_the_stage_is_kept_by_a_put_that_does_not_name_it(standing: Cloud) -> None:
    assert put(standing, "models/staged/versions/1", modelUri=URI, stage="Production").status_code == 201
    archived = put(standing, "models/staged/versions/1", modelUri=URI, isArchived=True).json()["properties"]
    assert (archived["stage"], archived["isArchived"]) == ("Production", True), "the client archives without a stage"


# Containers ----------------------------------------------------------------------------------------------------------


def test_a_container_counts_its_versions(cloud: Cloud) -> None:
    def numbers() -> tuple[Any, ...]:
        own = cloud.get(f"{cloud.workspace}/models/counted")["properties"]
        return own["latestVersion"], own["nextVersion"]

    for version in ("3", "1", "text"):
        put(cloud, f"models/counted/versions/{version}", modelUri=URI)
    assert numbers() == ("text", "4"), "the latest is the one created last; the next is above all numbers"
    put(cloud, "models/counted/versions/3", modelUri=URI, tags={"a": "b"})
    assert numbers() == ("text", "4"), "an update makes no version the latest"
    assert cloud.send("DELETE", f"{cloud.workspace}/models/counted/versions/text").status_code == 200
    assert numbers() == ("1", "4")
    for version in ("1", "3"):
        cloud.send("DELETE", f"{cloud.workspace}/models/counted/versions/{version}")
    assert numbers() == (None, "4"), "a number is not given twice"
    put(cloud, "models/counted/versions/2147483647", modelUri=URI)
    assert numbers() == ("2147483647", "2147483648"), "a version made from a hash counts too"


def test_the_label_latest_goes_with_the_latest_version(cloud: Cloud) -> None:
    def labels(version: str) -> str:
        return cloud.get(f"{cloud.workspace}/environments/e/versions/{version}")["properties"]["properties"][
            "azureml.labels"
        ]

    for version in ("1", "2"):
        put(cloud, f"environments/e/versions/{version}", image="i")
    assert (labels("1"), labels("2")) == ("", "latest")
    put(cloud, "environments/e/versions/1", image="i", properties={"azureml.labels": "latest"})
    assert labels("1") == "", "a client cannot give itself the label"
    cloud.send("DELETE", f"{cloud.workspace}/environments/e/versions/2")
    assert labels("1") == "latest"


def test_anonymous_assets_are_in_no_list(standing: Cloud) -> None:
    assert put(standing, "environments/Anonymous/versions/abc", image="i", isAnonymous=True).status_code == 201
    own = standing.get(f"{standing.workspace}/environments/Anonymous/versions/abc")["properties"]
    assert (own["stage"], own["properties"]) == ("Logged", {"azureml.labels": ""})
    assert listed(standing, "environments/Anonymous/versions") == []
    assert "Anonymous" not in listed(standing, "environments", listViewType="All")
    put(standing, "environments/Anonymous/versions/1", image="i")
    assert "Anonymous" in listed(standing, "environments")


def test_what_is_deleted_is_gone_with_what_is_below_it(standing: Cloud) -> None:
    put(standing, "data/gone/versions/1", **DATA)
    container = f"{standing.workspace}/data/gone"
    assert [standing.send("DELETE", container).status_code for _ in range(2)] == [200, 204]
    text = standing.refusal(standing.send("GET", f"{container}/versions/1"), 404)
    assert "DataNotFound" in text
    assert "Data version with name: gone and version: 1 not found." in text


def test_a_missing_container_is_answered_as_recorded(standing: Cloud) -> None:
    error = standing.send("GET", f"{standing.workspace}/models/none").json()["error"]
    assert (error["code"], error["message"]) == ("UserError", "The specified resource was not found.")
    (detail,) = error["details"]
    assert detail == {
        "code": "ModelNotFound",
        "message": "Model container with name: none not found.",
        "details": [],
        "additionalInfo": [],
    }


# Lists ---------------------------------------------------------------------------------------------------------------


def test_versions_are_listed_as_the_query_asks(cloud: Cloud) -> None:
    for number in range(1, 6):
        tags = {"odd": "yes", "n": str(number)} if number % 2 else {"n": str(number)}
        put(
            cloud,
            f"models/many/versions/{number}",
            modelUri=URI,
            tags=tags,
            properties=tags,
            description=f"d{number}",
            stage=f"s{number}",
        )
    path = "models/many/versions"
    assert listed(cloud, path) == list("54321"), "newest first"
    assert listed(cloud, path, **{"$orderBy": "createdtime asc"}) == list("12345")
    assert listed(cloud, path, **{"$orderBy": "createdtime desc", "$top": "2"}) == list("54")
    assert listed(cloud, path, offset="3") == list("21")
    assert listed(cloud, path, **{"$skip": "4"}) == ["1"]
    assert listed(cloud, path, tags="odd") == list("531")
    assert listed(cloud, path, tags="odd=yes,n=3") == ["3"]
    assert listed(cloud, path, properties="n=2") == ["2"]
    assert listed(cloud, path, version="4") == ["4"]
    assert listed(cloud, path, description="d5") == ["5"]
    assert listed(cloud, path, stage="s1") == ["1"]


def test_data_is_listed_by_its_tags(standing: Cloud) -> None:
    for number in ("1", "2"):
        put(standing, f"data/tagged/versions/{number}", **DATA, tags={"n": number})
    assert listed(standing, "data/tagged/versions", **{"$tags": "n=2"}) == ["2"]


def test_a_long_list_comes_in_pages(cloud: Cloud) -> None:
    for number in range(1, 104):
        put(cloud, f"codes/long/versions/{number}", codeUri="u")
    first = cloud.get(f"{cloud.workspace}/codes/long/versions?api-version=2025-12-01&$top=102")
    second = cloud.get(first["nextLink"])
    assert [len(page["value"]) for page in (first, second)] == [100, 2]
    assert "nextLink" not in second
    names = [each["name"] for page in (first, second) for each in page["value"]]
    assert names == [str(number) for number in range(103, 1, -1)]
    small = cloud.get(f"{cloud.workspace}/models?api-version=2025-12-01&count=1")
    assert len(small["value"]) == 1
    assert "count=1" in small["nextLink"]


def test_archived_assets_are_listed_on_request_only(cloud: Cloud) -> None:
    def views(path: str) -> list[list[str]]:
        return [listed(cloud, path, listViewType=view) for view in ("ActiveOnly", "archivedonly", "All")]

    put(cloud, "data/kept/versions/1", **DATA)
    put(cloud, "data/kept/versions/2", **DATA, isArchived=True)
    assert views("data/kept/versions") == [["1"], ["2"], ["2", "1"]]
    put(cloud, "data/kept", dataType="uri_folder", isArchived=True)
    assert views("data") == [[], ["kept"], ["kept"]]
    assert views("data/kept/versions") == [[], ["2", "1"], ["2", "1"]], "all versions go with their container"
    put(cloud, "data/kept", isArchived=False)
    assert views("data/kept/versions") == [["1"], ["2"], ["2", "1"]]


def test_the_latest_version_of_a_reference_is_one_that_the_list_shows(standing: Cloud) -> None:
    put(standing, "models/named/versions/1", modelUri=URI)
    put(standing, "models/named/versions/2", modelUri=URI, isArchived=True)
    put(standing, "models/named/versions/3", modelUri=URI, isAnonymous=True)
    inner = standing.azure._cloud
    workspace = inner.store.get(standing.workspace)
    assert workspace is not None
    assert find_asset(inner, workspace, "azureml:named@latest", "models", "model").name == "1"


def test_code_is_found_by_its_hash_under_any_name(standing: Cloud) -> None:
    put(standing, "codes/hashed/versions/1", codeUri="u", properties={"hash_sha256": "f00", "hash_version": 202208})
    for query, found in (
        ({"hash": "f00"}, 1),
        ({"hash": "f00", "hashVersion": "202208"}, 1),
        ({"hash": "f00", "hashVersion": "202107"}, 0),
        ({"hash": "f"}, 0),
    ):
        assert len(listed(standing, "codes/any-guid/versions", **query)) == found, query
    assert len(listed(standing, "models/any/versions", hash="f00")) == 0, "models are not looked up so"


# Refusals ------------------------------------------------------------------------------------------------------------

PATHS = "Asset paths cannot be updated."
REGISTERED = "Environment x with version 1 is already registered and cannot be changed."


@pytest.mark.parametrize(
    ("kind", "before", "change", "said"),
    [
        ("models", {"modelUri": URI}, {"modelUri": "other"}, PATHS),
        ("models", {"modelUri": URI}, {"modelType": "mlflow_model"}, "'properties.modelType'"),
        ("models", {"modelUri": URI, "isAnonymous": True}, {"isAnonymous": False}, "'properties.isAnonymous'"),
        ("codes", {"codeUri": "u"}, {"codeUri": "other"}, PATHS),
        ("data", DATA, {"dataUri": "other"}, PATHS),
        ("data", DATA, {"dataType": "uri_file"}, "'properties.dataType'"),
        (
            "components",
            {"componentSpec": {"type": "command"}},
            {"componentSpec": {"type": "pipeline"}},
            "componentSpec",
        ),
        ("environments", {"image": "i"}, {"image": "other"}, REGISTERED),
        ("environments", {"image": "i"}, {"condaFile": CONDA}, REGISTERED),
        ("environments", {"image": "i"}, {"osType": "Windows"}, REGISTERED),
        ("environments", {"image": "i"}, {"inferenceConfig": {"scoringRoute": ROUTE}}, REGISTERED),
        ("environments", {"build": CONTEXT}, {"build": {**CONTEXT, "dockerfilePath": "Other"}}, REGISTERED),
    ],
)
def test_a_version_stays_what_it_was_registered_as(
    cloud: Cloud, kind: str, before: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    path = f"{kind}/x/versions/1"
    put(cloud, path, **before)
    kept = cloud.get(f"{cloud.workspace}/{path}")
    answer = put(cloud, path, **{**before, **change})
    assert said in json.loads(cloud.refusal(answer, 409))["error"]["message"]
    assert cloud.get(f"{cloud.workspace}/{path}") == kept
    told = put(cloud, path, **before, description="new", tags={"a": "b"})
    assert told.json()["properties"]["tags"] == {"a": "b"}, "what is said about it may change"


@pytest.mark.parametrize(("kind", "body"), [("models", {"modelUri": URI}), ("data", DATA)])
def test_what_is_registered_stays_so_where_the_client_uses_its_content_without_a_name(
    cloud: Cloud, kind: str, body: dict[str, Any]
) -> None:
    path = f"{kind}/x/versions/1"
    put(cloud, path, **body)
    again = put(cloud, path, **body, isAnonymous=True)
    assert (again.status_code, again.json()["properties"]["isAnonymous"]) == (200, False)
    assert [each["name"] for each in cloud.get(f"{cloud.workspace}/{kind}/x/versions")["value"]] == ["1"]


@pytest.mark.parametrize(
    ("path", "properties", "status", "said"),
    [
        ("models/x/versions/1", {}, 400, "'properties.modelUri' is required"),
        ("models/x/versions/1", {"modelUri": ""}, 400, "'properties.modelUri' is empty"),
        (
            "models/x/versions/1",
            {"modelUri": URI, "modelType": "pickle"},
            400,
            "custom_model, mlflow_model, triton_model",
        ),
        ("models/x/versions/1", {"modelUri": URI, "flavors": {"f": 1}}, 400, "properties.flavors.f"),
        ("models/x/versions/1", {"modelUri": "azureml://registries/r/models/m/versions/1"}, 501, "registries"),
        ("environments/x/versions/1", {}, 400, "'properties.image' or 'properties.build' is required"),
        ("environments/x/versions/1", {"image": "i", "build": CONTEXT}, 400, "exclude each other"),
        ("environments/x/versions/1", {"condaFile": CONDA, "build": CONTEXT}, 400, "properties.condaFile"),
        (
            "environments/x/versions/1",
            {"build": {"dockerfilePath": "D"}},
            400,
            "'properties.build.contextUri' is required",
        ),
        ("environments/x/versions/1", {"image": "i", "osType": "BSD"}, 400, "Linux, Windows"),
        ("environments/x/versions/1", {"image": "i", "condaFile": "- a"}, 400, "a mapping with 'dependencies'"),
        ("codes/x/versions/1", {}, 400, "'properties.codeUri' is required"),
        ("data/x/versions/1", {"dataType": "uri_file"}, 400, "'properties.dataUri' is required"),
        ("data/x/versions/1", {"dataUri": URI}, 400, "'properties.dataType' is required"),
        ("data/x/versions/1", {**DATA, "dataType": "csv"}, 400, "uri_file, uri_folder, mltable"),
        ("data/x", {}, 400, "'properties.dataType' is required"),
        ("components/x/versions/1", {}, 400, "'properties.componentSpec' is required"),
        ("models/-x/versions/1", {"modelUri": URI}, 400, "255 letters"),
    ],
)
def test_a_version_that_says_something_wrong_is_refused(
    standing: Cloud, path: str, properties: dict[str, Any], status: int, said: str
) -> None:
    assert said in standing.refusal(put(standing, path, **properties), status)
    assert standing.send("GET", f"{standing.workspace}/{path}").status_code == 404, "nothing was kept"


def test_all_versions_of_data_are_of_one_type(standing: Cloud) -> None:
    put(standing, "data/typed/versions/1", **DATA)
    said = "of type uri_folder and cannot become mltable"
    assert said in standing.refusal(put(standing, "data/typed/versions/2", dataUri=URI, dataType="mltable"), 409)
    assert said in standing.refusal(put(standing, "data/typed", dataType="mltable"), 409)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("models?listViewType=Some", 400, "ActiveOnly, ArchivedOnly, All"),
        ("models/custom/versions?$orderBy=name", 400, "createdtime asc"),
        ("models/custom/versions?$orderBy=createdtime%20up", 400, "createdtime desc"),
        ("models/custom/versions?feed=azureml", 501, "feed 'azureml'"),
    ],
)
def test_a_list_that_there_is_not_is_refused(standing: Cloud, path: str, status: int, said: str) -> None:
    assert said in standing.refusal(standing.send("GET", f"{standing.workspace}/{path}"), status)


@pytest.mark.parametrize("action", ["publish", "startPendingUpload"])
def test_what_workspaces_do_not_do_with_models_is_a_501_that_names_it(standing: Cloud, action: str) -> None:
    answer = standing.send("POST", f"{standing.workspace}/models/custom/versions/1/{action}", {})
    assert action in standing.refusal(answer, 501)


def test_an_upload_of_an_unknown_type_is_refused(standing: Cloud) -> None:
    path = f"{standing.workspace}/codes/new/versions/1/startPendingUpload"
    answer = standing.send("POST", path, {"pendingUploadType": "Ftp"})
    assert "TemporaryBlobReference" in standing.refusal(answer, 400)


# What an MLflow model says of itself ----------------------------------------------------------------------------------

MLMODEL = "flavors:\n  sklearn: {pickled_model: model.pkl, code: null}\n  python_function: {env: {conda: conda.yaml}}\n"


class Files(conftest.FakeBlobs):
    """Blobs of which some can be read."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def list(self, container: str, prefix: str = "") -> list[str]:
        return [name for name in self.files if name.startswith(prefix)]

    def download_prefix(self, container: str, prefix: str, to: Path, wanted: object = None) -> list[Path]:
        (to / "file").write_text(self.files[prefix])
        return [to / "file"]


@pytest.mark.parametrize(
    ("files", "flavors"),
    [
        (
            {"x/MLmodel": MLMODEL},
            {
                "sklearn": {"data": {"pickled_model": "model.pkl"}},
                "python_function": {"data": {"env": '{"conda": "conda.yaml"}'}},
            },
        ),
        ({"x/MLmodel": "flavors: [a]"}, {"sent": {"data": {}}}),
        ({"x/MLmodel": "a: ["}, {"sent": {"data": {}}}),
        ({}, {"sent": {"data": {}}}),
    ],
)
def test_the_flavors_of_an_mlflow_model_are_those_of_its_file(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], flavors: dict[str, Any]
) -> None:
    monkeypatch.setattr(conftest.FakeFleet, "blobs", lambda self, account: Files(files))
    answer = put(cloud, "models/f/versions/1", modelUri=URI, modelType="mlflow_model", flavors={"sent": {}})
    assert answer.json()["properties"]["flavors"] == flavors
    cloud.unchanged(f"{cloud.workspace}/models/f/versions/1")


@pytest.mark.parametrize("uri", ["https://[", "wasbs://nowhere", "azureml://datastores/none/paths/x", "runs:/a/b"])
def test_an_mlflow_model_whose_files_cannot_be_read_is_registered_as_it_is(standing: Cloud, uri: str) -> None:
    name = uri.partition(":")[0] + str(len(uri))
    answer = put(standing, f"models/{name}/versions/1", modelUri=uri, modelType="mlflow_model")
    assert answer.status_code == 201, answer.text
    assert answer.json()["properties"]["flavors"] == {}


def test_a_file_that_is_no_mlmodel_has_no_flavors() -> None:
    with pytest.raises(ValueError, match="names no flavors"):
        flavors_of("just text")


# Locks ---------------------------------------------------------------------------------------------------------------


def test_locks_are_forgotten_when_nobody_holds_them() -> None:
    locks = KeyedLocks()
    with locks.hold("a"), locks.hold("b"):
        assert len(locks) == 2
    assert len(locks) == 0
