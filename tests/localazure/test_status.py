"""What the control plane tells the command line: the state of what it runs, and whose logs lie where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localazure import report
from localazure.arm.store import Resource
from localazure.errors import LocalAzureError, UnknownName
from localazure.providers.ml.job_runner import job_folder
from localazure.providers.ml.names import BATCH_DEPLOYMENT_TYPE, BATCH_ENDPOINT_TYPE, JOB_TYPE, ONLINE_DEPLOYMENT_TYPE
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

BLUE, GREEN = "blue-3f2a9c11", "green-0b0b0b0b"
PROGRESS = "2026-01-02 03:04:05.678901Z "


class Serving(FakeServing):
    """As the real one answers for deployments that run."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def status(self) -> list[dict[str, Any]]:
        ready = {"pid": 101, "port": 4001, "ready": True, "restarts": 0}
        again = {"pid": 102, "port": 4002, "ready": False, "restarts": 3}
        return [{"endpoint": "online", "deployment": BLUE, "instances": [ready, again], "requests": 1234}]

    def log_file(self, endpoint: str, name: str) -> Path:
        return self.folder / endpoint / name / "inference-server.log"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An online endpoint with two deployments, one of which serves."""
    with booted(tmp_path / "home", Serving(tmp_path / "serving")) as made:
        made.prepare()
        made.put(made.endpoint(), made.endpoint_body())
        for name in (BLUE, GREEN):
            add(made, f"{made.endpoint()}/deployments/{name}", ONLINE_DEPLOYMENT_TYPE, {"sku": {"capacity": 3}})
        yield made


def add(cloud: Cloud, path: str, kind: str, document: dict[str, Any], **hidden: Any) -> Resource:
    """A resource that is there, however it came."""
    properties = {"provisioningState": "Succeeded", **document.get("properties", {})}
    whole = {"id": path, "name": path.rpartition("/")[2], **document, "properties": properties}
    return store(cloud).put(Resource(path, kind, whole, hidden))


def store(cloud: Cloud) -> Any:
    return cloud.azure._cloud.store


def add_job(cloud: Cloud, name: str, status: str, **hidden: Any) -> Path:
    """A job of the batch deployment `nightly/mlflow-0a0a0a0a`; the folder of its logs."""
    deployment = f"{cloud.workspace}/batchEndpoints/nightly/deployments/mlflow-0a0a0a0a"
    document = {"properties": {"status": status}}
    job = add(cloud, f"{cloud.workspace}/jobs/{name}", JOB_TYPE, document, deployment=deployment, **hidden)
    folder = job_folder(cloud.azure._cloud, job) / "logs"
    (folder / "logs" / "user" / "stdout" / "10.0.0.4").mkdir(parents=True)
    (folder / "azureml-logs").mkdir()
    return folder


def text(cloud: Cloud) -> list[str]:
    """What a person sees, a line an element, columns with one space between them."""
    status = {"home": "/home", "pid": 1, "ports": {"proxy": 2}, "azure": cloud.azure.status()}
    return [" ".join(line.split()) for line in report.lines(status)]


# Status ---------------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_shown_with_traffic_and_processes(cloud: Cloud) -> None:
    found = store(cloud).get(cloud.endpoint())
    store(cloud).put(found.with_properties(traffic={BLUE: 90, GREEN: 10}, mirrorTraffic={GREEN: 5}))
    shown = text(cloud)
    at = shown.index("Online endpoint online")
    assert shown[at + 1] == found.properties["scoringUri"]
    assert shown[at + 2] == "DEPLOYMENT TRAFFIC MIRROR STATE READY REQUESTS PROCESSES"
    assert shown[at + 3] == (
        f"{BLUE} 90 % Succeeded 1/2 1234 101 on 4001, 102 on 4002 (not ready), restarted 3× (3 asked for)"
    )
    assert shown[at + 4] == f"{GREEN} 10 % 5 % Succeeded 0/0 none yet"


def test_columns_are_aligned(cloud: Cloud) -> None:
    status = {"home": "/home", "pid": 1, "ports": {"proxy": 2, "identity": 34567}, "azure": cloud.azure.status()}
    lines = list(report.lines(status))
    at = lines.index("Online endpoint online")
    heads, blue, green = lines[at + 2 : at + 5]
    assert heads.index("STATE") == blue.index("Succeeded") == green.index("Succeeded")
    assert "TRAFFIC" not in heads, "a column that holds nothing takes no room"


def test_an_endpoint_that_is_not_ready_says_so(cloud: Cloud) -> None:
    found = store(cloud).get(cloud.endpoint())
    store(cloud).put(found.with_properties(provisioningState="Failed"))
    assert "Online endpoint online is Failed" in text(cloud)


def test_a_batch_endpoint_is_shown_with_its_default(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/batchEndpoints/nightly"
    properties = {"defaults": {"deploymentName": "mlflow-0a0a0a0a"}, "scoringUri": "https://nightly/jobs"}
    add(cloud, path, BATCH_ENDPOINT_TYPE, {"properties": properties})
    for name in ("custom-1b1b1b1b", "mlflow-0a0a0a0a"):
        add(cloud, f"{path}/deployments/{name}", BATCH_DEPLOYMENT_TYPE, {})
    shown = text(cloud)
    at = shown.index("Batch endpoint nightly")
    assert shown[at + 1 : at + 5] == [
        "https://nightly/jobs",
        "DEPLOYMENT STATE",
        "custom-1b1b1b1b Succeeded",
        "mlflow-0a0a0a0a default Succeeded",
    ]


def test_a_job_is_shown_with_how_far_it_is(cloud: Cloud) -> None:
    folder = add_job(cloud, "job1", "Running")
    overview = folder / "logs" / "job_progress_overview.txt"
    lines = ["3 of 7 files processed, 0 failed.", "4 of 7 files processed, 1 failed."]
    overview.write_text("".join(f"{PROGRESS}{line}\n" for line in lines) + "b.csv: a line without a time\n")
    shown = text(cloud)
    at = shown.index("Jobs")
    assert shown[at + 1] == "NAME STATUS DEPLOYMENT PROGRESS"
    assert shown[at + 2] == "job1 Running nightly/mlflow-0a0a0a0a 4 of 7 files processed, 1 failed."


def test_a_job_that_failed_says_why(cloud: Cloud) -> None:
    add_job(cloud, "job1", "Failed", error={"code": "UserError", "message": "init() failed.\nTraceback"})
    assert "job1 Failed nightly/mlflow-0a0a0a0a init() failed." in text(cloud)


def test_of_the_jobs_that_ended_only_the_last_are_shown(cloud: Cloud) -> None:
    for number in range(15):
        add_job(cloud, f"job{number}", "Running" if number == 0 else "Completed")
    names = [job["name"] for job in cloud.azure.status()["jobs"]]
    assert names == ["job0", *(f"job{number}" for number in range(5, 15))]


def test_a_job_of_another_kind_is_shown_too(cloud: Cloud) -> None:
    add(cloud, f"{cloud.workspace}/jobs/train", JOB_TYPE, {"properties": {"status": "Completed"}})
    assert "train Completed" in text(cloud)


def test_what_is_under_way_is_shown(cloud: Cloud) -> None:
    cloud.azure._cloud.operations.stop()
    cloud.send("PUT", cloud.endpoint("second"), cloud.endpoint_body())
    shown = text(cloud)
    assert shown[shown.index("Under way") + 2].startswith("second ")


def test_the_status_can_be_read_by_programs(cloud: Cloud) -> None:
    status = json.loads(json.dumps(cloud.azure.status()))
    (endpoint,) = status["onlineEndpoints"]
    assert endpoint["traffic"] == {}
    assert [each["name"] for each in endpoint["deployments"]] == [BLUE, GREEN]
    assert [each["pid"] for each in endpoint["deployments"][0]["instances"]] == [101, 102]
    assert status["batchEndpoints"] == status["jobs"] == status["operations"] == []


# Logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BLUE, "blue", f"online/{BLUE}", "online/blue", "Online/Blue"])
def test_a_deployment_is_found_with_and_without_its_revision(cloud: Cloud, tmp_path: Path, name: str) -> None:
    found = cloud.azure.logs(name)
    assert found["name"] == f"online/{BLUE}"
    folder = tmp_path / "serving" / "online" / BLUE
    assert found["files"] == [str(folder / "inference-server.log"), str(folder / "storage-initializer.log")]


def test_a_name_that_fits_several_asks_which(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint("other"), cloud.endpoint_body())
    add(cloud, f"{cloud.endpoint('other')}/deployments/blue-ffffffff", ONLINE_DEPLOYMENT_TYPE, {})
    with pytest.raises(LocalAzureError) as asked:
        cloud.azure.logs("blue")
    expected = f"'blue' fits several: online/{BLUE}, other/blue-ffffffff. Name one of them."
    assert str(asked.value) == expected
    assert cloud.azure.logs("other/blue")["name"] == "other/blue-ffffffff"
    assert cloud.azure.logs("other")["name"] == "other/blue-ffffffff", "an endpoint with one deployment is enough"


def test_a_full_name_wins_over_one_that_begins_with_it(cloud: Cloud) -> None:
    add(cloud, f"{cloud.endpoint()}/deployments/blue", ONLINE_DEPLOYMENT_TYPE, {})
    assert cloud.azure.logs("blue")["name"] == "online/blue"


def test_only_a_revision_may_be_left_out(cloud: Cloud) -> None:
    add(cloud, f"{cloud.endpoint()}/deployments/my-model", ONLINE_DEPLOYMENT_TYPE, {})
    with pytest.raises(UnknownName, match="'my'"):
        cloud.azure.logs("my")


def test_an_unknown_name_lists_what_logs(cloud: Cloud) -> None:
    add_job(cloud, "job1", "Running")
    with pytest.raises(UnknownName) as said:
        cloud.azure.logs("purple")
    expected = f"Nothing that logs is called 'purple'; there are: online/{BLUE}, online/{GREEN}, job1."
    assert str(said.value) == expected


def test_a_job_is_found_by_its_name_and_by_its_endpoints(cloud: Cloud) -> None:
    folder = add_job(cloud, "job1", "Running")
    driver = folder / "azureml-logs" / "70_driver_log.txt"
    printed = folder / "logs" / "user" / "stdout" / "10.0.0.4" / "process000.stdout.txt"
    for file in (printed, driver, folder / "logs" / "readme.txt"):
        file.write_text("said\n")
    expected = {"name": "job1", "kind": "job", "files": [str(driver), str(printed)], "ended": False}
    for name in ("job1", "nightly", "mlflow", "nightly/mlflow-0a0a0a0a"):
        assert cloud.azure.logs(name) == expected
    add_job(cloud, "job2", "Completed")
    assert cloud.azure.logs("job2")["ended"] is True
    with pytest.raises(LocalAzureError, match=r"fits several: job1, job2\."):
        cloud.azure.logs("nightly")


def test_workflows_are_shown_with_their_next_run_and_their_last() -> None:
    last = {"name": "run", "status": "Failed", "startTime": "2026-03-29T01:00:00.1234560Z"}
    nightly = {"name": "nightly", "state": "Enabled", "nextRun": "2026-03-30T01:00:00.0000000Z", "lastRun": last}
    paused = {"name": "paused", "state": "Disabled", "nextRun": None, "lastRun": None}
    azure = {"workflows": [nightly, paused]}
    text = "\n".join(report.lines({"home": "here", "pid": 1, "ports": {}, "azure": azure}))
    assert text.splitlines()[-3:] == [
        "  NAME     STATE     NEXT RUN              LAST RUN",
        "  nightly  Enabled   2026-03-30 01:00 UTC  2026-03-29 01:00 UTC (Failed)",
        "  paused   Disabled",
    ]
