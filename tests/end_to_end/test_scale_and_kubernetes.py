"""Autoscale and Kubernetes through the front door: what autoscale changed stays, and a cluster comes and goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.end_to_end.conftest import ROOT, Clone

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

ARM = """import json, os, ssl, sys
import httpx
from azure.identity import DefaultAzureCredential
token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
headers = {"Authorization": f"Bearer {token}"}
arm = httpx.Client(base_url="https://management.azure.com", headers=headers, verify=context)
above = f"/subscriptions/{os.environ['ARM_SUBSCRIPTION_ID']}/resourceGroups"
def send(method, path, body=None):
    answer = arm.request(method, above + path, params={"api-version": "2025-12-01"}, json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None
"""
AKS = """
pools = [{"name": "system", "count": 1, "mode": "System"}]
send("PUT", "/rg-aks", {"location": "eastus"})
cluster = {"location": "eastus", "properties": {"dnsPrefix": "aks", "agentPoolProfiles": pools}}
made = send("PUT", "/rg-aks/providers/Microsoft.ContainerService/managedClusters/aks", cluster)
print(json.dumps(made["id"]))
"""
ENDPOINT = "/rg-aml-local/providers/Microsoft.MachineLearningServices/workspaces/aml-local/onlineEndpoints/tumor-online"
MODEL = {"path": "scoring/models/mlflow", "type": "mlflow_model"}
# Bounds alone move nothing between them, so that the count is what this test makes it.
OFFICE = {"name": "office", "from": "08:00", "until": "18:00", "minInstances": 1, "maxInstances": 3}
SCALE = {"minInstances": 1, "maxInstances": 3, "timeZone": "Europe/London", "timetable": [OFFICE]}


def answered(clone: Clone, script: str) -> Any:
    """What a script that asks ARM has printed last."""
    return json.loads(clone.python(ARM + script).ok().out.splitlines()[-1])


def count(clone: Clone) -> int:
    revision = clone.outputs()["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]
    path = f"{ENDPOINT}/deployments/{revision}"
    return answered(clone, f'\nprint(send("GET", {path!r})["sku"]["capacity"])')


def scale(clone: Clone, instances: int) -> None:
    """What autoscale does: a PATCH of the live deployment's capacity."""
    revision = clone.outputs()["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]
    body = {"sku": {"name": "Default", "capacity": instances}}
    path = f"{ENDPOINT}/deployments/{revision}"
    waits = f"""
import time
send("PATCH", {path!r}, {body!r})
while send("GET", {path!r})["properties"]["provisioningState"] != "Succeeded":
    time.sleep(0.2)
print(1)"""
    answered(clone, waits)


def blue_alone(config: dict[str, Any]) -> None:
    config["computeClusters"].clear()
    config["batchEndpoints"].clear()
    online = config["onlineEndpoints"]["tumor-online"]
    del online["deployments"]["green"]
    online["traffic"] = {"blue": 100}
    blue = online["deployments"]["blue"]
    del blue["instanceCount"]
    blue["autoscale"] = SCALE


def test_what_autoscale_changed_stays_and_a_cluster_comes_and_goes(clone: Clone) -> None:
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    aks = answered(clone, AKS)
    clone.edit(blue_alone)
    clone.make("up").ok()
    assert count(clone) == 1

    scale(clone, 3)
    assert clone.planned() == [], "what autoscale did is no drift"
    clone.edit(lambda config: config["onlineEndpoints"]["tumor-online"]["deployments"]["blue"].update(attempt=1))
    clone.make("up").ok()
    assert count(clone) == 3, "the new revision starts with as many instances as the live one had"

    on_it = {"kubernetes": "aks", "deployments": {"blue": {"model": MODEL}}, "traffic": {"blue": 100}}
    clone.edit(lambda config: config["onlineEndpoints"].update({"tumor-aks": on_it}))
    attached(clone, {"aks": {"cluster": aks, "namespace": "models"}})
    clone.make("up").ok()
    assert clone.planned() == []
    with clone.scorer(clone.key("tumor-aks")) as client:
        rows = json.loads((ROOT / "scoring/samples/request.json").read_text())
        answer = client.post(clone.outputs()["onlineEndpoints"]["tumor-aks"]["scoringUri"], json=rows)
    assert (answer.status_code, len(answer.json())) == (200, len(rows["input_data"]["data"]))

    clone.edit(lambda config: config["onlineEndpoints"].pop("tumor-aks"))
    attached(clone, {})
    clone.make("up").ok()
    assert clone.outputs()["computeClusters"] == {}
    clone.make("down").ok()


def attached(clone: Clone, clusters: dict[str, Any]) -> None:
    """Writes `kubernetesClusters` into the stack configuration, which has no such key at first."""
    file = clone.path / "Pulumi.local.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["azureml-endpoints:kubernetesClusters"] = clusters
    file.write_text(yaml.safe_dump(content, sort_keys=False))
