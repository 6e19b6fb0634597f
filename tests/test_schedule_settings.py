"""Layer: the stack configuration; the timetables of batch endpoints, what is accepted and what a refusal says."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import ScheduleSettings, SettingsError, parse
from settings.schedules import Marks, next_minute
from settings.time_zones import WINDOWS, known_name

INPUT = "azureml://datastores/workspaceblobstore/paths/inbox/"
NIGHTLY = {"every": "day", "at": "02:00", "timeZone": "Europe/London", "input": INPUT}
COMPUTE = (
    "/subscriptions/s/resourceGroups/rg-aml-test/providers/Microsoft.MachineLearningServices/workspaces/aml-test/"
    "computes/aml-cluster"
)


def stack(**endpoints: Any) -> Any:
    return {
        "azure-native:location": "eastus",
        "nameSuffix": "a1b2c3",
        "workspace": {"name": "aml-test"},
        "computeClusters": {"aml-cluster": {"vmSize": "Standard_DS3_v2", "maxInstances": 4}},
        "batchEndpoints": {
            name: {"deployments": {"mlflow": deployment()}, "schedules": schedules}
            for name, schedules in endpoints.items()
        },
    }


def deployment(compute: str = "aml-cluster") -> dict[str, Any]:
    return {"model": "azureml:tumor:3", "compute": compute}


def schedule(**changes: Any) -> ScheduleSettings:
    return ScheduleSettings.model_validate({**NIGHTLY, **changes})


def findings(raw: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        parse(raw, Path())
    return error.value.findings


@pytest.mark.parametrize(
    "told",
    [
        NIGHTLY,
        {**NIGHTLY, "timeZone": "GMT Standard Time"},
        {**NIGHTLY, "at": ["02:00", "14:30"]},
        {**NIGHTLY, "every": "week", "on": ["monday", "sunday"]},
        {**NIGHTLY, "start": "2026-04-01", "end": "2026-04-01T00:01"},
        {"every": "hour", "at": ":15", "input": INPUT, "start": "2026-04-01T08:20", "end": "2026-04-01T09:16"},
        {**NIGHTLY, "start": "1970-01-01", "end": "2199-12-31"},
        {**NIGHTLY, "deployment": "mlflow", "instanceCount": 4, "miniBatchSize": 1, "paused": True},
        {"every": "hour", "input": "azureml:inbox:1"},
        {"every": "hour", "at": ":15", "input": "https://host.example/folder/"},
        {"every": "hour", "at": [":00", ":30"], "input": "https://host.example/a.csv", "inputType": "uri_file"},
        {
            **NIGHTLY,
            "input": "azureml://subscriptions/s/resourcegroups/g/workspaces/aml/datastores/store/paths/in/*.csv",
            "output": "azureml://datastores/workspaceblobstore/paths/outbox/",
        },
    ],
)
def test_a_sound_schedule_is_accepted(told: dict[str, Any]) -> None:
    settings = parse(stack(**{"tumor-batch": {"nightly": told}}), Path())
    assert "nightly" in settings.batch_endpoints["tumor-batch"].schedules


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"every": "month"}, "nightly.every: input should be 'hour', 'day' or 'week', but received \"month\""),
        ({"every": "week"}, "nightly.on: is missing; name the days, as [monday], or say every: day."),
        ({"on": ["monday"]}, "nightly.on: is for every: week; remove it, or say every: week instead of every: day."),
        ({"every": "week", "on": ["mnday"]}, "nightly.on.0: input should be 'monday', 'tuesday',"),
        ({"every": "week", "on": ["monday", "monday"]}, "nightly.on: names monday twice; keep it once."),
        ({"at": []}, 'nightly.at: is missing; give a time of day, as "02:00", or several'),
        ({"at": "2:00"}, 'nightly.at: "2:00" is no time of day; with every: day write it as "02:00".'),
        ({"at": ["02:00", "24:00"]}, 'nightly.at: "24:00" is no time of day'),
        ({"at": ":15"}, 'nightly.at: ":15" is no time of day'),
        ({"at": 120}, 'nightly.at: input should be times of day in quotes, as "02:00", but received 120'),
        ({"every": "week", "on": "monday"}, "nightly.on: input should be a valid tuple, but received"),
        ({"at": ["02:00", "02:00"]}, "nightly.at: names 02:00 twice; keep it once."),
        ({"every": "hour"}, 'nightly.at: "02:00" is no minute of the hour; with every: hour write it as ":15".'),
        ({"timeZone": "Europe/Londn"}, 'nightly.timeZone: "Europe/Londn" is no time zone of Azure\'s; write one as'),
        ({"start": "1 April"}, 'nightly.start: "1 April" is no moment on the clock of timeZone; write it in quotes'),
        ({"start": "2026-02-30"}, 'nightly.start: "2026-02-30" is no moment'),
        ({"end": "2026-04-01T00:00:00Z"}, "without a time zone of its own"),
        (
            {"start": "2026-04-02", "end": "2026-04-01"},
            "nightly.end: 2026-04-01 is not after start (2026-04-02); nothing would ever run: move one.",
        ),
        (
            {"every": "hour", "at": [":25", ":15"], "start": "2026-04-01T08:20", "end": "2026-04-01T09:00"},
            "nightly.end: 2026-04-01T09:00 is not after the first :15 from start on (2026-04-01T09:15); nothing would",
        ),
        (
            {"every": "hour", "at": ":15", "start": "2026-04-01T08:20", "end": "2026-04-01T09:15"},
            "nightly.end: 2026-04-01T09:15 is not after the first :15",
        ),
        (
            {"every": "hour", "at": ":00", "start": "9999-12-31T23:30"},
            "nightly.start: 9999-12-31T23:30 is not in the years 1970 to 2199; write one that is.",
        ),
        ({"end": "2023-12-31"}, "nightly.end: 2023-12-31 is long past; nothing would ever run: move it."),
        ({"start": "1900-01-01"}, "nightly.start: 1900-01-01 is not in the years"),
        ({"end": "2200-01-01"}, "nightly.end: 2200-01-01 is not in the years"),
        (
            {"instanceCount": 5},
            "nightly.instanceCount: 5 is more than maxInstances of aml-cluster (4); lower the one or raise the other.",
        ),
        ({"deployment": "mlfow"}, 'nightly.deployment: there is no deployment "mlfow"; did you mean "mlflow"?'),
        ({"input": "inbox/"}, 'nightly.input: "inbox/" is nothing that Azure can read when the time has come; write'),
        ({"input": "azureml:inbox@latest"}, "azureml:<data asset>:<version>"),
        ({"inputType": "uri_file"}, "nightly.inputType: is uri_file, but input"),
        ({"output": "azureml:outbox:1"}, 'nightly.output: "azureml:outbox:1" is no folder of a datastore; write'),
        ({"instanceCount": 51}, "nightly.instanceCount: input should be less than or equal to 50"),
        ({"miniBatchSize": 0}, "nightly.miniBatchSize: input should be greater than or equal to 1"),
        ({"pased": True}, 'nightly.pased: is not a known key; did you mean "paused"?'),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_the_way_out(change: Any, expected: str) -> None:
    found = findings(stack(**{"tumor-batch": {"nightly": {**NIGHTLY, **change}}}))
    assert any(expected in finding for finding in found), found
    assert len(found) == 1, "nothing is said twice, and nothing that follows from it"


def test_one_error_lists_all_that_is_wrong_with_the_schedules() -> None:
    wrong = {"every": "week", "at": "2:00", "timeZone": "Mars", "start": "now", "deployment": "x", "input": "y"}
    found = findings(stack(**{"tumor-batch": {"one": wrong, "Two": NIGHTLY}}))
    keys = ["one.on", "one.at", "one.timeZone", "one.start", "one.deployment", "one.input", "Two"]
    assert len(found) == len(keys), found
    assert all(any(f"schedules.{key}:" in finding for finding in found) for key in keys), found


def test_a_name_that_is_too_long_for_a_logic_app_is_said_with_that_name() -> None:
    (finding,) = findings(stack(**{"tumor-batch": {"every-night-at-two-in-london": NIGHTLY}}))
    assert "tumor-batch-a1b2c3-every-night-at-two-in-london, which has 47 characters; Azure takes 43" in finding
    several = {**NIGHTLY, "at": ["02:00", "14:30"]}
    (finding,) = findings(stack(**{"tumor-batch": {"every-night-at-two-in-a": several}}))
    assert "tumor-batch-a1b2c3-every-night-at-two-in-a-1430" in finding, "the longest of its names"


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_whatever_is_written_gives_settings_or_findings_never_another_error(value: Any) -> None:
    for key in ("every", "on", "at", "timeZone", "start", "end", "deployment", "input", "output", "instanceCount"):
        # Any other exception would be a traceback for a mistake of the user's.
        with suppress(SettingsError):
            assert parse(stack(**{"tumor-batch": {"nightly": {**NIGHTLY, key: value}}}), Path())


@pytest.mark.parametrize(
    "endpoints",
    [
        {"tumor": {"batch-nightly": NIGHTLY}, "tumor-batch": {"nightly": NIGHTLY}},
        {"tumor": {"often": {**NIGHTLY, "at": ["02:00", "14:30"]}, "often-1430": NIGHTLY}},
    ],
)
def test_two_schedules_are_not_one_logic_app(endpoints: dict[str, Any]) -> None:
    (finding,) = findings(stack(**endpoints))
    assert "its Logic App would be called tumor-" in finding
    assert finding.endswith(": rename one.")


def test_a_batch_deployment_may_name_a_cluster_of_its_workspace_by_its_id() -> None:
    raw = stack(tumor={})
    raw["batchEndpoints"]["tumor"]["deployments"]["mlflow"] = deployment(COMPUTE)
    assert parse(raw, Path()).batch_endpoints["tumor"].deployments["mlflow"].compute == COMPUTE
    raw["batchEndpoints"]["tumor"]["deployments"]["mlflow"] = deployment(COMPUTE.replace("computes", "clusters"))
    (finding,) = findings(raw)
    assert "is not the ARM id of a cluster; it has the form /subscriptions/<id>/resourceGroups/<group>" in finding


def test_a_deployment_asks_for_no_more_instances_than_its_cluster_has() -> None:
    raw = stack(tumor={"nightly": {**NIGHTLY, "instanceCount": 4}})
    deployments = raw["batchEndpoints"]["tumor"]["deployments"]
    deployments["mlflow"]["instanceCount"] = 5
    (finding,) = findings(raw)
    assert finding == (
        "batchEndpoints.tumor.deployments.mlflow.instanceCount: 5 is more than maxInstances of aml-cluster (4); lower "
        "the one or raise the other."
    )
    deployments["mlflow"] = {**deployment(COMPUTE), "instanceCount": 5}
    raw["batchEndpoints"]["tumor"]["schedules"]["nightly"]["instanceCount"] = 6
    assert parse(raw, Path()), "how large a cluster of somebody else's is, nobody here knows"
    raw["computeClusters"]["theirs"] = {"existing": COMPUTE.replace("aml-cluster", "theirs")}
    deployments["mlflow"] = {**deployment("theirs"), "instanceCount": 5}
    assert parse(raw, Path()), "nor under a name of ours"


def test_a_cluster_that_is_wrong_itself_is_said_once() -> None:
    raw = stack(tumor={"nightly": {**NIGHTLY, "instanceCount": 4}})
    raw["computeClusters"]["aml-cluster"]["maxInstances"] = "many"
    (finding,) = findings(raw)
    assert finding.startswith("computeClusters.aml-cluster.maxInstances: ")


def test_a_windows_name_of_a_time_zone_stays_as_it_is() -> None:
    assert all(known_name(name) == name for name in WINDOWS.values())
    assert known_name("Europe/Dublin") == "GMT Standard Time"
    assert known_name("Europe/Atlantis") is None


CLOCKS = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 59)), min_size=1, max_size=30, unique=True)


def covered(marks: Sequence[Marks]) -> list[tuple[int, int]]:
    return [clock for each in marks for clock in product(each.hours, each.minutes)]


@given(clocks=CLOCKS)
def test_timetables_say_exactly_the_times_that_are_wanted(clocks: list[tuple[int, int]]) -> None:
    marks = schedule(at=[f"{hour:02}:{minute:02}" for hour, minute in clocks]).marks()
    assert sorted(covered(marks)) == sorted(clocks), "each once, and no other"
    assert len(marks) <= min(len({hour for hour, _ in clocks}), len({minute for _, minute in clocks}))


@given(clocks=CLOCKS)
def test_each_timetable_is_a_logic_app_of_its_own(clocks: list[tuple[int, int]]) -> None:
    settings = schedule(at=[f"{hour:02}:{minute:02}" for hour, minute in clocks])
    workflows = settings.workflows("often")
    assert next(iter(workflows)) == "often"
    assert list(workflows.values()) == settings.marks()


def test_the_minutes_of_an_hour_are_one_timetable_each() -> None:
    settings = ScheduleSettings.model_validate({"every": "hour", "at": [":45", ":15"], "input": INPUT})
    assert settings.workflows("often") == {"often": Marks((), (15,)), "often-45": Marks((), (45,))}
    assert schedule(every="hour", at=[]).marks() == [Marks((), (0,))]


@given(after=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), minute=st.integers(0, 59))
def test_the_next_minute_is_the_first_from_then_on(after: datetime, minute: int) -> None:
    found = next_minute(after.replace(microsecond=0), minute)
    assert found.minute == minute
    assert timedelta(0) <= found - after.replace(microsecond=0) < timedelta(hours=1)
