"""Images of a layout, opened: what is not chosen is inferred from headers."""

import statistics
from dataclasses import replace
from typing import Literal, NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.aspects import with_aspects
from patch_forcing.data.bucketed import BucketedImages
from patch_forcing.data.buckets import bucket_sizes
from patch_forcing.data.check import look_at
from patch_forcing.data.held_out import check_any_held_out, hold_out, usual_share
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.image_options import (
    MAX_INFERRED_SIZE,
    MIN_SIZE,
    SIZE_MULTIPLE,
    ImageOptions,
)
from patch_forcing.data.images import BadImageError, read_header
from patch_forcing.data.layout import Layout

MAX_HEADERS = 1000
"""Images, evenly spread, from whose headers size and channels are inferred."""


class Headers(NamedTuple):
    """What headers of images suit: a size and channels. bad: how many are bad, in words."""

    size: int
    channels: Literal[1, 3]
    bad: str


def infer(layout: Layout) -> Headers:
    """From the headers of some images. Raises UserError if none can be read."""
    numbers = range(0, len(layout.names), -(-len(layout.names) // MAX_HEADERS))
    good, bad = [], []
    for number, seen in zip(numbers, look_at(layout, numbers, read_header), strict=True):
        if isinstance(seen, BadImageError):
            bad.append(f"{layout.place(number)}: {seen}")
        else:
            good.append(seen)
    if not good:
        raise UserError(f"no image of {layout.root} can be read, such as {bad[0]}")
    fitting = int(statistics.median(min(size) for size, _ in good)) // SIZE_MULTIPLE * SIZE_MULTIPLE
    size = min(max(fitting, MIN_SIZE), MAX_INFERRED_SIZE)
    note = f"bad: {len(bad)} of {len(numbers)} looked at, such as {bad[0]}" if bad else ""
    return Headers(size, 1 if all(grey for _, grey in good) else 3, note)


def open_images(layout: Layout, options: ImageOptions) -> ImageData:
    """The images of a layout, read in this way. What is not given is inferred from headers."""
    headers = infer(layout)
    aside = "; ".join(filter(None, (layout.notes.aside, headers.bad)))
    layout = replace(layout, notes=layout.notes._replace(aside=aside))
    size, channels = options.size or headers.size, options.channels or headers.channels
    if options.buckets is not None:
        bucket_sizes(size, options.buckets)  # raises before headers are read
        layout = with_aspects(layout)
    count = len(layout.names)
    share = usual_share(count) if options.held_out is None else options.held_out
    training, held = hold_out(layout, share)
    if options.held_out is not None:
        check_any_held_out(held, share, count)
    if options.template:
        training = options.of_layout(training, options.level_names)
        held = held and options.of_layout(held, options.level_names)
    of_held = (held, share) if held else None
    if options.buckets is None:
        return ImageData(training, size, channels, options, held=of_held)
    return BucketedImages(training, size, channels, options, held=of_held)
