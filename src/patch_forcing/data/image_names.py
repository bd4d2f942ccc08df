"""Images found by the names that people and tools write for them."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property

from patch_forcing.data.image_kinds import is_image_name

_MOST = 100
"""Images of one name, in folders apart, beyond which none is found by it."""


class ImageNames:
    """The images of a tree, found by exact name, or else by one that can mean one of them alone.

    Back slashes, blanks, accents composed otherwise, capitals and a missing ending do not matter
    then.
    """

    def __init__(self, images: Iterable[str]):
        """images: their paths below the root."""
        self._images = dict.fromkeys(images)

    def __contains__(self, path: object) -> bool:
        return path in self._images

    def find(self, path: str) -> str | None:
        """The image that a path below the root means; None if there is none, or several."""
        if path in self._images:
            return path
        matches = self._loose.get(loosely(path), ())
        return matches[0] if len(matches) == 1 else None

    def find_below(self, folder: str, name: str) -> str | None:
        """The image of that name, if one alone in all folders below has it."""
        images = () if "/" in name else self._bare.get(loosely(name), ())
        begin = f"{folder}/" if folder else ""
        matches = [image for image in images[:_MOST] if image.startswith(begin)]
        return matches[0] if len(matches) == 1 and len(images) < _MOST else None

    @cached_property
    def _loose(self) -> dict[str, list[str]]:
        return _by_name((loosely(image), image) for image in self._images)

    @cached_property
    def _bare(self) -> dict[str, list[str]]:
        """By the name without folders."""
        return _by_name((loosely(image.rpartition("/")[2]), image) for image in self._images)


def loosely(path: str) -> str:
    """The same for paths and names that people take for the same."""
    path = re.sub(r"\s*/\s*", "/", path.replace("\\", "/").strip())
    path = re.sub(r"(?<![^/])(\./)+", "", path)  # as PowerShell writes .\a.png
    return unicodedata.normalize("NFC", path).casefold()


def _by_name(images: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for loose, image in images:
        for key in {loose, loose.rpartition(".")[0] if is_image_name(loose) else loose}:
            known.setdefault(key, []).append(image)
    return known
