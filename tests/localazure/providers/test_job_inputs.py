"""What an invocation of a batch endpoint may say of its inputs, its output and its settings, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from localazure.arm.store import Resource
from localazure.providers.ml.content import expression
from localazure.providers.ml.job_inputs import places
from localazure.providers.ml.names import guid
from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.test_jobs import batch, ends, invoke, scorer  # noqa: F401 - fixtures

SHORT = "azureml://datastores/workspaceblobstore/paths/"
FOLDER = {"uri": f"{SHORT}in", "jobInputType": "UriFolder"}


def asset(cloud: Cloud, kind: str, version: str = "1", name: str = "rows") -> str:
    """Registers data of a type; its content lies below a folder called after the version."""
    path = f"{cloud.workspace}/data/{name}/versions/{version}"
    own: dict[str, Any] = {"dataType": kind, "dataUri": f"{SHORT}data/{version}"}
    cloud.put(path, {"properties": own})
    return path


def take(cloud: Cloud, uri: str, kind: str = "UriFolder") -> httpx.Response:
    return invoke(cloud, inputData={"rows": {"uri": uri, "jobInputType": kind}})


def stored(cloud: Cloud, answer: httpx.Response) -> Resource:
    assert answer.status_code == 201, answer.text
    found = cloud.azure._cloud.store.get(f"{cloud.workspace}/jobs/{answer.json()['name']}")
    assert found is not None
    return found


def lies(cloud: Cloud, answer: httpx.Response) -> tuple[str, str | None]:
    """Where the files of a job's one input are looked for: path and wildcards."""
    inner = cloud.azure._cloud
    workspace = inner.store.get(cloud.workspace)
    assert workspace is not None
    ((_, place),) = places(inner, workspace, stored(cloud, answer))
    return place.path, place.glob


def forms(cloud: Cloud) -> dict[str, str]:
    """One folder of a datastore in every form that clients write it in."""
    bare = cloud.workspace.lstrip("/").replace("/providers/Microsoft.MachineLearningServices", "")
    return {
        "short": f"{SHORT}in/a b",
        "quoted": f"{SHORT}in/a%20b/",
        "long": f"azureml://{bare}/datastores/workspaceblobstore/paths/in/a b/",
        "of the portal": f"azureml://{bare.lower()}/datastores/workspaceblobstore/paths/in/a b",
        "ARM id": f"{cloud.workspace}/datastores/workspaceblobstore/paths/in/a b",
        "prefixed ARM id": f"azureml:{cloud.workspace}/datastores/workspaceblobstore/paths/in/a b",
        "https": "https://storage1.blob.core.windows.net/c/in/a%20b",
        "https with a signature": "https://storage1.blob.core.windows.net/c/in/a%20b?sv=2022&sig=x",
        "wasbs": "wasbs://c@storage1.blob.core.windows.net/in/a b",
        "abfss": "abfss://c@storage1.dfs.core.windows.net/in/a b",
    }


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_a_folder_is_found_in_every_form_that_names_it(batch: Cloud) -> None:  # noqa: F811
    for form, uri in forms(batch).items():
        assert lies(batch, take(batch, uri)) == ("in/a b", None), form


def test_a_data_asset_is_found_in_every_form_that_names_it(batch: Cloud) -> None:  # noqa: F811
    path = asset(batch, "uri_folder")
    bare = path.lstrip("/").replace("/providers/Microsoft.MachineLearningServices", "")
    workspace = batch.azure._cloud.store.get(batch.workspace)
    assert workspace is not None
    for uri in (
        path,
        f"azureml:{path}",
        "azureml:rows:1",
        "azureml:rows@latest",
        f"{path.rpartition('/versions')[0]}/labels/latest",
        f"azureml://{bare}",
        f"azureml://locations/eastus/workspaces/{guid(workspace)}/data/rows/versions/1",
    ):
        answer = take(batch, uri)
        assert lies(batch, answer) == ("data/1", None), uri
        assert answer.json()["properties"]["inputData"]["rows"]["uri"] == uri, "it is shown as it was sent"


def test_the_latest_version_is_the_one_at_the_time_of_the_invocation(batch: Cloud) -> None:  # noqa: F811
    asset(batch, "uri_folder")
    answer = take(batch, "azureml:rows@latest")
    asset(batch, "uri_folder", "2")
    assert lies(batch, answer)[0] == "data/1"
    assert lies(batch, take(batch, "azureml:rows@latest"))[0] == "data/2"


