"""Which images are held out of training, so that their loss tells learning from remembering.

An image is held out if its place, a hash of its name, lies below the share. So images that are
added or removed move no other, a larger share holds out the same images and more, and runs of
several seeds hold out the same ones.
"""

import hashlib
import os
from collections.abc import Sequence

from patch_forcing.core.errors import UserError
from patch_forcing.data.layout import Layout

SHARE, SMALL_SHARE = 0.05, 0.1
SMALL, SMALLEST = 1000, 100
"""Of fewer images than SMALL the small share is held out; of fewer than SMALLEST none, since they
would tell little and each is of use in training."""
MANY = 40_000
"""Images from which on the share is halved with each doubling: 1,000 to 2,000 are plenty."""


def usual_share(count: int) -> float:
    """Of `count` images, the share that is held out unless one is chosen."""
    if count < SMALLEST:
        return 0.0
    if count < SMALL:
        return SMALL_SHARE
    return SHARE * 0.5 ** (count // MANY).bit_length()


def place(name: str) -> float:
    """Of a name in [0, 1): evenly spread and always the same."""
    digest = hashlib.sha256(b"held out\0" + os.fsencode(name)).digest()
    return (int.from_bytes(digest[:8]) >> 11) * 2.0**-53


def hold_out(layout: Layout, share: float) -> tuple[Layout, Layout | None]:
    """The images to train on, and those held out, if there are any.

    Each class keeps one image at least. Bad ones may be on either side.
    """
    places = [place(name) for name in layout.names]
    last: dict[int, int] = {}  # of each class, the image of the highest place
    for number in sorted(range(len(places)), key=places.__getitem__):
        last[layout.labels[number] if layout.labels else 0] = number
    kept = set(last.values())
    held = [n for n, here in enumerate(places) if here < share and n not in kept]
    if not held:
        return layout, None
    outside = set(held)
    return layout.part([n for n in range(len(places)) if n not in outside]), layout.part(held)


def nearest_places(layout: Layout, most: int) -> Sequence[int]:
    """The sound images of the lowest places: the same ones, whatever else is there."""
    sound = (n for n in range(len(layout.names)) if n not in layout.faults)
    return sorted(sound, key=lambda number: place(layout.names[number]))[:most]


def check_any_held_out(held: Layout | None, share: float, count: int) -> None:
    """Raises UserError if a share was chosen that holds out nothing."""
    if held is None and share > 0:
        raise UserError(
            f"data.held_out={share:g} of {count} images holds out none of them: choose a larger "
            "share, or 0"
        )
