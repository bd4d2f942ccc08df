"""Between bytes and the numbers that a network sees."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.images import BadImageError, drawn
from patch_forcing.models.config import DataInfo


def to_uint8(x: Float[Tensor, "B C H W"], info: DataInfo) -> UInt8[Tensor, "B C H W"]:
    """Numbers in the model's data range → 0 … 255."""
    low, high = info.data_range
    return ((x - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)


def from_uint8(pixels: UInt8[Tensor, "B C H W"], info: DataInfo) -> Float[Tensor, "B C H W"]:
    """0 … 255 → numbers in the model's data range; `to_uint8` is its inverse."""
    low, high = info.data_range
    return pixels.float() / (255 / (high - low)) + low


def from_pil(images: Sequence[Image.Image], channels: int) -> UInt8[Tensor, "B C H W"]:
    """Images of one size, upright, over white, in 1 (grey) or 3 channels (RGB).

    Raises UserError if there are none, if their sizes differ, or if one has no such form.
    """
    try:
        arrays = [np.array(drawn(image, channels)) for image in images]
    except BadImageError as error:
        raise UserError(f"image {error}") from None
    sizes = {array.shape[1::-1] for array in arrays}
    if not sizes:
        raise UserError("no images: give at least one")
    if len(sizes) > 1:
        raise UserError(f"images of {len(sizes)} sizes {sorted(sizes)}: give images of one size")
    pixels = torch.from_numpy(np.stack(arrays))
    return pixels[:, None] if channels == 1 else pixels.permute(0, 3, 1, 2).contiguous()
