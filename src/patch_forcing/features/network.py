"""What a feature network is: the border between networks that look at images and their users.

Distances between sets of images compare one vector an image; alignment compares a map of patches.
"""

from collections.abc import Sequence
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
class ClassNetwork(FeatureNetwork, Protocol):
    """A feature network that tells classes, as the Inception score needs."""

    def probabilities(self, vectors: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Of each class, from vectors that `features` gave."""

    def to(self, device: torch.device | str) -> "ClassNetwork":
        """The same, computing on that device."""


@runtime_checkable
class TextNetwork(FeatureNetwork, Protocol):
    """A feature network that sees texts in the space of images, as the CLIP score needs."""

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n F"]:
        """One vector for each text."""

    def to(self, device: torch.device | str) -> "TextNetwork":
        """The same, computing on that device."""


class VectorsAndPlaces(NamedTuple):
    """One vector for each image, and one that keeps where things are."""

    vectors: Float[Tensor, "B F"]
    places: Float[Tensor, "B G"]


@runtime_checkable
class PlaceNetwork(FeatureNetwork, Protocol):
    """A feature network with vectors that keep where things are, as sFID needs."""

    def with_places(self, images: Float[Tensor, "B 3 H W"]) -> VectorsAndPlaces:
        """Both vectors of images in [−1, 1]."""

    def to(self, device: torch.device | str) -> "PlaceNetwork":
        """The same, computing on that device."""


def resizing(network: FeatureNetwork) -> str:
    """What the network does to images of other sizes, in words, for records."""
    known: str | None = getattr(network, "resize", None)
    if known is not None:
        return known
    return "none" if network.size is None else "to {}×{}, by the network".format(*network.size)


@runtime_checkable
class MapNetwork(FeatureNetwork, Protocol):
    """A feature network that tells the patches of an image apart."""

    def feature_map(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """Features of images in [−1, 1], on `grid` if it can, else on a grid of its own."""

    def to(self, device: torch.device | str) -> "MapNetwork":
        """The same, computing on that device."""
