"""What the private DNS zones of Azure's services are called, which differs by cloud.

Source: https://learn.microsoft.com/azure/private-link/private-endpoint-dns and
https://learn.microsoft.com/azure/machine-learning/how-to-custom-dns
"""

from collections.abc import Mapping

# By the parts of a resource that a private endpoint leads to (subresources). The workspace has two: one for its API and
# its online endpoints, one for its notebooks.
_PUBLIC = ("privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"), "core.windows.net", "vaultcore.azure.net"
_US = (
    ("privatelink.api.ml.azure.us", "privatelink.notebooks.usgovcloudapi.net"),
    "core.usgovcloudapi.net",
    "vaultcore.usgovcloudapi.net",
)
_CHINA = (
    ("privatelink.api.ml.azure.cn", "privatelink.notebooks.chinacloudapi.cn"),
    "core.chinacloudapi.cn",
    "vaultcore.azure.cn",
)
_REGISTRY = {_PUBLIC: "azurecr.io", _US: "azurecr.us", _CHINA: "azurecr.cn"}


def zones(location: str) -> Mapping[str, tuple[str, ...]]:
    """The names of the zones by subresource, in the cloud that a region belongs to."""
    region = location.lower().replace(" ", "")
    cloud = _US if region.startswith(("usgov", "usdod")) else _CHINA if region.startswith("china") else _PUBLIC
    workspace, storage, vault = cloud
    return {
        "amlworkspace": workspace,
        **{each: (f"privatelink.{each}.{storage}",) for each in ("blob", "file", "queue", "table")},
        "vault": (f"privatelink.{vault}",),
        "registry": (f"privatelink.{_REGISTRY[cloud]}",),
    }
