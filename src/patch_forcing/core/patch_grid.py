"""How many patches an image has. Nothing here needs torch, so that sizes are checked early."""

from collections.abc import Sequence

from patch_forcing.core.errors import UserError


def patch_grid(size: Sequence[int], patch_size: int) -> tuple[int, int]:
    """The numbers of rows and columns of patches in an image of size (height, width).

    Raises UserError if the patch side does not divide both.
    """
    height, width = size
    if patch_size < 1 or height < 1 or width < 1 or height % patch_size or width % patch_size:
        raise UserError(
            f"image size {height}x{width} is not divisible by patch size {patch_size}: "
            f"choose sides that are multiples of {patch_size}, or another patch size"
        )
    return height // patch_size, width // patch_size
