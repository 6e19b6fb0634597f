"""Diagnostic settings: kept and checked by the categories that each type has. Nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json, check_name, listing
from localazure.providers.insights import ANALYTICS_TYPE
from localazure.providers.scopes import delete_below, scope_of

SETTING_TYPE = "Microsoft.Insights/diagnosticSettings"
SETTINGS = "/{scope*}/providers/Microsoft.Insights/diagnosticSettings"
SETTING = SETTINGS + "/{setting}"
CATEGORIES = "/{scope*}/providers/Microsoft.Insights/diagnosticSettingsCategories"
MOST = 5
_STORAGE_TYPE = "Microsoft.Storage/storageAccounts"
# Where data may go, and the type of what each names, where Local Azure has that type.
_SINKS = {
    "workspaceId": ANALYTICS_TYPE,
    "storageAccountId": _STORAGE_TYPE,
    "eventHubAuthorizationRuleId": "",
    "marketplacePartnerId": "",
    "serviceBusRuleId": "",
}


class Diagnostics:
    """`Microsoft.Insights/diagnosticSettings`, below any resource that has categories."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        kept = "kept and checked; nothing is collected"
        return [
            Route.of("PUT", SETTING, self.create, simplified=kept),
            Route.of("GET", SETTING, self.get),
            Route.of("DELETE", SETTING, self.delete),
            Route.of("GET", SETTINGS, self.list),
            Route.of("GET", CATEGORIES, self.categories),
        ]

    def create(self, call: Call) -> Answer:
        """PUT: 200, new or not."""
        scope, kind = self._scope(call)
        rule = "1 to 260 letters, digits, hyphens, periods, underscores and spaces; no space or period at the end"
        check_name(call.params["setting"], r"[A-Za-z0-9_() .-]{0,259}[A-Za-z0-9_()-]", "diagnostic setting", rule)
        sent = read.mapping(call.json(), "properties", required=True)
        sinks = self._sinks(sent)
        entries = {part: _entries(sent, part, kind) for part in ("logs", "metrics")}
        if not any(each["enabled"] for part in entries.values() for each in part):
            raise _bad("At least one of 'properties.logs' and 'properties.metrics' must be enabled.")
        resource_id = self._id(scope, call.params["setting"])
        self._refuse_conflict(scope, resource_id, sinks, entries)
        destination = read.choice(sent, "logAnalyticsDestinationType", ("Dedicated", "AzureDiagnostics"), None)
        properties = {
            **{name: sinks.get(name) for name in _SINKS},
            "eventHubName": read.text(sent, "eventHubName", "properties"),
            "logAnalyticsDestinationType": destination,
            **entries,
        }
        document = {"id": resource_id, "name": ids.name(resource_id), "type": SETTING_TYPE, "location": None}
        document |= {"kind": None, "tags": None, "identity": None, "properties": properties}
        self._cloud.store.put(Resource(resource_id, SETTING_TYPE, document))
        return Answer(200, document)

    def get(self, call: Call) -> Answer:
        """GET."""
        scope, _ = self._scope(call)
        found = self._cloud.store.get(self._id(scope, call.params["setting"]))
        if found is None:
            raise ArmError(404, "ResourceNotFound", f"The diagnostic setting '{call.params['setting']}' doesn't exist.")
        return Answer(200, found.document)

    def delete(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing."""
        return delete_below(self._cloud, call)

    def list(self, call: Call) -> Answer:
        """The settings of a resource."""
        scope, _ = self._scope(call)
        return listing(self._of(scope))

    def categories(self, call: Call) -> Answer:
        """GET diagnosticSettingsCategories: what a resource's settings may name."""
        scope, kind = self._scope(call)
        logs, metrics = CATEGORIES_OF[kind.lower()]
        named = [(each, "Logs") for each in logs] + [(each, "Metrics") for each in metrics]
        return Answer(200, {"value": [_category(scope, name, of) for name, of in named]})

    def _scope(self, call: Call) -> tuple[str, str]:
        scope, kind = scope_of(self._cloud, call, "diagnostic settings")
        if kind.lower() not in CATEGORIES_OF:
            raise ArmError(
                400,
                "ResourceTypeNotSupported",
                f"The resource type '{kind.lower()}' does not support diagnostic settings.",
            )
        return scope, kind

    def _sinks(self, sent: Json) -> dict[str, str]:
        """Where the data goes. Raises ArmError (400, 404)."""
        found = {name: value for name in _SINKS if (value := read.text(sent, name, "properties"))}
        if not found:
            raise _bad("At least one data sink needs to be specified.")
        for name, value in found.items():
            kind = _SINKS[name]
            sink = self._cloud.store.get(value)
            if kind and (sink is None or sink.type.lower() != kind.lower()):
                raise ArmError(404, "ResourceNotFound", f"'properties.{name}' names '{value}', which does not exist.")
        return found

    def _refuse_conflict(self, scope: str, resource_id: str, sinks: dict[str, str], entries: Json) -> None:
        """Five settings at most, and no category twice to one place. Raises ArmError (400, 409)."""
        others = [each for each in self._of(scope) if not ids.same(each.id, resource_id)]
        if len(others) >= MOST:
            raise _bad(
                f"The limit of {MOST} diagnostic settings was reached. To create a new setting, delete an existing "
                "setting."
            )
        for other in others:
            for name, value in sinks.items():
                held = other.properties.get(name)
                if held is None or not ids.same(held, value):
                    continue
                for category in _enabled(entries) & _enabled(other.properties):
                    raise ArmError(
                        409,
                        "Conflict",
                        f"Data sink '{value}' is already used in diagnostic setting '{other.name}' for category "
                        f"'{category}'. Data sinks can't be reused in different settings on the same category for the "
                        "same resource.",
                    )

    def _of(self, scope: str) -> list[Resource]:
        start = ids.key(scope) + "/providers/microsoft.insights/diagnosticsettings/"
        return [each for each in self._cloud.store.of_type(SETTING_TYPE) if ids.key(each.id).startswith(start)]

    @staticmethod
    def _id(scope: str, name: str) -> str:
        return f"{scope}/providers/microsoft.insights/diagnosticSettings/{name}"


_ML = "Microsoft.MachineLearningServices/workspaces"
_AUDIT, _ALL = "audit", "allLogs"
_SERVICE_LOGS = ("StorageRead", "StorageWrite", "StorageDelete")
_EVERY = ("AllMetrics",)
_BY_TYPE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    _ML: (
        (
            "AmlComputeClusterEvent",
            "AmlComputeClusterNodeEvent",
            "AmlComputeJobEvent",
            "AmlComputeCpuGpuUtilization",
            "AmlRunStatusChangedEvent",
            "ModelsChangeEvent",
            "ModelsReadEvent",
            "ModelsActionEvent",
            "DeploymentReadEvent",
            "DeploymentEventACI",
            "DeploymentEventAKS",
            "InferencingOperationAKS",
            "InferencingOperationACI",
            "DataLabelChangeEvent",
            "DataLabelReadEvent",
            "ComputeInstanceEvent",
            "DataStoreChangeEvent",
            "DataStoreReadEvent",
            "DataSetChangeEvent",
            "DataSetReadEvent",
            "PipelineChangeEvent",
            "PipelineReadEvent",
            "RunEvent",
            "RunReadEvent",
            "EnvironmentChangeEvent",
            "EnvironmentReadEvent",
        ),
        _EVERY,
    ),
    f"{_ML}/onlineEndpoints": (
        ("AmlOnlineEndpointTrafficLog", "AmlOnlineEndpointConsoleLog", "AmlOnlineEndpointEventLog"),
        _EVERY,
    ),
    f"{_ML}/onlineEndpoints/deployments": ((), _EVERY),
    "Microsoft.KeyVault/vaults": (("AuditEvent", "AzurePolicyEvaluationDetails"), _EVERY),
    _STORAGE_TYPE: ((), ("Transaction", "Capacity")),
    **{
        f"{_STORAGE_TYPE}/{each}Services": (_SERVICE_LOGS, ("Transaction", "Capacity"))
        for each in ("blob", "file", "queue", "table")
    },
    "Microsoft.ContainerRegistry/registries": (
        ("ContainerRegistryRepositoryEvents", "ContainerRegistryLoginEvents"),
        _EVERY,
    ),
    ANALYTICS_TYPE: (("Audit", "SummaryLogs"), _EVERY),
    "Microsoft.Insights/components": (
        (
            "AppAvailabilityResults",
            "AppBrowserTimings",
            "AppEvents",
            "AppMetrics",
            "AppDependencies",
            "AppExceptions",
            "AppPageViews",
            "AppPerformanceCounters",
            "AppRequests",
            "AppSystemEvents",
            "AppTraces",
        ),
        _EVERY,
    ),
    "Microsoft.Network/virtualNetworks": (("VMProtectionAlerts",), _EVERY),
    "Microsoft.Network/networkSecurityGroups": (
        ("NetworkSecurityGroupEvent", "NetworkSecurityGroupRuleCounter"),
        (),
    ),
    "Microsoft.Network/networkInterfaces": ((), _EVERY),
    "Microsoft.Logic/workflows": (("WorkflowRuntime",), _EVERY),
    "Microsoft.ContainerService/managedClusters": (
        (
            "kube-apiserver",
            "kube-audit",
            "kube-audit-admin",
            "kube-controller-manager",
            "kube-scheduler",
            "cluster-autoscaler",
            "cloud-controller-manager",
            "guard",
        ),
        _EVERY,
    ),
}
CATEGORIES_OF: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    kind.lower(): found for kind, found in _BY_TYPE.items()
}
"""Log and metric categories by resource type in lower case, as Azure Monitor's reference lists them
(learn.microsoft.com/azure/azure-monitor/reference/logs-index and …/metrics-index)."""
# Types whose logs have a category group `audit` beside `allLogs`.
_AUDITED = frozenset(
    kind.lower()
    for kind in _BY_TYPE
    if kind.startswith(("Microsoft.KeyVault", "Microsoft.ContainerRegistry", _STORAGE_TYPE + "/", ANALYTICS_TYPE, _ML))
)


