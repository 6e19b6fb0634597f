"""What Checkov asks of container registries."""

from collections.abc import Iterator, Sequence

from policies.resource import Resource
from policies.rule import RuleSet
from policies.workspaces import without

REGISTRY = "containerregistry:Registry"
REPLICATION = "containerregistry:Replication"
WEBHOOK = "containerregistry:Webhook"

RULES = RuleSet()


@RULES.rule("registry-admin-user", REGISTRY, sources=("CKV_AZURE_137",))
def registry_admin_user(registry: Resource) -> bool:
    """The registry has no admin user."""
    return registry.says("adminUserEnabled", None, False)


@RULES.rule("registry-anonymous-pull", REGISTRY, sources=("CKV_AZURE_138",))
def registry_anonymous_pull(registry: Resource) -> bool:
    """Nobody pulls images without logging in."""
    return registry.says("anonymousPullEnabled", None, False)


@RULES.rule("registry-public-access", REGISTRY, sources=("CKV_AZURE_139",))
def registry_public_access(registry: Resource) -> bool:
    """The registry takes no public requests: network.mode managed or byo, without publicAccess enabled."""
    return registry.says("publicNetworkAccess", "Disabled")


@RULES.rule("registry-scans-images", REGISTRY, sources=("CKV_AZURE_163",))
def registry_scans_images(registry: Resource) -> bool:
    """The registry is one whose images can be scanned: workspace.containerRegistry.sku standard or premium."""
    return registry.says("sku.name", "Standard", "Premium")


@RULES.rule("registry-signed-images", REGISTRY, sources=("CKV_AZURE_164",))
def registry_signed_images(registry: Resource) -> bool:
    """The registry knows signed images (trustPolicy)."""
    return registry.says("policies.trustPolicy.status", "enabled")


@RULES.stack_rule("registry-replicated", sources=("CKV_AZURE_165",))
def registry_replicated(resources: Sequence[Resource]) -> Iterator[Resource]:
    """The registry has a copy in another region."""
    return without(resources, REGISTRY, REPLICATION, "registryName")


@RULES.rule("registry-quarantine", REGISTRY, sources=("CKV_AZURE_166",))
def registry_quarantine(registry: Resource) -> bool:
    """An image is in quarantine until it has been scanned (quarantinePolicy)."""
    return registry.says("policies.quarantinePolicy.status", "enabled")


@RULES.rule("registry-cleans-up", REGISTRY, sources=("CKV_AZURE_167",))
def registry_cleans_up(registry: Resource) -> bool:
    """What no tag leads to is deleted after some days (retentionPolicy)."""
    return registry.says("policies.retentionPolicy.status", "enabled")


@RULES.rule("registry-zones", REGISTRY, REPLICATION, sources=("CKV_AZURE_233",))
def registry_zones(registry: Resource) -> bool:
    """The registry has copies in three zones: workspace.containerRegistry.zoneRedundancy: true."""
    return registry.says("zoneRedundancy", "Enabled")


@RULES.rule("registry-data-endpoint", REGISTRY, sources=("CKV_AZURE_237",))
def registry_data_endpoint(registry: Resource) -> bool:
    """What is pulled comes from an endpoint of the registry's own, so that *.blob.core.windows.net can stay closed."""
    return registry.says("dataEndpointEnabled", True)


@RULES.rule("webhook-https", WEBHOOK, sources=("CKV2_AZURE_30",))
def webhook_https(webhook: Resource) -> bool:
    """A webhook is called by HTTPS."""
    uri = webhook.get("serviceUri")
    return not isinstance(uri, str) or uri.startswith("https://")
