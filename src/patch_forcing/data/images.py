"""One image file → a square of pixels, or the reason why not.

Nothing is guessed: a file is read to its end or it is bad. What an image is drawn on is white, as
on a page; colour profiles are not applied, as is usual in the field.
"""

import io
import math
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import BinaryIO, NamedTuple, ParamSpec, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from patch_forcing.data.depths import DepthError, eight_bits, is_deep
from patch_forcing.data.image_errors import may_pass, why_unreadable
from patch_forcing.data.image_kinds import FORMATS
from patch_forcing.data.image_options import Fit
from patch_forcing.data.jpeg_end import jpeg_ends
from patch_forcing.data.missing_parts import may_lack_rows, names_all_parts
from patch_forcing.data.png_chunks import SIGNATURE, checked_png, has_all_rows

_JPEG = b"\xff\xd8"
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
MAX_ASPECT = 4
"""Beyond this aspect ratio only the middle is looked at: a row of pixels enlarged fills memory."""
Stored = Path | Callable[[], bytes]
"""Where an image file lies, or what reads all of it; that may raise BadImageError."""
WAITS = (0.1, 0.3, 1.0)
"""Seconds before each further try at a file that the system failed to read."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_ON_ITS_SIDE = 5
P = ParamSpec("P")
T = TypeVar("T")


class BadImageError(Exception):
    """A file that is no image, or not all of one; says why in a few words, without its name.

    may_pass: the system could not read it, which need not be the file's fault.
    """

    def __init__(self, reason: str, may_pass: bool = False):
        super().__init__(reason)
        self.may_pass = may_pass


class Plain(NamedTuple):
    """Pixels in colour, whether the file's are grey, and whether they have more than 8 bits."""

    pixels: UInt8[np.ndarray, "3 H W"]
    grey: bool
    deep: bool


def patient(read: Callable[P, T]) -> Callable[P, T]:
    """`read`, tried again after each of WAITS while it fails in a way that may pass."""

    @wraps(read)
    def reads(*args: P.args, **kwargs: P.kwargs) -> T:
        for seconds in WAITS:
            try:
                return read(*args, **kwargs)
            except BadImageError as error:
                if not error.may_pass:
                    raise
            time.sleep(seconds)
        return read(*args, **kwargs)

    return reads


@patient
def read_image(
    file: Stored, size: int | tuple[int, int], channels: int, fit: Fit
) -> UInt8[np.ndarray, "C H W"]:
    """The file's (first) image, upright, of 1 or 3 channels. size: H and W, or both in one.

    Raises BadImageError if it cannot be read to its end.
    """
    with reading(file) as image:
        whole = fitted(drawn(image, channels), size, fit)
    pixels = np.array(whole)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


@patient
def read_plain(file: Stored, size: tuple[int, int] | None) -> Plain:
    """The file's image in colour, of 8 bits a sample.

    size: height and width that it is cut and scaled to as `fitted` does, unless it has them.
    None: as it is. Raises BadImageError if it cannot be read to its end.
    """
    with reading(file) as image:
        grey, deep = image.mode in GREY_MODES, is_deep(image)
        picture = drawn(image, channels=3)
        if size is not None and size != (picture.height, picture.width):
            if size[0] != size[1]:
                raise BadImageError(
                    f"{picture.width}×{picture.height} pixels, not {size[1]}×{size[0]}"
                )
            picture = fitted(picture, size[0], "crop")
    return Plain(np.ascontiguousarray(np.array(picture).transpose(2, 0, 1)), grey, deep)


@patient
def read_header(file: Stored) -> tuple[tuple[int, int], bool]:
    """Upright width and height, and whether it is grey, from the header. Raises BadImageError."""
    with reading(file, whole=False) as image:
        # of a PNG, Pillow would look for it behind the pixels too, and so read them
        known = image.format != "PNG" or "exif" in image.info
        turned = known and _orientation(image) >= _FIRST_ON_ITS_SIDE
        size = (image.height, image.width) if turned else (image.width, image.height)
        return size, image.mode in GREY_MODES


@patient
def read_whole(file: Stored) -> tuple[int, int]:
    """Width and height as drawn. Raises BadImageError if it cannot be read to its end."""
    with reading(file) as image:
        return drawn(image, channels=3).size


@patient
def stored(file: Path) -> bytes:
    """All of a file. Raises BadImageError if there is nothing to read."""
    try:
        with open_regular(file) as stream:
            return stream.read()
    except OSError as error:
        raise BadImageError(why_unreadable(error), may_pass(error)) from None


