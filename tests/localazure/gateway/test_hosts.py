"""Which hosts are Azure's, in whatever way they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.gateway import hosts


@pytest.mark.parametrize(
    "host",
    [
        "management.azure.com",
        "azure.com",
        "graph.windows.net",
        "myvault.vault.azure.net",
        "login.microsoftonline.com",
        "graph.microsoft.com",
        "westeurope.api.azureml.ms",
        "registry.azurecr.io",
        "account.dfs.core.windows.net",
        "dc.services.visualstudio.com",
        "management.usgovcloudapi.net",
        "management.chinacloudapi.cn",
        "x.openai.azure.com",
        "site.scm.azurewebsites.net",
    ],
)
def test_azures_hosts_are_known(host: str) -> None:
    assert hosts.azure_service(host)


@pytest.mark.parametrize(
    "host",
    [
        "pypi.org",
        "learn.microsoft.com",
        "mcr.microsoft.com",
        "notazure.com",
        "azure.com.example.org",
        "microsoft.com",
        "",
    ],
)
def test_other_hosts_are_not_azures(host: str) -> None:
    assert hosts.azure_service(host) is None


@given(
    st.sampled_from(sorted(hosts.AZURE_DOMAINS)),
    st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True),
)
def test_every_name_below_a_domain_of_azures_is_azures(domain: str, name: str) -> None:
    assert hosts.azure_service(hosts.fold(f"{name}.{domain}.".upper()))
    assert hosts.azure_service(f"{name}{domain}.org") is None or name.endswith(domain)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "168.63.129.16",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "fe80::a9fe:a9fe",
    ],
)
def test_metadata_services_are_known_in_any_notation(host: str) -> None:
    assert hosts.is_metadata_address(hosts.fold(host))


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.4", "pypi.org", "::1", "8.8.8.8"])
def test_other_addresses_are_no_metadata_services(host: str) -> None:
    assert not hosts.is_metadata_address(host)


def test_blob_hosts_name_their_account() -> None:
    assert hosts.storage_account("mystore.blob.core.windows.net") == "mystore"
    assert hosts.storage_account("mystore-secondary.blob.core.windows.net") == "mystore"
    assert hosts.storage_account("mystore.dfs.core.windows.net") is None
    assert hosts.storage_account("x.mystore.blob.core.windows.net") is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "::1"])
def test_this_machine_is_known(host: str) -> None:
    assert hosts.is_loopback(host)


@pytest.mark.parametrize("host", ["a b", "a\r\nb", "", "-", "a/b", "a@b"])
def test_what_cannot_be_a_host_is_known(host: str) -> None:
    assert not hosts.is_host(host)