def _bad(message: str) -> ArmError:
    return invalid(message, "BadRequest")


def _entries(sent: Json, part: str, kind: str) -> list[Json]:
    """The logs or metrics of a setting. Raises ArmError (400) for what the type does not have."""
    known = CATEGORIES_OF[kind.lower()][part == "metrics"]
    found = []
    for entry, where in read.objects(sent, part, "properties"):
        category = read.text(entry, "category", where)
        group = read.text(entry, "categoryGroup", where) if part == "logs" else None
        if (category is None) == (group is None):
            raise _bad(f"'{where}' must name either a category or a categoryGroup.")
        named = category or group or ""
        allowed = {each.lower(): each for each in (_groups(kind, known) if group else (*known, *_every(part)))}
        if named.lower() not in allowed:
            raise _bad(f"{'Category' if category else 'Category group'} '{named}' is not supported.")
        kept = _retention(entry, where)
        named = allowed[named.lower()]
        made: Json = {"category": None if group else named, "enabled": read.flag(entry, "enabled", False, where)}
        made |= {"categoryGroup": named if group else None} if part == "logs" else {}
        made |= {"timeGrain": grain} if (grain := read.text(entry, "timeGrain", where)) else {}
        found.append({**made, "retentionPolicy": kept})
    _refuse_mix(found)
    return found


