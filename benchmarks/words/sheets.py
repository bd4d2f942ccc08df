"""Samples side by side in one JPEG, which an OCR reads where the samples were not made."""

from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from patch_forcing.io.image_file import save_image
from patch_forcing.views.images import to_pil

COLUMNS = 10
QUALITY = {"quality": 95, "subsampling": 0}
"""Sides are multiples of 8, as JPEG's blocks, so that no image is seen in its neighbour."""


def save_sheet(file: Path, pixels: UInt8[Tensor, "M C H W"]) -> None:
    """Ten in a row, the last row filled up with black. file: ends in .jpeg."""
    missing = -len(pixels) % COLUMNS
    filled = torch.cat([pixels, pixels.new_zeros(missing, *pixels.shape[1:])])
    sheet = to_pil(rearrange(filled, "(r k) c h w -> c (r h) (k w)", k=COLUMNS))
    file.parent.mkdir(parents=True, exist_ok=True)
    save_image(sheet, file, **QUALITY)


def read_sheet(file: Path, size: tuple[int, int], count: int) -> Float[Tensor, "M 3 H W"]:
    """The first images of a sheet, in [−1, 1]. size: height and width of an image."""
    with Image.open(file) as image:
        width, height = image.size
        data = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    sheet = data.view(height, width, 3)
    images = rearrange(sheet, "(r h) (k w) c -> (r k) c h w", h=size[0], w=size[1])
    return images[:count].float() / 127.5 - 1
