"""What the provider knows of each resource type and function: where things go on the wire. Data, no behaviour.

Properties' names and types and the api-versions are not here; they come from the installed SDK (`generate`). The SDK
cannot say where a property goes in ARM's body, how it is called there, and which changes replace a resource: that is
this table. Source of the rules: the ARM specifications of the api-versions that azure-native 3.29 uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

VERSION = "3.29.0"

_SUBSCRIPTION = "/subscriptions/{subscriptionId}"
_GROUP = _SUBSCRIPTION + "/resourceGroups/{resourceGroupName}"
_WORKSPACE = _GROUP + "/providers/Microsoft.MachineLearningServices/workspaces/{workspaceName}"
_TRACKED = frozenset({"location", "tags", "identity", "sku", "kind", "properties"})
_BAG = frozenset({"properties"})


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """One resource type of azure-native.

    Attributes:
        token: Pulumi's type token.
        path: ARM path; what is in braces is an input of that name (and always replaces). The last one is auto-named.
        root: inputs and outputs that sit at the body's root; all others sit in its `properties`.
        wire: SDK name to wire name, where they differ.
        query: inputs that are query parameters of the PUT.
        long_put, long_delete: whether ARM answers with an operation to follow.
        replace: paths of body inputs whose change replaces the resource. One level inside an object at most; never
            inside a union of types, as azure-native's schema has it.
        located: whether ARM refuses a body without `location`.
        maintain: path, as in inputs, of a property that Azure empties when a PUT leaves it out though other resources
            write it too.
        naming: how a missing name is made.
        default: the body that a deletion PUTs, for what comes and goes with its parent: it has no DELETE, and is there
            before it is created.
    """

    token: str
    path: str
    root: frozenset[str] = _BAG
    wire: Mapping[str, str] = field(default_factory=dict)
    query: tuple[str, ...] = ()
    long_put: bool = False
    long_delete: bool = False
    replace: frozenset[str] = frozenset()
    located: bool = False
    maintain: tuple[str, ...] = ()
    naming: Literal["random", "uuid"] = "random"
    default: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Function:
    """One invoke: a POST to an action below a resource's path. A function `getX` of a resource type X needs no row.

    Attributes:
        token: Pulumi's function token.
        path: ARM path with the action.
        query: arguments that are query parameters; what is in neither path nor query is the body.
    """

    token: str
    path: str
    query: tuple[str, ...] = ()


def _ml(name: str, path: str, **columns: object) -> ResourceType:
    return ResourceType(token=f"azure-native:machinelearningservices:{name}", path=_WORKSPACE + path, **columns)  # type: ignore[arg-type]


_NETWORK = _GROUP + "/providers/Microsoft.Network"
_PLACED = frozenset({"location", "tags", "id", "etag"})
_EXTENDED = _PLACED | {"extendedLocation"}


def _net(token: str, path: str, **columns: object) -> ResourceType:
    """A type of `Microsoft.Network`, whose writes and deletions are all long."""
    long: Mapping[str, object] = {"long_put": True, "long_delete": True, **columns}
    return ResourceType(token=f"azure-native:{token}", path=_NETWORK + path, **long)  # type: ignore[arg-type]


_ENDPOINT: Mapping[str, object] = {
    "root": _TRACKED,
    "long_put": True,
    "long_delete": True,
    "located": True,
    "replace": frozenset({"location", "properties.keys"}),
}
_DEPLOYMENT: Mapping[str, object] = {**_ENDPOINT, "replace": frozenset({"location"})}

_COMPONENT_WIRE = {
    "applicationType": "Application_Type",
    "flowType": "Flow_Type",
    "requestSource": "Request_Source",
    **{
        name: name[0].upper() + name[1:]
        for name in [
            "appId",
            "applicationId",
            "connectionString",
            "creationDate",
            "disableIpMasking",
            "disableLocalAuth",
            "forceCustomerStorageForProfiler",
            "hockeyAppId",
            "hockeyAppToken",
            "immediatePurgeDataOn30Days",
            "ingestionMode",
            "instrumentationKey",
            "laMigrationDate",
            "privateLinkScopedResources",
            "retentionInDays",
            "samplingPercentage",
            "tenantId",
            "workspaceResourceId",
        ]
    },
}

RESOURCES: Mapping[str, ResourceType] = {
    row.token: row
    for row in (
        ResourceType(
            token="azure-native:resources:ResourceGroup",
            path=_GROUP.replace("resourceGroups", "resourcegroups"),
            root=frozenset({"location", "tags", "managedBy", "properties"}),
            long_delete=True,
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:storage:StorageAccount",
            path=_GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}",
            root=frozenset({"sku", "kind", "location", "tags", "identity", "extendedLocation"}),
            wire={
                "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
                "enableNfsV3": "isNfsV3Enabled",
                "networkRuleSet": "networkAcls",
            },
            long_put=True,
            replace=frozenset({"isHnsEnabled", "location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:storage:BlobContainer",
            path=_GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}"
            "/blobServices/default/containers/{containerName}",
            root=frozenset({"etag"}),
        ),
        ResourceType(
            token="azure-native:keyvault:Vault",
            path=_GROUP + "/providers/Microsoft.KeyVault/vaults/{vaultName}",
            root=_TRACKED,
            long_put=True,
            replace=frozenset({"location"}),
            located=True,
            maintain=("properties", "accessPolicies"),
        ),
        ResourceType(
            token="azure-native:applicationinsights:Component",
            path=_GROUP + "/providers/Microsoft.Insights/components/{resourceName}",
            root=frozenset({"kind", "location", "tags", "etag"}),
            wire=_COMPONENT_WIRE,
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:operationalinsights:Workspace",
            path=_GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{workspaceName}",
            root=frozenset({"identity", "location", "tags", "etag"}),
            long_put=True,
            long_delete=True,
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:containerregistry:Registry",
            path=_GROUP + "/providers/Microsoft.ContainerRegistry/registries/{registryName}",
            root=frozenset({"sku", "identity", "location", "tags"}),
            long_put=True,
            long_delete=True,
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:managedidentity:UserAssignedIdentity",
            path=_GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}",
            root=frozenset({"location", "tags"}),
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:authorization:RoleAssignment",
            path="/{scope}/providers/Microsoft.Authorization/roleAssignments/{roleAssignmentName}",
            root=frozenset(),
            replace=frozenset({"principalId"}),
            naming="uuid",
        ),
        ResourceType(
            token="azure-native:authorization:RoleDefinition",
            path="/{scope}/providers/Microsoft.Authorization/roleDefinitions/{roleDefinitionId}",
            root=frozenset(),
            wire={"roleType": "type"},
            naming="uuid",
        ),
        ResourceType(
            token="azure-native:monitor:AutoscaleSetting",
            path=_GROUP + "/providers/Microsoft.Insights/autoscalesettings/{autoscaleSettingName}",
            root=frozenset({"location", "tags"}),
            replace=frozenset({"location"}),
            located=True,
        ),
        ResourceType(
            token="azure-native:logic:Workflow",
            path=_GROUP + "/providers/Microsoft.Logic/workflows/{workflowName}",
            root=frozenset({"location", "tags", "identity"}),
        ),
        _net(
            "network:VirtualNetwork",
            "/virtualNetworks/{virtualNetworkName}",
            root=_EXTENDED,
            replace=frozenset({"location"}),
            located=True,
            maintain=("subnets",),
        ),
        _net(
            "network:Subnet",
            "/virtualNetworks/{virtualNetworkName}/subnets/{subnetName}",
            root=frozenset({"id", "type", "etag"}),
        ),
        _net(
            "network:NetworkSecurityGroup",
            "/networkSecurityGroups/{networkSecurityGroupName}",
            root=_PLACED,
            located=True,
            maintain=("securityRules",),
        ),
        _net(
            "network:SecurityRule",
            "/networkSecurityGroups/{networkSecurityGroupName}/securityRules/{securityRuleName}",
            root=frozenset({"id", "type", "etag"}),
        ),
        _net(
            "network:PrivateEndpoint",
            "/privateEndpoints/{privateEndpointName}",
            root=_EXTENDED,
            replace=frozenset({"subnet"}),
            located=True,
        ),
        _net(
            "network:PrivateDnsZoneGroup",
            "/privateEndpoints/{privateEndpointName}/privateDnsZoneGroups/{privateDnsZoneGroupName}",
            root=frozenset({"id", "etag"}),
        ),
        _net(
            "privatedns:PrivateZone",
            "/privateDnsZones/{privateZoneName}",
            root=frozenset({"location", "tags", "etag"}),
            located=True,
        ),
        _net(
            "privatedns:VirtualNetworkLink",
            "/privateDnsZones/{privateZoneName}/virtualNetworkLinks/{virtualNetworkLinkName}",
            root=frozenset({"location", "tags", "etag"}),
            located=True,
        ),
        _net(
            "privatedns:PrivateRecordSet",
            "/privateDnsZones/{privateZoneName}/{recordType}/{relativeRecordSetName}",
            root=frozenset({"etag"}),
            long_put=False,
            long_delete=False,
        ),
        ResourceType(
            token="azure-native:monitor:DiagnosticSetting",
            path="/{resourceUri}/providers/Microsoft.Insights/diagnosticSettings/{name}",
            root=frozenset(),
        ),
        ResourceType(
            token="azure-native:storage:BlobServiceProperties",
            path=_GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}/blobServices/{blobServicesName}",
            root=frozenset({"sku"}),
            default={},
        ),
        ResourceType(
            token="azure-native:storage:ManagementPolicy",
            path=_GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}"
            "/managementPolicies/{managementPolicyName}",
            root=frozenset(),
        ),
        ResourceType(
            token="azure-native:authorization:ManagementLockByScope",
            path="/{scope}/providers/Microsoft.Authorization/locks/{lockName}",
            root=frozenset(),
        ),
        ResourceType(
            token="azure-native:authorization:ManagementLockAtResourceGroupLevel",
            path=_GROUP + "/providers/Microsoft.Authorization/locks/{lockName}",
            root=frozenset(),
        ),
        _ml(
            "Workspace",
            "",
            root=frozenset({"location", "tags", "identity", "sku", "kind"}),
            long_put=True,
            long_delete=True,
        ),
        _ml("ManagedNetworkSettingsRule", "/outboundRules/{ruleName}", long_put=True, long_delete=True),
        _ml("Compute", "/computes/{computeName}", root=_TRACKED, long_put=True, long_delete=True),
        _ml("Datastore", "/datastores/{name}", query=("skipValidation",)),
        _ml("EnvironmentContainer", "/environments/{name}"),
        _ml(
            "EnvironmentVersion",
            "/environments/{name}/versions/{version}",
            replace=frozenset(
                f"properties.{name}"
                for name in ["autoRebuild", "build", "condaFile", "image", "inferenceConfig", "isAnonymous", "osType"]
            ),
        ),
        _ml("ModelContainer", "/models/{name}"),
        _ml("ModelVersion", "/models/{name}/versions/{version}", replace=frozenset({"properties.isAnonymous"})),
        _ml("CodeContainer", "/codes/{name}"),
        _ml("CodeVersion", "/codes/{name}/versions/{version}", replace=frozenset({"properties.isAnonymous"})),
        _ml("DataContainer", "/data/{name}", replace=frozenset({"properties.dataType"})),
        _ml("DataVersion", "/data/{name}/versions/{version}"),
        _ml("OnlineEndpoint", "/onlineEndpoints/{endpointName}", **_ENDPOINT),
        _ml("OnlineDeployment", "/onlineEndpoints/{endpointName}/deployments/{deploymentName}", **_DEPLOYMENT),
        _ml("BatchEndpoint", "/batchEndpoints/{endpointName}", **_ENDPOINT),
        _ml("BatchDeployment", "/batchEndpoints/{endpointName}/deployments/{deploymentName}", **_DEPLOYMENT),
        _ml(
            "Schedule",
            "/schedules/{name}",
            long_put=True,
            long_delete=True,
            replace=frozenset({"properties.displayName"}),
        ),
        _ml("Job", "/jobs/{id}", long_delete=True),
    )
}

FUNCTIONS: Mapping[str, Function] = {
    row.token: row
    for row in (
        Function(
            token="azure-native:machinelearningservices:listOnlineEndpointKeys",
            path=_WORKSPACE + "/onlineEndpoints/{endpointName}/listKeys",
        ),
        Function(
            token="azure-native:machinelearningservices:getOnlineEndpointToken",
            path=_WORKSPACE + "/onlineEndpoints/{endpointName}/token",
        ),
        Function(
            token="azure-native:machinelearningservices:getOnlineDeploymentLogs",
            path=_WORKSPACE + "/onlineEndpoints/{endpointName}/deployments/{deploymentName}/getLogs",
        ),
        Function(
            token="azure-native:machinelearningservices:listBatchEndpointKeys",
            path=_WORKSPACE + "/batchEndpoints/{endpointName}/listkeys",
        ),
        Function(token="azure-native:machinelearningservices:listWorkspaceKeys", path=_WORKSPACE + "/listKeys"),
        Function(
            token="azure-native:machinelearningservices:listDatastoreSecrets",
            path=_WORKSPACE + "/datastores/{name}/listSecrets",
        ),
        Function(
            token="azure-native:storage:listStorageAccountKeys",
            path=_GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}/listKeys",
            query=("expand",),
        ),
    )
}

NESTED_BAG = frozenset(
    f"network:{name}"
    for name in [
        "Delegation",
        "NetworkInterface",
        "NetworkSecurityGroup",
        "PrivateDnsZoneConfig",
        "PrivateEndpoint",
        "PrivateEndpointIPConfiguration",
        "PrivateLinkServiceConnection",
        "Route",
        "RouteTable",
        "SecurityRule",
        "ServiceEndpointPolicy",
        "Subnet",
        "VirtualNetworkPeering",
    ]
)
"""Types inside others that are resources themselves: what is not in `NESTED_ROOT` is in their `properties` on the wire;
named without `Args` or `Response`."""

NESTED_ROOT = frozenset({"id", "name", "type", "etag", "location", "tags", "kind", "sku", "zones", "extendedLocation"})

NESTED_WIRE: Mapping[str, Mapping[str, str]] = {
    "storage:Encryption": {"keyVaultProperties": "keyvaultproperties", "encryptionIdentity": "identity"},
    "storage:EncryptionIdentity": {
        "encryptionUserAssignedIdentity": "userAssignedIdentity",
        "encryptionFederatedIdentityClientId": "federatedIdentityClientId",
    },
    "storage:KeyVaultProperties": {
        "keyName": "keyname",
        "keyVersion": "keyversion",
        "keyVaultUri": "keyvaulturi",
    },
    "storage:IPRule": {"iPAddressOrRange": "value"},
    "storage:VirtualNetworkRule": {"virtualNetworkResourceId": "id"},
    "containerregistry:IPRule": {"iPAddressOrRange": "value"},
    "monitor:ScaleRuleMetricDimension": {"dimensionName": "DimensionName", "operator": "Operator", "values": "Values"},
}
"""SDK name to wire name inside types, where the specifications rename (`x-ms-client-name`); keyed by the type's name
without `Args` or `Response`."""
