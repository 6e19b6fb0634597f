"""What `make up` says at its end: where to send a request, and where to look next."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SAMPLE = "scoring/samples/request.json"
BATCH_SAMPLE = "scoring/samples/batch"
BATCH = (
    "from azure.ai.ml import Input, MLClient; from azure.identity import DefaultAzureCredential; "
    "ml = MLClient(DefaultAzureCredential(), '{subscription}', '{group}', '{workspace}'); "
    "job = ml.batch_endpoints.invoke('{endpoint}', input=Input(type='uri_folder', path='{data}')); "
    "ml.jobs.stream(job.name); ml.jobs.download(job.name, download_path='{predictions}', output_name='score')"
)
PREDICTIONS = "predictions"
BATCH_GUIDE = "docs/guides/batch.md"

Outputs = Mapping[str, Any]


def of(outputs: Outputs, local: Mapping[str, str] | None, stack: str = "local") -> str:
    """The stack's endpoints with a command for each; `local` is the environment of Local Azure, None in Azure."""
    online = outputs.get("onlineEndpoints", {}).items()
    batch = outputs.get("batchEndpoints", {}).items()
    lines = [line for name, endpoint in online for line in _online(name, endpoint, outputs, local)]
    lines += [line for name, endpoint in batch for line in _batch(name, endpoint, outputs, local)]
    return "\n".join(["", *lines, *_next(stack), *(_next_local() if local else [])])


def way_out(resources: Iterable[Mapping[str, Any]]) -> str:
    """How to go on where a deployment's first creation failed, which Azure never repairs; empty where none did.

    `resources` are those of `pulumi stack export`, which keeps such a deployment with its errors.
    """
    failed = [each["inputs"]["deploymentName"] for each in resources if each.get("initErrors") and _is_deployment(each)]
    return "\n".join(
        f"Deployment {name} failed and stays broken; the traffic is as it was. Correct what its log says, then "
        "`make up`. Where that changes nothing it runs (model, code, environment, size, variables), also raise "
        f"`attempt` of {name.rpartition('-')[0]} in the stack configuration: a new revision is tried and this one goes."
        for name in failed
    )


def _is_deployment(resource: Mapping[str, Any]) -> bool:
    return resource["type"].endswith((":OnlineDeployment", ":BatchDeployment"))


def _online(name: str, endpoint: Outputs, outputs: Outputs, local: Mapping[str, str] | None) -> Iterator[str]:
    yield f"Online endpoint {name}"
    yield f"  scoring URL  {endpoint['scoringUri']}"
    yield f"  traffic      {_traffic(endpoint)}"
    if local:
        yield f"  try it       {curl(endpoint, local)}"
    else:
        where = f"-g {outputs['resourceGroupName']} -w {outputs['workspaceName']}"
        yield f"  its keys     az ml online-endpoint get-credentials -n {endpoint['name']} {where}"
    yield ""


def _traffic(endpoint: Outputs) -> str:
    shares = [f"{name} {share:g} %" for name, share in (endpoint.get("traffic") or {}).items()]
    return ", ".join(shares) or "none: every request gets 404"


def curl(endpoint: Outputs, local: Mapping[str, str]) -> str:
    """A request that needs nothing from the shell it is pasted into but the clone as its folder."""
    way = ["--proxy", local["HTTPS_PROXY"], "--cacert", _short(local["CURL_CA_BUNDLE"])]
    key = f'"Authorization: Bearer $({_python()} -m localazure keys {shlex.quote(endpoint["name"])})"'
    body = f"-H 'Content-Type: application/json' --data @{SAMPLE}"
    return f"curl {shlex.join(way)} -H {key} {body} {shlex.quote(endpoint['scoringUri'])}"


def _batch(name: str, endpoint: Outputs, outputs: Outputs, local: Mapping[str, str] | None) -> Iterator[str]:
    script = BATCH.format(
        subscription=outputs["subscriptionId"],
        group=outputs["resourceGroupName"],
        workspace=outputs["workspaceName"],
        endpoint=endpoint["name"],
        data=BATCH_SAMPLE,
        predictions=PREDICTIONS,
    )
    command = f'{_python()} -c "{script}"'
    yield f"Batch endpoint {name}"
    yield f"  default      {endpoint.get('defaultDeployment')}"
    yield f"  score files  {_in_local_azure(command) if local else command}"
    yield f"  predictions  then lie in the folder {PREDICTIONS}, and in Azure in the output score of the job"
    if schedules := endpoint.get("schedules"):
        yield f"  schedules    {', '.join(sorted(schedules))}; more in {BATCH_GUIDE}"
    yield ""


def _in_local_azure(command: str) -> str:
    return f'(eval "$({_python()} -m localazure env)"; {command})'


def _next(stack: str) -> list[str]:
    named = "" if stack == "local" else f" STACK={stack}"
    return [f"Next: edit the traffic in Pulumi.{stack}.yaml, then `make preview{named}`, then `make up{named}`."]


def _next_local() -> list[str]:
    return [f"      {_python()} -m localazure status, or logs NAME, shows what runs; `make down` ends it."]


def _python() -> str:
    return shlex.quote(_short(sys.executable))


def _short(path: str) -> str:
    """Relative to the clone, where commands are pasted, if it lies in it."""
    relative = os.path.relpath(path, Path.cwd())
    return path if relative.startswith("..") else relative