@contextmanager
def reading(file: Stored, whole: bool = True) -> Iterator[Image.Image]:
    """The opened image; whatever goes wrong before or while it is used is a BadImageError.

    whole: its pixels are wanted, so the file has to hold all of them.
    """
    try:
        with open_regular(file) if isinstance(file, Path) else _in_memory(file()) as stream:
            image, png = _opened(stream, whole)
            yield image
            if whole and png and may_lack_rows(image) and not has_all_rows(png):
                raise BadImageError("truncated: its pixel data end before its last row")
    except (BadImageError, MemoryError):  # no memory is no fault of the image
        raise
    except Exception as error:  # on damaged files Pillow raises almost anything, SyntaxError too
        raise BadImageError(why_unreadable(error), may_pass(error)) from None


def upright(image: Image.Image) -> Image.Image:
    """8 bits, the way up it was taken."""
    try:
        pixels = eight_bits(image)
    except DepthError as error:
        raise BadImageError(str(error)) from None
    orientation = _orientation(image)
    return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels


def opacity(image: Image.Image) -> Image.Image | None:
    """The alpha channel of an upright image, 0 where it is transparent; None if it has none."""
    if not image.has_transparency_data:
        return None
    return image.convert("RGBA").getchannel("A")


def drawn(image: Image.Image, channels: int) -> Image.Image:
    """Upright, 8 bits, grey or RGB, over white where it is transparent."""
    return flattened(upright(image), channels)


def flattened(image: Image.Image, channels: int) -> Image.Image:
    """An upright image, grey or RGB, over white where it is transparent."""
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above)
    # by way of RGB, from which alone every mode can be made grey
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def fitted(image: Image.Image, size: int | tuple[int, int], fit: Fit) -> Image.Image:
    """The image in these height and width, its aspect kept; one number: a square.

    crop: the middle, as much as fits; pad: all of it, on white.
    Shrunk as is usual in the field (ADM): halved by averaging while it is twice too large, then
    bicubic; enlarged bicubic.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if fit == "pad":
        image = _halved(image, lambda now: now.width >= 2 * width or now.height >= 2 * height)
        image = _scaled(image, min(width / image.width, height / image.height))
        canvas = Image.new(image.mode, (width, height), "white")
        canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return canvas
    widest = MAX_ASPECT * max(1, image.height * width // height)
    highest = MAX_ASPECT * max(1, image.width * height // width)
    image = _middle(image, min(image.width, widest), min(image.height, highest))
    image = _halved(image, lambda now: now.width >= 2 * width and now.height >= 2 * height)
    scale = max(width / image.width, height / image.height)
    return _middle(_scaled(image, scale), width, height)


def _halved(image: Image.Image, too_large: Callable[[Image.Image], bool]) -> Image.Image:
    while too_large(image):
        half = max(1, image.width // 2), max(1, image.height // 2)
        image = image.resize(half, Image.Resampling.BOX)
    return image


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def open_regular(file: Path) -> BinaryIO:
    """Raises BadImageError for what would never end or is no file: folders, pipes, devices."""
    status = file.stat()
    if stat.S_ISDIR(status.st_mode):
        raise BadImageError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise BadImageError("not a regular file")
    if not status.st_size:
        raise BadImageError("empty file")
    return file.open("rb")


def _in_memory(data: bytes) -> io.BytesIO:
    if not data:
        raise BadImageError("empty file")
    return io.BytesIO(data)


def _opened(stream: BinaryIO | io.BytesIO, whole: bool) -> tuple[Image.Image, bytes]:
    """The image, checked for size and what its decoder lets pass; and the file, if it is a PNG."""
    start, fault, png = stream.read(len(SIGNATURE)), "", b""
    stream.seek(0)
    if start == SIGNATURE:
        png, fault = checked_png(stream.read())
        stream = io.BytesIO(png)
    elif whole and start.startswith(_JPEG):
        data = stream.read()
        fault = "" if jpeg_ends(data) else "truncated: no end-of-image marker behind its data"
        stream = io.BytesIO(data)
    image = Image.open(stream, formats=FORMATS)
    # up to twice its limit Pillow only warns
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError
    if whole and image.format == "TIFF" and not names_all_parts(getattr(image, "tag_v2", {})):
        fault = "truncated: strips or tiles of it are missing"
    if fault:
        raise BadImageError(fault)
    return image, png


def _orientation(image: Image.Image) -> int:
    """Which way up it was taken; a damaged note of that is no damaged image."""
    try:
        return int(image.getexif()[_ORIENTATION])
    except Exception:
        return 1
