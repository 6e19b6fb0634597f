"""Layer: the smoke test of a deployment, against a fake of azure-ai-ml and a real HTTP server."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from dynamic.base import Pace, Refusal
from dynamic.smoke import Answer, SmokeTest, smoke_failures
from dynamic.traffic import TrafficSplitProvider

GREEN = "green-1a2b3c4d"
KEY = "s3cret"


@dataclass
class Scoring:
    """A scoring URI: what it was sent, and what it answers, one after another and the last one for good."""

    answers: list[tuple[int, str, dict[str, str]]] = field(default_factory=lambda: [(200, "[1, 0]", {})])
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    pause: float = 0.0
    uri: str = ""

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, str, dict[str, str]]:
        self.seen.append((headers, body))
        time.sleep(self.pause)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def scoring(client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scoring]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Scoring()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text, headers = state.take({key.lower(): value for key, value in self.headers.items()}, body)
            with suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        state.uri = client.online_endpoints.found.scoring_uri = f"http://127.0.0.1:{server.server_port}/score"
        yield state
        server.shutdown()


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text('{"input_data": [[1, 2]]}')
    return str(path)


Run = Callable[..., list[str]]


@pytest.fixture
def run(client: Any, pace: Pace, request_file: str) -> Run:
    """Runs the smoke test of green with the values that are given."""

    def call(**values: Any) -> list[str]:
        if "json" in values:
            values["json"] = json.dumps(values["json"])
        # As numbers arrive from Pulumi.
        tests = {GREEN: {"request": request_file, "status": 200.0, "timeLimit": 20.0, **values}}
        return smoke_failures(client, "e", tests, [GREEN], pace)

    return call


# The request ---------------------------------------------------------------------------------------------------------


def test_the_deployment_is_called_by_name_with_the_request_as_it_is(scoring: Scoring, run: Run) -> None:
    assert run() == []
    ((headers, body),) = scoring.seen
    assert headers["azureml-model-deployment"] == GREEN
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == b'{"input_data": [[1, 2]]}'


def test_where_tokens_let_requests_in_the_token_is_sent(client: Any, scoring: Scoring, run: Run) -> None:
    # What azure-ai-ml returns for aml_token and for aad_token alike.
    client.online_endpoints.keys = SimpleNamespace(access_token="a token")
    assert run() == []
    assert scoring.seen[0][0]["authorization"] == "Bearer a token"


def test_a_request_need_not_be_json(scoring: Scoring, run: Run, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\xff")
    assert run(request=str(tmp_path / "cat.png")) == []
    assert (scoring.seen[0][0]["content-type"], scoring.seen[0][1]) == ("image/png", b"\x89PNG\xff")


def test_only_a_deployment_that_gains_traffic_and_has_a_test_is_called(
    client: Any, pace: Pace, scoring: Scoring, request_file: str
) -> None:
    tests = {GREEN: {"request": request_file}, "amber-1": {"request": request_file}}
    assert smoke_failures(client, "e", tests, ["blue-1", "amber-1"], pace) == []
    assert [headers["azureml-model-deployment"] for headers, _ in scoring.seen] == ["amber-1"]


# What is checked -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "answer", "problem"),
    [
        ({}, (200, "not even JSON"), ""),
        ({}, (424, "{}"), "status: expected 200, received 424"),
        ({"status": 424.0}, (424, "{}"), ""),
        ({"status": 404.0}, (404, ""), ""),
        ({}, (403, ""), "status: expected 200, received 403; whoever runs this needs the role AzureML Data Scientist"),
        ({}, (408, ""), "status: expected 200, received 408; the model did not answer within the deployment's request"),
        ({"json": [1, 0]}, (200, "[1.0, 0.0]"), ""),
        ({"json": [1, 1]}, (200, "[1, 0]"), "json: $[1]: expected 1, received 0"),
        ({"json": {"label": "benign"}}, (200, '{"label": "benign", "time": 3}'), ""),
        ({"json": {"error": None}}, (200, '{"label": "benign"}'), "json: $.error: expected null, and it is not there"),
        ({"json": [1, 0]}, (200, '"[1, 0]"'), ""),
        ({"json": [1, 1]}, (200, '"[1, 0]"'), "json: $[1]: expected 1, received 0"),
        ({"json": "[1, 0]"}, (200, '"[1, 0]"'), ""),
        ({"json": [1]}, (200, "oops"), "json: the answer is not JSON"),
        ({"json": [1]}, (200, "[" * 100_000), "json: the answer is not JSON"),
    ],
)
def test_an_answer_passes_or_is_found_wanting(
    values: dict[str, Any], answer: tuple[int, str], problem: str, scoring: Scoring, run: Run
) -> None:
    scoring.answers = [(*answer, {})]
    failures = run(**values)
    assert bool(failures) == bool(problem)
    assert all(f"\n  {problem}" in failure for failure in failures)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"label": 1}', ""),
        ('"{\\"label\\": 1}"', ""),
        ('{"label": "one"}', "schema: $.label: 'one' is not of type 'integer'"),
        ("{}", "schema: $: 'label' is a required property"),
    ],
)
def test_an_answer_keeps_to_the_schema_or_is_found_wanting(
    answer: str, problem: str, scoring: Scoring, run: Run, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "required": ["label"], "properties": {"label": {"type": "integer"}}}')
    scoring.answers = [(200, answer, {})]
    failures = run(schema=str(schema))
    assert bool(failures) == bool(problem)
    assert all(problem in failure for failure in failures)


def test_a_schema_is_not_fetched_from_elsewhere(scoring: Scoring, run: Run, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"$ref": scoring.uri}))
    (failure,) = run(schema=str(schema))
    assert "schema: refers to " in failure
    assert len(scoring.seen) == 1, "the request alone"


def test_an_answer_that_comes_too_late_fails(scoring: Scoring, run: Run) -> None:
    scoring.pause = 2
    (failure,) = run(timeLimit=0.2)
    assert "no answer: none within 0.2 s (timeLimit)" in failure
    assert len(scoring.seen) == 1, "whoever took the time that there was is not asked again"


def test_an_answer_that_comes_in_pieces_must_be_whole_in_time() -> None:
    test = SmokeTest(GREEN, "r.json", b"", time_limit=5)
    (problem,) = test.problems(Answer(6.25, 200))
    assert problem == "timeLimit: the answer came after 6.2 s, not within 5 s"


# Patience ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 502, 503])
def test_a_deployment_that_is_not_routed_to_yet_is_called_again(
    status: int, scoring: Scoring, run: Run, clock: Any
) -> None:
    scoring.answers = [(status, "", {}), (status, "", {}), (200, "[1, 0]", {})]
    assert run(json=[1, 0]) == []
    assert 0 < clock.now < 30


def test_patience_ends(scoring: Scoring, run: Run, clock: Any) -> None:
    scoring.answers = [(404, "", {})]
    (failure,) = run()
    assert "status: expected 200, received 404" in failure
    assert 30 <= clock.now < 60


@pytest.mark.parametrize("status", [404, 503])
def test_what_is_expected_is_not_waited_out(status: int, scoring: Scoring, run: Run, clock: Any) -> None:
    scoring.answers = [(status, "", {})]
    assert run(status=float(status)) == []
    assert clock.now == 0


def test_an_answer_of_the_model_is_final(scoring: Scoring, run: Run, clock: Any) -> None:
    scoring.answers = [(424, "", {}), (200, "[1, 0]", {})]
    assert run()
    assert clock.now == 0


def test_a_scoring_uri_that_nobody_answers_at_is_tried_again_and_then_named(client: Any, run: Run, clock: Any) -> None:
    client.online_endpoints.found.scoring_uri = "http://127.0.0.1:1/score"
    (failure,) = run()
    assert "no answer: " in failure
    assert "refused" in failure
    assert "request: POST http://127.0.0.1:1/score" in failure
    assert 30 <= clock.now < 60


# What is said --------------------------------------------------------------------------------------------------------


def test_a_failure_shows_the_request_the_answer_and_the_last_lines_of_the_log(
    client: Any, scoring: Scoring, run: Run, request_file: str
) -> None:
    headers = {"ms-azureml-model-error-statuscode": "500", "x-request-id": "guid", "server": "azureml-frontdoor"}
    scoring.answers = [(424, '{"message":\n  "no column age"}', headers)]
    client.online_deployments.log = "\n".join(f"line {number}" for number in range(100))
    (failure,) = run()
    lines = failure.splitlines()
    assert lines[:3] == [
        f"deployment {GREEN}:",
        "  status: expected 200, received 424",
        f'  request: POST {scoring.uri}, {request_file} (24 bytes): {{"input_data": [[1, 2]]}}',
    ]
    assert lines[3].startswith("  answer: 424 after 0.")
    assert lines[3].endswith(
        ' s; ms-azureml-model-error-statuscode: 500; x-request-id: guid: {"message": "no column age"}'
    )
    assert lines[4:] == ["  log, its last lines:", *(f"    line {number}" for number in range(80, 100))]


def test_no_key_and_no_token_is_ever_shown(client: Any, scoring: Scoring, run: Run, tmp_path: Path) -> None:
    (tmp_path / "leak.json").write_text(json.dumps({"key": KEY}))
    # The key lies across the place where the text is cut.
    body = json.dumps({"headers": "x" * 484 + KEY})
    scoring.answers = [(424, body, {"ms-azureml-model-error-reason": f"Bearer {KEY}"})]
    client.online_deployments.log = f"Authorization: Bearer {KEY}"
    (failure,) = run(json={"headers": "none"}, request=str(tmp_path / "leak.json"))
    assert failure.count("***") >= 4
    assert KEY[:3] not in failure


def test_a_long_answer_is_shortened(scoring: Scoring, run: Run) -> None:
    scoring.answers = [(424, "x" * 100_000, {})]
    (failure,) = run()
    assert len(failure) < 2000


def test_a_log_that_cannot_be_had_is_said_and_hides_nothing_else(client: Any, scoring: Scoring, run: Run) -> None:
    scoring.answers = [(424, "{}", {})]
    client.online_deployments.log = HttpResponseError("no log for you")
    (failure,) = run()
    assert "status: expected 200, received 424" in failure
    assert "  log: cannot be had: no log for you" in failure


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"request": "nowhere.json"},
            'smokeTest.request of deployment "green": "nowhere.json" cannot be read: No such',
        ),
        ({"request": "/"}, 'smokeTest.request of deployment "green": "/" cannot be read: Is a directory'),
        ({"schema": "nowhere.json"}, 'smokeTest.schema of deployment "green": "nowhere.json" cannot be read'),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_key(
    values: dict[str, str], said: str, scoring: Scoring, run: Run
) -> None:
    (failure,) = run(**values)
    assert failure.startswith(said)
    assert not scoring.seen


@pytest.mark.parametrize("content", ["{", '{"type": "whole number"}', "\udcff", "3"])
def test_a_schema_that_is_none_is_named_with_its_key(content: str, scoring: Scoring, run: Run, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_bytes(content.encode(errors="surrogateescape"))
    (failure,) = run(schema=str(schema))
    assert failure.startswith(f'smokeTest.schema of deployment "green": "{schema}" is not a JSON schema: ')


def test_a_caller_who_may_not_have_the_key_is_told_so(client: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> Any:
        raise HttpResponseError("AuthorizationFailed: listKeys/action")

    monkeypatch.setattr(client.online_endpoints, "get_keys", refused)
    (failure,) = run()
    assert "the endpoint's key or token cannot be had" in failure
    assert "AuthorizationFailed" in failure


# As part of a change of traffic --------------------------------------------------------------------------------------


def change(request_file: str, **values: Any) -> dict[str, Any]:
    test = {"request": request_file, "status": 200, "json": "[1, 0]", "schema": None, "timeLimit": 20}
    tests = dict.fromkeys((GREEN, "amber-1", "blue-1"), test)
    return {"endpointName": "e", "provisioningStates": {}, "smokeTests": tests, **values}


@pytest.mark.parametrize(
    "split",
    [
        {"traffic": {"blue-1": 90.0, GREEN: 10.0}},
        {"traffic": {GREEN: 100.0}},
        {"traffic": {"blue-1": 100.0}, "mirrorTraffic": {GREEN: 10.0}},
    ],
)
def test_traffic_stays_where_it_is_when_the_smoke_test_fails(
    split: dict[str, Any], client: Any, scoring: Scoring, request_file: str, provider: TrafficSplitProvider
) -> None:
    olds = change(request_file, traffic={"blue-1": 100.0})
    client.online_endpoints.found.traffic = {"blue-1": 100}
    scoring.answers = [(200, "[1, 1]", {})]
    with pytest.raises(Refusal, match=r"as it was: blue-1 100 %\.\ndeployment green.*\n  json: \$\[1\]: expected 0"):
        provider.update("id", olds, change(request_file, **split))
    assert not client.online_endpoints.puts
    assert [headers["azureml-model-deployment"] for headers, _ in scoring.seen] == [GREEN]


def test_the_first_split_of_an_endpoint_is_tested_too_and_every_failure_is_said(
    client: Any, scoring: Scoring, request_file: str, provider: TrafficSplitProvider
) -> None:
    scoring.answers = [(200, "[1, 1]", {}), (424, "", {})]
    with pytest.raises(Refusal) as raised:
        provider.create(change(request_file, traffic={"blue-1": 100.0}, mirrorTraffic={GREEN: 10.0}))
    message = str(raised.value)
    assert "The traffic is as it was: no deployment." in message
    assert "deployment blue-1:\n  json: $[1]: expected 0, received 1" in message
    assert f"deployment {GREEN}:\n  status: expected 200, received 424" in message
    assert not client.online_endpoints.puts


def test_traffic_moves_when_the_smoke_test_passes_and_who_has_traffic_is_not_tested_again(
    client: Any, scoring: Scoring, request_file: str, provider: TrafficSplitProvider
) -> None:
    first = change(request_file, traffic={"blue-1": 90.0, GREEN: 10.0})
    provider.create(first)
    provider.update("id", first, change(request_file, traffic={"blue-1": 25.0, GREEN: 75.0}))
    live = client.online_endpoints.get("e").traffic
    assert {name: share for name, share in live.items() if share} == {"blue-1": 25, GREEN: 75}
    assert len(scoring.seen) == 2
