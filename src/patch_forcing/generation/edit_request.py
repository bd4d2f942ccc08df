"""What of an image may change: as users say it, read before a model is loaded.

Nothing here needs torch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from patch_forcing.core.errors import UserError, check_range, unknown_name
from patch_forcing.data.images import BadImageError, flattened, opacity, reading, upright
from patch_forcing.generation.canvas import SIDES, Canvas, extended_canvas, fitted_canvas

ImageLike = str | Path | Image.Image
MaskLike = ImageLike | Any
"""A file, "alpha", a PIL image, or an array (H, W): bytes, booleans, or floats in [0, 1]."""
ALPHA = "alpha"
"""The mask that is the image's own alpha channel: what is transparent may change."""
BLACK, WHITE = 8, 247
"""Bytes of a mask up to and from which it is all black and all white: JPEG and scaling blur."""
MAX_MARGIN = 100_000


@dataclass(frozen=True)
class EditRequest:
    """Which parts of an image may change, and how much; validated when built.

    mask: white may change, black is kept, grey may change a little. keep_mask: the same the other
    way round. box: left, top, width and height of a white box, in pixels of the image. hardest: the
    share of patches whose difficulty is predicted highest. At most one of these; without any, all
    of the image may change. strength: what the mask is multiplied by, 0 to 1.
    extend: margins by side, in pixels of the result, that are painted around the image; a text as
    the command line takes it, or a mapping.
    feather: pixels over which the change sets in, within what may change; None: a quarter of a
    patch.
    Raises UserError for values out of range, and options that exclude each other.
    """

    mask: MaskLike | None = None
    keep_mask: MaskLike | None = None
    box: str | Sequence[int] | None = None
    hardest: float | None = None
    strength: float | None = None
    extend: str | Mapping[str, int] | None = None
    feather: int | None = None

    def __post_init__(self) -> None:
        sources = {
            name: value
            for name in ("mask", "keep_mask", "box", "hardest")
            if (value := getattr(self, name)) is not None
        }
        if len(sources) > 1:
            first, second, *_ = sources
            raise UserError(f"{first} and {second} exclude each other: give one of them")
        if not sources and self.strength is None and self.extend is None:
            raise UserError(
                "nothing says what may change: give a mask, a box, hardest, extend, or a strength "
                "for the whole image"
            )
        if self.strength is not None:
            check_range("strength", self.strength, 0, 1, mend="; 1 repaints")
            if self.strength == 0:
                raise UserError("strength=0 changes nothing: choose more, up to 1")
        if self.hardest is not None:
            check_range("hardest", self.hardest, above=0, high=1, mend="; 0.3 is 30 % of patches")
        if self.feather is not None:
            check_range("feather", self.feather, 0, 4096, whole=True, mend="; 0 is a hard edge")
        if self.box is not None:
            object.__setattr__(self, "box", _box(self.box))
        if self.extend is not None:
            object.__setattr__(self, "extend", _margins(self.extend))

    def read(self, image: ImageLike) -> "EditSource":
        """The image and its mask. Raises UserError, naming the file, if one cannot be read."""
        notes: list[str] = []
        picture = _picture(image, "image", notes)
        pixels = flattened(picture, 3)
        source = self.mask if self.mask is not None else self.keep_mask
        mask = np.ones(pixels.size[::-1], dtype=np.float32)
        if self.box is not None:
            mask = _boxed(self.box, pixels.size)
        elif isinstance(source, str) and source == ALPHA:
            alpha = opacity(picture)
            if alpha is None:
                raise UserError(f"mask alpha: {_name(image)} has no alpha channel: give a mask")
            mask = _levels(np.asarray(alpha), pixels.size, notes)
            mask = mask if self.keep_mask is not None else 1 - mask
        elif source is not None:
            mask = _levels(_mask_array(source, notes), pixels.size, notes)
            mask = 1 - mask if self.keep_mask is not None else mask
        if self.mask is None and self.keep_mask is None and self.box is None:
            whole = self.hardest is None and self.strength is not None
            mask *= 1 if whole else 0  # the model chooses, or nothing but the margins changes
        if not mask.any() and self.hardest is None and self.extend is None:
            raise UserError(
                "nothing to change: the mask is black everywhere; white may change, so give it as "
                "keep-mask if it is the other way round"
            )
        if mask.all() and (mask == 1).all() and self.strength in (None, 1):
            notes.append("the mask is white everywhere: nothing of the image is kept")
        return EditSource(self, pixels, mask, tuple(notes), _name(image))

    def record(self) -> dict[str, object]:
        """What samples.json says of it."""
        shown = {name: _shown(value) for name, value in vars(self).items() if value is not None}
        return {"strength": 1.0, **shown}


