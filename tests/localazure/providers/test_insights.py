"""Log Analytics workspaces, Application Insights components, and the metrics of endpoints over ARM."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from localazure.providers.metrics import METRICS
from tests.localazure.providers.conftest import API, Cloud


def logs(cloud: Cloud, name: str = "logs") -> str:
    return f"{cloud.group}/providers/Microsoft.OperationalInsights/workspaces/{name}"


def component(cloud: Cloud, name: str = "insights") -> str:
    return f"{cloud.group}/providers/Microsoft.Insights/components/{name}"


def web(**properties: Any) -> dict[str, Any]:
    return {"location": "East US", "kind": "web", "properties": {"Application_Type": "web", **properties}}


def test_a_log_analytics_workspace_has_what_azure_fills_in(cloud: Cloud) -> None:
    created = cloud.send("PUT", logs(cloud), {"location": "eastus"})
    assert created.status_code == 201
    own = created.json()["properties"]
    assert (own["sku"]["name"], own["retentionInDays"]) == ("PerGB2018", 30)
    assert own["workspaceCapping"] == {"dailyQuotaGb": -1.0}
    assert own["features"]["enableLogAccessUsingOnlyResourcePermissions"] is True
    patched = cloud.send("PATCH", logs(cloud), {"properties": {"retentionInDays": 90}}).json()["properties"]
    assert (patched["retentionInDays"], patched["customerId"]) == (90, own["customerId"])
    assert cloud.send("PUT", logs(cloud), {"location": "eastus"}).status_code == 200
    assert cloud.send("DELETE", logs(cloud)).status_code == 200
    assert cloud.send("DELETE", logs(cloud)).status_code == 204


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"sku": {"name": "Gold"}}, "sku.name"),
        ({"retentionInDays": 29}, "SKU limits"),
        ({"retentionInDays": 731}, "SKU limits"),
        ({"sku": {"name": "Free"}, "retentionInDays": 30}, "SKU limits"),
        ({"publicNetworkAccessForQuery": "Maybe"}, "publicNetworkAccessForQuery"),
        ({"features": []}, "features"),
        ({"workspaceCapping": 1}, "workspaceCapping"),
    ],
)
def test_a_log_analytics_workspace_that_azure_refuses_is_refused(shared: Cloud, properties: Any, part: str) -> None:
    answer = shared.send("PUT", logs(shared), {"location": "eastus", "properties": properties})
    assert part in shared.refusal(answer, 400)
    assert "63 letters" in shared.refusal(shared.send("PUT", logs(shared, "-bad-"), {"location": "eastus"}), 400)


def test_the_keys_of_a_log_analytics_workspace_are_read_and_regenerated(cloud: Cloud) -> None:
    cloud.put(logs(cloud), {"location": "eastus"})
    before = cloud.send("POST", f"{logs(cloud)}/sharedKeys").json()
    assert before["primarySharedKey"] != before["secondarySharedKey"]
    after = cloud.send("POST", f"{logs(cloud)}/regenerateSharedKey").json()
    assert not set(before.values()) & set(after.values())
    assert cloud.send("POST", f"{logs(cloud)}/sharedKeys").json() == after
    assert cloud.send("POST", f"{logs(cloud, 'absent')}/sharedKeys").status_code == 404


def test_a_component_keeps_its_keys_and_tells_where_to_send(cloud: Cloud) -> None:
    cloud.put(logs(cloud), {"location": "eastus"})
    created = cloud.send("PUT", component(cloud), web(WorkspaceResourceId=logs(cloud)))
    assert created.status_code == 200, "Application Insights answers 200 for a new one too"
    own = created.json()["properties"]
    assert f"InstrumentationKey={own['InstrumentationKey']};" in own["ConnectionString"]
    assert "https://eastus.in.applicationinsights.azure.com/" in own["ConnectionString"]
    assert (own["Flow_Type"], own["RetentionInDays"], own["IngestionMode"]) == ("Bluefield", 90, "LogAnalytics")
    patched = cloud.send("PATCH", component(cloud), {"tags": {"a": "b"}}).json()
    assert (patched["tags"], patched["properties"]["AppId"]) == ({"a": "b"}, own["AppId"])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"kind": None}, "kind"),
        ({"properties": None}, "properties"),
        ({"properties": {}}, "Application_Type"),
        ({"properties": {"Application_Type": "desktop"}}, "desktop"),
        ({"properties": {"Application_Type": "web", "RetentionInDays": 91}}, "RetentionInDays"),
        ({"properties": {"Application_Type": "web", "IngestionMode": "Post"}}, "IngestionMode"),
        ({"properties": {"Application_Type": "web", "WorkspaceResourceId": "/nowhere"}}, "/nowhere"),
        ({"location": None}, "location"),
    ],
)
def test_a_component_that_azure_refuses_is_refused(shared: Cloud, change: dict[str, Any], part: str) -> None:
    assert part in shared.refusal(shared.send("PUT", component(shared), {**web(), **change}), 400)


def test_a_component_stands_on_a_log_analytics_workspace_and_on_nothing_else(shared: Cloud) -> None:
    account = f"{shared.group}/providers/Microsoft.Storage/storageAccounts/storage1"
    answer = shared.send("PUT", component(shared), web(WorkspaceResourceId=account))
    assert "InvalidWorkspaceResourceId" in shared.refusal(answer, 400)
    assert "260" in shared.refusal(shared.send("PUT", component(shared, "ends."), web()), 400)


# Metrics --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(shared: Cloud) -> str:
    """Where the metrics of an endpoint are."""
    return f"{shared.endpoint()}/providers/Microsoft.Insights"


def query(cloud: Cloud, measured: str, parameters: str) -> httpx.Response:
    return cloud.send("GET", f"{measured}/metrics{API}&{parameters}")


def test_the_metrics_of_an_endpoint_and_of_a_deployment_are_those_that_azure_documents(
    shared: Cloud, measured: str
) -> None:
    deployment = measured.replace("/providers/Microsoft.Insights", "/deployments/blue/providers/microsoft.insights")
    endpoint = {each["name"]["value"]: each for each in shared.get(f"{measured}/metricDefinitions")["value"]}
    instance = {each["name"]["value"]: each for each in shared.get(f"{deployment}/metricDefinitions")["value"]}
    assert {"RequestLatency", "RequestLatency_P99", "RequestsPerMinute", "ConnectionsActive"} <= set(endpoint)
    assert {"CpuUtilizationPercentage", "DeploymentCapacity", "GpuUtilizationPercentage"} <= set(instance)
    cpu = instance["CpuUtilizationPercentage"]
    assert (cpu["unit"], cpu["primaryAggregationType"]) == ("Percent", "Average")
    assert cpu["metricAvailabilities"][0]["timeGrain"] == "PT1M"
    (namespace,) = shared.get(f"{deployment}/metricNamespaces")["value"]
    assert namespace["properties"]["metricNamespaceName"] == cpu["namespace"]
    assert cpu["namespace"].endswith("onlineEndpoints/deployments")


def test_a_query_answers_a_series_without_data_for_each_metric(shared: Cloud, measured: str) -> None:
    span = "timespan=2026-01-01T00:00:00Z/2026-01-01T01:00:00Z"
    answer = query(
        shared, measured, f"metricnames=requestspermINUTE,RequestLatency&{span}&interval=PT5M&aggregation=average"
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [each["name"]["value"] for each in found["value"]] == ["RequestsPerMinute", "RequestLatency"]
    assert found["value"][1]["unit"] == "MilliSeconds"
    assert found["value"][0]["timeseries"] == []
    assert (found["timespan"], found["interval"]) == ("2026-01-01T00:00:00Z/2026-01-01T01:00:00Z", "PT5M")
    assert (found["resourceregion"], found["namespace"].rpartition("/")[2]) == ("eastus", "onlineEndpoints")


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "timespan=PT6H",
        "interval=P1D",
        "interval=PT24H",
        "timespan=2026-01-01T00:00:00%2B00:00/2026-01-02",
        "metricnames=RequestsPerMinute&$filter=deployment eq 'blue' and statusCodeClass eq '2xx'",
        "metricnamespace=microsoft.machinelearningservices/workspaces/onlineendpoints",
    ],
)
def test_a_query_may_say_little_or_much(shared: Cloud, measured: str, parameters: str) -> None:
    assert query(shared, measured, parameters).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ("metricnames=Luck", "metric: Luck, Valid metrics: ConnectionsActive,"),
        ("metricnames=CpuUtilizationPercentage", "resource Type: workspaces/onlineEndpoints"),
        ("metricnames=" + ",".join(["RequestLatency"] * 21), "bigger than allowed max: 20"),
        ("interval=PT3H", "Invalid time grain duration: PT3H, supported ones are: 00:01:00,"),
        ("interval=often", "Invalid time grain duration: often"),
        ("timespan=yesterday", "'timespan'"),
        ("timespan=2026-01-01T00:00:00Z/", "'timespan'"),
        ("timespan=2026-01-02/2026-01-01", "must be earlier"),
        ("timespan=P999999999D", "'timespan'"),
        ("aggregation=Median", "Median"),
        ("resultType=Picture", "resultType"),
        ("metricnamespace=microsoft.keyvault/vaults", "microsoft.keyvault/vaults"),
        ("metricnames=RequestLatency&$filter=statusCode eq '200'", "does not support requested dimension combination"),
        ("$filter=blue", "Invalid $filter"),
    ],
)
def test_a_query_that_cannot_be_answered_is_a_400_of_azure_monitors_own_form(
    shared: Cloud, measured: str, parameters: str, part: str
) -> None:
    answer = query(shared, measured, parameters)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "message"}, "Azure Monitor sends no envelope around its errors"
    assert answer.json()["code"] == "BadRequest"
    assert part in answer.json()["message"]


def test_metrics_are_of_resources_that_are_there_and_measured(shared: Cloud) -> None:
    own = "/providers/Microsoft.Insights/metrics"
    assert shared.send("GET", f"{shared.endpoint('absent')}{own}").status_code == 404
    assert "workspaces" in shared.refusal(shared.send("GET", f"{shared.workspace}{own}"), 501)
    other = shared.workspace.replace(shared.subscription, "00000000-0000-0000-0000-000000000000")
    assert "SubscriptionNotFound" in shared.refusal(shared.send("GET", f"{other}{own}"), 404)
    assert all(METRICS.values())
