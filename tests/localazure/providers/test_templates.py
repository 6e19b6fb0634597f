"""Template deployments over ARM: the one with which azure-ai-ml makes a workspace, and templates of one's own."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud

STORAGE = "Microsoft.Storage/storageAccounts"


def deployment(cloud: Cloud, name: str = "made") -> str:
    return f"{cloud.group}/providers/Microsoft.Resources/deployments/{name}"


def vault(**more: Any) -> dict[str, Any]:
    own = {"tenantId": "[subscription().tenantId]", "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
    return {
        "type": "Microsoft.KeyVault/vaults",
        "apiVersion": "2023-07-01",
        "name": "[parameters('name')]",
        "location": "[resourceGroup().location]",
        "properties": own,
        **more,
    }


def template(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    parameters = {"name": {"type": "string", "defaultValue": "vault9"}}
    return {"contentVersion": "1.0.0.0", "parameters": parameters, "resources": list(resources), **more}


def body(of: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    given = {name: {"value": value} for name, value in parameters.items()}
    return {"properties": {"mode": "incremental", "template": of, "parameters": given}}


def workspace_template(cloud: Cloud, name: str) -> dict[str, Any]:
    """The client's own template, with its parameters filled in as the client does for a workspace with new parts."""
    spec = find_spec("azure.ai.ml")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "_arm_deployments" / "arm_templates"
    parameters = json.loads((folder / "workspace_param.json").read_text())
    logs = f"{cloud.group}/providers/Microsoft.OperationalInsights/workspaces/{name}logs"
    values = {
        "workspaceName": name,
        "friendlyName": "A friend",
        "description": name,
        "location": "eastus",
        "kind": "default",
        "resourceGroupName": "rg",
        "keyVaultName": f"{name}vault",
        "keyVaultResourceGroupName": "rg",
        "storageAccountName": f"{name}storage",
        "storageAccountResourceGroupName": "rg",
        "storageAccountSubscriptionId": cloud.subscription,
        "applicationInsightsName": f"{name}insights",
        "applicationInsightsResourceGroupName": "rg",
        "logAnalyticsName": f"{name}logs",
        "logAnalyticsArmId": logs,
        "tagValues": {"team": "a"},
        "identity": {"type": "SystemAssigned"},
        "imageBuildCompute": "builder",
    }
    for key, value in values.items():
        parameters[key] = {"value": value}
    of = json.loads((folder / "workspace_base.json").read_text())
    return {"properties": {"mode": "incremental", "template": of, "parameters": parameters}}


def test_the_clients_template_makes_a_workspace_with_all_that_it_stands_on(cloud: Cloud) -> None:
    answer = cloud.send("PUT", deployment(cloud), workspace_template(cloud, "fresh"))
    assert answer.status_code == 201, answer.text
    made = answer.json()["properties"]
    assert made["provisioningState"] == "Succeeded"
    workspace = cloud.get(cloud.workspace.removesuffix("work") + "fresh")
    own = workspace["properties"]
    assert (own["friendlyName"], own["imageBuildCompute"], workspace["tags"]) == ("A friend", "builder", {"team": "a"})
    assert (own["hbiWorkspace"], own["publicNetworkAccess"]) == (False, "Enabled")
    for part in ("storageAccount", "keyVault", "applicationInsights"):
        assert cloud.get(own[part])["name"].startswith("fresh")
    operations = cloud.get(f"{cloud.group}/deployments/made/operations")["value"]
    kinds = [each["properties"]["targetResource"]["resourceType"] for each in operations]
    assert kinds[-1] == "Microsoft.MachineLearningServices/workspaces"
    assert len(kinds) == 5
    assert cloud.get(deployment(cloud))["properties"]["outputResources"][-1]["id"] == workspace["id"]
    again = cloud.send("PUT", deployment(cloud), workspace_template(cloud, "fresh"))
    assert again.status_code == 201, again.text
    assert cloud.get(workspace["id"])["properties"]["workspaceId"] == own["workspaceId"], "it is the same workspace"