@dataclass(frozen=True)
class EditSource:
    """An image and what of it may change, as they were given.

    pixels: RGB, upright. mask: 0 is kept, 1 may change, before the strength.
    notes: sentences on what was made of the files.
    """

    request: EditRequest
    pixels: Image.Image
    mask: Float[np.ndarray, "H W"]
    notes: tuple[str, ...]
    name: str

    def canvas(self, shape: tuple[int, int, int]) -> Canvas:
        """Both fitted to a model's images, of channels, height and width."""
        channels, height, width = shape
        image = self.pixels.convert("L") if channels == 1 else self.pixels
        mask = self.mask * (1.0 if self.request.strength is None else self.request.strength)
        margins = self.request.extend
        if margins is None:
            return fitted_canvas(image, mask, (width, height))
        assert isinstance(margins, Mapping)
        return extended_canvas(image, mask, (width, height), margins)


def _picture(image: ImageLike, what: str, notes: list[str]) -> Image.Image:
    """The first frame, upright and in memory."""
    try:
        if not isinstance(image, Image.Image):
            with reading(Path(image)) as opened:
                return _first(opened, what, notes)
        return _first(image, what, notes)
    except BadImageError as error:
        raise UserError(f"{what} {_name(image)}: {error}: give an image file") from None


def _first(image: Image.Image, what: str, notes: list[str]) -> Image.Image:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"the {what} has {frames} frames: the first one is taken")
    picture = upright(image)
    picture.load()
    return picture


def _mask_array(mask: MaskLike, notes: list[str]) -> np.ndarray:
    """Grey bytes (H, W); transparent parts of a mask are black."""
    if isinstance(mask, str | Path | Image.Image):
        picture = _picture(mask, "mask", notes)
        grey = np.asarray(picture.convert("RGB").convert("L"))
        alpha = opacity(picture)
        return grey if alpha is None else (grey * (np.asarray(alpha) / 255)).astype(np.uint8)
    array = np.asarray(mask)
    if array.ndim == 3:
        array = array.squeeze()
    if array.ndim != 2 or not array.size:
        raise UserError(f"mask of shape {array.shape}: give (height, width)")
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint8:
        return array
    numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 1:
        raise UserError(
            f"mask with numbers from {numbers.min():g} to {numbers.max():g}: give 0 to 1, or bytes"
        )
    return (numbers * 255).round().astype(np.uint8)


def _levels(grey: np.ndarray, size: tuple[int, int], notes: list[str]) -> Float[np.ndarray, "H W"]:
    """0 … 1, of the image's size."""
    height, width = grey.shape
    if (width, height) != size:
        notes.append(f"the mask is resized from {width}x{height} to {size[0]}x{size[1]}")
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))
    level = np.where(grey <= BLACK, 0, np.where(grey >= WHITE, 255, grey))
    return (level / 255).astype(np.float32)


def _boxed(box: Any, size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    left, top, width, height = box
    if left + width > size[0] or top + height > size[1]:
        raise UserError(
            f"box {left},{top},{width},{height} leaves the image, which has {size[0]}x{size[1]} "
            "pixels: give left, top, width and height within it"
        )
    mask = np.zeros(size[::-1], dtype=np.float32)
    mask[top : top + height, left : left + width] = 1
    return mask


def _box(box: str | Sequence[int]) -> tuple[int, int, int, int]:
    text = box if isinstance(box, str) else ",".join(map(str, box))
    match = re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text)
    if not match or not int(match[3]) or not int(match[4]):
        raise UserError(f"box {text!r}: give left,top,width,height in pixels, such as 16,16,32,24")
    left, top, width, height = map(int, match.groups())
    return left, top, width, height


def _margins(extend: str | Mapping[str, int]) -> dict[str, int]:
    if isinstance(extend, str):
        parts = [part.partition("=") for part in extend.split(",")]
        if not all(re.fullmatch(r"\s*\d{1,9}\s*", number) for _, _, number in parts):
            raise UserError(f"extend {extend!r}: write left=32,top=8 and so on, in pixels")
        extend = {side.strip(): int(number) for side, _, number in parts}
    for side, pixels in extend.items():
        if side not in SIDES:
            raise unknown_name("side of extend", str(side), SIDES)
        check_range(f"extend: {side}", pixels, 0, MAX_MARGIN, whole=True)
    margins = {side: int(extend.get(side, 0)) for side in SIDES}
    if not any(margins.values()):
        raise UserError("extend by nothing: give a side more than 0 pixels, such as left=32")
    return margins


def _name(image: object) -> str:
    return str(image) if isinstance(image, str | Path) else "the image"


def _shown(value: object) -> object:
    """A value of a request as JSON holds it."""
    if isinstance(value, Path):
        return str(value)
    plain = isinstance(value, str | int | float | tuple | dict)
    return value if plain else f"{type(value).__name__} in memory"
