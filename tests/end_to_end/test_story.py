"""The main job through a user's door: up, score, shift, new revision, failure and way out, batch, down, up again.

Each test is a story in a clone of its own: its chapters go on from the state that the one before them left, so they
are subtests of one test, which no way of distributing tests can tear apart.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.conftest import Clone, still_there

pytestmark = pytest.mark.end_to_end

REQUESTS = 2000
SCORE = "https://tumor-online.eastus.inference.ml.azure.com/score"


def request_body(clone: Clone) -> dict[str, Any]:
    return json.loads((clone.path / "scoring/samples/request.json").read_text())


def revision(clone: Clone, colour: str) -> str:
    return clone.outputs()["onlineEndpoints"]["tumor-online"]["deployments"][colour]


def instances(clone: Clone) -> dict[str, list[int]]:
    """The processes of each deployment of tumor-online."""
    (endpoint,) = clone.status["onlineEndpoints"]
    return {each["name"]: [one["pid"] for one in each["instances"]] for each in endpoint["deployments"]}


def live_traffic(clone: Clone) -> dict[str, int]:
    return clone.status["onlineEndpoints"][0]["traffic"]


def make_up_goes_from_nothing_to_a_request_that_is_scored(clone: Clone) -> None:
    printed = clone.make("up").ok().out
    assert SCORE in printed
    assert "blue 90 %, green 10 %" in printed
    (line,) = re.findall(r"curl .*", printed)
    answer = clone.shell(f"{line} --silent --show-error").ok().out
    assert len(json.loads(answer)) == len(request_body(clone)["input_data"]["data"]), "one prediction a row"


def a_second_up_changes_nothing(clone: Clone) -> None:
    printed = clone.make("up").ok().out
    assert re.search(r"^\s*\d+ unchanged$", printed, re.MULTILINE), printed
    assert not re.search(r"\d+ (created|updated|deleted|replaced|errored)", printed), printed
    assert clone.planned() == []


def requests_are_split_as_configured_and_the_models_answer_differently(clone: Clone) -> None:
    body = request_body(clone)
    hits: Counter[str] = Counter()
    answers: dict[str, set[str]] = {}
    with clone.scorer() as client:
        for _ in range(REQUESTS):
            answer = client.post(SCORE, json=body)
            assert answer.status_code == 200, answer.text
            colour = answer.headers["azureml-model-deployment"].rpartition("-")[0]
            hits[colour] += 1
            answers.setdefault(colour, set()).add(answer.text)
    deviation = math.sqrt(REQUESTS * 0.9 * 0.1)
    assert abs(hits["blue"] - 0.9 * REQUESTS) <= 4 * deviation, hits
    assert hits["blue"] + hits["green"] == REQUESTS
    assert all(len(texts) == 1 for texts in answers.values()), "a deployment answers one request the same way each time"
    assert answers["blue"] != answers["green"], "two visibly different models"


def the_door_opens_only_with_a_key_and_a_header_picks_the_deployment(clone: Clone) -> None:
    body = request_body(clone)
    with clone.scorer() as client:
        for colour in ("blue", "green"):
            name = revision(clone, colour)
            picked = client.post(SCORE, json=body, headers={"azureml-model-deployment": name})
            assert (picked.status_code, picked.headers["azureml-model-deployment"]) == (200, name)
        assert client.post(SCORE, json=body, headers={"azureml-model-deployment": "nobody"}).status_code == 404
    with clone.scorer("wrong") as stranger:
        assert stranger.post(SCORE, json=body).status_code == 401


def editing_the_traffic_is_one_change_that_touches_no_deployment(clone: Clone) -> None:
    before = instances(clone)
    clone.traffic(blue=25, green=75)
    assert clone.planned() == [("update", "tumor-online-traffic")]
    clone.make("up").ok()
    assert instances(clone) == before, "no process was replaced"
    assert live_traffic(clone) == {revision(clone, "blue"): 25, revision(clone, "green"): 75}
    assert clone.planned() == []


def setting_the_traffic_by_the_cli_does_the_same(clone: Clone) -> None:
    path = "azureml-endpoints:onlineEndpoints.tumor-online.traffic"
    for colour, share in (("blue", 90), ("green", 10)):
        clone.with_local_azure(f"pulumi config set --stack local --path '{path}.{colour}' {share}").ok()
    assert clone.planned() == [("update", "tumor-online-traffic")]
    clone.make("up").ok()
    assert live_traffic(clone) == {revision(clone, "blue"): 90, revision(clone, "green"): 10}


def a_changed_model_is_a_new_revision_then_traffic_then_the_old_one_goes(clone: Clone) -> None:
    old = revision(clone, "blue")
    note = clone.path / "scoring/models/mlflow/note.txt"
    note.write_text("another content, another revision\n")
    planned = clone.planned()
    created = [
        re.fullmatch(r"tumor-online-(blue-[0-9a-f]{8})", name) for operation, name in planned if operation == "create"
    ]
    (new,) = [match.group(1) for match in created if match]
    assert new != old
    assert ("update", "tumor-online-traffic") in planned
    assert ("delete", f"tumor-online-{old}") in planned
    printed = clone.make("up").ok().out
    steps = [f"tumor-online-{new} created", "tumor-online-traffic updated", f"tumor-online-{old} deleted"]
    places = [re.search(rf"{re.escape(step)}", printed) for step in steps]
    assert all(places), printed
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert live_traffic(clone) == {new: 90, revision(clone, "green"): 10}
    assert set(instances(clone)) == {new, revision(clone, "green")}
    assert clone.planned() == []


def a_change_by_hand_shows_in_the_next_preview_and_up_puts_it_back(clone: Clone) -> None:
    blue, green = revision(clone, "blue"), revision(clone, "green")
    clone.ml(
        "endpoint = ml.online_endpoints.get('tumor-online')\n"
        f"endpoint.traffic = {{'{green}': 100}}\n"
        "ml.online_endpoints.begin_create_or_update(endpoint).result()\n"
    ).ok()
    assert live_traffic(clone) == {green: 100}
    assert clone.planned() == [("update", "tumor-online-traffic")]
    clone.make("up").ok()
    assert live_traffic(clone) == {blue: 90, green: 10}


def a_model_that_does_not_start_fails_the_up_with_its_last_lines_and_leaves_the_traffic(clone: Clone) -> None:
    before = live_traffic(clone)
    present = clone.path / ".localazure" / "licence"

    def require_a_file(config: dict[str, Any]) -> None:
        config["onlineEndpoints"]["tumor-online"]["deployments"]["green"]["environmentVariables"] = {
            "LICENCE": str(present)
        }

    script = clone.path / "scoring/online/score.py"
    script.write_text(script.read_text().replace("def init():", "def init():\n    open(os.environ['LICENCE']).close()"))
    clone.edit(require_a_file)
    failed = clone.make("up")
    assert failed.code != 0
    assert "FileNotFoundError" in failed.out, "the last lines of its log say why"
    assert "KeyboardInterrupt" not in failed.out, "nothing stands beside it that says less"
    assert str(present) in failed.out
    assert "raise `attempt` of green" in failed.out, "the error names the way out"
    assert live_traffic(clone) == before

    again = clone.make("up")
    assert again.code != 0, "a failed first creation does not repair itself"
    assert "attempt" in again.out
    assert live_traffic(clone) == before

    present.write_text("")

    def raise_attempt(config: dict[str, Any]) -> None:
        config["onlineEndpoints"]["tumor-online"]["deployments"]["green"]["attempt"] = 1

    clone.edit(raise_attempt)
    clone.make("up").ok()
    assert live_traffic(clone) == {revision(clone, "blue"): 90, revision(clone, "green"): 10}
    assert set(instances(clone)) == {revision(clone, "blue"), revision(clone, "green")}, "the broken one is gone"


def microsofts_client_works_as_it_is_and_reaches_nothing_when_local_azure_is_down(clone: Clone) -> None:
    script = """
