"""The variables with which unmodified clients reach Local Azure, and nothing else of Azure."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from localazure import tools
from localazure.gateway import outer
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.identity import PATH, kept_secret
from localazure.home import Home
from localazure.runtime import Ports, Runtime
from localazure.settings import Settings

# What would make a client act as somebody else, ask another cloud, or look for its identity elsewhere.
UNSET = (
    "ARM_CLIENT_CERTIFICATE",
    "ARM_CLIENT_CERTIFICATE_PASSWORD",
    "ARM_CLIENT_CERTIFICATE_PATH",
    "ARM_CLIENT_ID",
    "ARM_CLIENT_ID_FILE_PATH",
    "ARM_CLIENT_SECRET",
    "ARM_CLIENT_SECRET_FILE_PATH",
    "ARM_CLOUD_METADATA_URL",
    "ARM_ENVIRONMENT",
    "ARM_METADATA_HOST",
    "ARM_METADATA_HOSTNAME",
    "ARM_MSI_ENDPOINT",
    "ARM_OIDC_AUDIENCE",
    "ARM_OIDC_REQUEST_TOKEN",
    "ARM_OIDC_REQUEST_URL",
    "ARM_OIDC_TOKEN",
    "ARM_OIDC_TOKEN_FILE_PATH",
    "ARM_USE_AKS_WORKLOAD_IDENTITY",
    "ARM_USE_CLI",
    "ARM_USE_OIDC",
    "AZUREML_CURRENT_CLOUD",
    "AZUREML_DEV_URL_MFE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PASSWORD",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "AZURE_USERNAME",
    "DEFAULT_IDENTITY_CLIENT_ID",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "OBO_ENDPOINT",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "REGISTRY_DISCOVERY_ENDPOINT_URL",
)


# Of the client's variables, those that a container has a use for: the others are Pulumi's, or this machine's marks.
CONTAINER_NAMES = frozenset(
    {
        "AZURE_TOKEN_CREDENTIALS",
        "HTTPS_PROXY",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "NO_PROXY",
        "https_proxy",
        "no_proxy",
        *outer.BUNDLE_NAMES,
    }
)


def client_environment(home: Home, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to set for a client of the Local Azure that runs; `environ` is what the client has."""
    settings, ports = Settings.load(home, environ), Runtime.read(home).ports
    return {
        **_network(home, ports, environ),
        **_identity(home, settings, ports),
        "PULUMI_HOME": str(home.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{home.pulumi_state}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PATH": _path(environ.get("PATH", os.defpath)),
    }


def led(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` as a shell has it once it has evaluated what `env` prints."""
    kept = {name: value for name, value in environ.items() if name not in UNSET}
    return kept | client_environment(home, environ)


def container_environment(home: Home, settings: Settings) -> dict[str, str]:
    """What a scoring script's process needs to meet Local Azure where it would meet Azure, and nobody's own login.

    Its home is a folder below the state folder. Of a Local Azure that has no daemon, that is all.
    """
    own = home.path / "container-home"
    own.mkdir(mode=0o700, exist_ok=True)
    ports = Runtime.read(home).ports
    # A container is in the network of its workspace, wherever the clients are.
    within = replace(ports, proxy=ports.inner or ports.proxy)
    led = {**_network(home, within, os.environ), **_identity(home, settings, ports)} if ports.proxy else {}
    return {"HOME": str(own)} | {name: value for name, value in led.items() if name in CONTAINER_NAMES}


def _network(home: Home, ports: Ports, current: Mapping[str, str]) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{ports.proxy}"
    local = "127.0.0.1,localhost"
    before, bundle_before = outer.OuterProxy.of(current), outer.outer_bundle(current)
    bundle = str(CertificateAuthority(home).bundle(bundle_before))
    return {
        # Libraries differ in which case they read, and in which wins.
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": local,
        "no_proxy": local,
        **dict.fromkeys(outer.BUNDLE_NAMES, bundle),
        outer.PROXY_MARK: proxy,
        outer.BUNDLE_MARK: bundle,
        outer.OUTER_PROXY: before.url,
        outer.OUTER_NO_PROXY: before.no_proxy,
        outer.OUTER_BUNDLE: str(bundle_before or ""),
    }


def _identity(home: Home, settings: Settings, ports: Ports) -> dict[str, str]:
    return {
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{ports.identity}{PATH}",
        "IDENTITY_HEADER": kept_secret(home),
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "AZURE_SUBSCRIPTION_ID": settings.subscription_id,
        "ARM_USE_MSI": "true",
        "ARM_SUBSCRIPTION_ID": settings.subscription_id,
        "ARM_TENANT_ID": settings.tenant_id,
    }


def _path(current: str) -> str:
    # Not resolved: in a virtual environment the interpreter is a link, and its neighbours are what is wanted.
    first = [str(Path(sys.executable).parent), str(tools.cache_dir() / "bin")]
    rest = [folder for folder in current.split(os.pathsep) if folder not in first]
    return os.pathsep.join([*first, *rest])


def shell_lines(variables: Mapping[str, str]) -> str:
    """Lines for `eval` in a POSIX shell."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([f"unset {' '.join(UNSET)}", *exports])
