"""Which images a folder holds, and what their classes are.

Either all lie in the folder itself, or all lie in subfolders, one for each class; nothing deeper.
"""

import errno
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.images import ENDINGS

LISTED = 12
"""Classes that a summary names one by one, at most."""


@dataclass(frozen=True)
class Layout:
    """The images of a folder.

    names: their paths below `root`, sorted. class_names: the subfolders, sorted; none if the images
    lie in `root`. labels: one for each image, or none.
    """

    root: Path
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: tuple[int, ...]

    def file(self, number: int) -> Path:
        """Where an image lies."""
        return self.root / self.names[number]

    @property
    def class_sizes(self) -> dict[str, int]:
        """How many images each class has."""
        sizes = Counter(self.labels)
        return {name: sizes[label] for label, name in enumerate(self.class_names)}

    @property
    def summary(self) -> str:
        """The classes in a few words, with how many images each has."""
        sizes = self.class_sizes
        if not sizes:
            return "no classes"
        if len(sizes) <= LISTED:
            each = ", ".join(f"{name} {size}" for name, size in sizes.items())
        else:
            each = f"{min(sizes.values())} to {max(sizes.values())} images each"
        return f"{len(sizes)} class{'es' if len(sizes) > 1 else ''} ({each})"

    @cached_property
    def identity(self) -> str:
        """Tells lists of names apart: 16 digits of a SHA-256."""
        text = b"\0".join(os.fsencode(name) for name in self.names)
        return hashlib.sha256(text).hexdigest()[:16]


def find_images(root: Path) -> Layout:
    """The images of a folder, in an order that does not depend on the file system.

    A name with an image's ending is one, whatever lies there; hidden files, other endings and links
    that go round in a circle are left aside. Raises UserError saying what was found if it is not
    arranged as said above.
    """
    if not root.is_dir():
        what = "is a file: give the folder" if root.exists() else "is not there: give a folder"
        raise UserError(f"{root} {what} of images")
    here, folders = _listed(root)
    below = {folder: _listed(root / folder) for folder in folders}
    _check_depth(root, below)
    classes = {folder: names for folder, (names, _) in below.items() if names}
    if here and classes:
        raise UserError(
            f"{root} holds images ({here[0]}) beside folders of images ({next(iter(classes))}): "
            "put all of them into one folder, or each into the folder of its class"
        )
    if not here and not classes:
        raise UserError(f"{root} holds no images: give a folder of {', '.join(ENDINGS)}")
    if here:
        return Layout(root, tuple(here), (), ())
    names = [f"{folder}/{name}" for folder, inside in classes.items() for name in inside]
    labels = [label for label, inside in enumerate(classes.values()) for _ in inside]
    return Layout(root, tuple(names), tuple(classes), tuple(labels))


def _check_depth(root: Path, below: dict[str, tuple[list[str], list[str]]]) -> None:
    for folder, (_, deeper) in below.items():
        for inner in deeper:
            for place, _, files in os.walk(root / folder / inner):
                found = next((name for name in sorted(files) if _is_image(name)), None)
                if found:
                    raise UserError(
                        f"{Path(place) / found} lies more than one folder deep in {root}: give "
                        f"{root / folder}, or put images right into the folders of their classes"
                    )


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of images, and of the other folders, each sorted."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
        images = sorted(entry.name for entry in seen if _is_image(entry.name))
        others = sorted(e.name for e in seen if not _is_image(e.name) and _leads_down(e, folder))
    except OSError as error:
        place = error.filename or folder  # or a link in it
        raise UserError(
            f"{place} cannot be read ({error.strerror}): allow it, or give another folder"
        ) from None
    return images, others


def _leads_down(entry: os.DirEntry[str], folder: Path) -> bool:
    """Whether it is a folder, and no link back to `folder` or to one around it."""
    try:
        if not entry.is_dir():
            return False
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself
            raise
        return False
    return not entry.is_symlink() or not folder.resolve().is_relative_to(Path(entry).resolve())


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")
