"""What clients look up before they begin: tenants, subscriptions, regions, and resource providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm.errors import ArmError, not_emulated
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.routes import Answer, Call, Route
from localazure.providers.cloud import Cloud
from localazure.providers.common import require_subscription
from localazure.providers.regions import REGIONS

_ML = ("2025-12-01", "2025-06-01", "2024-10-01", "2024-04-01", "2024-01-01-preview", "2023-10-01", "2023-04-01")
PROVIDERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Microsoft.Authorization": {
        "roleAssignments": ("2022-04-01", "2020-04-01-preview"),
        "roleDefinitions": ("2022-04-01", "2018-01-01-preview"),
    },
    "Microsoft.ContainerRegistry": {
        "registries": ("2023-07-01", "2023-01-01-preview", "2019-05-01"),
        "checkNameAvailability": ("2023-07-01", "2023-01-01-preview"),
    },
    "Microsoft.ContainerService": {"managedClusters": ("2025-05-01", "2024-09-01", "2023-10-01")},
    "Microsoft.Insights": {
        "autoscaleSettings": ("2022-10-01", "2021-05-01-preview", "2015-04-01"),
        "components": ("2020-02-02", "2015-05-01"),
        "metricDefinitions": ("2024-02-01", "2018-01-01"),
        "metricNamespaces": ("2024-02-01", "2018-01-01"),
        "metrics": ("2024-02-01", "2018-01-01"),
    },
    "Microsoft.KeyVault": {
        "vaults": ("2024-11-01", "2023-07-01", "2019-09-01"),
        "vaults/accessPolicies": ("2024-11-01", "2023-07-01", "2019-09-01"),
        "deletedVaults": ("2024-11-01", "2023-07-01", "2019-09-01"),
        "locations/deletedVaults": ("2024-11-01", "2023-07-01", "2019-09-01"),
        "checkNameAvailability": ("2024-11-01", "2023-07-01", "2019-09-01"),
    },
    "Microsoft.Kubernetes": {"connectedClusters": ("2024-01-01", "2022-10-01-preview", "2021-10-01")},
    "Microsoft.MachineLearningServices": {
        "workspaces": _ML,
        "workspaces/batchEndpoints": _ML,
        "workspaces/batchEndpoints/deployments": _ML,
        "workspaces/codes": _ML,
        "workspaces/codes/versions": _ML,
        "workspaces/computes": _ML,
        "workspaces/data": _ML,
        "workspaces/data/versions": _ML,
        "workspaces/datastores": _ML,
        "workspaces/environments": _ML,
        "workspaces/environments/versions": _ML,
        "workspaces/jobs": _ML,
        "workspaces/models": _ML,
        "workspaces/models/versions": _ML,
        "workspaces/onlineEndpoints": _ML,
        "workspaces/onlineEndpoints/deployments": _ML,
        "workspaces/schedules": _ML,
    },
    "Microsoft.ManagedIdentity": {"userAssignedIdentities": ("2024-11-30", "2023-01-31", "2018-11-30")},
    "Microsoft.OperationalInsights": {"workspaces": ("2025-02-01", "2023-09-01", "2022-10-01")},
    "Microsoft.Resources": {
        "deployments": ("2024-03-01", "2021-04-01"),
        "resourceGroups": ("2024-03-01", "2021-04-01"),
        "resources": ("2024-03-01", "2021-04-01"),
        "subscriptions": ("2022-12-01", "2021-01-01"),
        "tenants": ("2022-12-01", "2021-01-01"),
    },
    "Microsoft.Storage": {
        "storageAccounts": ("2025-01-01", "2024-01-01", "2023-01-01"),
        "storageAccounts/blobServices": ("2025-01-01", "2024-01-01", "2023-01-01"),
        "storageAccounts/blobServices/containers": ("2025-01-01", "2024-01-01", "2023-01-01"),
        "checkNameAvailability": ("2025-01-01", "2024-01-01", "2023-01-01"),
    },
}
"""The resource types that Local Azure serves, by namespace, with the api-versions that it names for them."""

PROVIDER = SUBSCRIPTION + "/providers/{namespace}"


class Lookups:
    """Tenants, subscriptions, locations and providers: all there, all registered."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        partly = "served types only; every provider is registered from the start"
        return [
            Route.of("GET", "/tenants", self.tenants),
            Route.of("GET", "/subscriptions", self.subscriptions),
            Route.of("GET", SUBSCRIPTION, self.subscription),
            Route.of("GET", SUBSCRIPTION + "/locations", self.locations, simplified="regions without coordinates"),
            Route.of("GET", "/providers", self.all_providers, simplified=partly),
            Route.of("GET", "/providers/{namespace}", self.provider, simplified=partly),
            Route.of("GET", SUBSCRIPTION + "/providers", self.providers, simplified=partly),
            Route.of("GET", PROVIDER, self.provider, simplified=partly),
            Route.of("POST", PROVIDER + "/register", self.provider, simplified=partly),
        ]

    def tenants(self, _call: Call) -> Answer:
        """GET of the tenants that the caller is in."""
        tenant = self._cloud.settings.tenant_id
        document = {
            "id": f"/tenants/{tenant}",
            "tenantId": tenant,
            "displayName": "Local Azure",
            "tenantCategory": "Home",
            "defaultDomain": "localazure.onmicrosoft.com",
            "domains": ["localazure.onmicrosoft.com"],
        }
        return Answer(200, {"value": [document]})

    def subscriptions(self, _call: Call) -> Answer:
        """GET of the subscriptions: the one there is."""
        return Answer(200, {"value": [self._subscription()], "count": {"type": "Total", "value": 1}})

    def subscription(self, call: Call) -> Answer:
        """GET of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        return Answer(200, self._subscription())

    def _subscription(self) -> dict[str, Any]:
        settings = self._cloud.settings
        return {
            "id": f"/subscriptions/{settings.subscription_id}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": settings.subscription_id,
            "tenantId": settings.tenant_id,
            "displayName": "Local Azure",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def locations(self, call: Call) -> Answer:
        """GET of the regions."""
        require_subscription(self._cloud, call.params["subscription"])
        return Answer(200, {"value": [self._location(name) for name in REGIONS]})

    def _location(self, name: str) -> dict[str, Any]:
        base = f"/subscriptions/{self._cloud.settings.subscription_id}/locations"
        region = REGIONS[name]
        metadata: dict[str, Any] = {
            "regionType": "Physical",
            "regionCategory": "Recommended",
            "geographyGroup": region.geography,
        }
        if region.pair:
            metadata["pairedRegion"] = [{"name": region.pair, "id": f"{base}/{region.pair}"}]
        return {
            "id": f"{base}/{name}",
            "name": name,
            "type": "Region",
            "displayName": region.display,
            "regionalDisplayName": f"({region.geography}) {region.display}",
            "metadata": metadata,
        }

    def providers(self, call: Call) -> Answer:
        """GET of the providers that are served."""
        require_subscription(self._cloud, call.params["subscription"])
        return self.all_providers(call)

    def all_providers(self, call: Call) -> Answer:
        """GET of the providers, of the tenant or of the subscription."""
        above = call.path.removesuffix("/providers")
        return Answer(200, {"value": [_provider(name, above) for name in PROVIDERS]})

    def provider(self, call: Call) -> Answer:
        """GET of one provider; POST register, which changes nothing, for all are registered."""
        if "subscription" in call.params:
            require_subscription(self._cloud, call.params["subscription"])
        asked = call.params["namespace"]
        for name in PROVIDERS:
            if name.lower() == asked.lower():
                return Answer(200, _provider(name, call.path.rpartition("/providers/")[0]))
        if asked.lower().startswith("microsoft."):
            raise not_emulated(f"the resource provider {asked}")
        raise ArmError(404, "InvalidResourceNamespace", f"The resource namespace '{asked}' is invalid.")


def _provider(name: str, above: str) -> dict[str, Any]:
    everywhere = [region.display for region in REGIONS.values()]
    types = [
        {
            "resourceType": kind,
            "locations": everywhere,
            "apiVersions": list(versions),
            "defaultApiVersion": versions[0],
            "capabilities": "None",
        }
        for kind, versions in PROVIDERS[name].items()
    ]
    document: dict[str, Any] = {"id": f"{above}/providers/{name}", "namespace": name, "resourceTypes": types}
    if above:
        document["registrationState"] = "Registered"
        document["registrationPolicy"] = "RegistrationRequired"
        document["providerAuthorizationConsentState"] = "NotSpecified"
    return document
