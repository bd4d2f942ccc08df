"""What lies in one folder: images, folders, other files, and what no program made for us."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.image_kinds import begins_as_image, is_image_name, may_be_image

_OF_SYSTEMS = frozenset((
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "@tmp", "@recycle",
    "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "lost+found", "$recycle.bin",
    "recycler", "system volume information", "network trash folder", "temporary items",
    "__pycache__", ".ds_store", ".thumbnails", ".ipynb_checkpoints", ".appledouble",
    ".spotlight-v100", ".trashes", ".fseventsd",
))  # fmt: skip
"""What systems and other programs put into folders, in lower case."""


class Listing(NamedTuple):
    """Names, each kind sorted.

    others: files that are no images. hidden: files and folders that are hidden or of the system.
    links: to folders, which lead back to where they are.
    """

    images: list[str]
    folders: list[str]
    others: list[str]
    hidden: list[str]
    links: list[str]


def is_of_system(name: str) -> bool:
    """Whether systems and programs call so what they put into a folder of images."""
    return name.lower() in _OF_SYSTEMS or name.startswith("._")


def list_folder(folder: Path, way: Sequence[Path] = ()) -> Listing:
    """What lies in a folder.

    A name with an image's ending is an image, whatever lies there. Of files with other endings,
    those that begin as an image are, too.
    way: the folders, without links, that led from the root to this one.
    Raises UserError if the folder cannot be read.
    """
    listing = Listing([], [], [], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or is_of_system(entry.name):
                    listing.hidden.append(entry.name)
                elif is_image_name(entry.name):
                    listing.images.append(entry.name)
                elif _is_folder(entry):
                    back = entry.is_symlink() and _leads_back(Path(entry), way)
                    (listing.links if back else listing.folders).append(entry.name)
                elif may_be_image(entry.name) and _begins_as_image(entry):
                    listing.images.append(entry.name)
                elif _is_file(entry) or entry.is_symlink():  # to nowhere: not left out silently
                    listing.others.append(entry.name)
    except OSError as error:
        place = error.filename or folder  # or a link in it
        raise UserError(
            f"{place} cannot be read ({error.strerror}): allow it, or give another folder"
        ) from None
    return Listing(*map(sorted, listing))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _leads_back(link: Path, way: Sequence[Path]) -> bool:
    """Whether a link leads to a folder on the way to it, around that, or in the class beside it.

    The images there are met without it, too, or for ever. A class itself may be a link to anywhere
    that is not around it.
    """
    target = link.resolve()
    inside = len(way) > 1 and target.is_relative_to(way[0])
    return inside or any(folder.is_relative_to(target) for folder in way)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _begins_as_image(entry: os.DirEntry[str]) -> bool:
    """What cannot be read is none."""
    try:
        if not entry.is_file():  # opening a pipe would wait for its other end
            return False
        with Path(entry).open("rb", buffering=0) as stream:
            return begins_as_image(stream)
    except OSError:
        return False
