"""The smoke test of a deployment: one request to it, and what its answer must be, before it gets any traffic.

The header `azureml-model-deployment` reaches a deployment that has no traffic. What is expected may be a status, a part
of the answer's JSON, and a JSON schema; all that are given must hold. `dynamic.matching` has the rules.
"""

import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic.base import Pace, Props, Refusal
from dynamic.matching import Json, differences, readings, shown, violations

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

# A deployment that has only just become ready may not be routed to yet: for so many seconds, asking so often.
PATIENCE, PAUSE = 30.0, 1.0
NOT_ROUTED_YET = (404, 502, 503)
# How much is shown: lines of a log, differences of an answer.
LOG_LINES, MOST_DIFFERENCES = 20, 5
# The headers of an answer that say what went wrong, and those by which Azure's support finds it.
TELLING_HEADERS = ("ms-azureml-model-error-", "ms-azureml-model-time", "x-ms-run-fn", "x-request-id", "retry-after")
PRIVATE = "a private endpoint answers only where its private network is reached"
NOTHING = object()


@dataclass(frozen=True)
class SmokeTest:
    """What a deployment is sent and what it must answer; `time_limit` in seconds."""

    deployment: str
    path: str
    request: bytes
    status: int = 200
    time_limit: float = 60.0
    expected: Json = NOTHING
    schema: Json = NOTHING

    @classmethod
    def read(cls, deployment: str, props: Props) -> "SmokeTest":
        """Reads the inputs and the files that they name. Raises `Refusal`, which names the key."""
        limit, schema = props.get("timeLimit"), props.get("schema")
        return cls(
            deployment,
            props["request"],
            _read(deployment, "request", props["request"]),
            int(props.get("status") or 200),
            cls.time_limit if limit is None else float(limit),
            # As text, since Pulumi drops a null that stands in an object.
            NOTHING if props.get("json") is None else json.loads(props["json"]),
            _schema(deployment, schema) if schema else NOTHING,
        )

    def problems(self, answer: "Answer") -> Iterator[str]:
        """What is wrong with an answer; nothing where all is well."""
        if answer.error:
            yield f"no answer: {answer.error}"
            return
        if answer.seconds > self.time_limit:
            yield f"timeLimit: the answer came after {answer.seconds:.1f} s, not within {self.time_limit:g} s"
        if answer.status != self.status:
            # What another status comes with is not what was described.
            yield f"status: expected {self.status}, received {answer.status}{_hint(answer.status)}"
            return
        found = list(readings(answer.body))
        for key, wanted, compare in (("json", self.expected, differences), ("schema", self.schema, violations)):
            if wanted is not NOTHING:
                yield from (f"{key}: {problem}" for problem in _wrong(wanted, found, compare))


def _wrong(wanted: Json, found: list[Json], compare: Callable[[Json, Json], Iterator[str]]) -> list[str]:
    if not found:
        return ["the answer is not JSON"]
    tries = [list(islice(compare(wanted, each), MOST_DIFFERENCES)) for each in found]
    # Of an answer that holds JSON in a text, what is inside is what a person thinks of.
    return tries[-1] if all(tries) else []


@dataclass(frozen=True)
class Answer:
    """What came back after so many `seconds`; where nothing did, an `error` instead, that may be `transient`."""

    seconds: float
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""
    transient: bool = False

    def __str__(self) -> str:
        if self.error:
            return "none"
        telling = [
            f"{name}: {value}" for name, value in self.headers.items() if name.lower().startswith(TELLING_HEADERS)
        ]
        return f"{'; '.join([f'{self.status} after {self.seconds:.1f} s', *telling])}: {shown(self.body)}"


def _schema(deployment: str, path: str) -> Json:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        schema = json.loads(_read(deployment, "schema", path))
        if not isinstance(schema, dict | bool):
            raise ValueError("it is neither an object nor true or false")
        checker: Any = validator_for(schema)
        checker.check_schema(schema)
    except (ValueError, SchemaError) as error:
        # Of a schema's error only the message: its text has the whole schema in it.
        reason = getattr(error, "message", error)
        raise Refusal(f'{_key(deployment, "schema")}: "{path}" is not a JSON schema: {reason}.') from None
    return schema


