"""Images read by threads, ahead of need, and kept where memory allows."""

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.data.image_options import Fit
from patch_forcing.data.images import BadImageError, read_image
from patch_forcing.data.layout import Layout

MEMORY = 2 * 2**30
"""Bytes of decoded images that are kept: all of a data set, or none."""
THREADS = 16
"""At most; decoding lets go of Python's lock."""


def threads(layout: Layout) -> int:
    """How many read at once: as many as there are cores, or THREADS where they only wait."""
    return THREADS if layout.remote else min(THREADS, os.cpu_count() or 1)


class ImageReader:
    """The images of a layout, by number; images that are announced are read ahead.

    What a number gives does not depend on what was read before.
    """

    def __init__(
        self,
        layout: Layout,
        size: int | tuple[int, int],
        channels: int,
        fit: Fit,
        memory: int | None = None,
    ):
        """size: as read_image takes it. memory: bytes of images to keep; MEMORY if None."""
        self._layout = layout
        self._how = size, channels, fit
        height, width = (size, size) if isinstance(size, int) else size
        bytes_needed = len(layout.names) * channels * height * width
        self._keeps = bytes_needed <= (MEMORY if memory is None else memory)
        self._kept: dict[int, UInt8[Tensor, "C H W"]] = {}
        self._bad: dict[int, str] = dict(layout.faults)
        self._ahead: dict[int, Future[UInt8[Tensor, "C H W"]]] = {}
        self._pool = ThreadPoolExecutor(threads(layout))

    def read_ahead(self, numbers: Iterable[int]) -> None:
        """Begin to read images that are needed soon; those announced before are forgotten."""
        new = [n for n in dict.fromkeys(numbers) if n not in self._kept and n not in self._bad]
        for number in self._ahead.keys() - set(new):
            self._ahead.pop(number).cancel()
        for number in new:
            if number not in self._ahead:
                self._ahead[number] = self._pool.submit(self._read, number)

    def __call__(self, number: int) -> UInt8[Tensor, "C H W"]:
        """An image. Raises BadImageError, each time, if it cannot be read."""
        if number in self._bad:
            raise BadImageError(self._bad[number])
        if number in self._kept:
            return self._kept[number]
        started = self._ahead.get(number)
        try:
            pixels = self._read(number) if started is None else started.result()
        except BadImageError as error:
            self._ahead.pop(number, None)
            if not error.may_pass:
                self._bad[number] = str(error)
            raise
        if self._keeps:
            self._kept[number] = pixels
        return pixels

    def _read(self, number: int) -> UInt8[Tensor, "C H W"]:
        return torch.from_numpy(read_image(self._layout.file(number), *self._how))
