"""The run history of a region, over HTTP: what clients stream, archive and update jobs by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.localazure.providers.conftest import Cloud, FakeServing, booted

PIPELINE = {"jobType": "Pipeline", "experimentName": "exp", "tags": {"a": "b"}, "properties": {"k": "v"}}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud with a job called `mine`; every test leaves it as it was, or has a job of its own."""
    with booted(tmp_path_factory.mktemp("runs") / "home", FakeServing()) as made:
        made.prepare()
        submit(made, "mine")
        yield made


def submit(cloud: Cloud, name: str) -> None:
    cloud.put(f"{cloud.workspace}/jobs/{name}", {"properties": PIPELINE})


def history(cloud: Cloud, method: str, path: str, body: Any = None) -> httpx.Response:
    return cloud.send(method, f"/history/v1.0{cloud.workspace}{path}", body, Host="eastus.api.azureml.ms")


def properties(cloud: Cloud, name: str) -> dict[str, Any]:
    return cloud.get(f"{cloud.workspace}/jobs/{name}")["properties"]


def test_a_submitted_job_is_a_run_without_children(standing: Cloud) -> None:
    run = history(standing, "GET", "/runs/mine").json()
    assert (run["runId"], run["experimentName"], run["status"], run["runType"]) == (
        "mine",
        "exp",
        "Queued",
        "azureml.PipelineRun",
    )
    assert history(standing, "GET", "/experiments/exp/runs/mine").json() == run
    assert history(standing, "GET", "/runs/mine/children").json() == {"value": []}
    data = history(standing, "POST", "/rundata", {"runId": "mine"}).json()
    assert data["runMetadata"]["outputs"] == {}


def test_the_details_of_a_job_that_nobody_runs_say_so(standing: Cloud) -> None:
    (warning,) = history(standing, "GET", "/runs/mine/details").json()["warnings"]
    assert "batch scoring jobs only" in warning["message"]


def test_a_job_is_archived_and_restored_by_hiding_its_run(standing: Cloud) -> None:
    submit(standing, "hidden")
    path = "/experiments/exp/runs/hidden"
    for hidden in (True, False):
        assert history(standing, "PATCH", path, {"hidden": hidden}).status_code == 200
        assert properties(standing, "hidden")["isArchived"] is hidden


def test_a_run_takes_names_tags_and_properties_over_what_it_has(standing: Cloud) -> None:
    submit(standing, "told")
    body = {"displayName": "other", "description": "d", "tags": {"c": "d"}, "properties": {"l": "w"}}
    assert history(standing, "PATCH", "/runs/told", body).json()["displayName"] == "other"
    own = properties(standing, "told")
    assert (own["displayName"], own["description"]) == ("other", "d")
    assert own["tags"] == {"a": "b", "c": "d"}
    assert own["properties"] == {"k": "v", "l": "w"}


def test_an_unknown_run_is_not_found(standing: Cloud) -> None:
    for method, path, body in (
        ("GET", "/runs/none", None),
        ("PATCH", "/runs/none", {}),
        ("GET", "/runs/none/details", None),
        ("POST", "/rundata", {"runId": "none"}),
    ):
        assert "Run none was not found." in standing.refusal(history(standing, method, path, body), 404)


@pytest.mark.parametrize("body", [{"hidden": "yes"}, {"tags": []}, {"displayName": 1}])
def test_a_change_of_the_wrong_type_is_refused_and_changes_nothing(standing: Cloud, body: dict[str, Any]) -> None:
    before = properties(standing, "mine")
    (name,) = body
    assert name in standing.refusal(history(standing, "PATCH", "/runs/mine", body), 400)
    assert properties(standing, "mine") == before
