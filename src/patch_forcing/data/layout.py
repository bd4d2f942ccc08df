"""Images by number, wherever they lie, and what is known of them before they are read."""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from patch_forcing.data.captions import Caption
from patch_forcing.data.image_options import Condition
from patch_forcing.data.images import BadImageError, Stored, stored
from patch_forcing.data.notes import Notes, printable

MAX_LISTED_CLASSES = 12
"""Classes that a summary names one by one, at most."""
_COMPARED = 64
"""Images whose bytes tell data sets apart."""


@dataclass(frozen=True)
class Layout:
    """Images by number, and what is known of them before they are read.

    names: sorted; of files below `root`, or what users call what `read` gives.
    class_names: what the labels stand for; none if there are no classes.
    labels: one for each image, or none. captions: likewise, empty where an image has none.
    faults: why images are bad whatever their pixels are, by number.
    condition: what a model is conditioned on; captions may be kept beside classes.
    read: an image file's bytes, by number, where it is no file of its own; may raise BadImageError.
    remote: whether reading waits for a network, not for a disk.
    aspects: width over height of each image, where that was looked at.
    annotations: what else than names tells layouts apart, as bytes.
    notes: where all of it comes from, what is left aside, and the like.
    """

    root: Path | str
    names: Sequence[str]
    class_names: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    captions: tuple[Caption, ...] = ()
    faults: Mapping[int, str] = field(default_factory=dict)
    condition: Condition = "none"
    read: Callable[[int], bytes] | None = None
    remote: bool = False
    aspects: Sequence[float] = ()
    annotations: bytes = b""
    notes: Notes = field(default_factory=Notes)

    def file(self, number: int) -> Stored:
        """Where an image lies, or what reads it."""
        if self.read is not None:
            return partial(self.read, number)
        return Path(self.root) / self.names[number]

    def place(self, number: int) -> str:
        """Where an image lies, for people."""
        name = self.names[number]
        return printable(name if self.read else str(Path(self.root) / name))

    @property
    def captioned(self) -> bool:
        """Whether captions are the condition."""
        return self.condition == "caption"

    @property
    def class_sizes(self) -> dict[str, int]:
        """How many images each class has."""
        sizes = Counter(label for n, label in enumerate(self.labels) if n not in self.faults)
        return {name: sizes[label] for label, name in enumerate(self.class_names)}

    def in_class_order(self, class_names: Sequence[str]) -> "Layout":
        """The same images, with the same classes numbered in this order."""
        numbers = {name: number for number, name in enumerate(class_names)}
        labels = tuple(numbers[self.class_names[label]] for label in self.labels)
        return replace(self, class_names=tuple(class_names), labels=labels)

    @property
    def summary(self) -> str:
        """The classes in a few words, with how many images each has."""
        sizes = self.class_sizes
        if not sizes:
            return "with captions" if self.captioned else "no classes"
        if len(sizes) <= MAX_LISTED_CLASSES:
            counts = ", ".join(f"{printable(name)} {size}" for name, size in sizes.items())
        else:
            counts = f"{min(sizes.values())} to {max(sizes.values())} images each"
        return f"{len(sizes)} class{'es' if len(sizes) > 1 else ''} ({counts})"

    @cached_property
    def contents(self) -> str:
        """Tells images of the same names apart: 16 digits of a SHA-256 of some, evenly spread.

        Empty where images are no files of their own.
        """
        if self.read is not None:
            return ""
        digest = hashlib.sha256()
        for number in range(0, len(self.names), -(-len(self.names) // _COMPARED)):
            try:
                digest.update(stored(Path(self.root) / self.names[number]))
            except BadImageError as error:
                digest.update(str(error).encode())
        return digest.hexdigest()[:16]

    def part(self, numbers: Sequence[int]) -> "Layout":
        """These of the images alone, in this order, with all of the classes."""
        places = {number: place for place, number in enumerate(numbers)}
        whole = self.read
        return replace(
            self,
            names=tuple(self.names[n] for n in numbers),
            labels=tuple(self.labels[n] for n in numbers) if self.labels else (),
            captions=tuple(self.captions[n] for n in numbers) if self.captions else (),
            aspects=array("f", (self.aspects[n] for n in numbers)) if self.aspects else (),
            faults={places[n]: why for n, why in self.faults.items() if n in places},
            read=None if whole is None else lambda place: whole(numbers[place]),
        )

    @cached_property
    def identity(self) -> str:
        """Tells names and annotations apart: 16 digits of a SHA-256."""
        text = b"\0".join(os.fsencode(name) for name in self.names)
        return hashlib.sha256(text + self.annotations).hexdigest()[:16]
