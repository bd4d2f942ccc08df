"""Which images a folder holds, and what their classes are.

Either all lie in the folder itself, or all lie in subfolders, one for each class; nothing deeper.
Or a metadata.jsonl or metadata.csv names them, wherever below the folder they lie.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import Annotation, Condition, conditions, inferred_condition
from patch_forcing.data.image_kinds import ENDINGS, is_image_name
from patch_forcing.data.images import Stored
from patch_forcing.data.listing import Listing, list_folder, summarize_aside
from patch_forcing.data.metadata import (
    CAPTION_ENDING,
    count_captions,
    find_metadata,
    images_below,
    read_caption,
    read_metadata,
)

_SAVED = ("dataset_dict.json", "dataset_info.json")
MAX_LISTED_CLASSES = 12
"""Classes that a summary names one by one, at most."""


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
    annotations: what else than names tells layouts apart, as bytes.
    aside: which files are not read and which folders hold no image, in a sentence.
    """

    root: Path | str
    names: Sequence[str]
    class_names: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    faults: Mapping[int, str] = field(default_factory=dict)
    condition: Condition = "none"
    read: Callable[[int], bytes] | None = None
    remote: bool = False
    annotations: bytes = b""
    aside: str = ""

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
    def identity(self) -> str:
        """Tells names and annotations apart: 16 digits of a SHA-256."""
        text = b"\0".join(os.fsencode(name) for name in self.names)
        return hashlib.sha256(text + self.annotations).hexdigest()[:16]


def printable(text: str) -> str:
    """A stranger's name or label as it may be shown: it has no say over a terminal."""
    if text.isprintable():
        return text
    # bytes of a file name that are no text stay: streams write them as \\udcff
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else "�" for c in text)


def find_images(root: Path, condition: Condition | None = None) -> Layout:
    """The images of a folder, in an order that does not depend on the file system.

    A name with an image's ending is one, whatever lies there, and so is a file that begins as one;
    hidden files, others and links that go round in a circle are left aside. Where a metadata.jsonl
    or metadata.csv lies, it names the images.
    condition: what goes with them; None is what is there, classes before captions.
    Raises UserError saying what lies there if it is not arranged so.
    """
    if not root.is_dir():
        what = "is a file: give the folder" if root.exists() else "is not there: give a folder"
        raise UserError(f"{root} {what} of images{_other_recipe(root)}")
    metadata = find_metadata(root)
    if metadata is not None:
        return _described(root, metadata, condition)
    here, folders, aside = list_folder(root)
    below = {folder: list_folder(root / folder) for folder in folders}
    _check_depth(root, below)
    classes = {folder: inside.images for folder, inside in below.items() if inside.images}
    aside = sum((inside.aside for inside in below.values()), aside)
    empty = [printable(name) for name in folders if name not in classes]
    if here and classes:
        raise UserError(
            f"{root} holds images ({here[0]}) beside folders of images ({next(iter(classes))}): "
            "put all of them into one folder, or each into the folder of its class"
        )
    if not here and not classes:
        note = summarize_aside(aside, empty)
        mend = _other_recipe(root) or f" of {', '.join(ENDINGS)}{f'; {note}' if note else ''}"
        raise UserError(f"{root} holds no images: give a folder{mend}")
    names = here or [f"{folder}/{name}" for folder, inside in classes.items() for name in inside]
    if condition is None:
        counts = len(names), 0 if here else len(names), count_captions(root, names) if here else 0
        condition = inferred_condition(*counts, str(root))
    if condition == "caption":
        rows = [read_caption(root / name) for name in names]
        stamp = repr([row.caption for row in rows]).encode()
        del aside[CAPTION_ENDING]
    else:
        folder_names = [None if here else name.split("/")[0] for name in names]
        rows, stamp = [Annotation(label) for label in folder_names], b""
    known = conditions(rows, condition, str(root))
    note = summarize_aside(aside, empty)
    return Layout(root, tuple(names), *known, annotations=stamp, aside=note)


def _described(root: Path, metadata: Path, condition: Condition | None) -> Layout:
    """The images that its metadata.jsonl or metadata.csv names."""
    try:
        rows = read_metadata(metadata, list(images_below(root, ENDINGS)))
    except OSError as error:
        raise UserError(
            f"{metadata} cannot be read ({error.strerror}): allow it, mend it, or remove it"
        ) from None
    if not rows:
        raise UserError(f"{metadata} names no images: give a folder of images")
    annotations = list(rows.values())
    known = conditions(annotations, condition, str(root))
    return Layout(root, tuple(rows), *known, annotations=repr(annotations).encode())


def _other_recipe(path: Path) -> str:
    """Which recipe takes what lies there instead of images, or nothing."""
    files = [path] if path.is_file() else list(path.iterdir()) if path.is_dir() else []
    if any(file.suffix == ".tar" for file in files):
        return "; for tar files: train shards, data shards"
    if any(file.suffix in (".parquet", ".arrow") or file.name in _SAVED for file in files):
        return "; for what the package datasets reads: train hub, data hub"
    return ""


def _check_depth(root: Path, below: Mapping[str, Listing]) -> None:
    for folder, inside in below.items():
        for inner in inside.folders:
            for place, _, files in os.walk(root / folder / inner):
                image = next((name for name in sorted(files) if is_image_name(name)), None)
                if image:
                    raise UserError(
                        f"{Path(place) / image} lies more than one folder deep in {root}: give "
                        f"{root / folder}, or put images right into the folders of their classes"
                    )
