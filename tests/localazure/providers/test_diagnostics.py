"""Diagnostic settings over ARM: which categories each type has, and where they may go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.networking import storage, vault

INSIGHTS = "providers/Microsoft.Insights"


def setting(target: str, name: str = "to-logs") -> str:
    return f"{target}/{INSIGHTS}/diagnosticSettings/{name}"


def logs(cloud: Cloud, name: str = "logs1") -> str:
    return f"{cloud.group}/providers/Microsoft.OperationalInsights/workspaces/{name}"


@pytest.fixture
def logged(cloud: Cloud) -> Cloud:
    """A cloud with a Log Analytics workspace."""
    cloud.put(logs(cloud), {"location": "eastus"})
    return cloud


def body(cloud: Cloud, *entries: dict[str, Any], metric: str = "AllMetrics", **properties: Any) -> dict[str, Any]:
    own = {"logs": list(entries), "metrics": [{"category": metric, "enabled": True}], "workspaceId": logs(cloud)}
    return {"properties": {**own, **properties}}


EVERYTHING = {"categoryGroup": "allLogs", "enabled": True}


def test_a_setting_is_made_changed_listed_and_deleted(logged: Cloud) -> None:
    path = setting(logged.workspace)
    assert logged.send("PUT", path, body(logged, EVERYTHING)).status_code == 200
    named = {"category": "amlComputeJobEvent", "enabled": True}
    found = logged.put(path, body(logged, named))
    (entry,) = found["properties"]["logs"]
    assert entry["category"] == "AmlComputeJobEvent", "answered in Azure's own case"
    assert entry["retentionPolicy"] == {"enabled": False, "days": 0}
    assert found["properties"]["storageAccountId"] is None
    assert logged.get(path.rpartition("/")[0])["value"] == [found]
    assert logged.send("DELETE", path).status_code == 200
    assert logged.send("DELETE", path).status_code == 204
    assert logged.refusal(logged.send("GET", path), 404)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{**EVERYTHING, "retentionPolicy": {"enabled": True, "days": 30}}], "does not support retention"),
        ([{**EVERYTHING, "retentionPolicy": {"enabled": "no"}}], "retentionPolicy.enabled"),
        ([{**EVERYTHING, "retentionPolicy": {"enabled": False, "days": -3}}], "retentionPolicy.days"),
        ([{**EVERYTHING, "timeGrain": 5}], "timeGrain"),
        ([EVERYTHING, {"category": "AuditEvent", "enabled": True}], "does not support mix"),
        ([{"category": each, "enabled": True} for each in ("AuditEvent", "auditEvent")], "more than once"),
        ([EVERYTHING, EVERYTHING], "more than once"),
    ],
)
def test_entries_that_azure_refuses_are_refused(logged: Cloud, entries: Any, said: str) -> None:
    assert said in logged.refusal(logged.send("PUT", setting(vault(logged)), body(logged, *entries)), 400)
    assert logged.refusal(logged.send("GET", setting(vault(logged))), 404)


def test_each_type_tells_its_categories(logged: Cloud) -> None:
    path = f"{vault(logged)}/{INSIGHTS}/diagnosticSettingsCategories"
    names = [each["name"] for each in logged.get(path)["value"]]
    assert names == ["AuditEvent", "AzurePolicyEvaluationDetails", "AllMetrics"]


def test_the_services_of_a_storage_account_have_settings_though_nobody_made_them(logged: Cloud) -> None:
    reads = {"category": "StorageRead", "enabled": True}
    blobs = f"{storage(logged)}/blobServices/default"
    assert logged.put(setting(blobs), body(logged, reads, metric="Transaction"))["id"].startswith(blobs)
    account = logged.send("PUT", setting(storage(logged)), body(logged, reads))
    assert "'StorageRead' is not supported" in logged.refusal(account, 400), "an account itself has metrics only"
    missing = logged.send("PUT", setting(f"{storage(logged)}x/blobServices/default"), body(logged, reads))
    assert logged.refusal(missing, 404)


def test_a_setting_that_says_something_wrong_is_not_made(logged: Cloud) -> None:
    off = {"category": "AuditEvent", "enabled": False}
    both = {"category": "AuditEvent", "categoryGroup": "audit", "enabled": True}
    for sent, status, said in (
        (body(logged, {"category": "Nothing", "enabled": True}), 400, "Category 'Nothing' is not supported"),
        (body(logged, {"categoryGroup": "most", "enabled": True}), 400, "most"),
        (body(logged, both), 400, "either"),
        (body(logged, off, metrics=[]), 400, "must be enabled"),
        (body(logged, EVERYTHING, workspaceId=None), 400, "At least one data sink"),
        (body(logged, EVERYTHING, workspaceId=logs(logged, "none")), 404, "none"),
    ):
        assert said in logged.refusal(logged.send("PUT", setting(vault(logged)), sent), status)
    assert logged.refusal(logged.send("GET", setting(vault(logged))), 404)
    group = logged.send("PUT", setting(logged.group), body(logged, EVERYTHING))
    assert "does not support diagnostic settings" in logged.refusal(group, 400)


def test_one_category_goes_to_one_place_once_and_a_resource_has_five_settings(logged: Cloud) -> None:
    logged.put(setting(vault(logged)), body(logged, EVERYTHING))
    twice = logged.send("PUT", setting(vault(logged), "again"), body(logged, EVERYTHING))
    assert "already used in diagnostic setting 'to-logs'" in logged.refusal(twice, 409)
    for number in range(4):
        logged.put(logs(logged, f"logs-{number}"), {"location": "eastus"})
        sent = body(logged, EVERYTHING, workspaceId=logs(logged, f"logs-{number}"))
        logged.put(setting(vault(logged), f"more-{number}"), sent)
    logged.put(logs(logged, "logs-5"), {"location": "eastus"})
    sixth = body(logged, EVERYTHING, workspaceId=logs(logged, "logs-5"))
    assert "limit of 5" in logged.refusal(logged.send("PUT", setting(vault(logged), "sixth"), sixth), 400)
