"""Every image of a data set, read to its end once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from patch_forcing.data.batch import BadSample
from patch_forcing.data.images import BadImageError, Stored, read_whole
from patch_forcing.data.layout import Layout
from patch_forcing.data.reader import threads
from patch_forcing.data.replacement import FailedRun

_AT_ONCE = 1000
T = TypeVar("T")


def check_images(layout: Layout) -> Iterator[tuple[int, int] | BadImageError]:
    """For each image, in order, its width and height, or why it cannot be read.

    Raises UserError as `look_at` does.
    """
    return look_at(layout, range(len(layout.names)), read_whole)


def look_at(
    layout: Layout, numbers: Sequence[int], read: Callable[[Stored], T]
) -> Iterator[T | BadImageError]:
    """What `read` makes of each of these images, in order, or why it is bad.

    Raises UserError where the system fails to read several in a row: then it is the disk's fault.
    """
    failures, pool = FailedRun(), ThreadPoolExecutor(threads(layout))
    try:
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            results = pool.map(partial(_seen, layout, read), part)
            for number, seen in zip(part, results, strict=True):
                if isinstance(seen, BadImageError):
                    failures.record(BadSample(layout.place(number), str(seen)), seen)
                else:
                    failures = FailedRun()
                yield seen
    finally:
        pool.shutdown(cancel_futures=True)


def _seen(layout: Layout, read: Callable[[Stored], T], number: int) -> T | BadImageError:
    if number in layout.faults:
        return BadImageError(layout.faults[number])
    try:
        return read(layout.file(number))
    except BadImageError as error:
        return error
