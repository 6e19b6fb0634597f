"""The serving summary, over recordings of what the real CLI printed for pull requests on Local Azure."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pull_requests.stories import RECORDINGS, STORIES
from tools import previews, serving_summary
from tools.previews import SIGNATURE, UNKNOWN
from tools.serving import colour
from tools.serving_summary import summary

TYPICAL = ("traffic", "new-model", "new-instance-type", "new-endpoint", "removed-deployment")
Step = dict[str, Any]


def recording(name: str) -> dict[str, Any]:
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def summarized(document: dict[str, Any]) -> str:
    return summary(previews.read(json.dumps(document)))


def steps_of(document: dict[str, Any], name: str, *, refresh: bool = False) -> list[Step]:
    """The steps of a resource, by its name in the program."""
    found = [each for each in document["steps"] if each["urn"].endswith(f"::{name}")]
    return [each for each in found if (each["op"] == "refresh") == refresh]


def deployment(document: dict[str, Any], start: str) -> Step:
    (step,) = (
        each
        for each in document["steps"]
        if each["op"] != "refresh" and "OnlineDeployment::" in each["urn"] and f"::{start}" in each["urn"]
    )
    return step


@pytest.mark.parametrize("name", STORIES)
def test_the_summary_of_a_pull_request_is_as_it_is_kept(name: str) -> None:
    kept = (RECORDINGS / f"{name}.md").read_text()
    assert summarized(recording(name)) == kept, "python -m tests.pull_requests.record makes them anew"


def test_the_five_typical_pull_requests_are_among_them() -> None:
    assert [*STORIES][:5] == [*TYPICAL]


@pytest.mark.parametrize("name", ["traffic", "new-model", "new-instance-type", "removed-deployment"])
def test_whatever_touches_live_traffic_is_warned_of(name: str) -> None:
    assert "> [!WARNING]" in summarized(recording(name))


@pytest.mark.parametrize("name", ["new-endpoint", "nothing"])
def test_what_no_caller_notices_is_no_warning(name: str) -> None:
    assert "[!WARNING]" not in summarized(recording(name))


def test_a_pull_request_that_serves_nothing_else_is_told_to_be_one() -> None:
    assert "**Nothing changes.**" in summarized(recording("nothing"))
    document = recording("nothing")
    (vault,) = steps_of(document, "workspace-vault")
    vault["op"] = "update"
    text = summarized(document)
    assert "**Nothing that is served changes.**" in text
    assert "- changed in place: Vault `workspace-vault`" in text


def test_a_preview_without_what_stays_the_same_tells_no_less_of_what_changes() -> None:
    document = recording("removed-deployment")
    whole = summarized(document)
    document["steps"] = [each for each in document["steps"] if each["op"] != "same"]
    assert summarized(document) == whole


def test_a_preview_without_a_refresh_is_read_as_well() -> None:
    document = recording("new-model")
    whole = summarized(document)
    document["steps"] = [each for each in document["steps"] if each["op"] != "refresh"]
    assert summarized(document) == whole


def test_nothing_to_preview_is_a_summary_too() -> None:
    assert "**Nothing changes.**" in summarized({"steps": [], "changeSummary": {}})


@pytest.mark.parametrize("text", ["", "error: no stack named 'prod' found\n", "[]", '{"a": 1}', '{"steps": 3}'])
def test_what_is_no_preview_is_refused_with_the_way_to_one(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert serving_summary.main([]) == 2
    assert "pulumi preview --json --show-sames | python -m tools.serving_summary" in capsys.readouterr().err


def test_a_preview_that_failed_says_why_and_nothing_of_what_would_be_served(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert serving_summary.main([str(RECORDINGS / "mistake.json")]) == 1
    printed = capsys.readouterr().out
    assert "percentages add up to 110 (blue 60, green 50)" in printed
    assert "Online endpoint" not in printed, "what was not reached yet would look as if it stayed"
    assert "unhandled error" not in printed, "what the engine adds helps nobody"


def test_an_error_cannot_end_the_block_that_shows_it() -> None:
    document = {"steps": [], "diagnostics": [{"severity": "error", "message": "error: a\n```\n# not a heading"}]}
    assert "````\na\n```\n# not a heading\n````" in summarized(document)


# secrets and what is not known yet


def test_no_value_of_a_variable_is_ever_shown() -> None:
    document = recording("new-model")
    old, new = deployment(document, "tumor-online-blue-09b6"), _new_blue(document)
    old["oldState"]["inputs"]["properties"]["environmentVariables"] = {"TOKEN": "first-of-all", "OTHER": "as it was"}
    new["newState"]["inputs"]["properties"]["environmentVariables"] = {"TOKEN": "hunter2", "OTHER": "as it was"}
    text = summarized(document)
    assert "changed: `TOKEN`" in text
    for value in ("hunter2", "first-of-all", "as it was", "OTHER"):
        assert value not in text


def _new_blue(document: dict[str, Any]) -> Step:
    (step,) = (
        each
        for each in document["steps"]
        if each["op"] == "create" and "OnlineDeployment::tumor-online-blue" in each["urn"]
    )
    return step


def test_a_secret_is_not_shown_however_it_is_marked() -> None:
    document = recording("nothing")
    (endpoint,) = steps_of(document, "tumor-online-endpoint")
    secret = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"AMLToken-hunter2"'}
    endpoint["op"] = "update"
    endpoint["newState"]["inputs"]["properties"]["authMode"] = secret
    text = summarized(document)
    assert "> [!WARNING]" in text
    assert "hunter2" not in text
    assert "log-in changes from Key to [secret]" in text


def test_what_is_known_only_during_the_update_is_said_to_be() -> None:
    document = recording("traffic")
    (split,) = steps_of(document, "tumor-online-traffic")
    split["newState"]["inputs"]["traffic"] = UNKNOWN
    text = summarized(document)
    assert "what live traffic there is, is known only during `up`" in text
    assert UNKNOWN not in text


# quota


def quota(text: str) -> dict[str, list[str]]:
    """The cells of the table of cores, by family and what they are for."""
    rows = [
        re.split(r"\s*\|\s*", line.strip("| ")) for line in text.partition("### Quota")[2].splitlines() if "|" in line
    ]
    return {" ".join(row[:2]): row[2:] for row in rows[2:]}


def test_a_new_revision_takes_its_cores_beside_the_old_one_with_azures_reserve() -> None:
    found = quota(summarized(recording("new-instance-type")))
    # Before: 2 cores of DS2 × ceil(1.2 × 1). After: 4 cores of DS3 × ceil(1.2 × 2).
    assert found["standardDSv2Family online deployments"] == ["4", "**16**", "**12**"]
    # Autoscale may have three: 4 cores of F4s × ceil(1.2 × 3).
    assert found["standardFSv2Family online deployments"] == ["16", "16", "16"]
    assert found["standardDSv2Family clusters, at most"] == ["16", "16", "16"]


def test_what_takes_no_other_cores_tells_nothing_of_them() -> None:
    assert "### Quota" not in summarized(recording("traffic"))


def test_a_size_that_the_list_lacks_is_named_instead_of_counted() -> None:
    document = recording("new-instance-type")
    for step in document["steps"]:
        if step["op"] == "create" and "OnlineDeployment::" in step["urn"]:
            step["newState"]["inputs"]["properties"]["instanceType"] = "Standard_Q9_v9"
    text = summarized(document)
    assert quota(text)["standardDSv2Family online deployments"] == ["4", "4", "**0**"]
    assert "Not counted, for the list of sizes lacks them: `Standard_Q9_v9`." in text


def test_a_cluster_that_may_grow_shows_in_the_cores() -> None:
    document = recording("nothing")
    (cluster,) = steps_of(document, "aml-cluster-cluster")
    cluster["op"] = "update"
    cluster["newState"]["inputs"]["properties"]["properties"]["scaleSettings"]["maxNodeCount"] = 10
    assert quota(summarized(document))["standardDSv2Family clusters, at most"] == ["16", "**40**", "**40**"]


def test_a_cluster_of_another_size_is_counted_as_both() -> None:
    document = recording("nothing")
    (cluster,) = steps_of(document, "aml-cluster-cluster")
    cluster["op"] = "replace"
    cluster["newState"]["inputs"]["properties"]["properties"] |= {"vmSize": "Standard_F4s_v2"}
    cluster["newState"]["inputs"]["properties"]["properties"]["scaleSettings"]["maxNodeCount"] = 1
    found = quota(summarized(document))
    assert found["standardDSv2Family clusters, at most"] == ["16", "16", "**0**"]
    assert found["standardFSv2Family clusters, at most"] == ["0", "**4**", "**4**"]


def test_a_cluster_whose_priority_changes_is_counted_as_both() -> None:
    document = recording("nothing")
    (cluster,) = steps_of(document, "aml-cluster-cluster")
    cluster["op"] = "replace"
    cluster["newState"]["inputs"]["properties"]["properties"]["vmPriority"] = "LowPriority"
    found = quota(summarized(document))
    assert found["standardDSv2Family clusters, at most"] == ["16", "16", "**0**"]
    assert found["standardDSv2Family clusters of low priority, at most"] == ["0", "**16**", "**16**"]


# what others have written in Azure

MARKUP = "![x](https://evil.example/x.png) `code` <img src=x> @team/everybody\n# heading"


def found_by_refresh(document: dict[str, Any], start: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Somebody has changed a deployment in Azure."""
    change(deployment(document, start)["oldState"]["inputs"])


