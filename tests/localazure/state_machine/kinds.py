"""The resource types of Local Azure as data: where they lie, what may be sent, and how their answers differ.

A new type is a new line of `KINDS`; the state machine and the tests of malformed requests then cover it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]

TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


class World(Protocol):
    """What a body may refer to."""

    def some(self, kind: str, below: str = "") -> str | None:
        """The id of a resource of a kind that is there and well, below another or anywhere; None without one."""
        ...


Body = Callable[[World, str, int], Json | None]


@dataclass(frozen=True)
class Action:
    """A POST on a resource.

    Attributes:
        name: the last segment of its path.
        body: what is sent.
        writes: whether it changes what is stored.
        tells: whether what it answers stays the same until a writing action on the same resource.
    """

    name: str
    body: Json = field(default_factory=dict)
    writes: bool = False
    tells: bool = False


@dataclass(frozen=True)
class Kind:
    """One resource type.

    Attributes:
        name: the type in words.
        above: the kinds that it lies directly below; empty for a resource group.
        segment: what stands between the parent's id and the name.
        names: the names that the machine uses; `bad…` is one that does not start.
        body: a valid body for a resource below the given parent, by a number that may vary it; None where what it
            needs is not there.
        patch: a valid body of a PATCH, by number; None where the type has no PATCH.
        query: what a DELETE says besides the api-version.
        put_query: what a PUT says besides it.
        own: properties (dotted paths) in which the answer to a PUT differs from a GET, as recorded or by nature.
        unseen: properties (dotted paths) that no GET shows as they were sent.
        moves: properties (dotted paths) that a PUT of the same document changes: times and links to operations.
        derived: properties (dotted paths) that a write of another resource may change.
        makes_parent: whether the first one makes the resource that it lies below.
        fixed: whether a second PUT may only repeat the first.
        buried: whether the name of a deleted one stays taken.
        lasting: whether a DELETE is refused while it is in use.
        cased: whether a PUT takes the name in small letters only.
        listed: whether there is a list of them.
        actions: POSTs that every resource of the type takes.
    """

    name: str
    above: tuple[str, ...]
    segment: str
    names: tuple[str, ...]
    body: Body
    patch: Callable[[int], Json] | None = None
    query: str = ""
    put_query: str = ""
    own: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    moves: tuple[str, ...] = ("systemData",)
    derived: tuple[str, ...] = ()
    makes_parent: bool = False
    fixed: bool = False
    buried: bool = False
    lasting: bool = False
    cased: bool = False
    listed: bool = True
    actions: tuple[Action, ...] = ()

    def id(self, parent: str, name: str) -> str:
        """The id of a resource of this kind."""
        return f"{parent}/{self.segment}/{name}"

    def collection(self, parent: str) -> str:
        """The path of the list."""
        return f"{parent}/{self.segment}"


def _tags(number: int) -> Json:
    return {"tags": {"n": str(number)}}


def _tracked(number: int, **rest: Any) -> Json:
    return {"location": "eastus", **_tags(number), **rest}


def _provider(kind: str) -> str:
    return f"providers/{kind}"


ML = "Microsoft.MachineLearningServices"

# Bodies -------------------------------------------------------------------------------------------------------


def _group(_world: World, _above: str, number: int) -> Json:
    return _tracked(number)


def _storage(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, sku={"name": "Standard_LRS"}, kind="StorageV2", properties={"minimumTlsVersion": "TLS1_2"})


def _container(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"metadata": {"n": str(number)}}}


def _vault(_world: World, _above: str, number: int) -> Json:
    own = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
    return _tracked(number, properties={**own, "softDeleteRetentionInDays": 7})


def _kubernetes(_world: World, _above: str, number: int) -> Json:
    pools = [{"name": "system", "count": 1 + number, "vmSize": "Standard_D4ds_v5", "mode": "System"}]
    return _tracked(number, properties={"dnsPrefix": "aks", "agentPoolProfiles": pools})


def _connected(_world: World, _above: str, number: int) -> Json:
    own = {"type": "SystemAssigned"}
    return _tracked(number, identity=own, properties={"agentPublicKeyCertificate": "", "distribution": f"k{number}"})


def _analytics(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, properties={"sku": {"name": "PerGB2018"}, "retentionInDays": 30 + number})


def _component(world: World, _above: str, number: int) -> Json | None:
    analytics = world.some("analytics")
    own = {"Application_Type": "web", "WorkspaceResourceId": analytics}
    return _tracked(number, kind="web", properties=own) if analytics else None


def _registry(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, sku={"name": "Premium"}, properties={"adminUserEnabled": bool(number % 2)})


def _identity(_world: World, _above: str, number: int) -> Json:
    return _tracked(number)


def _assignment(_world: World, above: str, _number: int) -> Json:
    # One principal a scope: two assignments that say the same are refused, and so is a changed one.
    principal = str(uuid.UUID(hashlib.md5(above.lower().encode()).hexdigest()))
    role = f"/subscriptions/{above.split('/')[2]}/{_provider('Microsoft.Authorization')}/roleDefinitions/{READER}"
    return {"properties": {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}}


def _role(_world: World, above: str, number: int) -> Json:
    actions = ["Microsoft.MachineLearningServices/workspaces/batchEndpoints/read"]
    properties = {
        "roleName": "Starter of batch jobs",
        "description": f"number {number}",
        "assignableScopes": [above],
        "permissions": [{"actions": actions}],
    }
    return {"properties": properties}


def _workspace(world: World, _above: str, number: int) -> Json | None:
    storage, vault = world.some("storage"), world.some("vault")
    if storage is None or vault is None:
        return None
    own: Json = {"storageAccount": storage, "keyVault": vault, "description": f"number {number}"}
    own["managedNetwork"] = {"isolationMode": "AllowOnlyApprovedOutbound"}
    own["provisionNetworkNow"] = True
    return _tracked(number, identity={"type": "SystemAssigned"}, properties=own)


def _compute(_world: World, _above: str, number: int) -> Json:
    scale = {"minNodeCount": 0, "maxNodeCount": 1 + number % 4, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    own = {"vmSize": "Standard_DS3_v2", "vmPriority": "Dedicated", "scaleSettings": scale}
    return _tracked(number, properties={"computeType": "AmlCompute", "properties": own})


def _datastore(world: World, _above: str, number: int) -> Json | None:
    storage = world.some("storage")
    secrets = {"secretsType": "AccountKey", "key": "a2V5"}
    own = {
        "datastoreType": "AzureBlob",
        "accountName": (storage or "").rpartition("/")[2],
        "containerName": "inbox",
        "description": f"number {number}",
        "credentials": {"credentialsType": "AccountKey", "secrets": secrets},
    }
    return {"properties": own} if storage else None


def _asset(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"description": f"number {number}", "tags": {"n": str(number)}}}


def _model(_world: World, _above: str, number: int) -> Json:
    uri = "azureml://datastores/workspaceblobstore/paths/LocalUpload/x/model"
    own = {"modelUri": uri, "modelType": "mlflow_model", "description": f"number {number}"}
    return {"properties": own}


def _environment(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"image": "image", "description": f"number {number}", "tags": {"n": str(number)}}}


def _code(_world: World, above: str, number: int) -> Json:
    uri = "https://storage1.blob.core.windows.net/c/code"
    digest = hashlib.sha256(above.encode()).hexdigest()
    own = {"codeUri": uri, "description": f"number {number}", "properties": {"hash_sha256": digest}}
    return {"properties": own}


def _data_container(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"dataType": "uri_folder", "description": f"number {number}"}}


def _data(_world: World, _above: str, number: int) -> Json:
    uri = "azureml://datastores/workspaceblobstore/paths/data/"
    return {"properties": {"dataUri": uri, "dataType": "uri_folder", "description": f"number {number}"}}


def _online_endpoint(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, properties={"authMode": "Key", "description": f"number {number}"})


def _workspace_of(above: str) -> str:
    head, slash, rest = above.partition("/workspaces/")
    return head + slash + rest.partition("/")[0]


def _online_deployment(world: World, above: str, number: int) -> Json | None:
    model = world.some("model version", _workspace_of(above))
    own = {
        "endpointComputeType": "Managed",
        "model": model,
        "instanceType": "Standard_DS2_v2",
        "environmentVariables": {"N": str(number)},
        "requestSettings": {"requestTimeout": f"PT{5 + number}S"},
    }
    sku = {"name": "Default", "capacity": 1 + number % 3}
    return _tracked(number, sku=sku, properties=own) if model else None


def _batch_endpoint(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, properties={"authMode": "AADToken", "description": f"number {number}"})


def _batch_deployment(world: World, above: str, number: int) -> Json | None:
    model, compute = (world.some(kind, _workspace_of(above)) for kind in ("model version", "compute"))
    own = {
        "model": {"referenceType": "Id", "assetId": model},
        "compute": compute,
        "miniBatchSize": 1 + number,
        "description": f"number {number}",
    }
    return _tracked(number, properties=own) if model and compute else None


def _component_version(_world: World, _above: str, number: int) -> Json:
    spec = {"type": "command", "command": "ls", "environment": "azureml:env:1"}
    return {"properties": {"componentSpec": spec, "description": f"number {number}"}}


def _schedule(_world: World, _above: str, number: int) -> Json:
    job = {"jobType": "Pipeline", "jobs": {"a": {"type": "command"}}}
    trigger = {"triggerType": "Cron", "expression": f"{number} 10 * * 1"}
    action = {"actionType": "CreateJob", "jobDefinition": job}
    return {"properties": {"description": f"number {number}", "trigger": trigger, "action": action}}


def _job(world: World, above: str, number: int) -> Json | None:
    environment = world.some("environment version", above)
    own = {"jobType": "Command", "command": "ls", "environmentId": environment}
    return {"properties": {**own, "description": f"number {number}", **_tags(number)}} if environment else None


def _autoscale(world: World, _above: str, number: int) -> Json | None:
    target = world.some("online deployment")
    capacity = {"minimum": "1", "maximum": str(2 + number), "default": "1"}
    profile = {"name": "usual", "capacity": capacity, "rules": []}
    return _tracked(number, properties={"targetResourceUri": target, "profiles": [profile]}) if target else None


def _workflow(_world: World, _above: str, number: int) -> Json:
    # It never fires: its runs would be changes of their own.
    recurrence = {"frequency": "Day", "interval": 1 + number, "startTime": "2190-01-01T00:00:00Z"}
    definition = {"triggers": {"Recurrence": {"type": "Recurrence", "recurrence": recurrence}}, "actions": {}}
    return _tracked(number, identity={"type": "SystemAssigned"}, properties={"definition": definition})


def _network(_world: World, _above: str, number: int) -> Json:
    return _tracked(number, properties={"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}})


def _subnet(_world: World, _above: str, number: int) -> Json:
    services = ["Microsoft.Storage", "Microsoft.KeyVault", "Microsoft.Sql"][: number % 4]
    return {
        "properties": {"addressPrefix": "10.0.1.0/24", "serviceEndpoints": [{"service": each} for each in services]}
    }


def _security_rule(_world: World, _above: str, number: int) -> Json:
    ports = {"sourcePortRange": "*", "destinationPortRange": "443"}
    sides = {"sourceAddressPrefix": "VirtualNetwork", "destinationAddressPrefix": "*", **ports}
    own = {"protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100 + number}
    return {"properties": {**own, **sides}}


def _group_of(above: str) -> str:
    return above.partition("/providers/")[0]


def _private_endpoint(world: World, above: str, number: int) -> Json | None:
    target, subnet = world.some("storage"), world.some("subnet")
    link = {"name": "blob", "properties": {"privateLinkServiceId": target, "groupIds": ["blob"]}}
    own = {"subnet": {"id": subnet}, "privateLinkServiceConnections": [link]}
    return _tracked(number, properties=own) if target and subnet else None


def _zone(_world: World, _above: str, number: int) -> Json:
    return {**_tracked(number), "location": "global"}


def _zone_link(world: World, above: str, number: int) -> Json | None:
    network = world.some("network", _group_of(above))
    own = {"virtualNetwork": {"id": network}, "registrationEnabled": bool(number % 2)}
    return {**_tracked(number), "location": "global", "properties": own} if network else None


def _record(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"ttl": 60 + number, "aRecords": [{"ipv4Address": f"10.0.0.{number}"}]}}


def _zone_group(world: World, _above: str, number: int) -> Json | None:
    zone = world.some("zone")
    config = {"name": f"zone-{number}", "properties": {"privateDnsZoneId": zone}}
    return {"properties": {"privateDnsZoneConfigs": [config]}} if zone else None


def _setting(world: World, _above: str, number: int) -> Json | None:
    analytics = world.some("analytics")
    logs = [{"categoryGroup": "allLogs", "enabled": bool(number % 2)}]
    metrics = [{"category": "AllMetrics", "enabled": True}]
    return {"properties": {"workspaceId": analytics, "logs": logs, "metrics": metrics}} if analytics else None


def _outbound_rule(_world: World, _above: str, number: int) -> Json:
    return {"properties": {"type": "FQDN", "destination": f"host{number}.example.org"}}


# Types --------------------------------------------------------------------------------------------------------

_POLL = "properties.properties.AzureAsyncOperationUri"
_STATE = "properties.provisioningState"
# Which version is the latest depends on the others.
_LABELS = "properties.properties.azureml.labels"
_SECRETS = "properties.credentials.secrets"
_LINKED = "properties.privateEndpointConnections"

_ASSETS = (
    ("model", "models", _asset, _model, ()),
    ("environment", "environments", _asset, _environment, ()),
    ("code", "codes", _asset, _code, (Action("startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"}),)),
    ("data", "data", _data_container, _data, ()),
    ("component", "components", _asset, _component_version, ()),
)


def _asset_kinds() -> list[Kind]:
    found = []
    for word, collection, container, version, actions in _ASSETS:
        above = f"{word} container"
        found.append(Kind(above, ("workspace",), collection, ("one", "Two"), container))
        found.append(
            Kind(
                f"{word} version",
                (above,),
                "versions",
                ("1", "2"),
                version,
                makes_parent=True,
                lasting=True,
                actions=actions,
                derived=(_LABELS,),
            )
        )
    return found


_ALL = [
    Kind("group", (), "resourceGroups", ("rg", "Other"), _group, _tags, own=(_STATE,), moves=()),
    Kind(
        "storage",
        ("group",),
        _provider("Microsoft.Storage/storageAccounts"),
        ("storage1", "storage2"),
        _storage,
        _tags,
        own=(_STATE,),
        moves=(),
        actions=(
            Action("listKeys", tells=True),
            Action("regenerateKey", {"keyName": "key1"}, writes=True),
        ),
        lasting=True,
        derived=(_LINKED,),
    ),
    Kind(
        "container",
        ("storage",),
        "blobServices/default/containers",
        ("inbox", "outbox"),
        _container,
        moves=("etag", "properties.lastModifiedTime"),
        cased=True,
    ),
    Kind(
        "vault",
        ("group",),
        _provider("Microsoft.KeyVault/vaults"),
        ("vault1", "Vault2"),
        _vault,
        _tags,
        buried=True,
        own=(_STATE,),
        lasting=True,
    ),
    Kind(
        "analytics",
        ("group",),
        _provider("Microsoft.OperationalInsights/workspaces"),
        ("logs1", "Logs2"),
        _analytics,
        _tags,
        moves=("properties.modifiedDate",),
        own=(_STATE,),
        actions=(Action("sharedKeys", tells=True),),
    ),
    Kind("component", ("group",), _provider("Microsoft.Insights/components"), ("insights1",), _component, _tags),
    Kind(
        "registry",
        ("group",),
        _provider("Microsoft.ContainerRegistry/registries"),
        ("registry1", "Registry2"),
        _registry,
        _tags,
        own=(_STATE,),
        actions=(Action("listCredentials", tells=True),),
    ),
    Kind(
        "identity",
        ("group",),
        _provider("Microsoft.ManagedIdentity/userAssignedIdentities"),
        ("identity1", "Identity2"),
        _identity,
        _tags,
    ),
    Kind(
        "assignment",
        ("group", "storage", "workspace"),
        _provider("Microsoft.Authorization/roleAssignments"),
        ("10000000-0000-4000-8000-000000000001",),
        _assignment,
        fixed=True,
        moves=("properties.updatedOn",),
        listed=False,
    ),
    Kind(
        "role",
        (),
        _provider("Microsoft.Authorization/roleDefinitions"),
        ("20000000-0000-4000-8000-000000000001",),
        _role,
        moves=("properties.updatedOn",),
        listed=False,
    ),
    Kind(
        "kubernetes",
        ("group",),
        _provider("Microsoft.ContainerService/managedClusters"),
        ("aks1", "Aks2"),
        _kubernetes,
        _tags,
    ),
    Kind(
        "connected",
        ("group",),
        _provider("Microsoft.Kubernetes/connectedClusters"),
        ("arc1", "Arc2"),
        _connected,
        _tags,
    ),
    Kind(
        "workspace",
        ("group",),
        _provider(f"{ML}/workspaces"),
        ("work", "Second"),
        _workspace,
        _tags,
        buried=True,
        own=(_STATE,),
        # What it stands on has outbound rules of its own, and a rule is shown by the workspace, too.
        derived=("properties.managedNetwork",),
        unseen=("properties.provisionNetworkNow",),
        actions=(Action("listKeys"),),
    ),
    Kind(
        "compute",
        ("workspace",),
        "computes",
        ("cluster", "Small"),
        _compute,
        query="underlyingResourceAction=Delete",
        own=("tags", "properties"),
        moves=("properties.modifiedOn", "properties.properties.allocationStateTransitionTime"),
        actions=(Action("listNodes"),),
        lasting=True,
    ),
    Kind(
        "datastore",
        ("workspace",),
        "datastores",
        ("own", "Other"),
        _datastore,
        # The key is none of the account's, which a store of a datastore looks at.
        put_query="skipValidation=true",
        unseen=(_SECRETS,),
        actions=(Action("listSecrets", tells=True),),
    ),
    *_asset_kinds(),
    Kind(
        "schedule",
        ("workspace",),
        "schedules",
        ("nightly", "Weekly"),
        _schedule,
        # A PUT answers the properties only, as recorded; a GET fills in when it starts and what the job will be.
        own=(_STATE, "name", "systemData", "properties.trigger", "properties.action"),
    ),
    Kind(
        "submitted job",
        ("workspace",),
        "jobs",
        ("mine", "Yours"),
        _job,
        own=("properties.status",),
        moves=(),
        fixed=True,
        lasting=True,
        # Their list has the jobs of batch endpoints too.
        listed=False,
    ),
    Kind(
        "online endpoint",
        ("workspace",),
        "onlineEndpoints",
        ("alpha", "Beta"),
        _online_endpoint,
        _tags,
        own=(
            _STATE,
            "properties.scoringUri",
            "properties.swaggerUri",
            "properties.traffic",
            "properties.mirrorTraffic",
        ),
        moves=("systemData", _POLL),
        actions=(
            Action("listKeys", tells=True),
            Action("token"),
            Action("regenerateKeys", {"keyType": "Primary"}, writes=True),
        ),
    ),
    Kind(
        "online deployment",
        ("online endpoint",),
        "deployments",
        ("blue", "Green", "bad"),
        _online_deployment,
        _tags,
        # An update answers no instance type and one date only, as recorded; the variables are filled in at the end.
        own=(_STATE, _POLL, "properties.instanceType", "properties.environmentVariables", "systemData"),
        moves=("systemData", _POLL),
        lasting=True,
        actions=(Action("getLogs", {"containerType": "InferenceServer", "tail": 5}),),
    ),
    Kind(
        "batch endpoint",
        ("workspace",),
        "batchEndpoints",
        ("gamma", "Delta"),
        _batch_endpoint,
        _tags,
        own=(_STATE, "properties.scoringUri", "properties.defaults"),
        moves=("systemData", _POLL),
        actions=(Action("listkeys"),),
    ),
    Kind(
        "batch deployment",
        ("batch endpoint",),
        "deployments",
        ("first", "Next"),
        _batch_deployment,
        _tags,
        own=(_STATE,),
        lasting=True,
    ),
    Kind(
        "outbound rule",
        ("workspace",),
        "outboundRules",
        ("pypi", "Conda"),
        _outbound_rule,
        own=("properties",),
        # Azure's own rules are in their list, too.
        listed=False,
    ),
    Kind(
        "network",
        ("group",),
        _provider("Microsoft.Network/virtualNetworks"),
        ("net1", "Net2"),
        _network,
        _tags,
        own=(_STATE,),
        moves=("etag",),
        derived=("properties.subnets",),
        lasting=True,
    ),
    Kind(
        "subnet",
        ("network",),
        "subnets",
        ("inner",),
        _subnet,
        own=(_STATE,),
        moves=("etag",),
        derived=("properties.ipConfigurations", "properties.privateEndpoints"),
        lasting=True,
    ),
    Kind(
        "security group",
        ("group",),
        _provider("Microsoft.Network/networkSecurityGroups"),
        ("nsg1", "Nsg2"),
        lambda world, above, number: _tracked(number, properties={}),
        _tags,
        own=(_STATE,),
        moves=("etag",),
        derived=("properties.securityRules",),
    ),
    Kind(
        "security rule",
        ("security group",),
        "securityRules",
        ("https",),
        _security_rule,
        own=(_STATE,),
        moves=("etag",),
    ),
    Kind(
        "zone",
        ("group",),
        _provider("Microsoft.Network/privateDnsZones"),
        ("privatelink.blob.core.windows.net",),
        _zone,
        _tags,
        own=(_STATE,),
        moves=("etag",),
        derived=(
            "properties.numberOfRecordSets",
            "properties.numberOfVirtualNetworkLinks",
            "properties.numberOfVirtualNetworkLinksWithRegistration",
        ),
        lasting=True,
    ),
    Kind(
        "zone link",
        ("zone",),
        "virtualNetworkLinks",
        ("net",),
        _zone_link,
        _tags,
        own=(_STATE,),
        moves=("etag",),
    ),
    Kind("record", ("zone",), "A", ("host", "Other"), _record, moves=("etag",), listed=False),
    Kind(
        "private endpoint",
        ("group",),
        _provider("Microsoft.Network/privateEndpoints"),
        ("pe1", "Pe2"),
        _private_endpoint,
        _tags,
        own=(_STATE,),
        moves=("etag",),
        derived=("properties.customDnsConfigs", "properties.privateLinkServiceConnections"),
    ),
    Kind(
        "zone group",
        ("private endpoint",),
        "privateDnsZoneGroups",
        ("default",),
        _zone_group,
        own=(_STATE,),
        moves=("etag",),
    ),
    Kind(
        "diagnostic setting",
        ("vault", "registry", "network"),
        _provider("microsoft.insights/diagnosticSettings"),
        ("to-logs",),
        _setting,
        moves=(),
    ),
    Kind(
        "autoscale setting",
        ("group",),
        _provider("Microsoft.Insights/autoscaleSettings"),
        ("scale1",),
        _autoscale,
        _tags,
    ),
    Kind(
        "workflow",
        ("group",),
        _provider("Microsoft.Logic/workflows"),
        ("clock1", "Clock2"),
        _workflow,
        _tags,
        moves=("properties.changedTime", "properties.version"),
        actions=(Action("enable"),),
    ),
]

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
