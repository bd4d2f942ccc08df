"""What a feature network is: the border between networks that look at images and their users.

Distances between sets of images compare one vector an image; alignment compares a map of patches.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns."""


class PatchFeatures(NamedTuple):
    """Features of M = rows·columns patches, row-major."""

    values: Float[Tensor, "B M F"]
    grid: Grid


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network that is looked at, never trained."""

    @property
    def name(self) -> str:
        """What it is called, with a hash of its weights: networks whose features differ differ in
        this.
        """

    @property
    def size(self) -> Grid | None:
        """Height and width to which `features` resizes images; None: they stay as they are."""

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """One vector for each image in [−1, 1]."""

    def to(self, device: torch.device | str) -> "FeatureNetwork":
        """The same, computing on that device."""


@runtime_checkable
class MapNetwork(FeatureNetwork, Protocol):
    """A feature network that tells the patches of an image apart."""

    def feature_map(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """Features of images in [−1, 1], on `grid` if it can, else on a grid of its own."""

    def to(self, device: torch.device | str) -> "MapNetwork":
        """The same, computing on that device."""
