"""The recipe with alignment, and the same one without."""

import dataclasses

import pytest

from patch_forcing.training.options import AlignmentConfig


@pytest.fixture
def plain(recipe):
    """Two blocks, of which one is aligned."""
    return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, depth=2))


@pytest.fixture
def repa(plain):
    return dataclasses.replace(plain, alignment=AlignmentConfig("emoji", projector_dim=12))
