"""Images found by the names that people and tools write for them."""

import unicodedata
from collections.abc import Iterable
from functools import cached_property

from patch_forcing.data.image_kinds import is_image_name


class ImageNames:
    """The images of a tree, found by exact name, or else by one that can mean one of them alone.

    Back slashes, accents composed otherwise, capitals and a missing ending do not matter then.
    """

    def __init__(self, images: Iterable[str]):
        """images: their paths below the root."""
        self._images = dict.fromkeys(images)

    def __contains__(self, path: object) -> bool:
        return path in self._images

    def find(self, path: str) -> str | None:
        """The image that a path below the root means; None if there is none, or several."""
        return path if path in self._images else self._loose.get(_loosely(path))

    @cached_property
    def _loose(self) -> dict[str, str | None]:
        """None: several."""
        known: dict[str, str | None] = {}
        for image in self._images:
            loose = _loosely(image)
            for key in {loose, loose.rpartition(".")[0] if is_image_name(loose) else loose}:
                known[key] = None if key in known else image
        return known


def _loosely(path: str) -> str:
    return unicodedata.normalize("NFC", path.replace("\\", "/")).casefold()
