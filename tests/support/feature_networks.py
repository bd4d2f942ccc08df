"""Feature networks that cost nothing, and recipes aligned with them."""

import dataclasses

import torch
from torch import Tensor

from patch_forcing.features.module_encoder import ModuleEncoder
from patch_forcing.runs.recipe import Recipe


def changed(recipe: Recipe, **options: object) -> Recipe:
    """The recipe with other options of its alignment."""
    return dataclasses.replace(recipe, alignment=dataclasses.replace(recipe.alignment, **options))


def encoder_of(seed: int = 0) -> ModuleEncoder:
    """A convolution with random weights: patches of two pixels, six features."""
    torch.manual_seed(seed)
    module = torch.nn.Conv2d(3, 6, 2, stride=2)
    return ModuleEncoder(module, f"conv {seed}", patch=2)


class MeanColour:
    """The least that a feature network is: one vector an image, no map."""

    name, size = "mean colour", None

    def features(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))

    def to(self, device: torch.device | str) -> "MeanColour":
        return self
