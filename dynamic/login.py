"""Who the dynamic resources are towards Azure: the same identity that azure-native's own settings describe.

azure-native reads the stack's `azure-native:*` configuration and then `ARM_*`, while azure-identity reads `AZURE_*`;
one `pulumi up` must not act as two people. The order of the methods is that of azure-native.
"""

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

Lookup = Callable[[str], Any]

# azure-native's setting, and the variables that stand in for it.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "tenantId": ("ARM_TENANT_ID",),
    "clientId": ("ARM_CLIENT_ID",),
    "clientSecret": ("ARM_CLIENT_SECRET",),
    "clientCertificatePath": ("ARM_CLIENT_CERTIFICATE_PATH",),
    "clientCertificatePassword": ("ARM_CLIENT_CERTIFICATE_PASSWORD",),
    "useMsi": ("ARM_USE_MSI",),
    "useOidc": ("ARM_USE_OIDC",),
    "oidcToken": ("ARM_OIDC_TOKEN",),
    "oidcTokenFilePath": ("ARM_OIDC_TOKEN_FILE_PATH",),
    "oidcRequestToken": ("ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    "oidcRequestUrl": ("ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL"),
    "useDefaultAzureCredential": ("ARM_USE_DEFAULT_AZURE_CREDENTIAL",),
    "environment": ("ARM_ENVIRONMENT",),
}


@dataclass(frozen=True)
class Cloud:
    """One of Azure's clouds: its name for azure-ai-ml, and the hosts of its logins and of its resource manager."""

    name: str
    authority: str
    resource_manager: str


CLOUDS: Mapping[str, Cloud] = {
    "public": Cloud("AzureCloud", "login.microsoftonline.com", "https://management.azure.com"),
    "usgovernment": Cloud("AzureUSGovernment", "login.microsoftonline.us", "https://management.usgovcloudapi.net"),
    "china": Cloud("AzureChinaCloud", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
}


@dataclass(frozen=True, repr=False)
class Login:
    """azure-native's settings, merged from the configuration and the environment. Never shown: it may hold a secret."""

    values: Mapping[str, str]

    @classmethod
    def read(cls, config: Lookup, environment: Mapping[str, str]) -> "Login":
        """Reads each setting from the stack's configuration, else from the variables that stand for it."""
        values = {}
        for setting, variables in VARIABLES.items():
            candidates = [config(f"azure-native:{setting}"), *(environment.get(name) for name in variables)]
            values[setting] = next((str(value) for value in candidates if value not in (None, "")), "")
        return cls(values)

    @property
    def cloud(self) -> Cloud:
        """The cloud that `azure-native:environment` names; the public one without it. Raises `ValueError`."""
        name = self.values["environment"] or "public"
        if name not in CLOUDS:
            raise ValueError(f'azure-native:environment: "{name}" is not a cloud; use one of {", ".join(CLOUDS)}.')
        return CLOUDS[name]

    def on(self, setting: str) -> bool:
        """Whether a switch is set; azure-native takes `true` and `1`."""
        return self.values[setting].lower() in ("true", "1")

    def method(self) -> str:
        """The way of logging in that azure-native would choose."""
        values = self.values
        if self.on("useDefaultAzureCredential"):
            return "default"
        if values["clientId"] and values["clientCertificatePath"]:
            return "certificate"
        if values["clientId"] and values["clientSecret"]:
            return "secret"
        if self.on("useOidc"):
            return "oidc"
        return "managed identity" if self.on("useMsi") else "azure cli"

    def credential(self) -> "TokenCredential":
        """The azure-identity credential of that method."""
        from azure import identity

        values, authority = self.values, {"authority": self.cloud.authority}
        tenant, client = values["tenantId"], values["clientId"]
        match self.method():
            case "default":
                return identity.DefaultAzureCredential(**authority)
            case "certificate":
                password = values["clientCertificatePassword"] or None
                path = values["clientCertificatePath"]
                return identity.CertificateCredential(tenant, client, path, password=password, **authority)
            case "secret":
                return identity.ClientSecretCredential(tenant, client, values["clientSecret"], **authority)
            case "oidc":
                return identity.ClientAssertionCredential(tenant, client, self.assertion, **authority)
            case "managed identity":
                return identity.ManagedIdentityCredential(client_id=client or None)
            case _:
                return identity.AzureCliCredential(tenant_id=tenant)

    def assertion(self) -> str:
        """The token of the outer identity provider: given, in a file, or asked for where the runner says."""
        if self.values["oidcToken"]:
            return self.values["oidcToken"]
        if self.values["oidcTokenFilePath"]:
            return Path(self.values["oidcTokenFilePath"]).read_text(encoding="utf-8").strip()
        url, token = self.values["oidcRequestUrl"], self.values["oidcRequestToken"]
        if not url or not token:
            raise ValueError(
                "azure-native:useOidc is set without a token; set oidcToken, oidcTokenFilePath or oidcRequestUrl."
            )
        separator = "&" if "?" in url else "?"
        request = urllib.request.Request(f"{url}{separator}audience=api://AzureADTokenExchange")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["value"]