def test_the_value_of_a_tag_that_was_changed_by_hand_is_not_shown() -> None:
    document = recording("nothing")
    found_by_refresh(document, "tumor-online-green", lambda each: each.update(tags={"token": "hunter2"}))
    text = summarized(document)
    assert "`tags.token` is another" in text
    assert "hunter2" not in text


def test_what_is_written_in_azure_is_no_markup_and_calls_nobody() -> None:
    document = recording("nothing")

    def change(inputs: dict[str, Any]) -> None:
        inputs["tags"] = {MARKUP: "x"}
        inputs["properties"]["requestSettings"]["requestTimeout"] = MARKUP
        inputs["properties"]["loggingLevel"] = {"a": [MARKUP]}

    found_by_refresh(document, "tumor-online-green", change)
    text = summarized(document)
    assert "requestSettings.requestTimeout` was" in text
    assert "`properties.loggingLevel` is another" in text, "what is no plain value is not shown"
    for mark in ("](https", "<img", "@team", "\n# heading"):
        assert mark not in text
    told = next(line for line in text.splitlines() if "requestTimeout` was" in line)
    assert told.count("`") % 2 == 0, "a value does not end its code span"


def test_a_long_value_is_cut() -> None:
    document = recording("nothing")
    long = "x" * 5_000
    found_by_refresh(
        document, "tumor-online-green", lambda each: each["properties"]["requestSettings"].update(requestTimeout=long)
    )
    assert max(map(len, summarized(document).splitlines())) < 1_000


