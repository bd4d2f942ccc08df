"""Aspects of all images of a layout, from their headers; remembered while the images stay."""

import contextlib
import hashlib
import json
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from patch_forcing.data.cache import cache_file
from patch_forcing.data.check import look_at
from patch_forcing.data.images import BadImageError, read_header
from patch_forcing.data.layout import Layout
from patch_forcing.io.atomic import write_atomic


def with_aspects(layout: Layout) -> Layout:
    """The same images with their aspects, width over height; 1 of those that cannot be read."""
    file = cache_file("aspects", _stamp(layout))
    numbers = range(len(layout.names))
    if file and (remembered := _remembered(file, len(numbers))):
        return replace(layout, aspects=remembered)
    aspects = array("f")
    seen = look_at(layout, numbers, read_header)
    # seen on a terminal only
    for one in tqdm(seen, "sizes", len(numbers), leave=False, unit="", disable=None):
        (width, height), _ = ((1, 1), False) if isinstance(one, BadImageError) else one
        aspects.append(width / max(height, 1))
    if file:
        # without room for it, or the right to write, headers are read again next time
        with contextlib.suppress(OSError):
            write_atomic(file, json.dumps(aspects.tolist()))
    return replace(layout, aspects=aspects)


def _stamp(layout: Layout) -> bytes:
    """Differs where images do: of files by size and time of change, else by what names them."""
    digest = hashlib.sha256(f"{Path(layout.root).absolute()}\0{layout.identity}".encode())
    if layout.read is None:
        for name in layout.names:
            with contextlib.suppress(OSError):
                status = (Path(layout.root) / name).stat()
                digest.update(b"%d %d\0" % (status.st_size, status.st_mtime_ns))
    return digest.digest()


def _remembered(file: Path, count: int) -> Sequence[float] | None:
    try:
        aspects = array("f", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return aspects if len(aspects) == count and min(aspects, default=1) > 0 else None
