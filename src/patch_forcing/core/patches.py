"""The patch grid. Only here do images become patches, and patches images.

Patches are squares of side P. They are counted row by row: N = (H/P)·(W/P).
The letters of shapes stand in the docstring of `patch_forcing`.
"""

from collections.abc import Sequence

from einops import rearrange, reduce, repeat
from jaxtyping import Float, Shaped
from torch import Tensor

from patch_forcing.core.patch_grid import patch_grid


def unpatchify(
    tokens: Float[Tensor, "B N F"], size: Sequence[int], patch_size: int
) -> Float[Tensor, "B C H W"]:
    """Puts tokens together to an image of `size` (height, width).

    A token holds its patch in the order (patch row, patch column, channel).
    """
    rows, cols = patch_grid(size, patch_size)
    return rearrange(
        tokens, "b (r c) (p q k) -> b k (r p) (c q)", r=rows, c=cols, p=patch_size, q=patch_size
    )


def spread(
    values: Shaped[Tensor, "B N"], size: Sequence[int], patch_size: int
) -> Shaped[Tensor, "B 1 H W"]:
    """Gives every pixel the value of its patch."""
    rows, cols = patch_grid(size, patch_size)
    return repeat(values, "b (r c) -> b 1 (r p) (c q)", r=rows, c=cols, p=patch_size, q=patch_size)


def pool(image: Float[Tensor, "B C H W"], patch_size: int) -> Float[Tensor, "B N"]:
    """Takes the mean over all pixels and channels of each patch."""
    patch_grid(image.shape[-2:], patch_size)
    return reduce(image, "b k (r p) (c q) -> b (r c)", "mean", p=patch_size, q=patch_size)
