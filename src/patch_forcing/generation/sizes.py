"""Images of other sizes than those that a model was trained on; rotary positions take them."""

from collections.abc import Sequence

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels. Raises UserError for what is none."""
    if len(size) != 2:
        raise UserError(f"size={size}: give height and width")
    for side in size:
        check_range("size", side, 1, whole=True)
    return int(size[0]), int(size[1])


def cells_of(size: Sequence[int], model: PatchDiT, name: str) -> tuple[int, int]:
    """Height and width of what the network makes of images of so many pixels.

    Raises UserError if the model makes images of one size only, or of no such size.
    """
    space, config = model.data_info.autoencoder, model.config
    factor = 1 if space is None else space.factor
    height, width = size
    own = tuple(factor * side for side in config.image_size)
    if not config.is_rotary and tuple(size) != own:
        raise UserError(
            f"size {height}x{width}: {name} has fixed positions, and makes {own[0]}x{own[1]}: "
            "leave it out, or train with --network.position rope"
        )
    step = factor * config.patch_size
    if height % step or width % step:
        raise UserError(
            f"size {height}x{width} for {name}: choose sides that are multiples of {step}"
        )
    return height // factor, width // factor


def num_patches(config: PatchDiTConfig, cells: tuple[int, int] | None) -> int:
    """Of an image of so many cells; None: of the model's own."""
    rows, columns = patch_grid(config.image_size if cells is None else cells, config.patch_size)
    return rows * columns
