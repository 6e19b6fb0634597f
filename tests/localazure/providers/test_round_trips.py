"""A PUT of what a GET answered changes nothing, twice, for every type outside Azure ML."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud

TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"
PRINCIPAL = "10000000-0000-4000-8000-000000000001"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
# What a write may move on: when it was, and who did it.
MOVING = {"lastModifiedAt", "lastModifiedBy", "lastModifiedByType", "modifiedDate", "updatedOn", "updatedBy"}

POLICY = {"tenantId": TENANT, "objectId": PRINCIPAL, "permissions": {"secrets": ["get"]}}
VAULT = {
    "tenantId": TENANT,
    "sku": {"family": "A", "name": "premium"},
    "accessPolicies": [POLICY],
    "enablePurgeProtection": True,
    "softDeleteRetentionInDays": 7,
    "publicNetworkAccess": "disabled",
    "networkAcls": {"bypass": "AzureServices", "defaultAction": "Deny"},
}
STORAGE = {
    "isHnsEnabled": True,
    "minimumTlsVersion": "TLS1_2",
    "allowBlobPublicAccess": True,
    "networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]},
}
TAGS = {"team": "a", "empty": ""}
EAST = {"location": "East US", "tags": TAGS}

PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "group": ("", {**EAST, "managedBy": "/somebody"}),
    "storage account": (
        "/providers/Microsoft.Storage/storageAccounts/second",
        {
            **EAST,
            "sku": {"name": "Standard_GRS"},
            "kind": "StorageV2",
            "identity": {"type": "SystemAssigned"},
            "properties": STORAGE,
        },
    ),
    "blob service": (
        "/providers/Microsoft.Storage/storageAccounts/storage1/blobServices/default",
        {"properties": {"isVersioningEnabled": True, "deleteRetentionPolicy": {"enabled": True, "days": 3}}},
    ),
    "container": (
        "/providers/Microsoft.Storage/storageAccounts/storage1/blobServices/default/containers/inbox",
        {"properties": {"metadata": {"a": "b"}, "defaultEncryptionScope": "own"}},
    ),
    "vault": ("/providers/Microsoft.KeyVault/vaults/second", {**EAST, "properties": VAULT}),
    "log analytics": (
        "/providers/Microsoft.OperationalInsights/workspaces/logs",
        {**EAST, "identity": {"type": "SystemAssigned"}, "properties": {"retentionInDays": 60}},
    ),
    "component": (
        "/providers/Microsoft.Insights/components/insights",
        {**EAST, "kind": "web", "properties": {"Application_Type": "web", "SamplingPercentage": 50}},
    ),
    "registry": (
        "/providers/Microsoft.ContainerRegistry/registries/Registry1",
        {
            **EAST,
            "sku": {"name": "premium"},
            "identity": {"type": "SystemAssigned"},
            "properties": {"zoneRedundancy": "enabled", "policies": {"trustPolicy": {"status": "enabled"}}},
        },
    ),
    "identity": ("/providers/Microsoft.ManagedIdentity/userAssignedIdentities/identity1", EAST),
    "role assignment": (
        f"/providers/Microsoft.Authorization/roleAssignments/{PRINCIPAL}",
        {
            "properties": {
                "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{READER}",
                "principalId": PRINCIPAL,
                "principalType": "Group",
                "description": "why",
            }
        },
    ),
}


def settled(document: Any) -> Any:
    """A document without what a write may move on."""
    if isinstance(document, dict):
        return {name: settled(value) for name, value in document.items() if name not in MOVING}
    return [settled(each) for each in document] if isinstance(document, list) else document


def check(cloud: Cloud, path: str) -> None:
    before = cloud.get(path)
    for _ in range(2):
        answer = cloud.send("PUT", path, cloud.get(path))
        assert answer.status_code == 200, answer.text
        assert settled(answer.json()) == settled(cloud.get(path)) == settled(before)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_put_of_what_a_get_answered_changes_nothing(cloud: Cloud, kind: str) -> None:
    below, sent = PLAIN[kind]
    cloud.put(cloud.group + below, sent)
    check(cloud, cloud.group + below)


def test_a_put_of_an_autoscale_setting_that_was_read_changes_nothing(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    target = f"{cloud.endpoint()}/deployments/blue"
    cloud.put(target, cloud.deployment_body())
    capacity = {"minimum": "1", "maximum": "3", "default": "2"}
    trigger = {
        "metricName": "RequestsPerMinute",
        "metricResourceUri": cloud.endpoint(),
        "timeGrain": "PT1M",
        "statistic": "Max",
        "timeWindow": "PT10M",
        "timeAggregation": "Last",
        "operator": "LessThan",
        "threshold": 0.5,
        "dimensions": [{"DimensionName": "deployment", "Operator": "Equals", "Values": ["blue"]}],
    }
    action = {"direction": "Decrease", "type": "ExactCount", "value": "1", "cooldown": "PT1H"}
    schedule = {"timeZone": "UTC", "days": ["Friday"], "hours": [9], "minutes": [0]}
    profiles = [
        {"name": "usual", "capacity": capacity, "rules": [{"metricTrigger": trigger, "scaleAction": action}]},
        {
            "name": "weekly",
            "capacity": capacity,
            "rules": [],
            "recurrence": {"frequency": "Week", "schedule": schedule},
        },
    ]
    path = f"{cloud.group}/providers/Microsoft.Insights/autoscaleSettings/scale"
    policy = {"scaleMode": "ForecastOnly", "scaleLookAheadTime": "PT10M"}
    own = {"targetResourceUri": target, "profiles": profiles, "predictiveAutoscalePolicy": policy}
    cloud.put(path, {**EAST, "properties": own})
    check(cloud, path)
