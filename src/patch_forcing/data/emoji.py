"""Emoji scenes: one emoji, of random size and place, on a two-colour gradient of random angle.

Gradients are easy and drawings are hard, which is what per-patch time is about. Scenes are composed
on the fly from (seed, sample id) on any device: there is no end to them, and no file of them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.atlas import TILE, Atlas
from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.models.config import DataInfo

SCALES = (0.45, 0.9)
"""The emoji's side, as a share of the scene's."""


class EmojiScenes:
    """Endless scenes; the class of a scene is its emoji's subgroup.

    Scenes of another seed are held out: they share the drawings, not place, size and background.
    """

    def __init__(self, atlas: Atlas, size: int = 64):
        self.atlas = atlas
        self.shape = (3, size, size)
        self.num_classes = len(atlas.subgroups)
        self.info = DataInfo(class_names=atlas.subgroups)
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These scenes and the classes of their emoji."""
        ids = torch.arange(spec.positions.start, spec.positions.stop, device=device)
        x_1, emoji = self.scenes(spec.seed, ids, device)
        return Batch(x_1, self._atlas_on(emoji.device)[1][emoji])

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """The scenes' ids."""
        return [str(number) for number in spec.positions]

    def scenes(
        self, seed: int, ids: Int64[Tensor, " B"], device: torch.device | str = "cpu"
    ) -> tuple[Float[Tensor, "B 3 H W"], Int64[Tensor, " B"]]:
        """Scenes in [−1, 1] and which emoji each shows: functions of (seed, id) alone."""
        generator = CountedGenerator(seed, ids & 0xFFFFFFFF, device=device).fork("emoji scene")
        u = generator.uniform(11)  # (B, 11)
        emoji = (u[:, 0] * len(self.atlas.emoji)).long()
        low, high = SCALES
        scale = low + (high - low) * u[:, 1]
        corner = (1 - scale[:, None]) * u[:, 2:4]  # left, top
        drawing = self._drawings(emoji, scale, corner)  # (B, 4, H, W)
        background = gradient(self.shape[1:], u[:, 4], u[:, 5:8], u[:, 8:11])
        scene = drawing[:, :3] + (1 - drawing[:, 3:]) * background
        return (2 * scene - 1).clamp(-1, 1), emoji  # rounding leads up to 1e-4 beyond

    def _drawings(
        self, emoji: Int64[Tensor, " B"], scale: Float[Tensor, " B"], corner: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B 4 H W"]:
        """Tiles placed on transparent scenes, premultiplied, in [0, 1]."""
        size, (atlas, _) = self.shape[1], self._atlas_on(emoji.device)
        tiles = atlas[emoji].movedim(3, 1).contiguous().float() / 255  # (B, 4, 128, 128)
        tiles[:, :3] *= tiles[:, 3:]  # colours are mixed in proportion to their coverage
        columns = coverage(size, size * corner[:, 0], size * scale)
        rows = coverage(size, size * corner[:, 1], size * scale)  # (B, H, 128)
        return rows[:, None] @ tiles @ columns[:, None].mT

    def _atlas_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tiles and labels, copied to a device once: every copy makes a GPU wait."""
        if device not in self._on:
            self._on[device] = self.atlas.tiles.to(device), self.atlas.labels.to(device)
        return self._on[device]


def coverage(
    size: int, start: Float[Tensor, " B"], length: Float[Tensor, " B"], cells: int = TILE
) -> Float[Tensor, "B {size} {cells}"]:
    """How much of each cell of a row each pixel holds: the exact mean of the linear interpolation.

    The row's cells lie on [start, start + length] of `size` pixels; beyond it the row is zero.
    Weight (i, j) is the mean over pixel i of cell j's hat function, so neither shrinking aliases
    nor enlarging shows blocks. Pixels half a cell or more inside have weights that sum to 1.
    """
    edges = torch.arange(size + 1, device=start.device)
    source = (edges - start[:, None]) * (cells / length[:, None])  # (B, size + 1), in cells
    centres = torch.arange(cells, device=start.device) + 0.5
    x = (source[:, :, None] - centres).clamp(-1, 1)
    below = 0.5 + x - 0.5 * x * x.abs()  # ∫ hat from −∞ to x
    return (below[:, 1:] - below[:, :-1]) * (length / cells)[:, None, None]


def gradient(
    size: Sequence[int],
    angle: Float[Tensor, " B"],
    first: Float[Tensor, "B 3"],
    last: Float[Tensor, "B 3"],
) -> Float[Tensor, "B 3 H W"]:
    """From one colour to the other, corner to corner along `angle` (in turns)."""
    down, across = ((torch.arange(side, device=angle.device) + 0.5) / side - 0.5 for side in size)
    cos, sin = torch.cos(2 * torch.pi * angle), torch.sin(2 * torch.pi * angle)
    along = cos[:, None, None] * across + sin[:, None, None] * down[:, None]  # (B, H, W)
    share = (along / (cos.abs() + sin.abs())[:, None, None] + 0.5)[:, None]
    return first[:, :, None, None] * (1 - share) + last[:, :, None, None] * share
