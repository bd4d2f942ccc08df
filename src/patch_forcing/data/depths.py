"""Stored samples of any depth → 8 bits, rounded, and white where their colour is transparent.

Pillow cuts 16 bits of colour down to 8, compares a transparent colour with samples that it has
scaled, and gives the samples of deep TIFF files as they are.
"""

import io
import re
import sys
from typing import Any

import numpy as np
from jaxtyping import Num
from PIL import Image, ImageFile

_WIDE = re.compile(r"(RGB|RGBA|RGBX|CMYK);16([LBN])")
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_SHALLOW = {"1": 255, "L;2": 85, "L;4": 17}
"""Of PNG: what Pillow multiplies grey samples with."""
_WIDE_LA = "LA;16B"
_TOO_WIDE = "pixels of more than 16 bits: save it with 8 or 16 bits"
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _APART, _SIGNED = 0, 2, 2


class DepthError(Exception):
    """Samples of a kind for which nobody says what is black and what is white."""


def is_deep(image: Image.Image) -> bool:
    """Whether its samples have more than 8 bits."""
    return ";16" in _rawmode(image) or image.mode.startswith(("I", "F"))


def eight_bits(image: Image.Image) -> Image.Image:
    """The loaded image, with 8 bits a sample. It may still have a palette or alpha.

    Raises DepthError.
    """
    rawmode, tags = _rawmode(image), getattr(image, "tag_v2", {})
    wide, low = _WIDE.fullmatch(rawmode), None
    if wide and isinstance(image, ImageFile.ImageFile):
        low = _low_bytes(image, f"{wide[1]};16{_OTHER_BYTE[wide[2]]}")
    if rawmode == _WIDE_LA and isinstance(image, ImageFile.ImageFile):
        _unpack(image, "RGBA")  # both bytes of both, one after another
    image.load()
    _check_kind(image, tags)
    clear = image.info.get("transparency") if image.format == "PNG" else None
    if low is not None:
        samples = np.asarray(image, np.uint32) * 256 + np.asarray(low)
        return _rounded(samples, 65535, image.mode, clear)
    if rawmode == _WIDE_LA:
        both = np.asarray(image, np.uint32)
        return _rounded(both[..., ::2] * 256 + both[..., 1::2], 65535, "LA")
    if image.mode.startswith("I"):
        samples, top = np.asarray(image).astype(np.int64), 2 ** _bits(tags) - 1
        if samples.min() < 0 or samples.max() > top:
            raise DepthError(_TOO_WIDE)
        samples = top - samples if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else samples
        return _rounded(samples, top, "L", clear)
    if clear is not None and rawmode in _SHALLOW:
        step = _SHALLOW[rawmode]
        clear = clear if step == 255 else clear % (255 // step + 1) * step
        return _rounded(np.asarray(image.convert("L"), np.int64), 255, "L", clear)
    return image


def _check_kind(image: Image.Image, tags: Any) -> None:
    """Raises DepthError for floats and, of TIFF, signs, more than 16 bits, or 16 in planes."""
    if image.mode == "F":
        raise DepthError("floating-point pixels: save it with 8 or 16 bits")
    if _bits(tags) > 16:
        raise DepthError(_TOO_WIDE)
    if tags.get(_PLANES) == _APART and _bits(tags) > 8:
        raise DepthError("colours one after another in 16 bits: save it with 8 bits")
    if _SIGNED in np.atleast_1d(tags.get(_SAMPLE_FORMAT, 1)):
        raise DepthError("pixels with a sign: save it with 8 or 16 bits without")


def _bits(tags: Any) -> int:
    return int(np.atleast_1d(tags.get(_BITS, 16))[0])


def _rounded(
    samples: Num[np.ndarray, "H W *C"], top: int, mode: str, clear: Any = None
) -> Image.Image:
    """0 … top → 0 … 255, white where the samples of a pixel are `clear`, of which there are C."""
    pixels = ((samples * 255 + top // 2) // top).astype(np.uint8)
    if clear is not None:
        colours = samples if samples.ndim == 3 else samples[..., None]
        pixels[(colours == np.atleast_1d(clear)).all(-1)] = 255
    return Image.frombytes(mode, samples.shape[1::-1], pixels.tobytes())


def _rawmode(image: Image.Image) -> str:
    """How samples are stored, as Pillow calls it; empty once they are loaded, or if it varies."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    rawmodes = {
        tile.args if isinstance(tile.args, str) else (*(tile.args or ()), "")[0] for tile in tiles
    }
    return str(rawmodes.pop()) if len(rawmodes) == 1 else ""


def _unpack(image: ImageFile.ImageFile, rawmode: str) -> None:
    """From now on samples are taken to be stored so."""
    image.tile = [
        tile._replace(
            args=rawmode if isinstance(tile.args, str) else (rawmode, *(tile.args or ())[1:])
        )
        for tile in image.tile
    ]


def _low_bytes(image: ImageFile.ImageFile, rawmode: str) -> Image.Image:
    """The lower byte of samples of 16 bits, from the same file, read in the other order."""
    assert image.fp is not None  # it is not loaded yet
    place = image.fp.tell()
    image.fp.seek(0)
    low = Image.open(io.BytesIO(image.fp.read()), formats=[str(image.format)])
    image.fp.seek(place)
    if image.tell():
        low.seek(image.tell())
    _unpack(low, rawmode)
    low.load()
    return low
