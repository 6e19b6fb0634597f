"""What Checkov asks of storage accounts. Where it reads Terraform alone, the rule is the same in ARM's words."""

import re
from collections.abc import Iterator, Sequence

from policies.resource import Resource
from policies.rule import RuleSet
from policies.workspaces import CONNECTIONS, DIAGNOSTICS, PRIVATE_ENDPOINT, keeps_logs, leading_to, without

ACCOUNT = "storage:StorageAccount"
CONTAINER = "storage:BlobContainer"
BLOBS = "storage:BlobServiceProperties"
# Each service of an account has logs of its own; the account itself has none.
LOGGED = ("blobservices", "queueservices", "tableservices")
REPLICATED = ("Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS")

RULES = RuleSet()


@RULES.rule("storage-https", ACCOUNT, sources=("CKV_AZURE_3",))
def storage_https(account: Resource) -> bool:
    """The storage account takes requests by HTTPS only."""
    return account.get("enableHttpsTrafficOnly") is not False


@RULES.rule("storage-tls", ACCOUNT, sources=("CKV_AZURE_44",))
def storage_tls(account: Resource) -> bool:
    """The storage account takes TLS 1.2 at least."""
    return account.says("minimumTlsVersion", "TLS1_2", "TLS1_3")


@RULES.rule("storage-public-access", ACCOUNT, sources=("CKV_AZURE_59", "CKV2_AZURE_50"))
def storage_public_access(account: Resource) -> bool:
    """The storage account takes no public requests: network.mode managed or byo, without publicAccess enabled."""
    return account.says("publicNetworkAccess", "Disabled")


@RULES.rule("storage-default-deny", ACCOUNT, sources=("CKV_AZURE_35",))
def storage_default_deny(account: Resource) -> bool:
    """What no rule of the storage account's firewall lets in stays out."""
    return account.says("networkRuleSet.defaultAction", "Deny")


@RULES.rule("storage-trusted-services", ACCOUNT, sources=("CKV_AZURE_36",))
def storage_trusted_services(account: Resource) -> bool:
    """Services that Azure trusts, Azure ML among them, reach the storage account through its firewall."""
    rules = account.get("networkRuleSet.bypass") or "AzureServices"
    return account.says("networkRuleSet.defaultAction", None, "Allow") or "AzureServices" in str(rules)


@RULES.rule("storage-anonymous-blobs", ACCOUNT, sources=("CKV_AZURE_190", "CKV2_AZURE_47"))
def storage_anonymous_blobs(account: Resource) -> bool:
    """No blob can be made public."""
    return account.says("allowBlobPublicAccess", False)


@RULES.rule("storage-private-containers", CONTAINER, sources=("CKV_AZURE_34",))
def storage_private_containers(container: Resource) -> bool:
    """A container and its blobs are private."""
    return container.says("publicAccess", None, "None")


@RULES.rule("storage-shared-keys", ACCOUNT, sources=("CKV2_AZURE_40",))
def storage_shared_keys(account: Resource) -> bool:
    """The storage account knows no keys, only identities: security.keyless: true."""
    return account.says("allowSharedKeyAccess", False)


@RULES.rule("storage-sas-expiry", ACCOUNT, sources=("CKV2_AZURE_41",))
def storage_sas_expiry(account: Resource) -> bool:
    """What is signed with a key of the storage account expires: security.keyless: true, or a sasPolicy."""
    return account.says("allowSharedKeyAccess", False) or account.has("sasPolicy.sasExpirationPeriod")


@RULES.rule("storage-local-users", ACCOUNT, sources=("CKV_AZURE_244",))
def storage_local_users(account: Resource) -> bool:
    """The storage account has no users of its own, as SFTP takes them."""
    if account.get("isLocalUserEnabled") is None:
        return account.says("isSftpEnabled", None, False)
    return account.says("isLocalUserEnabled", False)


@RULES.rule("storage-name", ACCOUNT, sources=("CKV_AZURE_43",))
def storage_name(account: Resource) -> bool:
    """The storage account's name is 3 to 24 small letters and digits."""
    name = account.get("accountName")
    return not isinstance(name, str) or re.fullmatch("[a-z0-9]{3,24}", name) is not None


@RULES.rule("storage-replication", ACCOUNT, sources=("CKV_AZURE_206",))
def storage_replication(account: Resource) -> bool:
    """The storage account has a copy in another region: workspace.storageAccount.redundancy: gzrs."""
    return account.says("sku.name", *REPLICATED)


@RULES.rule("storage-customer-key", ACCOUNT, sources=("CKV2_AZURE_1",))
def storage_customer_key(account: Resource) -> bool:
    """The storage account is encrypted with a key of one's own."""
    return account.says("encryption.keySource", "Microsoft.Keyvault")


@RULES.stack_rule("storage-soft-delete", sources=("CKV2_AZURE_38",))
def storage_soft_delete(resources: Sequence[Resource]) -> Iterator[Resource]:
    """Deleted blobs can be recovered for some days: security.softDeleteDays."""
    keeping = [each for each in resources if each.kind == BLOBS and each.says("deleteRetentionPolicy.enabled", True)]
    return without(resources, ACCOUNT, BLOBS, "accountName", keeping)


@RULES.stack_rule("storage-private-endpoint", sources=("CKV2_AZURE_33",))
def storage_private_endpoint(resources: Sequence[Resource]) -> Iterator[Resource]:
    """A private endpoint leads to the storage account's blobs: network.mode managed or byo, without publicAccess
    enabled."""
    return without(resources, ACCOUNT, PRIVATE_ENDPOINT, CONNECTIONS, leading_to(resources, "blob"))


@RULES.stack_rule("storage-logs", sources=("CKV_AZURE_33", "CKV2_AZURE_20", "CKV2_AZURE_21"))
def storage_logs(resources: Sequence[Resource]) -> Iterator[Resource]:
    """Who reads, writes and deletes blobs, queues and tables is logged: security.diagnostics: true."""
    keeping = [each for each in resources if each.kind == DIAGNOSTICS and keeps_logs(each)]
    for account in (each for each in resources if each.kind == ACCOUNT):
        own = [each.get("resourceUri") for each in keeping if account.name in each.needs.get("resourceUri", ())]
        if not all(any(_may_be(uri, service) for uri in own) for service in LOGGED):
            yield account


def _may_be(uri: object, service: str) -> bool:
    """Whether an id is that of a service; one that is not known yet may be."""
    return not isinstance(uri, str) or f"/{service}/" in uri.lower()
