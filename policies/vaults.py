"""What Checkov asks of key vaults, their keys and their secrets."""

from collections.abc import Iterator, Sequence

from policies.resource import Resource
from policies.rule import RuleSet
from policies.workspaces import CONNECTIONS, PRIVATE_ENDPOINT, leading_to, without

VAULT = "keyvault:Vault"
SECRET = "keyvault:Secret"
KEY = "keyvault:Key"

RULES = RuleSet()


@RULES.rule("vault-recoverable", VAULT, sources=("CKV_AZURE_42", "CKV_AZURE_110"))
def vault_recoverable(vault: Resource) -> bool:
    """A deleted vault can be recovered whatever anybody does: security.purgeProtection: true."""
    return vault.says("properties.enablePurgeProtection", True) and vault_soft_delete(vault)


@RULES.rule("vault-soft-delete", VAULT, sources=("CKV_AZURE_111",))
def vault_soft_delete(vault: Resource) -> bool:
    """A deleted vault, key or secret is kept for some days."""
    return vault.get("properties.enableSoftDelete") is not False


@RULES.rule("vault-public-access", VAULT, sources=("CKV_AZURE_189",))
def vault_public_access(vault: Resource) -> bool:
    """The vault takes no public requests: network.mode managed or byo, without publicAccess enabled."""
    return vault.says("properties.publicNetworkAccess", "Disabled")


@RULES.rule("vault-default-deny", VAULT, sources=("CKV_AZURE_109",))
def vault_default_deny(vault: Resource) -> bool:
    """What no rule of the vault's firewall lets in stays out."""
    return vault.says("properties.networkAcls.defaultAction", "Deny")


@RULES.stack_rule("vault-private-endpoint", sources=("CKV2_AZURE_32",))
def vault_private_endpoint(resources: Sequence[Resource]) -> Iterator[Resource]:
    """A private endpoint leads to the vault: network.mode managed or byo, without publicAccess enabled."""
    return without(resources, VAULT, PRIVATE_ENDPOINT, CONNECTIONS, leading_to(resources, "vault"))


@RULES.rule("vault-rbac", VAULT)
def vault_rbac(vault: Resource) -> bool:
    """Who may what in the vault is said by roles, not by access policies of its own."""
    return vault.says("properties.enableRbacAuthorization", True)


@RULES.rule("secret-expires", SECRET, sources=("CKV_AZURE_41",))
def secret_expires(secret: Resource) -> bool:
    """A secret says when it expires (attributes.expires)."""
    return secret.has("properties.attributes.expires")


@RULES.rule("secret-content-type", SECRET, sources=("CKV_AZURE_114",))
def secret_content_type(secret: Resource) -> bool:
    """A secret says what it is (contentType)."""
    return secret.has("properties.contentType")


@RULES.rule("key-expires", KEY, sources=("CKV_AZURE_40",))
def key_expires(key: Resource) -> bool:
    """A key says when it expires (attributes.exp)."""
    return key.has("properties.attributes.exp")


@RULES.rule("key-in-hardware", KEY, sources=("CKV_AZURE_112",))
def key_in_hardware(key: Resource) -> bool:
    """A key is kept in hardware (kty RSA-HSM or EC-HSM)."""
    return key.says("properties.kty", "RSA-HSM", "EC-HSM")
