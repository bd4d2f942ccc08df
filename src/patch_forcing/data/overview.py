"""What users see before training: a few of the images, and what reading makes of their sizes."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from patch_forcing.data.image_options import Fit
from patch_forcing.data.layout import Layout

_FIRST = 16
"""Images of a class, evenly spread over it, that come before the others."""


def in_turn(layout: Layout) -> Iterator[int]:
    """All numbers of images, one of each class in turn, and of each class evenly spread ones first.

    With more classes than _FIRST, evenly spread classes come first, too.
    """
    classes: dict[int, list[int]] = {}
    for number in range(len(layout.names)):
        if number not in layout.faults:
            classes.setdefault(layout.labels[number] if layout.labels else 0, []).append(number)
    ordered = [_spread(classes[label]) for label in _spread(sorted(classes))]
    for turn in zip_longest(*ordered):
        yield from (number for number in turn if number is not None)


def _spread(items: Sequence[int]) -> list[int]:
    """Evenly spread ones, then the others."""
    first = [items[k * len(items) // _FIRST] for k in range(_FIRST)] if items else []
    return list(dict.fromkeys([*first, *items]))


def changes(
    sizes: Sequence[tuple[int, int]], shown: Sequence[tuple[int, int]], fit: Fit
) -> list[str]:
    """How many images of these widths and heights are enlarged, and how many cropped or padded.

    shown: heights and widths in training; an image has that of the nearest aspect. fit: how.
    """
    count, scales, shares = len(sizes), [], []
    for width, height in sizes:
        ratios = [(w / width, h / height) for h, w in shown]
        both = min(ratios, key=lambda ratio: max(ratio) / min(ratio))
        scales.append((max if fit == "crop" else min)(both))
        shares.append(1 - min(both) / max(both))
    smaller = sum(scale > 1 for scale in scales)
    oblong = sum(share > 0 for share in shares)
    lines = []
    if smaller:
        alone = "×".join(map(str, shown[0])) if len(shown) == 1 else "their size in training"
        lines.append(
            f"enlarged: {smaller} of {count} are smaller than {alone}, the smallest "
            f"{max(scales):.3g} times"
        )
    if oblong:
        square = "not square" if len(shown) == 1 else "of another aspect than their size"
        what = "cropped" if fit == "crop" else "padded with white"
        of = "lose at most" if fit == "crop" else "leave at most"
        end = "of an image" if fit == "crop" else "of the square white"
        lines.append(
            f"{what}: {oblong} of {count} are {square} and {of} {100 * max(shares):.0f} % {end}"
        )
    return lines
