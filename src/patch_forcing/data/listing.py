"""What lies in one folder: images, folders, and files that are neither."""

import errno
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.image_kinds import begins_as_image, ending, is_image_name, may_be_image

_OF_SYSTEMS = ("thumbs.db", "desktop.ini")
_MAX_NAMED = 8


class Listing(NamedTuple):
    """Names, sorted. aside: of how many files of which ending nothing is read."""

    images: list[str]
    folders: list[str]
    aside: Counter[str]


def list_folder(folder: Path) -> Listing:
    """Names of images, of folders, and how many files are left aside. Hidden ones do not count.

    A name with an image's ending is one, whatever lies there. Of files with other endings, those
    that begin as an image are, too. Raises UserError if the folder cannot be read.
    """
    images, folders, aside = [], [], Counter[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                    continue
                if is_image_name(entry.name):
                    images.append(entry.name)
                elif _leads_down(entry, folder):
                    folders.append(entry.name)
                elif may_be_image(entry.name) and _begins_as_image(entry):
                    images.append(entry.name)
                elif _is_file(entry):
                    aside[ending(entry.name)] += 1
    except OSError as error:
        place = error.filename or folder  # or a link in it
        raise UserError(
            f"{place} cannot be read ({error.strerror}): allow it, or give another folder"
        ) from None
    return Listing(sorted(images), sorted(folders), aside)


def summarize_aside(aside: Counter[str], empty: Iterable[str]) -> str:
    """What is not read, and folders without images, in a sentence; empty if there are none."""
    kinds = [f"{many} {kind or 'without an ending'}" for kind, many in sorted(aside.items())]
    parts = [f"left aside: {_listed(kinds)}"] if kinds else []
    folders = list(empty)
    return "; ".join(parts + ([f"no image in {_listed(folders)}"] if folders else []))


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


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
