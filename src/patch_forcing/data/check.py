"""Every image of a data set, read to its end once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from patch_forcing.data.images import BadImageError, read_whole
from patch_forcing.data.layout import Layout
from patch_forcing.data.reader import threads

_AT_ONCE = 1000


def check_images(layout: Layout) -> Iterator[tuple[int, int] | str]:
    """For each image, in order, its width and height, or why it cannot be read."""
    with ThreadPoolExecutor(threads(layout)) as pool:
        for start in range(0, len(layout.names), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(layout.names))
            yield from pool.map(partial(_checked, layout), range(start, stop))


def _checked(layout: Layout, number: int) -> tuple[int, int] | str:
    if number in layout.faults:
        return layout.faults[number]
    try:
        return read_whole(layout.file(number))
    except BadImageError as error:
        return str(error)