@pytest.mark.parametrize(
    ("kind", "type_", "said"),
    [
        ("mltable", "UriFolder", "(MLTable) aren't currently supported"),
        ("uri_file", "UriFolder", "data of type uri_file; the input is of type UriFolder"),
        ("uri_folder", "UriFile", "data of type uri_folder; the input is of type UriFile"),
    ],
)
def test_data_of_another_type_than_the_input_is_refused(batch: Cloud, kind: str, type_: str, said: str) -> None:  # noqa: F811
    own = {"dataType": kind, "dataUri": f"{SHORT}data/table/"}
    if kind == "mltable":
        own["referencedUris"] = []  # type: ignore[assignment]
    batch.put(f"{batch.workspace}/data/other/versions/1", {"properties": own})
    assert said in batch.refusal(take(batch, "azureml:other:1", type_), 400)


@pytest.mark.parametrize(
    ("path", "fixed", "glob"),
    [("in/*.csv", "in", "*.csv"), ("*/a.csv", "", "*/a.csv"), ("in/day=*/**", "in", "day=*/**"), ("a/b", "a/b", None)],
)
def test_wildcards_are_kept_apart_from_the_folder_that_they_are_in(
    batch: Cloud,  # noqa: F811
    path: str,
    fixed: str,
    glob: str | None,
) -> None:
    assert lies(batch, take(batch, SHORT + path)) == (fixed, glob)


@pytest.mark.parametrize(
    ("glob", "taken", "left"),
    [
        ("*.csv", ["a.csv", ".csv"], ["b/a.csv", "a.csv.gz", "axcsv"]),
        ("**/*.csv", ["a.csv", "b/a.csv", "b/c/a.csv"], ["a.txt", "acsv"]),
        ("2026-*/a[1].csv", ["2026-01/a[1].csv"], ["2026-01/a1.csv", "2026-01/b/a[1].csv"]),
        ("**", ["a", "b/c"], []),
    ],
)
def test_a_wildcard_stays_in_its_folder_and_two_do_not(glob: str, taken: list[str], left: list[str]) -> None:
    wanted = expression(glob)
    assert [name for name in (*taken, *left) if wanted.fullmatch(name)] == taken


def test_several_inputs_have_their_names_and_their_places(batch: Cloud) -> None:  # noqa: F811
    answer = invoke(batch, inputData={"b": FOLDER, "a": {"uri": f"{SHORT}one.csv", "jobInputType": "urifile"}})
    inner = batch.azure._cloud
    workspace = inner.store.get(batch.workspace)
    assert workspace is not None
    found = list(places(inner, workspace, stored(batch, answer)))
    assert [(name, place.path, place.kind) for name, place in found] == [
        ("a", "one.csv", "file"),
        ("b", "in", "folder"),
    ]


def test_names_of_fields_are_read_in_any_case_as_azures_own_examples_write_them(batch: Cloud) -> None:  # noqa: F811
    data = {"Rows": {"JobInputType": "UriFolder", "Uri": f"{SHORT}in"}}
    out = {"Score": {"JobOutputType": "UriFolder", "Uri": f"{SHORT}out"}}
    answer = invoke(batch, inputData=None, InputData=data, OutputData=out, MiniBatchSize=7)
    assert "there twice" in batch.refusal(answer, 400)
    own = {"InputData": data, "OutputData": out, "MiniBatchSize": 7, "Properties": {"ExperimentName": "mine"}}
    job = stored(batch, send(batch, {"Properties": own}))
    assert (job.hidden["settings"]["miniBatchSize"], job.hidden["output"]) == (7, f"{SHORT}out/")
    assert job.properties["experimentName"] == "mine"
    assert list(job.hidden["inputs"]) == ["Rows"], "the caller's own names stay as they are"


def send(cloud: Cloud, body: Any, **headers: str) -> httpx.Response:
    host = "batch.eastus.inference.ml.azure.com"
    token = f"Bearer {cloud.token_for('https://ml.azure.com')}"
    return cloud.send("POST", "/jobs", body, Host=host, Authorization=token, **headers)


