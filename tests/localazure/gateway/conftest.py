from pathlib import Path

import pytest

from localazure.gateway.ca import CertificateAuthority
from localazure.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def authority(home: Home) -> CertificateAuthority:
    return CertificateAuthority(home)