# what no recording has


def test_a_deleted_endpoint_fails_every_request() -> None:
    document = recording("traffic")
    for step in document["steps"]:
        if step["op"] != "refresh" and "OnlineEndpoint" in step["urn"]:
            step["op"] = "delete"
            step.pop("newState", None)
    text = summarized(document)
    assert "`tumor-online`: the endpoint is **deleted**: every request fails" in text
    assert "### Online endpoint `tumor-online`, deleted" in text
    assert "removed: online endpoint `tumor-online`, deployment `blue-" in text


def test_a_live_deployment_that_is_changed_in_place_is_warned_of() -> None:
    document = recording("nothing")
    step = deployment(document, "tumor-online-green")
    step["op"] = "update"
    step["newState"]["inputs"]["properties"]["requestSettings"]["requestTimeout"] = "PT90S"
    text = summarized(document)
    assert "`green`, which serves 10 %, is changed in place: requestSettings.requestTimeout `PT5S` → `PT90S`" in text


def test_a_deployment_that_is_replaced_under_its_name_is_no_nothing() -> None:
    document = recording("nothing")
    step = deployment(document, "tumor-online-green")
    revision = step["newState"]["inputs"]["deploymentName"]
    step["op"] = "replace"
    text = summarized(document)
    assert "**Nothing" not in text
    assert "`green`, which serves 10 %, is deleted and then made anew" in text
    assert f"**`{revision}`, replaced**" in text
    assert "Unchanged: `tumor-batch`" in text


def test_a_revision_that_was_left_over_and_goes_now_is_told() -> None:
    document = recording("nothing")
    step = json.loads(json.dumps(deployment(document, "tumor-online-green")))
    revision = step["oldState"]["inputs"]["deploymentName"]
    step |= {"op": "delete", "urn": step["urn"].replace(revision, "green-00000000")}
    step["oldState"]["inputs"]["deploymentName"] = "green-00000000"
    del step["newState"]
    document["steps"].append(step)
    text = summarized(document)
    assert "**Nothing" not in text
    assert re.search(r"\| left over +\| `green-00000000` +\| \*\*–\*\*", text)
    assert re.search(rf"\| revision +\| `{revision}` +\| `{revision}`", text)


def batch_step(document: dict[str, Any], start: str) -> Step:
    (step,) = (
        each
        for each in document["steps"]
        if each["op"] != "refresh" and "BatchDeployment::" in each["urn"] and f"::{start}" in each["urn"]
    )
    return step


def test_a_default_deployment_that_is_replaced_is_warned_of_and_another_is_only_told() -> None:
    document = recording("nothing")
    batch_step(document, "tumor-batch-custom")["op"] = "replace"
    text = summarized(document)
    assert ", replaced**" in text
    assert "[!WARNING]" not in text
    batch_step(document, "tumor-batch-mlflow")["op"] = "replace"
    text = summarized(document)
    assert "`mlflow`, on which jobs run that name no deployment, is deleted and then made anew" in text


