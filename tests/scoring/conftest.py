from pathlib import Path

import pytest

from tests.scoring.sample_environment import sample_python


@pytest.fixture(scope="session")
def python() -> Path:
    """An interpreter that has what the samples were trained with."""
    return sample_python()