# Refusals -------------------------------------------------------------------------------------------------------------

TAKEN = {"rows": FOLDER}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no input": ({"inputData": {}}, "at least one input"),
    "inputs of another type": ({"inputData": []}, "'properties.inputData' must be an object"),
    "an input of another type": ({"inputData": {"a": "uri"}}, "'properties.inputData.a' must be an object"),
    "an input that is null": ({"inputData": {"a": None}}, "'properties.inputData.a' is required"),
    "no type": ({"inputData": {"a": {"uri": "u"}}}, "jobInputType' is required"),
    "an unknown type": ({"inputData": {"a": {"uri": "u", "jobInputType": "x"}}}, "must be one of UriFile"),
    "no uri": ({"inputData": {"a": {"jobInputType": "UriFile"}}}, "'properties.inputData.a.uri' is required"),
    "an empty uri": ({"inputData": {"a": {"jobInputType": "UriFile", "uri": " "}}}, "is empty"),
    "a path as a name": ({"inputData": {"..": FOLDER}}, "'..' is invalid"),
    "a name with a hyphen": ({"inputData": {"a-b": FOLDER}}, "letters, digits and underscores"),
    "a literal": (
        {"inputData": {"a": {"jobInputType": "Literal", "value": "1"}}},
        "Literal inputs are only supported in pipeline component deployments",
    ),
    "a table": ({"inputData": {"a": {**FOLDER, "jobInputType": "MLTable"}}}, "UriFile or UriFolder only"),
    "a model": ({"inputData": {"a": {**FOLDER, "jobInputType": "MLFlowModel"}}}, "UriFile or UriFolder only"),
    "a local path": ({"inputData": {"a": {**FOLDER, "uri": "./in"}}}, "cannot read './in'"),
    "no URI": ({"inputData": {"a": {**FOLDER, "uri": "https://["}}}, "cannot read"),
    "no container": ({"inputData": {"a": {**FOLDER, "uri": "https://storage1.blob.core.windows.net"}}}, "no container"),
    "an unknown datastore": ({"inputData": {"a": {**FOLDER, "uri": "azureml://datastores/x/paths/y"}}}, "'x' does not"),
    "an unknown asset": ({"inputData": {"a": {**FOLDER, "uri": "azureml:none:1"}}}, "'azureml:none:1'"),
    "half a reference": ({"inputData": {"a": {**FOLDER, "uri": "azureml:none"}}}, "no reference to an asset"),
    "another workspace": (
        {
            "inputData": {
                "a": {**FOLDER, "uri": "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/p"}
            }
        },
        "workspace 'w'",
    ),
    "a dataset": ({"dataset": "azureml:d:1"}, "dataset of version 1"),
    "an output of another type": (
        {"outputData": {"s": {"uri": f"{SHORT}o", "jobOutputType": "MLFlowModel"}}},
        "writes a UriFile or a UriFolder",
    ),
    "an output without a type": ({"outputData": {"s": {"uri": f"{SHORT}o"}}}, "jobOutputType"),
    "two outputs": (
        {"outputData": {name: {"uri": f"{SHORT}o", "jobOutputType": "UriFolder"} for name in "ab"}},
        "has one output",
    ),
    "an output that is no datastore": (
        {"outputData": {"s": {"uri": "https://storage1.blob.core.windows.net/c/o", "jobOutputType": "UriFolder"}}},
        "only support writing outputs in Blob Storage data stores",
    ),
    "an output in no datastore that there is": (
        {"outputData": {"s": {"uri": "azureml://datastores/none/paths/o", "jobOutputType": "UriFolder"}}},
        "'none' does not exist",
    ),
    "an output above the container": (
        {"outputData": {"s": {"uri": f"{SHORT}a/../../b", "jobOutputType": "UriFolder"}}},
        "without '..'",
    ),
    "a file without a name": (
        {"outputData": {"s": {"uri": f"{SHORT}o/", "jobOutputType": "UriFile"}}},
        "no file's name",
    ),
    "two names for the file": (
        {"outputData": {"s": {"uri": f"{SHORT}o/a.csv", "jobOutputType": "UriFile"}}, "outputFileName": "b.csv"},
        "give one of them",
    ),
    "an output dataset without a store": ({"outputDataset": {"path": "p"}}, "datastoreId' is required"),
    "another cluster": ({"compute": {"target": "azureml:other"}}, "runs on 'cluster'"),
    "a count of text": ({"compute": {"instanceCount": "2"}}, "must be a whole number"),
    "no instance": ({"compute": {"instanceCount": 0}}, "must lie between 1"),
    "no files": ({"miniBatchSize": 0}, "must lie between 1"),
    "half a file": ({"miniBatchSize": 1.5}, "must be a whole number"),
    "a threshold below none": ({"errorThreshold": -2}, "must lie between -1"),
    "no tries": ({"retrySettings": {"maxRetries": -1}}, "must lie between 0"),
    "a time-out of seconds": ({"retrySettings": {"timeout": 300}}, "must be a string"),
    "a name of words": ({"name": "my job"}, "'my job' is invalid"),
    "an experiment of another type": ({"properties": {"experimentName": {}}}, "experimentName"),
}


