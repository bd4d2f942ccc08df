"""An image and its mask fitted to the one size of images that a model makes.

Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from patch_forcing.core.errors import UserError

SIDES = ("left", "right", "top", "bottom")


@dataclass(frozen=True)
class Canvas:
    """What is edited, of the size of the model's images.

    image: grey or RGB. mask: how much each pixel may change, 0 … 1. blank: where there was no
    image, so that nothing of it shines through. note: what was done to fit; empty if nothing.
    """

    image: Image.Image
    mask: Float[np.ndarray, "H W"]
    blank: Bool[np.ndarray, "H W"]
    note: str = ""


def fitted_canvas(
    image: Image.Image, mask: Float[np.ndarray, "h w"], size: tuple[int, int]
) -> Canvas:
    """The middle of the image in the model's shape, scaled; size: width and height."""
    box, note = _middle(image.size, size), ""
    if image.size != size:
        cut = "" if box == (0, 0, *image.size) else "cropped to its middle and "
        note = f"the image of {_text(image.size)} is {cut}scaled to the model's {_text(size)}"
    blank = np.zeros(size[::-1], dtype=bool)
    return Canvas(_scaled(image, box, size), _scaled_mask(mask, box, size), blank, note)


def extended_canvas(
    image: Image.Image,
    mask: Float[np.ndarray, "h w"],
    size: tuple[int, int],
    margins: Mapping[str, int],
) -> Canvas:
    """The whole image shrunk into what the margins leave; all around it is to be painted.

    A model makes images of one size, so an image that grows on one side gets smaller, and what its
    shape leaves of the other sides is painted too. Around the image its border is continued, so
    that an autoencoder sees no edge there.
    Raises UserError if the margins leave nothing.
    """
    width, height = size
    inner = width - margins["left"] - margins["right"], height - margins["top"] - margins["bottom"]
    if min(inner) < 1:
        raise UserError(
            f"extend leaves no room for the image: its margins take all of the model's "
            f"{_text(size)}: choose smaller ones"
        )
    scale = min(inner[0] / image.width, inner[1] / image.height)
    small = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left = margins["left"] + (inner[0] - small[0]) // 2
    top = margins["top"] + (inner[1] - small[1]) // 2
    around = ((top, height - top - small[1]), (left, width - left - small[0]))
    whole = (0, 0, *image.size)
    pixels = np.asarray(_scaled(image, whole, small))
    edges = (*around, (0, 0)) if pixels.ndim == 3 else around
    canvas = Image.fromarray(np.pad(pixels, edges, mode="edge"))
    blank = np.pad(np.zeros(small[::-1], dtype=bool), around, constant_values=True)
    strength = np.pad(_scaled_mask(mask, whole, small), around, constant_values=1.0)
    note = (
        f"the image of {_text(image.size)} is {_text(small)} at left {left}, top {top} of the "
        f"model's {_text(size)}; the rest is painted"
    )
    return Canvas(canvas, strength.astype(np.float32), blank, note)


def _middle(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of that shape in the middle of an image: left, top, right, bottom."""
    scale = min(image[0] / size[0], image[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (image[0] - width) // 2, (image[1] - height) // 2
    return left, top, left + width, top + height


def _scaled(
    image: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]
) -> Image.Image:
    """That part of an image in that size, antialiased; untouched where it has it."""
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _scaled_mask(
    mask: Float[np.ndarray, "h w"], box: tuple[int, int, int, int], size: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """A pixel of the result is the mean of those that it covers, so that black stays black."""
    picture = Image.fromarray(mask.astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX, box=box)).clip(0, 1)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels"
