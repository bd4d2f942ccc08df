"""Frozen encoders: images → features of their patches, for alignment."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError

Grid = tuple[int, int]
"""Rows and columns."""
HALF = (0.5, 0.5, 0.5)
"""A mean and a deviation of colours, in [0, 1]: networks so fed see [−1, 1]."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PatchFeatures(NamedTuple):
    """Features of M = rows·columns patches, row-major."""

    values: Float[Tensor, "B M F"]
    grid: Grid


@runtime_checkable
class FrozenEncoder(Protocol):
    """A network that is looked at, never trained."""

    @property
    def identity(self) -> str:
        """Its name and a hash of its weights: tells encoders apart whose features differ."""

    def __call__(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """Features of images in [−1, 1], on `grid` if it can, else on a grid of its own."""

    def to(self, device: torch.device | str) -> "FrozenEncoder":
        """The same, computing on that device."""


class ModuleEncoder:
    """Any module, frozen: images → a map (B, F, rows, columns), or tokens (B, T, F).

    Of tokens, the last rows·columns are those of patches, in front of which others may stand, as
    class tokens do. From Python, the way to align with a network of your own:

        train(name, recipe, run, encoder=ModuleEncoder(network, "mine, version 3"))

    identity: tells it apart from others; a cache and a resumed run ask for the same.
    patch: side of its patches in pixels. size: height and width of the images it sees; None: of
    any size, so that images are scaled to where its grid is the wanted one; they are, too, if
    neither is given, left as they are.
    mean, std: of colours in [0, 1], by which images are normalised; by default it sees [−1, 1].
    read: how it is called, if not module(images).
    """

    def __init__(
        self,
        module: nn.Module,
        identity: str,
        *,
        patch: int | None = None,
        size: Grid | None = None,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
        read: Callable[[Tensor], Tensor] | None = None,
    ):
        self.module = module.eval().requires_grad_(False)
        self.identity = identity
        self._patch, self._size = patch, size
        self._mean, self._std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        self._read = read or self.module

    def to(self, device: torch.device | str) -> "ModuleEncoder":
        """The module is moved, not copied."""
        self.module.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """Features. Raises UserError if what the module gives is none."""
        size = self._size
        if size is None and self._patch is not None:
            size = (grid[0] * self._patch, grid[1] * self._patch)
        if size is not None and size != tuple(images.shape[-2:]):
            images = F.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            )
        found = self._read(((images + 1) / 2 - self._mean) / self._std)
        if isinstance(found, Tensor) and found.ndim == 4:
            return PatchFeatures(found.flatten(2).mT, (found.shape[2], found.shape[3]))
        if not (isinstance(found, Tensor) and found.ndim == 3):
            kind = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"{self.identity} gives {kind}: an encoder gives (B, F, rows, columns), or tokens "
                "(B, T, F)"
            )
        if self._patch is not None:
            rows, columns = (side // self._patch for side in images.shape[-2:])
        else:
            rows = columns = round(found.shape[1] ** 0.5)
        if found.shape[1] < rows * columns or (
            self._patch is None and found.shape[1] != rows * columns
        ):
            raise UserError(
                f"{self.identity} gives {found.shape[1]} tokens for {rows}×{columns} patches: "
                "choose an encoder that keeps one for each"
            )
        return PatchFeatures(found[:, -rows * columns :], (rows, columns))
