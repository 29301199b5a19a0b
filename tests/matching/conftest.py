"""What the tests of the matching method share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def real_data(real_data) -> Path:
    """The folder of real data of all methods, whose crystals are compared."""
    return real_data.parent
