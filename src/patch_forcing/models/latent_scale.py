"""The numbers of an autoencoder's latents, and those that a network sees: (z − shift)·scale."""

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.models.latent_space import LatentSpace


def normalised(space: LatentSpace, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """The autoencoder's latents → what a network sees."""
    return (z - _spread(space, space.shift, z)) * _spread(space, space.scale, z)


def raw(space: LatentSpace, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """What a network sees → the autoencoder's latents."""
    return x / _spread(space, space.scale, x) + _spread(space, space.shift, x)


def _spread(space: LatentSpace, numbers: tuple[float, ...], like: Tensor) -> Tensor | float:
    """Numbers of a space, one for each cell of a latent."""
    if len(numbers) == 1:
        return numbers[0]
    side = space.tile(len(numbers))
    assert side is not None
    tile = torch.tensor(numbers, device=like.device).view(space.channels, side, side)
    height, width = like.shape[-2:]
    if side == 1:
        return tile
    if height % side or width % side:
        raise UserError(
            f"{space.name} normalises tiles of {side}×{side} cells, which {height}×{width} "
            f"cells are not made of: choose sizes that {side * space.factor} divides"
        )
    return tile.repeat(1, height // side, width // side)
