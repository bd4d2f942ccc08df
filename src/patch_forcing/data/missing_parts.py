"""Parts of an image that its file has no data for; decoders leave them black, without a word.

Of a TIFF, a part that was left out as empty is even read from the file's header.
"""

from typing import Any

import numpy as np
from PIL import Image

_WIDTH, _HEIGHT, _SAMPLES, _PLANES, _APART = 256, 257, 277, 284, 2
_STRIPS, _STRIP_ROWS, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325


def may_lack_rows(image: Image.Image) -> bool:
    """Whether a loaded PNG has a last row as if there were no data for it, or is interlaced."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    return "interlace" in image.info or not np.asarray(last).any()


def names_all_parts(tags: Any) -> bool:
    """Whether a TIFF says of all its strips or tiles where they lie.

    tags: of its image, by number, as Pillow gives them.
    """
    width, height = tags[_WIDTH], tags[_HEIGHT]
    if _TILES in tags:
        count = -(-width // tags[_TILE_WIDTH]) * -(-height // tags[_TILE_HEIGHT])
        places, sizes = tags[_TILES], tags.get(_TILE_BYTES, 1)
    else:
        count = -(-height // min(height, tags.get(_STRIP_ROWS, height)))
        places, sizes = tags.get(_STRIPS, ()), tags.get(_STRIP_BYTES, 1)
    if tags.get(_PLANES) == _APART:
        count *= tags.get(_SAMPLES, 1)
    return len(np.atleast_1d(places)) >= count and bool(np.all(places) and np.all(sizes))