def _retention(entry: Json, where: str) -> Json:
    """Azure Monitor keeps nothing by a setting any more: rules of the storage account do."""
    policy = read.mapping(entry, "retentionPolicy", where)
    where = f"{where}.retentionPolicy"
    days = read.integer(policy, "days", 0, where, least=0, most=365)
    if read.flag(policy, "enabled", False, where):
        raise _bad("Diagnostic settings does not support retention for new diagnostic settings.")
    return {"enabled": False, "days": days}


def _refuse_mix(entries: list[Json]) -> None:
    if len({bool(each.get("categoryGroup")) for each in entries}) > 1:
        raise _bad("Diagnostic setting does not support mix of log category and log category group.")
    names = [each["category"] or each["categoryGroup"] for each in entries]
    for name in names:
        if names.count(name) > 1:
            raise _bad(f"Category '{name}' is specified more than once.")


def _every(part: str) -> tuple[str, ...]:
    # Azure takes AllMetrics for every type, and answers it as sent.
    return _EVERY if part == "metrics" else ()


def _groups(kind: str, known: tuple[str, ...]) -> tuple[str, ...]:
    return (_ALL, *([_AUDIT] if kind.lower() in _AUDITED else [])) if known else ()


def _enabled(entries: Mapping[str, Any]) -> set[str]:
    parts = (*(entries.get("logs") or ()), *(entries.get("metrics") or ()))
    return {each.get("category") or each.get("categoryGroup") for each in parts if each["enabled"]}


def _category(scope: str, name: str, of: str) -> Json:
    return {
        "id": f"{scope}/providers/microsoft.insights/diagnosticSettingsCategories/{name}",
        "name": name,
        "type": "microsoft.insights/diagnosticSettingsCategories",
        "properties": {"categoryType": of},
    }
