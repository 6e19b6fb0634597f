"""What a new workspace stands on: its storage account, key vault, Application Insights and container registry.

Each is one that is there, where the configuration names it; then nothing of it is changed or deleted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import applicationinsights, containerregistry, keyvault, operationalinsights, storage

from components.existing import look_up
from components.ground import Ground
from components.naming import name_in_azure
from components.unchangeable import Unchangeable, both_or_neither, kept
from dynamic.purge import VaultPurge
from settings.platform import PartSettings

Id = pulumi.Input[str]


@dataclass(frozen=True)
class Parts:
    """The ids of what a workspace stands on. `own` are those that the stack makes, by what they are."""

    storage: Id
    vault: Id
    registry: Id
    insights: Id
    logs: Id | None
    own: dict[str, Id]


def make(ground: Ground) -> Parts:
    """Makes what the configuration does not name."""
    workspace = ground.settings.workspace
    own: dict[str, Id] = {}
    if workspace.storage_account.existing is None:
        own["storage"] = _storage(ground)
    if workspace.container_registry.existing is None:
        own["registry"] = _registry(ground)
    if workspace.key_vault.existing is None:
        own["vault"] = _vault(ground)
    logs = _logs(ground)
    if workspace.application_insights.existing is None:
        own["insights"] = _insights(ground, logs)
    return Parts(**{key: own.get(key) or there for key, there in _existing(ground).items()}, logs=logs, own=own)


def _existing(ground: Ground) -> dict[str, str]:
    """The ids of what is there, by what it is; empty for what is not."""
    workspace = ground.settings.workspace
    return {
        "storage": _there(
            ground, "storageAccount", workspace.storage_account, account_name=storage.get_storage_account
        ),
        "vault": _there(ground, "keyVault", workspace.key_vault, vault_name=keyvault.get_vault),
        "registry": _there(
            ground, "containerRegistry", workspace.container_registry, registry_name=containerregistry.get_registry
        ),
        "insights": _there(
            ground,
            "applicationInsights",
            workspace.application_insights,
            resource_name=applicationinsights.get_component,
        ),
    }


def _there(ground: Ground, key: str, part: PartSettings, **get: Callable[..., Any]) -> str:
    """The id of a part that is there, looked up by what takes its name as this argument; empty where it is not."""
    if part.existing is None:
        return ""
    ((argument, getter),) = get.items()
    kind = part.existing.split("/")[-2]
    look_up(f"workspace.{key}.existing", part.existing, ground.subscription_id, getter, **{argument: kind})
    return part.existing


def _storage(ground: Ground) -> Id:
    settings, name = ground.settings, f"{ground.prefix}-storage"
    zones = Unchangeable(
        "workspace.storageAccount.redundancy",
        "sku.name",
        "convert the account first (az storage account migration start), and set this when Azure has done so.",
        _of_as_many_zones,
    )
    account = storage.StorageAccount(
        name,
        account_name=ground.global_name(24),
        kind="StorageV2",
        sku=storage.SkuArgs(name=f"Standard_{settings.workspace.storage_account.redundancy.upper()}"),
        allow_blob_public_access=False,
        enable_https_traffic_only=True,
        minimum_tls_version="TLS1_2",
        **_keyless(ground),
        **_closed_storage(ground),
        **ground.place(holds_data=True, hooks=kept(name, zones)),
    )
    if days := settings.security.soft_delete_days:
        keep = storage.DeleteRetentionPolicyArgs(enabled=True, days=days)
        storage.BlobServiceProperties(
            f"{ground.prefix}-blobs",
            blob_services_name="default",
            account_name=name_in_azure(account),
            resource_group_name=ground.group,
            delete_retention_policy=keep,
            container_delete_retention_policy=keep,
            opts=ground.opts(),
        )
    return account.id


def _of_as_many_zones(before: Any, after: Any) -> bool:
    """Whether both are in one zone, or both in three; between regions Azure copies at once."""
    return ("ZRS" in str(before).upper()) == ("ZRS" in str(after).upper())


def _keyless(ground: Ground) -> dict[str, Any]:
    # Azure takes keys and what is signed with them unless it is told not to.
    keyless = ground.settings.security.keyless
    return {"allow_shared_key_access": False, "default_to_o_auth_authentication": True} if keyless else {}


def _closed_storage(ground: Ground) -> dict[str, Any]:
    """Nothing but private endpoints leads in; and Azure ML itself, which is among the services that Azure trusts.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-managed-network (secured associated resources).
    """
    if not ground.settings.network.is_private:
        return {}
    rules = storage.NetworkRuleSetArgs(default_action=storage.DefaultAction.DENY, bypass="AzureServices")
    return {"public_network_access": "Disabled", "network_rule_set": rules}


def _vault(ground: Ground) -> Id:
    settings = ground.settings
    # A vault's name begins with a letter, a workspace's may not. One that cannot be purged keeps its name for 90 days:
    # there Pulumi makes a name up, or a stack that was destroyed could not come up again.
    kept = settings.security.purge_protection
    vault_name = None if kept else "kv" + ground.global_name(22)
    inputs = {
        "subscriptionId": ground.subscription_id,
        "location": ground.location,
        "name": vault_name,
        "enabled": settings.purge_on_destroy,
    }
    purge = [] if kept else [VaultPurge(f"{ground.prefix}-vault-purge", inputs=inputs, opts=ground.opts())]
    properties = keyvault.VaultPropertiesArgs(
        tenant_id=ground.tenant_id,
        sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
        enable_rbac_authorization=True,
        enable_soft_delete=True,
        # Azure knows no false here: it is on for good, or not said.
        enable_purge_protection=True if kept else None,
        **_closed_vault(ground),
    )
    place = ground.place(holds_data=True, depends_on=purge)
    return keyvault.Vault(f"{ground.prefix}-vault", vault_name=vault_name, properties=properties, **place).id


def _closed_vault(ground: Ground) -> dict[str, Any]:
    if not ground.settings.network.is_private:
        return {}
    rules = keyvault.NetworkRuleSetArgs(default_action="Deny", bypass="AzureServices")
    return {"public_network_access": "disabled", "network_acls": rules}


def _logs(ground: Ground) -> Id | None:
    """The Log Analytics workspace; none where nothing would write to it."""
    workspace = ground.settings.workspace
    if workspace.log_analytics.existing:
        get = operationalinsights.get_workspace
        return _there(ground, "logAnalytics", workspace.log_analytics, workspace_name=get)
    if workspace.application_insights.existing and not ground.settings.security.diagnostics:
        return None
    return operationalinsights.Workspace(
        f"{ground.prefix}-logs",
        # Log Analytics takes no underscore, and no hyphen at the end.
        workspace_name=f"log-{ground.workspace_name.replace('_', '-').strip('-')}",
        sku=operationalinsights.WorkspaceSkuArgs(name="PerGB2018"),
        retention_in_days=30,
        **ground.place(holds_data=True),
    ).id


def _insights(ground: Ground, logs: Id | None) -> Id:
    return applicationinsights.Component(
        f"{ground.prefix}-insights",
        resource_name_=f"appi-{ground.workspace_name}",
        kind="web",
        application_type="web",
        workspace_resource_id=logs,
        **ground.place(),
    ).id


def _registry(ground: Ground) -> Id:
    settings, network = ground.settings.workspace.container_registry, ground.settings.network
    private, sku = network.is_private, settings.sku or ("premium" if network.needs_premium_registry else "basic")
    name, key = f"{ground.prefix}-registry", "workspace.containerRegistry"
    another = f"make a registry that has what you need, and name it: {key}.existing."
    return containerregistry.Registry(
        name,
        registry_name=ground.global_name(50),
        sku=containerregistry.SkuArgs(name=sku.capitalize()),
        admin_user_enabled=False,
        zone_redundancy="Enabled" if settings.zone_redundancy else None,
        # Azure ML is among the services that Azure trusts; a data endpoint of its own keeps what is pulled off *.blob.
        public_network_access="Disabled" if private else None,
        network_rule_bypass_options="AzureServices" if private else None,
        data_endpoint_enabled=True if private else None,
        **ground.place(
            holds_data=True,
            hooks=kept(
                name, Unchangeable(f"{key}.zoneRedundancy", "zoneRedundancy", another, both_or_neither("Enabled"))
            ),
        ),
    ).id
