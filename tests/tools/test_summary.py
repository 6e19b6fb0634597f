"""What `make up` prints at its end can be pasted, and tells the truth about the traffic."""

from __future__ import annotations

import shlex
from typing import Any

from tools import summary

LOCAL = {"HTTPS_PROXY": "http://127.0.0.1:4000", "CURL_CA_BUNDLE": "/some where/ca.pem"}


def outputs(traffic: dict[str, float]) -> dict[str, Any]:
    return {
        "subscriptionId": "sub",
        "resourceGroupName": "rg",
        "workspaceName": "ws",
        "onlineEndpoints": {"tumor": {"name": "tumor-x1", "scoringUri": "https://t.example/score", "traffic": traffic}},
        "batchEndpoints": {"bulk": {"name": "bulk-x1", "defaultDeployment": "mlflow"}},
    }


def line(text: str, start: str) -> str:
    return next(
        part.strip().removeprefix(start).strip() for part in text.splitlines() if part.strip().startswith(start)
    )


def test_the_curl_line_brings_proxy_authority_and_key_itself() -> None:
    words = shlex.split(line(summary.of(outputs({"blue": 100.0}), LOCAL), "try it"))
    assert words[:5] == ["curl", "--proxy", "http://127.0.0.1:4000", "--cacert", "/some where/ca.pem"]
    assert words[6].startswith("Authorization: Bearer $(")
    assert words[6].endswith(" -m localazure keys tumor-x1)"), "the endpoint's name in Azure, which is not its key here"
    assert words[-1] == "https://t.example/score"


def test_what_is_next_names_the_stack() -> None:
    assert "in Pulumi.local.yaml, then `make preview`, then `make up`." in summary.of(outputs({}), LOCAL)
    assert "in Pulumi.dev.yaml, then `make preview STACK=dev`" in summary.of(outputs({}), None, "dev")


def test_traffic_is_named_by_deployment() -> None:
    assert line(summary.of(outputs({"blue": 90.0, "green": 10.0}), LOCAL), "traffic") == "blue 90 %, green 10 %"


def test_an_endpoint_without_traffic_says_what_that_means() -> None:
    assert "404" in line(summary.of(outputs({}), LOCAL), "traffic")


def test_the_batch_command_is_one_that_a_shell_takes_apart_rightly() -> None:
    command = line(summary.of(outputs({}), LOCAL), "score files")
    script = shlex.split(command.strip("()"))[-1]
    compile(script, "pasted", "exec")
    assert "'bulk-x1'" in script


def test_a_batch_endpoint_says_where_its_predictions_go_and_when_it_scores_by_itself() -> None:
    own = outputs({})
    assert "folder predictions," in line(summary.of(own, LOCAL), "predictions")
    assert "schedules" not in summary.of(own, LOCAL)
    own["batchEndpoints"]["bulk"]["schedules"] = {"weekly": ["bulk-weekly"], "nightly": ["bulk-nightly"]}
    assert line(summary.of(own, LOCAL), "schedules") == "nightly, weekly; more in docs/guides/batch.md"


def test_in_azure_the_keys_come_from_azure() -> None:
    text = summary.of(outputs({"blue": 100.0}), None)
    assert line(text, "its keys") == "az ml online-endpoint get-credentials -n tumor-x1 -g rg -w ws"
    assert "localazure" not in text


def test_a_stack_without_endpoints_still_says_what_is_next() -> None:
    assert "make preview" in summary.of({}, LOCAL)


def test_a_deployment_that_failed_is_named_with_the_way_out() -> None:
    kind = "azure-native:machinelearningservices:OnlineDeployment"
    broken = {"type": kind, "inputs": {"deploymentName": "green-0a1b2c3d"}, "initErrors": ["no model"]}
    sound = {"type": kind, "inputs": {"deploymentName": "blue-0a1b2c3d"}}
    other = {"type": "azure-native:resources:ResourceGroup", "inputs": {}, "initErrors": ["denied"]}
    text = summary.way_out([broken, sound, other])
    assert "green-0a1b2c3d" in text
    assert "`attempt` of green" in text
    assert "blue" not in text
    assert summary.way_out([sound, other]) == ""
