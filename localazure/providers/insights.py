"""Log Analytics workspaces and Application Insights components: the control plane."""

from __future__ import annotations

import base64
import secrets
import uuid
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Plain,
    check_name,
    defaults,
    envelope,
    identity,
    keep_hidden,
    normal_location,
    require,
)

ANALYTICS_TYPE = "Microsoft.OperationalInsights/workspaces"
ANALYTICS = GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{analytics}"
COMPONENT_TYPE = "Microsoft.Insights/components"
COMPONENT = GROUP + "/providers/Microsoft.Insights/components/{component}"


class Insights:
    """`Microsoft.OperationalInsights/workspaces` and `Microsoft.Insights/components`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._analytics = Plain(cloud, ANALYTICS_TYPE, ANALYTICS, self._compose_analytics)
        self._components = Plain(cloud, COMPONENT_TYPE, COMPONENT, self._compose_component, put=(200, 200))

    def routes(self) -> list[Route]:
        return [
            *(_at_once(route) for route in self._analytics.routes()),
            Route.of("POST", ANALYTICS + "/sharedKeys", self.shared_keys),
            Route.of("POST", ANALYTICS + "/regenerateSharedKey", self.regenerate_keys),
            *self._components.routes(),
        ]

    def _compose_analytics(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        rule = "4 to 63 letters, digits and hyphens, beginning and ending with a letter or digit"
        check_name(ids.name(resource_id), r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]", "Log Analytics workspace", rule)
        before = existing.properties if existing else {}
        sent = read.mapping(body, "properties")
        _check_access(sent)
        sku = read.choice(read.mapping(sent, "sku", "properties"), "name", _SKUS, "PerGB2018", "properties.sku")
        properties = defaults(sent, **_OPEN) | {
            "sku": {**read.mapping(sent, "sku"), "name": sku},
            "retentionInDays": _retention(sent, sku),
            "features": _FEATURES | read.mapping(sent, "features", "properties"),
            "workspaceCapping": {"dailyQuotaGb": -1.0} | read.mapping(sent, "workspaceCapping", "properties"),
            "customerId": before.get("customerId") or str(uuid.uuid4()),
            "createdDate": before.get("createdDate") or now(),
            "modifiedDate": now(),
            "provisioningState": "Succeeded",
        }
        document = envelope(resource_id, ANALYTICS_TYPE, body, properties=properties)
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return Composed(document, keep_hidden(existing, keys=[_key(), _key()]))

    def shared_keys(self, call: Call) -> Answer:
        """POST sharedKeys."""
        first, second = require(self._cloud, call).hidden["keys"]
        return Answer(200, {"primarySharedKey": first, "secondarySharedKey": second})

    def regenerate_keys(self, call: Call) -> Answer:
        """POST regenerateSharedKey: both keys are new."""
        workspace = require(self._cloud, call)
        self._cloud.store.put(replace(workspace, hidden={**workspace.hidden, "keys": [_key(), _key()]}))
        return self.shared_keys(call)

    def _compose_component(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        name = ids.name(resource_id)
        rule = "1 to 260 letters, digits, hyphens, periods, underscores and parentheses, not ending with a period"
        check_name(name, r"[\w.()-]{0,259}[\w()-]", "Application Insights component", rule)
        kind = read.text(body, "kind", required=True)
        sent = read.mapping(body, "properties", required=True)
        self._check_component(sent)
        before = existing.properties if existing else {}
        key = before.get("InstrumentationKey") or str(uuid.uuid4())
        app = before.get("AppId") or str(uuid.uuid4())
        region = normal_location(str(body["location"]))
        properties = defaults(sent, Flow_Type="Bluefield", Request_Source="rest", **_OPEN) | {
            "Application_Type": read.choice(sent, "Application_Type", ("web", "other"), None, "properties"),
            "IngestionMode": read.choice(sent, "IngestionMode", _INGESTION, "LogAnalytics", "properties"),
            "RetentionInDays": read.integer(sent, "RetentionInDays", 90, "properties"),
            "ApplicationId": name,
            "AppId": app,
            "Name": name,
            "InstrumentationKey": key,
            "ConnectionString": f"InstrumentationKey={key};"
            f"IngestionEndpoint=https://{region}.in.applicationinsights.azure.com/;"
            f"LiveEndpoint=https://{region}.livediagnostics.monitor.azure.com/;ApplicationId={app}",
            "CreationDate": before.get("CreationDate") or now(),
            "TenantId": self._cloud.settings.subscription_id,
            "provisioningState": "Succeeded",
        }
        return Composed({**envelope(resource_id, COMPONENT_TYPE, body, properties=properties), "kind": kind}, {})

    def _check_component(self, sent: dict[str, Any]) -> None:
        read.text(sent, "Application_Type", "properties", required=True)
        _check_access(sent)
        days = read.integer(sent, "RetentionInDays", 90, "properties")
        if days not in _COMPONENT_RETENTION:
            allowed = ", ".join(map(str, _COMPONENT_RETENTION))
            raise invalid(f"'properties.RetentionInDays' is {days}; it must be one of {allowed}.", "ValidationError")
        analytics = read.text(sent, "WorkspaceResourceId", "properties")
        if analytics:
            found = self._cloud.store.get(analytics)
            if found is None or found.type.lower() != ANALYTICS_TYPE.lower():
                raise ArmError(
                    400, "InvalidWorkspaceResourceId", f"The Log Analytics workspace '{analytics}' was not found."
                )


_SKUS = (
    "PerGB2018",
    "Free",
    "Standalone",
    "PerNode",
    "Standard",
    "Premium",
    "CapacityReservation",
    "LACluster",
)
_FEATURES: dict[str, Any] = {
    "legacy": 0,
    "searchVersion": 1,
    "enableLogAccessUsingOnlyResourcePermissions": True,
}
_INGESTION = ("LogAnalytics", "ApplicationInsights", "ApplicationInsightsWithDiagnosticSettings")
_COMPONENT_RETENTION = (30, 60, 90, 120, 180, 270, 365, 550, 730)
_OPEN = {"publicNetworkAccessForIngestion": "Enabled", "publicNetworkAccessForQuery": "Enabled"}


def _at_once(route: Route) -> Route:
    # Azure keeps a deleted workspace for 14 days, and a PUT of its name in between brings it back.
    return replace(route, simplified="deleted at once, and not recoverable") if route.method == "DELETE" else route


def _check_access(sent: dict[str, Any]) -> None:
    for name in _OPEN:
        read.choice(sent, name, ("Enabled", "Disabled", "SecuredByPerimeter"), None, "properties")


def _retention(sent: dict[str, Any], sku: str | None) -> int:
    # 30 to 730 days, and 7 in the free tier (documented limits of Log Analytics).
    days = read.integer(sent, "retentionInDays", 7 if sku == "Free" else 30, "properties")
    if days != 7 if sku == "Free" else not 30 <= days <= 730:
        raise invalid(
            f"'RetentionInDays' property doesn't match the SKU limits: {days} for {sku}. "
            "It is 7 for Free, and 30 to 730 for any other.",
            "InvalidParameter",
        )
    return days


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()