def _read(deployment: str, key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refusal(
            f'{_key(deployment, key)}: "{path}" cannot be read: {error.strerror}; correct the path.'
        ) from None


def _key(deployment: str, key: str) -> str:
    return f'smokeTest.{key} of deployment "{deployment.rpartition("-")[0] or deployment}"'


def _hint(status: int) -> str:
    if status in (401, 403):
        return (
            "; whoever runs this needs the role AzureML Data Scientist, or the action "
            "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action, on the workspace"
        )
    return (
        "; the model did not answer within the deployment's requestSettings.requestTimeoutMs" if status == 408 else ""
    )


@dataclass(frozen=True)
class Caller:
    """Calls the deployments of one endpoint with its key or token, which is never shown."""

    scoring_uri: str
    secret: str
    pace: Pace

    @classmethod
    def of(cls, client: "MLClient", endpoint: str, pace: Pace) -> "Caller":
        """Asks for the key or the token that the endpoint's auth mode takes. Raises `Refusal`."""
        from azure.core.exceptions import AzureError

        try:
            found: Any = client.online_endpoints.get(endpoint)
            # For aad_token, azure-ai-ml asks its own credential for a token of Azure ML's audience.
            keys: Any = client.online_endpoints.get_keys(endpoint)
        except AzureError as error:
            raise Refusal(f"the endpoint's key or token cannot be had, which a smoke test needs: {error}") from None
        return cls(str(found.scoring_uri), getattr(keys, "primary_key", None) or keys.access_token or "", pace)

    def answer(self, test: SmokeTest) -> Answer:
        """Sends the request, again and again for a while if the deployment is not routed to yet."""
        deadline = self.pace.clock() + PATIENCE
        while True:
            answer = self._send(test)
            early = answer.transient or (answer.status in NOT_ROUTED_YET and answer.status != test.status)
            if not early or self.pace.clock() >= deadline:
                return answer
            self.pace.sleep(PAUSE)

    def _send(self, test: SmokeTest) -> Answer:
        from azure.core import PipelineClient
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        kind = mimetypes.guess_type(test.path)[0] or "application/octet-stream"
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": kind}
        headers["azureml-model-deployment"] = test.deployment
        request = HttpRequest("POST", self.scoring_uri, headers=headers, content=test.request)
        limits: dict[str, Any] = {"connection_timeout": test.time_limit, "read_timeout": test.time_limit}
        start = self.pace.clock()
        try:
            # No policies: the answer is to be seen as it is, once.
            with PipelineClient(self.scoring_uri, policies=[]) as http:
                response = http.send_request(request, **limits)
                body = response.content.decode(errors="replace")
        except AzureError as error:
            return self._failed(test, error, self.pace.clock() - start)
        told = {name: self.hidden(value) for name, value in response.headers.items()}
        return Answer(self.pace.clock() - start, response.status_code, told, self.hidden(body))

    def _failed(self, test: SmokeTest, error: Exception, seconds: float) -> Answer:
        from azure.core.exceptions import ServiceResponseTimeoutError

        # Whoever took the time that there was is not asked again.
        if isinstance(error, ServiceResponseTimeoutError) or seconds >= test.time_limit:
            return Answer(seconds, error=f"none within {test.time_limit:g} s (timeLimit)")
        return Answer(seconds, error=f"{self.hidden(str(error))}; {PRIVATE}", transient=True)

    def hidden(self, text: str) -> str:
        """The text without the key or the token: a model may well say what it was sent."""
        return text.replace(self.secret, "***") if self.secret else text


def smoke_failures(
    client: "MLClient", endpoint: str, tests: Mapping[str, Props], gaining: list[str], pace: Pace
) -> list[str]:
    """Calls those of the `gaining` deployments that have a smoke test, all of them, and says how each one failed."""
    tests = {name.lower(): test for name, test in tests.items()}
    names = [name for name in gaining if name in tests]
    if not names:
        return []
    try:
        caller = Caller.of(client, endpoint, pace)
    except Refusal as error:
        return [str(error)]
    failures = [_failure(client, endpoint, caller, name, tests[name]) for name in names]
    return [failure for failure in failures if failure]


def _failure(client: "MLClient", endpoint: str, caller: Caller, name: str, props: Props) -> str:
    try:
        test = SmokeTest.read(name, props)
    except Refusal as error:
        return str(error)
    answer = caller.answer(test)
    problems = list(test.problems(answer))
    if not problems:
        return ""
    size, content = len(test.request), shown(caller.hidden(test.request.decode(errors="replace")))
    lines = [
        f"deployment {name}:",
        *(f"  {problem}" for problem in problems),
        f"  request: POST {caller.scoring_uri}, {test.path} ({size} bytes): {content}",
        f"  answer: {answer}",
        *_log(client, endpoint, caller, name),
    ]
    return "\n".join(lines)


def _log(client: "MLClient", endpoint: str, caller: Caller, name: str) -> list[str]:
    from azure.core.exceptions import AzureError

    try:
        text = client.online_deployments.get_logs(name=name, endpoint_name=endpoint, lines=LOG_LINES)
    except AzureError as error:
        return [f"  log: cannot be had: {shown(str(error))}"]
    lines = caller.hidden(text).splitlines()[-LOG_LINES:]
    return ["  log, its last lines:", *(f"    {line}" for line in lines)] if lines else ["  log: empty"]
