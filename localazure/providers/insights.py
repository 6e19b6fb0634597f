"""Log Analytics workspaces and Application Insights components: the control plane."""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Plain, check_name, defaults, envelope, identity, keep_hidden, require

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
            *self._analytics.routes(),
            Route.of("POST", ANALYTICS + "/sharedKeys", self.shared_keys),
            *self._components.routes(),
        ]

    def _compose_analytics(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        rule = "4 to 63 letters, digits and hyphens, beginning and ending with a letter or digit"
        check_name(ids.name(resource_id), r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]", "Log Analytics workspace", rule)
        before = existing.properties if existing else {}
        sent = read.mapping(body, "properties")
        properties = defaults(
            sent, sku={"name": "PerGB2018"}, retentionInDays=30, features={}, workspaceCapping={"dailyQuotaGb": -1.0}
        ) | {
            "customerId": before.get("customerId") or str(uuid.uuid4()),
            "createdDate": before.get("createdDate") or now(),
            "provisioningState": "Succeeded",
        }
        document = envelope(resource_id, ANALYTICS_TYPE, body, properties=properties)
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return Composed(
            document, keep_hidden(existing, keys=[base64.b64encode(secrets.token_bytes(64)).decode() for _ in range(2)])
        )

    def shared_keys(self, call: Call) -> Answer:
        """POST sharedKeys."""
        first, second = require(self._cloud, call).hidden["keys"]
        return Answer(200, {"primarySharedKey": first, "secondarySharedKey": second})

    def _compose_component(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        kind = read.text(body, "kind", required=True)
        sent = read.mapping(body, "properties")
        read.text(sent, "Application_Type", "properties", required=True)
        analytics = read.text(sent, "WorkspaceResourceId", "properties")
        if analytics and self._cloud.store.get(analytics) is None:
            raise ArmError(
                400, "InvalidWorkspaceResourceId", f"The Log Analytics workspace '{analytics}' was not found."
            )
        before = existing.properties if existing else {}
        key = before.get("InstrumentationKey") or str(uuid.uuid4())
        properties = defaults(sent, Flow_Type="Bluefield", Request_Source="rest", RetentionInDays=90, **_OPEN) | {
            "ApplicationId": ids.name(resource_id),
            "AppId": before.get("AppId") or str(uuid.uuid4()),
            "Name": ids.name(resource_id),
            "InstrumentationKey": key,
            "ConnectionString": f"InstrumentationKey={key};IngestionEndpoint=https://{body['location']}.in.applicationinsights.azure.com/",
            "CreationDate": before.get("CreationDate") or now(),
            "TenantId": self._cloud.settings.subscription_id,
            "provisioningState": "Succeeded",
        }
        return Composed({**envelope(resource_id, COMPONENT_TYPE, body, properties=properties), "kind": kind}, {})


_OPEN = {
    "publicNetworkAccessForIngestion": "Enabled",
    "publicNetworkAccessForQuery": "Enabled",
    "IngestionMode": "LogAnalytics",
}
