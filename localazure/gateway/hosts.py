"""Which host names are Azure's: those among them that are not served are refused, lest something reach the cloud."""

import ipaddress
import re
import socket

# Domain → what lives there. A name belongs to the domain if it is the domain or ends with a dot and the domain.
# Hosts of Microsoft's that no Azure client acts on (learn.microsoft.com, mcr.microsoft.com, pypi mirrors) are absent.
AZURE_DOMAINS = {
    # Control planes and data planes of the public cloud
    "azure.com": "Azure's management and data planes",
    "azure.net": "Azure's data planes, Key Vault among them",
    "windows.net": "storage, Service Bus, SQL and the older sign-in and management hosts",
    "azure-api.net": "API Management",
    "azure-automation.net": "Automation",
    "azure-devices.net": "IoT Hub",
    "azure-devices-provisioning.net": "IoT Hub",
    "azure-mobile.net": "Mobile Services",
    "azmk8s.io": "Kubernetes Service",
    "azurecontainer.io": "Container Instances",
    "azurecontainerapps.io": "Container Apps",
    "azurecr.io": "Container Registry",
    "azuredatabricks.net": "Databricks",
    "azuredigitaltwins.net": "Digital Twins",
    "azureedge.net": "the content delivery network",
    "azurefd.net": "Front Door",
    "azurehdinsight.net": "HDInsight",
    "azureiotcentral.com": "IoT Central",
    "azuremicroservices.io": "Spring Apps",
    "azureml.com": "Machine Learning",
    "azureml.ms": "Machine Learning",
    "azureml.net": "Machine Learning",
    "azurestaticapps.net": "Static Web Apps",
    "azuresynapse.net": "Synapse",
    "azurewebsites.net": "App Service and its deployment API",
    "cloudapp.net": "Cloud Services",
    "trafficmanager.net": "Traffic Manager",
    # Signing in: a token of the real tenant must not be asked for by mistake
    "microsoftonline.com": "Microsoft Entra sign-in",
    "microsoftonline-p.com": "Microsoft Entra sign-in",
    "microsoftazuread-sso.com": "Microsoft Entra sign-in",
    "login.microsoft.com": "Microsoft Entra sign-in",
    "device.login.microsoft.com": "Microsoft Entra sign-in",
    "login.live.com": "Microsoft account sign-in",
    "graph.microsoft.com": "Microsoft Graph",
    # Telemetry of clients, which names subscriptions and resources
    "services.visualstudio.com": "Application Insights' ingestion",
    "applicationinsights.microsoft.com": "Application Insights' ingestion",
    "events.data.microsoft.com": "usage data of Azure's tools",
    # Other clouds
    "azure.cn": "Azure in China",
    "azurecr.cn": "Azure in China",
    "azurewebsites.cn": "Azure in China",
    "chinacloudapi.cn": "Azure in China",
    "chinacloudapp.cn": "Azure in China",
    "microsoftonline.cn": "Azure in China",
    "azure.us": "Azure for the US government",
    "azurecr.us": "Azure for the US government",
    "azurewebsites.us": "Azure for the US government",
    "microsoftonline.us": "Azure for the US government",
    "usgovcloudapi.net": "Azure for the US government",
    "usgovcloudapp.net": "Azure for the US government",
    "graph.microsoft.us": "Azure for the US government",
    "cloudapi.de": "the former Azure in Germany",
    "microsoftazure.de": "the former Azure in Germany",
    "microsoftonline.de": "the former Azure in Germany",
}
# Azure's virtual machines get configuration and health checks from this public address.
WIRE_SERVER = ipaddress.ip_address("168.63.129.16")
BLOB_HOST = re.compile(r"([a-z0-9]{3,24})(?:-secondary)?\.blob\.core\.windows\.net")
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|[0-9a-f:.]+")


def fold(host: str) -> str:
    """A host name as it is compared: lower case, without the brackets of IPv6 and the root's dot."""
    return host.strip("[]").lower().rstrip(".")


def is_host(host: str) -> bool:
    """Whether a folded name can be a host at all."""
    return HOST_NAME.fullmatch(host) is not None


def azure_service(host: str) -> str | None:
    """What of Azure's a folded name belongs to; None when it is not Azure's."""
    labels = host.split(".")
    endings = (".".join(labels[start:]) for start in range(len(labels)))
    return next((AZURE_DOMAINS[ending] for ending in endings if ending in AZURE_DOMAINS), None)


def storage_account(host: str) -> str | None:
    """The storage account that a folded name is the blob service of."""
    match = BLOB_HOST.fullmatch(host)
    return match[1] if match else None


def is_metadata_address(host: str) -> bool:
    """Whether it is an address where a machine in a cloud asks who it is (IMDS), in any notation."""
    address = _address(host)
    if address is None:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_link_local or address == WIRE_SERVER


def is_loopback(host: str) -> bool:
    """Whether it names this machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # Resolvers also take 0xa9fea9fe, 2852039166 and 169.254.43518 for 169.254.169.254.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