def test_what_no_job_can_be_made_of_is_refused_with_its_name(batch: Cloud) -> None:  # noqa: F811
    for case, (properties, said) in REFUSED.items():
        answer = send(batch, {"properties": {"inputData": TAKEN, **properties}})
        assert said in batch.refusal(answer, 400), case
    assert not batch.get(f"{batch.workspace}/jobs")["value"], "nothing was begun"


EVERYTHING: dict[str, Any] = {
    "properties": {
        "name": "job",
        "inputData": {"rows": {**FOLDER, "mode": "Download", "description": "said"}},
        "outputData": {"score": {"uri": f"{SHORT}out", "jobOutputType": "UriFolder", "mode": "Upload"}},
        "compute": {"instanceCount": 1, "isLocal": True, "target": "cluster", "instanceType": "s", "location": "l"},
        "retrySettings": {"maxRetries": 1, "timeout": "PT1M"},
        "miniBatchSize": 1,
        "errorThreshold": 1,
        "outputFileName": "rows.csv",
        "properties": {"experimentName": "mine"},
    }
}
WRONG: tuple[Any, ...] = (None, [], {}, [1], {"a": []}, "", "x", True, -1, 1.5, 1e300, "\0", "../..", "a" * 5000)


def paths_in(value: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where each value of an object lies."""
    inner = value.items() if isinstance(value, dict) else ()
    return [path for name, each in inner for path in ((*above, name), *paths_in(each, (*above, name)))]


def with_value(body: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**body, name: with_value(body[name], tuple(rest), value) if rest else value}


def test_every_value_of_every_wrong_type_is_refused_or_makes_a_job(batch: Cloud) -> None:  # noqa: F811
    plainly = (dict, list, str, bool)
    for number, path in enumerate(paths_in(EVERYTHING)):
        for index, value in enumerate(WRONG):
            named = with_value(EVERYTHING, ("properties", "name"), f"job-{number}-{index}")
            answer = send(batch, with_value(named, path, value))
            assert answer.status_code in (201, 400), f"{path} = {value!r}: {answer.status_code} {answer.text}"
            given: Any = EVERYTHING
            for name in path:
                given = given[name]
            own = {kind for kind in plainly if isinstance(given, kind)}
            if own and {kind for kind in (dict, list) if isinstance(value, kind)} - own:
                assert answer.status_code == 400, f"{path} = {value!r} was taken"


def test_a_body_without_properties_is_refused(batch: Cloud) -> None:  # noqa: F811
    host = "batch.eastus.inference.ml.azure.com"
    token = f"Bearer {batch.token_for('https://ml.azure.com')}"
    headers = {"Host": host, "Authorization": token, "Content-Type": "application/json"}
    for body in ({}, {"properties": None}, {"properties": []}, [], "text", 1, None):
        answer = batch.client.post("/jobs", content=json.dumps(body).encode(), headers=headers)
        assert batch.refusal(answer, 400), body


def test_data_of_a_registry_is_not_emulated(batch: Cloud) -> None:  # noqa: F811
    answer = take(batch, "azureml://registries/r/data/d/versions/1")
    assert "registries" in batch.refusal(answer, 501)


# Outputs and settings -------------------------------------------------------------------------------------------------


def test_an_output_file_is_a_folder_and_a_name(batch: Cloud) -> None:  # noqa: F811
    out = {"score": {"uri": f"{SHORT}/runs/today/rows.csv", "jobOutputType": "UriFile"}}
    answer = invoke(batch, outputData=out)
    job = stored(batch, answer)
    assert job.hidden["output"] == f"{SHORT}runs/today/"
    assert job.hidden["settings"]["outputFileName"] == "rows.csv"
    own = answer.json()["properties"]
    assert own["outputData"]["score"] == {**out["score"], "description": None, "mode": "ReadWriteMount"}
    assert (own["outputFileName"], own["tags"]["outputType"]) == ("rows.csv", "UriFile")


@pytest.mark.parametrize("named", ["{workspace}/datastores/workspaceblobstore", "azureml:workspaceblobstore"])
def test_an_output_dataset_is_a_folder_of_a_datastore(batch: Cloud, named: str) -> None:  # noqa: F811
    dataset = {"datastoreId": named.format(workspace=batch.workspace), "path": "/runs/today/"}
    job = stored(batch, invoke(batch, outputDataset=dataset, outputFileName="rows.csv"))
    assert job.hidden["output"] == f"{SHORT}runs/today/"
    assert job.hidden["settings"]["outputFileName"] == "rows.csv"


def test_an_output_by_the_id_of_its_datastore_is_looked_up_as_data(batch: Cloud) -> None:  # noqa: F811
    uri = f"{batch.workspace}/datastores/workspaceblobstore/paths/runs/today"
    job = stored(batch, invoke(batch, outputData={"score": {"uri": uri, "jobOutputType": "UriFolder"}}))
    asset_ = f"azureml://x/data/azureml_{job.hidden['child']}_output_data_score/versions/1"
    path = f"/data/v1.0{batch.workspace}/dataversion/batchGetResolvedUris"
    found = batch.send("POST", path, {"values": [asset_]}, Host="eastus.api.azureml.ms").json()
    assert found["values"][asset_]["uri"].endswith("/datastores/workspaceblobstore/paths/runs/today/")


def test_a_job_runs_with_what_the_invocation_says_differently(batch: Cloud, scorer: Any) -> None:  # noqa: F811
    own = {
        "name": "mine",
        "miniBatchSize": 3,
        "errorThreshold": 4,
        "outputFileName": "rows.csv",
        "retrySettings": {"maxRetries": 5, "timeout": "PT1M"},
        "compute": {"isLocal": True, "instanceCount": 1},
        "properties": {"experimentName": "mine", "asked": "by me"},
    }
    answer = invoke(batch, **own)
    ends(batch, "mine", "Completed")
    (spec,) = scorer.specs
    assert (spec.job, spec.mini_batch_size, spec.error_threshold, spec.instance_count) == ("mine", 3, 4, 1)
    assert (spec.max_retries, spec.timeout, spec.output_file_name) == (5, 60, "rows.csv")
    job = batch.get(f"{batch.workspace}/jobs/mine")["properties"]
    assert (job["experimentName"], job["properties"]["asked"]) == ("mine", "by me")
    sent = json.loads(answer.json()["properties"]["properties"]["azureml.parameters"])
    assert (sent["mini_batch_size"], sent["run_max_try"], sent["NodeCount"]) == ("3", "5", "1")


@pytest.mark.parametrize("header", ["repeatability_request-id", "Repeatability-Request-ID"])
def test_a_repeated_request_is_answered_with_the_job_that_it_began(batch: Cloud, scorer: Any, header: str) -> None:  # noqa: F811
    body = {"properties": {"inputData": TAKEN}}
    first, second, other = (send(batch, body, **{header: each}) for each in ("one", "one", "two"))
    assert first.json()["name"] == second.json()["name"] != other.json()["name"]
    assert second.headers["location"] == first.headers["location"]
    for answer in (first, other):
        ends(batch, answer.json()["name"], "Completed")
    assert len(scorer.specs) == 2


def test_a_deployment_is_named_by_a_header(batch: Cloud) -> None:  # noqa: F811
    body = {"properties": {"inputData": TAKEN}}
    answer = send(batch, body, **{"azureml-model-deployment": "first"})
    assert answer.json()["properties"]["tags"]["azureml.deploymentname"] == "first"
    assert "No valid deployments" in batch.refusal(send(batch, body, **{"azureml-model-deployment": "none"}), 404)
