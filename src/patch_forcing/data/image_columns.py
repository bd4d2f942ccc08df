"""Columns of images in the forms that datasets, pandas and Spark write.

| column | written by |
|---|---|
| an Image feature, or a struct with `bytes` and `path` | datasets, and copies by pandas or Spark |
| bytes | pandas, Spark's `binaryFile` |
| a list of whole numbers, the bytes one by one | pandas with arrays, Spark with tinyint |
| Spark's image struct: the pixels of an image, blue before green before red | Spark |
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from patch_forcing.data.images import BadImageError, open_regular

Reader = Callable[[Any], bytes]
"""A value of the column, which is not None → the bytes of an image file; may raise BadImageError.
"""
_SPARK = {"height", "width", "nChannels", "mode", "data"}
_SPARK_MODES = {1: 0, 3: 16, 4: 24}
"""OpenCV's numbers for 8 bits, by channels."""
_BYTES = ("binary", "large_binary", "binary_view")
_INTEGERS = re.compile(r"(large_)?list<\w+: u?int\d+>")
"""Types as pyarrow writes them."""
USUAL_NAMES = ("image", "img")


def image_columns(features: Any) -> dict[str, Reader]:
    """How to read each column that holds images; of the kind that is most surely one.

    features: those of a datasets.Dataset. Lists of numbers may be anything: they count if they have
    a usual name.
    """
    ranked = {name: _form(features, name) for name in features}
    ranked |= {
        name: None
        for name, form in ranked.items()
        if form and form[1] is _of_numbers and name not in USUAL_NAMES
    }
    best = min((form[0] for form in ranked.values() if form), default=None)
    return {name: form[1] for name, form in ranked.items() if form and form[0] == best}


def column_reader(features: Any, name: str) -> Reader | None:
    """How to read a column that is said to hold images; None if it cannot."""
    form = _form(features, name)
    return form[1] if form else None


def _form(features: Any, name: str) -> tuple[int, Reader] | None:
    """How surely it holds images, least for most, and how to read it."""
    from datasets import Image as ImageFeature

    kind = features.arrow_schema.field(name).type
    if isinstance(features[name], ImageFeature):
        return 0, _of_file
    if str(kind).startswith("struct<"):
        fields = {field.name: str(field.type) for field in kind}
        if fields.keys() >= _SPARK:
            return 1, _of_spark
        is_file = fields.get("bytes") in (*_BYTES, "null")  # null where all have a path
        return (1, _of_file) if is_file else None
    if str(kind) in _BYTES:
        return 2, bytes
    return (3, _of_numbers) if _INTEGERS.fullmatch(str(kind)) else None


def _of_file(stored: dict[str, Any]) -> bytes:
    if stored["bytes"] is not None:
        return bytes(stored["bytes"])
    if not stored.get("path"):
        raise BadImageError("no image")
    with open_regular(Path(stored["path"])) as stream:  # a stranger chose the path
        return stream.read()


def _of_numbers(numbers: list[Any]) -> bytes:
    try:
        return bytes(number + 256 if -128 <= number < 0 else number for number in numbers)
    except (TypeError, ValueError):
        raise BadImageError("a list of numbers that are no bytes") from None


def _of_spark(stored: dict[str, Any]) -> bytes:
    height, width, channels, mode = (
        stored[name] for name in ("height", "width", "nChannels", "mode")
    )
    data = stored["data"]
    if not data or not height or height < 0:  # as Spark writes what it could not read
        raise BadImageError("no image")
    if channels not in _SPARK_MODES or mode != _SPARK_MODES[channels]:
        raise BadImageError(f"{channels} channels in Spark's mode {mode}, not of 8 bits")
    if len(data) != height * width * channels:
        raise BadImageError(f"{len(data)} bytes of {height}×{width} pixels, {channels} channels")
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels == 1:
        pixels = pixels[..., 0]
    else:
        pixels = pixels[..., [2, 1, 0, 3][:channels]]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()