@pytest.mark.parametrize(("op", "becomes"), [("replace", "deleted and then made anew"), ("delete", "deleted")])
def test_the_cluster_of_the_default_deployment_is_warned_of(op: str, becomes: str) -> None:
    document = recording("nothing")
    (cluster,) = steps_of(document, "aml-cluster-cluster")
    cluster["op"] = op
    text = summarized(document)
    assert f"has its nodes in `aml-cluster`, which is {becomes}: jobs that run there end" in text


def test_a_cluster_that_is_made_anew_is_no_other_cluster() -> None:
    kept = (RECORDINGS / "renamed.md").read_text()
    assert "1 nodes of aml-cluster                        | 1 nodes of aml-cluster" in kept


@pytest.mark.parametrize("given", [None, UNKNOWN, {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270"}])
def test_variables_that_are_no_map_are_no_crash(given: Any) -> None:
    document = recording("new-model")
    _new_blue(document)["newState"]["inputs"]["properties"]["environmentVariables"] = given
    text = summarized(document)
    assert UNKNOWN not in text
    assert ("changed: `all of them`" in text) == (given is not None)


def test_a_role_that_an_endpoint_loses_is_warned_of_and_one_that_it_gets_is_not() -> None:
    document = recording("nothing")
    (component,) = steps_of(document, "tumor-online")
    type_ = "azure-native:authorization:RoleAssignment"
    role = {"type": type_, "parent": component["urn"], "inputs": {}}
    step = {
        "op": "delete",
        "urn": f"{component['urn'].rpartition('::')[0]}${type_}::tumor-online-blobs",
        "oldState": role,
    }
    document["steps"].append(step)
    assert "what it works under changes: RoleAssignment `tumor-online-blobs` (delete)" in summarized(document)
    step |= {"op": "create", "newState": step.pop("oldState")}
    assert "what it works under changes" not in summarized(document)


def test_what_somebody_deleted_by_hand_is_made_anew() -> None:
    document = recording("nothing")
    step = deployment(document, "tumor-online-green")
    revision = step["newState"]["inputs"]["deploymentName"]
    step["op"] = "create"
    step.pop("oldState")
    text = summarized(document)
    assert f"- deployment `{revision}` of `tumor-online` is gone, and is made anew" in text
    assert colour(revision) == "green"


def test_mirrored_traffic_is_told_apart_from_live_traffic() -> None:
    document = recording("nothing")
    (split,) = steps_of(document, "tumor-online-traffic")
    split["op"] = "update"
    green = next(name for name in split["newState"]["inputs"]["traffic"] if name.startswith("green"))
    blue = next(name for name in split["newState"]["inputs"]["traffic"] if name.startswith("blue"))
    split["newState"]["inputs"] |= {"traffic": {blue: 100}, "mirrorTraffic": {green: 20.0}}
    text = summarized(document)
    assert "live traffic moves: blue 90 → 100 %, green 10 → 0 %" in text
    assert "mirrored traffic moves: green 0 → 20 %; no caller sees its answers" in text


def test_resources_that_are_not_of_this_program_are_no_endpoints_of_it() -> None:
    document = recording("nothing")
    stack = "urn:pulumi:local::azureml-endpoints::pulumi:pulumi:Stack::azureml-endpoints-local"
    type_ = "azure-native:machinelearningservices:OnlineEndpoint"
    foreign = {"type": type_, "parent": stack, "inputs": {"endpointName": "theirs"}}
    document["steps"].append(
        {"op": "create", "urn": f"{stack.rpartition('pulumi:')[0]}{type_}::theirs", "newState": foreign}
    )
    text = summarized(document)
    assert "**Nothing that is served changes.**" in text
    assert "Online endpoint `theirs`" not in text


def test_a_table_keeps_its_columns_whatever_is_in_a_cell() -> None:
    lines = serving_summary.table(("a", "b"), [("x|y", "two\nlines")])
    assert lines == ["| a    | b         |", "| ---- | --------- |", "| x\\|y | two lines |"]


@pytest.mark.parametrize("break_it", [lambda s: s.pop("newState", None), lambda s: s.pop("oldState", None)])
def test_a_step_with_half_of_its_state_is_no_crash(break_it: Callable[[Step], object]) -> None:
    document = recording("new-model")
    for step in document["steps"]:
        break_it(step)
    assert summarized(document).startswith("## What `local` serves")


def test_the_file_of_a_preview_may_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert serving_summary.main([str(RECORDINGS / "traffic.json")]) == 0
    assert capsys.readouterr().out == (RECORDINGS / "traffic.md").read_text()
    assert serving_summary.main([str(tmp_path / "none.json")]) == 2
