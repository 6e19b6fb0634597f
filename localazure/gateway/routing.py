"""Where each host's connections go."""

from collections.abc import Callable

from localazure.errors import LocalAzureError, UnknownName
from localazure.gateway import hosts
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.proxy import Forward, Pass, Refuse, Serve, Upstream

HTTPS = 443


def routing(served: Callable[[str], int | None], fleet: AzuriteFleet) -> Callable[[str, int], Upstream]:
    """The rule for the proxy.

    `served` knows the port of every host that the control plane or the router answers, and of storage accounts that
    refuse whoever asks.
    """

    def upstream(host: str, port: int) -> Upstream:
        if hosts.is_metadata_address(host):
            return Refuse(f"Local Azure refuses {host}: it is the metadata service of a cloud machine")
        if port == HTTPS and (found := _served(host, served, fleet)):
            return found
        if service := hosts.azure_service(host):
            return Refuse(f"Local Azure does not serve {host}:{port} and lets nothing reach the real Azure ({service})")
        return Pass()

    return upstream


def _served(host: str, served: Callable[[str], int | None], fleet: AzuriteFleet) -> Upstream | None:
    if port := served(host):
        return Serve(port)
    account = hosts.storage_account(host)
    if account is None:
        return None
    try:
        return Forward(fleet.port(account))
    except UnknownName:
        return None
    except LocalAzureError as error:
        return Refuse(str(error).splitlines()[0])
