import pytest

from localazure.gateway.ca import CertificateAuthority
from localazure.home import Home


@pytest.fixture
def authority(home: Home) -> CertificateAuthority:
    return CertificateAuthority(home)