from azure.ai.ml import Input
print("workspace", ml.workspaces.get("aml-local").name)
print("endpoint", ml.online_endpoints.get("tumor-online").scoring_uri)
print("deployments", len(list(ml.online_deployments.list("tumor-online"))))
print("key", len(ml.online_endpoints.get_keys("tumor-online").primary_key))
print("score", ml.online_endpoints.invoke("tumor-online", request_file="scoring/samples/request.json"))
for deployment in [each.name for each in ml.batch_deployments.list("tumor-batch")]:
    job = ml.batch_endpoints.invoke(
        "tumor-batch", deployment_name=deployment, input=Input(type="uri_folder", path="scoring/samples/batch"))
    ml.jobs.stream(job.name)
    to = "predictions/" + deployment.rpartition("-")[0]
    ml.jobs.download(job.name, download_path=to, output_name="score")
    print("job", deployment, ml.jobs.get(job.name).status)
"""
    printed = clone.ml(script).ok().out
    assert "workspace aml-local" in printed
    assert f"endpoint {SCORE}" in printed
    assert "deployments 2" in printed
    assert printed.upper().count("COMPLETED") == 2
    rows = {}
    for deployment, separator in (("mlflow", ","), ("custom", " ")):
        lines = (clone.path / "predictions" / deployment / "predictions.csv").read_text().splitlines()
        rows[deployment] = Counter(tuple(line.split(separator)[-2:]) for line in lines)
    # One form ends in prediction and file, the other is prediction and file: the same model has to say the same.
    assert rows["mlflow"] == rows["custom"]
    assert sum(rows["mlflow"].values()) == sum(
        len(file.read_text().splitlines()) - 1 for file in (clone.path / "scoring/samples/batch").glob("*.csv")
    )

    clone.shell(".venv/bin/python -m localazure env > .localazure/kept.sh && .venv/bin/python -m localazure stop").ok()
    down = clone.shell("source .localazure/kept.sh && .venv/bin/python .localazure/script.py")
    assert down.code != 0
    assert "workspace aml-local" not in down.out
    clone.shell(".venv/bin/python -m localazure start").ok()


def without_the_environment_pulumi_fails_before_it_reaches_any_azure(clone: Clone) -> None:
    bare = {**clone.environment, "PULUMI_HOME": str(clone.path / ".localazure/other-home")}
    bare["PATH"] = clone.with_local_azure('printf %s "$PATH"').ok().out
    done = clone.run("pulumi", "up", "--yes", "--non-interactive", "--stack", "local", environment=bare)
    assert done.code != 0
    assert "azure.com" not in done.out


def traffic_to_nobody_is_a_404(clone: Clone) -> None:
    clone.traffic()
    clone.make("up").ok()
    with clone.scorer() as client:
        assert client.post(SCORE, json=request_body(clone)).status_code == 404


def nothing_listens_beyond_this_machine_and_the_state_is_private(clone: Clone) -> None:
    listening = [
        connection
        for process in clone.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == "LISTEN"
    ]
    assert listening
    assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} <= {"127.0.0.1"}
    assert (clone.path / ".localazure").stat().st_mode & 0o777 == 0o700


def no_key_and_no_token_is_in_any_log(clone: Clone) -> None:
    keys = json.loads(clone.shell(".venv/bin/python -m localazure keys tumor-online --json").ok().out)
    lines = clone.shell(".venv/bin/python -m localazure env").ok().out
    secret = re.search(r"export IDENTITY_HEADER='?([^'\n]+)", lines)
    assert secret is not None
    state = clone.path / ".localazure"
    logs = [
        file for file in state.rglob("*") if file.suffix == ".log" or (file.suffix == ".txt" and "logs" in file.parts)
    ]
    assert {"localazure.log", "inference-server.log"} <= {log.name for log in logs}, "there is something to look at"
    for log in logs:
        text = log.read_text(errors="replace")
        assert not [value for value in (*keys.values(), secret.group(1)) if value in text], log
        assert not re.search(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.", text), f"a token in {log}"


def make_down_leaves_nothing_and_make_up_works_again(clone: Clone) -> None:
    clone.make("down").ok()
    assert not still_there(clone.processes)
    clone.traffic(blue=100)
    clone.make("up").ok()
    assert list(live_traffic(clone).values()) == [100]


def an_interrupted_up_goes_on_where_it_was(clone: Clone) -> None:
    clone.make("down").ok()
    running = clone.begin("make", "up")
    assert running.stdout is not None
    seen = []
    for line in running.stdout:
        seen.append(line)
        if re.search(r"tumor-online-blue-\w+ creating", line):
            break
    # As Ctrl-C does: to every process of the terminal's foreground group.
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=300)
    assert running.returncode != 0, "".join(seen)
    time.sleep(0.2)
    clone.make("up").ok()
    assert list(live_traffic(clone).values()) == [100]
    assert clone.planned() == []
    clone.make("down").ok()
    assert not still_there(clone.processes)


def tell(clone: Clone, subtests: pytest.Subtests, *chapters: Callable[[Clone], None]) -> None:
    """Runs the chapters in their order, each reported by its own name; one that fails does not end the story."""
    for chapter in chapters:
        with subtests.test(chapter.__name__.replace("_", " ")):
            chapter(clone)


def test_an_endpoint_from_its_first_request_to_a_changed_model(clone: Clone, subtests: pytest.Subtests) -> None:
    tell(
        clone,
        subtests,
        make_up_goes_from_nothing_to_a_request_that_is_scored,
        a_second_up_changes_nothing,
        requests_are_split_as_configured_and_the_models_answer_differently,
        the_door_opens_only_with_a_key_and_a_header_picks_the_deployment,
        editing_the_traffic_is_one_change_that_touches_no_deployment,
        setting_the_traffic_by_the_cli_does_the_same,
        a_changed_model_is_a_new_revision_then_traffic_then_the_old_one_goes,
        a_change_by_hand_shows_in_the_next_preview_and_up_puts_it_back,
        a_model_that_does_not_start_fails_the_up_with_its_last_lines_and_leaves_the_traffic,
        traffic_to_nobody_is_a_404,
    )


def test_a_day_with_microsofts_client_until_nothing_is_left(clone: Clone, subtests: pytest.Subtests) -> None:
    clone.make("up").ok()
    tell(
        clone,
        subtests,
        microsofts_client_works_as_it_is_and_reaches_nothing_when_local_azure_is_down,
        without_the_environment_pulumi_fails_before_it_reaches_any_azure,
        nothing_listens_beyond_this_machine_and_the_state_is_private,
        no_key_and_no_token_is_in_any_log,
        make_down_leaves_nothing_and_make_up_works_again,
        an_interrupted_up_goes_on_where_it_was,
    )
