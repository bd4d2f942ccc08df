"""Any module as a feature network: its images normalised, its output made vectors or a map."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from patch_forcing.core.errors import UserError
from patch_forcing.features.network import Grid, PatchFeatures

HALF = (0.5, 0.5, 0.5)
"""A mean and a deviation of colours, in [0, 1]: networks so fed see [−1, 1]."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VECTOR_SIDE = 224
"""Side of the images whose vectors are taken, in pixels, of networks of patches that see any size:
that of ImageNet's, and of distances by DINOv2 (Stein et al. 2023)."""


class ModuleEncoder:
    """Any module, frozen: images → a map (B, F, rows, columns), or tokens (B, T, F).

    Of tokens, the last rows·columns are those of patches, in front of which others may stand, as
    class tokens do. From Python, the way to align with a network of your own:

        pf.train("folder", data, encoder=ModuleEncoder(network, "mine, version 3"), …)

    name: tells it apart from others; a cache and a resumed run compare it.
    patch: side of its patches in pixels. size: height and width of the images it sees; None: of
    any size, so that for a map images are scaled to where its grid is the wanted one, and for
    vectors to VECTOR_SIDE. Without either, images are left as they are.
    mean, std: of colours in [0, 1], by which images are normalised; by default it sees [−1, 1].
    read: how it is called, if not module(images). pool: what makes vectors (B, F) of normalised
    images; None: the mean of the map.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        *,
        patch: int | None = None,
        size: Grid | None = None,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
        read: Callable[[Tensor], Tensor] | None = None,
        pool: Callable[[Tensor], Tensor] | None = None,
    ):
        self.module = module.eval().requires_grad_(False)
        self.name = name
        self._patch, self._size = patch, size
        self._mean, self._std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        self._read, self._pool = read or self.module, pool

    @property
    def size(self) -> Grid | None:
        """Height and width of the images whose vectors it gives; None: any."""
        if self._size is not None or self._patch is None:
            return self._size
        side = max(1, VECTOR_SIDE // self._patch) * self._patch
        return side, side

    @property
    def resize(self) -> str:
        """What is done to images of other sizes before vectors are taken, for records."""
        if self.size is None:
            return "none"
        return "bicubic, antialiased, to {}×{}".format(*self.size)

    def to(self, device: torch.device | str) -> "ModuleEncoder":
        """The module is moved, not copied."""
        self.module.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    @torch.no_grad()
    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """One vector for each image. Raises UserError if what the module gives is none."""
        seen = self._normalised(images, self.size)
        if self._pool is None:
            return self._map(self._read(seen), seen).values.mean(dim=1)
        vectors = self._pool(seen)
        if not (isinstance(vectors, Tensor) and vectors.ndim == 2):
            raise UserError(f"{self.name} gives {_kind(vectors)}: vectors of images are (B, F)")
        return vectors

    @torch.no_grad()
    def feature_map(self, images: Float[Tensor, "B 3 H W"], grid: Grid) -> PatchFeatures:
        """Features of patches. Raises UserError if what the module gives is none."""
        size = self._size
        if size is None and self._patch is not None:
            size = (grid[0] * self._patch, grid[1] * self._patch)
        seen = self._normalised(images, size)
        return self._map(self._read(seen), seen)

    def _normalised(
        self, images: Float[Tensor, "B 3 H W"], size: Grid | None
    ) -> Float[Tensor, "B 3 h w"]:
        """As the module sees them; scaled, if a size is given."""
        if size is not None and size != tuple(images.shape[-2:]):
            images = F.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            )
        return ((images + 1) / 2 - self._mean) / self._std

    def _map(self, output: object, seen: Tensor) -> PatchFeatures:
        """What the module gave for the images `seen`, as features of patches."""
        if isinstance(output, Tensor) and output.ndim == 4:
            return PatchFeatures(output.flatten(2).mT, (output.shape[2], output.shape[3]))
        if not (isinstance(output, Tensor) and output.ndim == 3):
            raise UserError(
                f"{self.name} gives {_kind(output)}: an encoder gives (B, F, rows, columns), or "
                "tokens (B, T, F)"
            )
        tokens = output.shape[1]
        if self._patch is not None:
            rows, columns = (side // self._patch for side in seen.shape[-2:])
            fits = tokens >= rows * columns
        else:
            rows = columns = round(tokens**0.5)
            fits = tokens == rows * columns
        if not fits:
            raise UserError(
                f"{self.name} gives {tokens} tokens for {rows}×{columns} patches: "
                "choose an encoder that keeps one for each"
            )
        return PatchFeatures(output[:, -rows * columns :], (rows, columns))


def _kind(output: object) -> str:
    """The shape of a tensor, or what it is instead of one."""
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
