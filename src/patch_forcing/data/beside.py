"""Files that lie beside the images of a folder: which there are, and what they say of each."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patch_forcing.data.annotations import Annotation
from patch_forcing.data.image_kinds import ending, may_be_image
from patch_forcing.data.notes import printable
from patch_forcing.data.sidecars import MAX_TEXT, Role, Sidecar, annotate, role
from patch_forcing.data.tree import Tree, below, parent, stem

ROLES: tuple[Role, ...] = ("label", "caption", "json")
_TEXTS = (".json", ".xml", ".yaml", ".yml", ".md", ".csv", ".ini")
"""Endings of files, known not to be images, that may tell something of one."""


@dataclass(frozen=True)
class Beside:
    """images: paths below the root. kinds: of the files beside them, by path without ending.

    apart: notes of files that are called as images are, in folders without images.
    """

    root: Path
    images: Sequence[str]
    kinds: Mapping[str, list[str]]
    apart: Sequence[str]

    def read(self, roles: Collection[Role] = ROLES) -> list[Annotation]:
        """What files of these roles say of each image."""
        return [self._annotation(image, roles) for image in self.images]

    def has(self, *roles: Role) -> bool:
        """Whether there is any file of these roles."""
        return any(role(kind) in roles for kind in self._counts)

    def files(self, roles: Collection[Role] = ROLES) -> Iterator[str]:
        """Their paths below the root."""
        for key, kinds in self.kinds.items():
            yield from (f"{key}.{kind}" for kind in kinds if role(kind) in roles)

    def kinds_of(self, *roles: Role | None) -> str:
        """Those of these roles, each with how many there are, in a few words; or empty."""
        chosen = [
            f"{many} .{kind}"
            for kind, many in sorted(self._counts.items())
            if role(kind) in roles and (role(kind) or _may_tell(kind))
        ]
        return f"{', '.join(chosen)} beside images" if chosen else ""

    @property
    def _counts(self) -> Counter[str]:
        return Counter(kind.lower() for kinds in self.kinds.values() for kind in kinds)

    def _annotation(self, image: str, roles: Collection[Role]) -> Annotation:
        key = _key(image)
        kinds = [kind for kind in self.kinds.get(key, ()) if role(kind) in roles]
        return annotate(
            Sidecar(kind, partial(_read, self.root / f"{key}.{kind}")) for kind in kinds
        )


def files_beside(tree: Tree) -> Beside:
    """Of all images of a tree."""
    found: dict[str, list[str]] = {}
    for folder, listing in tree.folders.items():
        keys = {stem(image) for image in listing.images}
        for name in listing.others if keys else ():
            key, _, kind = name.rpartition(".")
            if key not in keys:  # such as 7.png.txt beside 7.png
                key, _, more = key.rpartition(".")
                kind = f"{more}.{kind}"
            if key in keys:
                found.setdefault(below(folder, key), []).append(kind)
    return Beside(tree.root, tree.images, found, _apart(tree))


def _apart(tree: Tree) -> list[str]:
    """Such as captions/7.txt of images/7.png."""
    bare = {
        folder: one.others
        for folder, one in tree.folders.items()
        if folder and one.others and not one.images
    }
    if not bare:
        return []
    keys, notes = {stem(image) for one in tree.folders.values() for image in one.images}, []
    for folder, names in bare.items():
        kinds = Counter(ending(name) for name in names if stem(name) in keys)
        notes += [
            f"{many} {kind} in {printable(folder)} (called as images are, but not beside them)"
            for kind, many in sorted(kinds.items())
            if kind and (role(kind[1:]) or _may_tell(kind[1:]))
        ]
    return notes


def _key(image: str) -> str:
    """An image's path without ending."""
    return below(parent(image), stem(image))


def _may_tell(kind: str) -> bool:
    """Whether a file of another role may be of labels or captions all the same."""
    name = f"x.{kind}"
    return ending(name) in _TEXTS or may_be_image(name)


def _read(file: Path) -> bytes:
    """Raises ValueError saying why not."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_TEXT + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_TEXT:
        raise ValueError(f"has more than {MAX_TEXT} bytes")
    return data