def test_resources_are_made_in_the_order_that_they_need_and_outputs_answered(cloud: Cloud) -> None:
    container = {
        "type": f"{STORAGE}/blobServices/containers",
        "apiVersion": "2023-04-01",
        "name": "account9/default/inbox",
        "dependsOn": [f"[resourceId('{STORAGE}', 'account9')]"],
    }
    account = {
        "type": STORAGE,
        "apiVersion": "2023-04-01",
        "name": "account9",
        "location": "eastus",
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        # No dependsOn: the reference says it.
        "tags": {"vault": "[reference(resourceId('Microsoft.KeyVault/vaults', 'vault9')).vaultUri]"},
    }
    skipped = vault(name="never", condition="[equals(parameters('name'), 'other')]")
    outputs = {
        "uri": {"type": "string", "value": "[reference(resourceId('Microsoft.KeyVault/vaults', 'vault9')).vaultUri]"}
    }
    answer = cloud.send("PUT", deployment(cloud), body(template(container, account, vault(), skipped, outputs=outputs)))
    assert answer.status_code == 201, answer.text
    found = answer.json()["properties"]
    names = [each["id"].rpartition("/")[2] for each in found["outputResources"]]
    assert names == ["vault9", "account9", "inbox"]
    assert found["outputs"]["uri"]["value"].startswith("https://vault9.")
    assert cloud.send("GET", f"{cloud.group}/providers/Microsoft.KeyVault/vaults/never").status_code == 404


def test_a_deployment_is_found_listed_validated_exported_and_forgotten(cloud: Cloud) -> None:
    of = template(vault())
    assert cloud.send("HEAD", deployment(cloud)).status_code == 404
    valid = cloud.send("POST", f"{deployment(cloud)}/validate", body(of))
    assert valid.status_code == 200, valid.text
    assert valid.json()["properties"]["validatedResources"][0]["id"].endswith("/vault9")
    path = f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault9"
    assert cloud.send("GET", path).status_code == 404, "validating makes nothing"
    cloud.send("PUT", deployment(cloud), body(of))
    assert cloud.send("HEAD", deployment(cloud)).status_code == 204
    assert [each["name"] for each in cloud.get(deployment(cloud).rpartition("/")[0])["value"]] == ["made"]
    assert cloud.send("POST", f"{deployment(cloud)}/exportTemplate").json() == {"template": of}
    assert cloud.send("DELETE", deployment(cloud)).status_code == 204
    assert cloud.send("GET", deployment(cloud)).status_code == 404
    assert cloud.send("GET", path).status_code == 200, "what it made stays"


def test_what_fails_is_named_and_the_deployment_keeps_it(cloud: Cloud) -> None:
    bad = vault(properties={"sku": {"family": "A", "name": "standard"}})
    answer = cloud.send("PUT", deployment(cloud), body(template(bad)))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "DeploymentFailed"
    assert error["details"][0]["target"].endswith("/vaults/vault9")
    kept = cloud.get(deployment(cloud))["properties"]
    assert (kept["provisioningState"], kept["error"]["code"]) == ("Failed", "DeploymentFailed")


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"mode": None}, 400, "properties.mode"),
        ({"mode": "Complete"}, 501, "mode Complete"),
        ({"templateLink": {"uri": "https://x"}}, 501, "templateLink"),
        ({"template": None}, 400, "properties.template"),
        ({"template": {"resources": "none"}}, 400, "must be a list"),
        ({"template": {"resources": ["x"]}}, 400, "must be an object"),
        ({"template": {"resources": [{"name": "x"}]}}, 400, "template.resources.type"),
        ({"template": {"resources": [{"type": "A.B/c", "name": "x/y"}]}}, 400, "as many names"),
        ({"template": {"resources": [{"type": "A.B/c", "name": 5}]}}, 400, "must be a text"),
        ({"template": {"resources": [{"type": "A.B/c", "name": "x", "copy": {}}]}}, 501, "copy loops"),
        ({"template": {"resources": [{"type": "Microsoft.Sql/servers", "name": "x"}]}}, 501, "Microsoft.Sql/servers/x"),
        ({"template": {"resources": [{"type": "Microsoft.Resources/deployments", "name": "x"}]}}, 501, "deployments/x"),
        ({"parameters": {"none": {"value": 1}}}, 400, "do not correspond"),
        (
            {"template": {"resources": [{"type": "A.B/c", "name": "x", "tags": "[reference('/none')]"}]}},
            400,
            "wait for each other",
        ),
    ],
)
def test_a_template_that_cannot_be_deployed_is_refused(
    cloud: Cloud, change: dict[str, Any], status: int, said: str
) -> None:
    sent = body(template(vault()))
    answer = cloud.send("PUT", deployment(cloud), {"properties": {**sent["properties"], **change}})
    assert said in cloud.refusal(answer, status)
    assert cloud.send("GET", f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault9").status_code == 404


def test_a_missing_deployment_is_a_404_that_names_it(cloud: Cloud) -> None:
    for path in (deployment(cloud, "none"), f"{cloud.group}/deployments/none/operations{API}"):
        assert "Deployment 'none' could not be found" in cloud.refusal(cloud.send("GET", path), 404)
