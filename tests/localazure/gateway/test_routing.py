"""Where connections go: to what is served, to Azurite, to the world, and never to Azure."""

from typing import cast

import pytest

from localazure.errors import StartFailed, UnknownName
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.proxy import Forward, Pass, Refuse, Serve, Upstream
from localazure.gateway.routing import routing


class Fleet:
    """Two accounts, one of which does not start."""

    def port(self, account: str) -> int:
        if account == "broken":
            raise StartFailed("Azurite did not start. It said:\nout of memory")
        if account != "mystore":
            raise UnknownName(account)
        return 7000


def choose(host: str, port: int = 443) -> Upstream:
    served = {"management.azure.com": 8000}
    return routing(served.get, cast(AzuriteFleet, Fleet()))(host, port)


def test_each_host_goes_where_it_is_served() -> None:
    assert choose("management.azure.com") == Serve(8000)
    assert choose("mystore.blob.core.windows.net") == Forward(7000)
    assert choose("pypi.org") == Pass()
    assert choose("127.0.0.1", 8080) == Pass()


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("management.azure.com", 80),
        ("login.microsoftonline.com", 443),
        ("other.blob.core.windows.net", 443),
        ("mystore.dfs.core.windows.net", 443),
        ("169.254.169.254", 80),
        ("2852039166", 80),
    ],
)
def test_nothing_else_of_azure_is_reached(host: str, port: int) -> None:
    choice = choose(host, port)
    assert isinstance(choice, Refuse)
    assert host in choice.reason


def test_a_storage_account_that_does_not_start_says_so() -> None:
    assert choose("broken.blob.core.windows.net") == Refuse("Azurite did not start. It said:")
