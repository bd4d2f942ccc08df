"""Emoji scenes as latents: a linear code of 8×8 patches, every number of unit variance.

Pixels of a patch differ in scale by frequency, an autoencoder's latents hardly do, and the paper's
models see latents. This code changes that and nothing else: no decoder hides an error.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import EmojiScenes
from patch_forcing.data.sources import EmojiSource
from patch_forcing.generation.pixels import to_uint8
from patch_forcing.models.config import DataInfo

SIDE = 8
FITTED_ON = 1005
"""Seed of the scenes that the code is fitted to."""


class LinearCode:
    """Principal components of patches, whitened: the `components` of the largest variance."""

    def __init__(self, scenes: Float[Tensor, "B C H W"], components: int):
        patches = _patches(scenes).double().flatten(0, 1)  # (B·N, C·64)
        self.mean = patches.mean(dim=0)
        variances, directions = torch.linalg.eigh(torch.cov(patches.T))
        order = variances.argsort(descending=True)[:components]
        self.kept = float(variances[order].sum() / variances.sum())
        self.directions, self.scale = directions[:, order], variances[order].sqrt()

    def encode(self, scenes: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K h w"]:
        """Patches → latents of mean 0 and variance 1."""
        mean, directions, scale = self._on(scenes)
        latents = (_patches(scenes) - mean) @ directions / scale
        return rearrange(latents, "b (h w) k -> b k h w", h=scenes.shape[2] // SIDE).contiguous()

    def decode(self, latents: Float[Tensor, "B K h w"]) -> Float[Tensor, "B C H W"]:
        """Latents → scenes, without the components left out."""
        mean, directions, scale = self._on(latents)
        patches = (rearrange(latents, "b k h w -> b h w k") * scale) @ directions.T + mean
        return rearrange(patches, "b h w (c p q) -> b c (h p) (w q)", p=SIDE, q=SIDE)

    def _on(self, like: Tensor) -> list[Tensor]:
        return [
            part.to(like.device, like.dtype) for part in (self.mean, self.directions, self.scale)
        ]


def _patches(scenes: Tensor) -> Tensor:
    return rearrange(scenes, "b c (h p) (w q) -> b (h w) (c p q)", p=SIDE, q=SIDE)


@dataclass(frozen=True)
class LatentSource:
    """Scenes in a linear code."""

    path: str = "data/emoji"
    components: int = 64

    def open(self) -> "LatentScenes":
        """Read the atlas and fit the code."""
        return LatentScenes(EmojiSource(self.path).open(), self.components)


class LatentScenes:
    """What EmojiScenes draws, encoded."""

    def __init__(self, scenes: EmojiScenes, components: int):
        self.of, self.components = scenes, components
        self.num_classes, self.info = scenes.num_classes, DataInfo()
        side = scenes.shape[1] // SIDE
        self.shape = (components, side, side)

    @cached_property
    def code(self) -> LinearCode:
        """Fitted when first needed, to the same scenes everywhere."""
        scenes = [self.of.scenes(FITTED_ON, ids)[0] for ids in torch.arange(4000).split(500)]
        return LinearCode(torch.cat(scenes), self.components)

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """Codes of these scenes."""
        scenes = self.of.batch(spec, device)
        return scenes._replace(x_1=self.code.encode(scenes.x_1))

    def to_images(self, latents: Float[Tensor, "B K h w"]) -> UInt8[Tensor, "B C H W"]:
        """What samples look like."""
        return to_uint8(self.code.decode(latents), self.of.info)
