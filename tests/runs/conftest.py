"""A recipe small enough to train in a test, on the real scans."""

import pytest

from faults import TINY
from patch_forcing.runs.recipes import Recipe


@pytest.fixture
def recipe() -> Recipe:
    return TINY
