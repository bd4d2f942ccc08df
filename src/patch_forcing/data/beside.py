"""Files that lie beside the images of a folder: which there are, and what they say of each."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from patch_forcing.data.annotations import Annotation
from patch_forcing.data.image_kinds import ending
from patch_forcing.data.image_names import loosely
from patch_forcing.data.notes import listed, printable
from patch_forcing.data.sidecars import MAX_TEXT, Role, Sidecar, annotate, may_tell, role
from patch_forcing.data.tree import Tree, below, stem

ROLES: tuple[Role, ...] = ("label", "caption", "json")


@dataclass(frozen=True)
class Beside:
    """images: paths below the root. others: kind and path of files beside them, by image.

    apart: notes of files that are called as images are, in folders without images.
    """

    root: Path
    images: Sequence[str]
    others: Mapping[str, list[tuple[str, str]]]
    apart: Sequence[str]

    def read(self, roles: Collection[Role] = ROLES) -> list[Annotation]:
        """What files of these roles say of each image."""
        return [self._annotation(image, roles) for image in self.images]

    def has(self, *roles: Role) -> bool:
        """Whether there is any file of these roles."""
        return any(role(kind) in roles for kind in self._counts)

    def files(self, roles: Collection[Role] = ROLES) -> Iterator[str]:
        """Their paths below the root."""
        for others in self.others.values():
            yield from (path for kind, path in others if role(kind) in roles)

    def kinds_of(self, *roles: Role | None) -> str:
        """Those of these roles, each with how many there are, in a few words; or empty."""
        chosen = [
            f"{many} .{kind}"
            for kind, many in sorted(self._counts.items())
            if role(kind) in roles and (role(kind) or may_tell(kind))
        ]
        return f"{listed(chosen)} beside images" if chosen else ""

    @cached_property
    def _counts(self) -> Counter[str]:
        paths = {path: kind for others in self.others.values() for kind, path in others}
        return Counter(kind.lower() for kind in paths.values())

    def _annotation(self, image: str, roles: Collection[Role]) -> Annotation:
        others = [(kind, path) for kind, path in self.others.get(image, ()) if role(kind) in roles]
        return annotate(Sidecar(kind, partial(_read, self.root / path)) for kind, path in others)


def files_beside(tree: Tree) -> Beside:
    """Of all images of a tree: those whose names begin as theirs do, up to a dot.

    Names that differ in capitals alone begin so too, where they can mean one image alone.
    """
    rows_of: dict[str, list[tuple[str, str]]] = {}
    for folder, listing in tree.folders.items():
        if not listing.others or not listing.images:
            continue
        exact, loose = _by_key(listing.images, str), _by_key(listing.images, loosely)
        for name in listing.others:
            key = name
            while "." in key:
                key = key.rpartition(".")[0]
                images = exact.get(key, ()) or loose.get(loosely(key), ())
                if key in exact or len(images) == 1:
                    row = name[len(key) + 1 :], below(folder, name)
                    for image in images:
                        rows_of.setdefault(below(folder, image), []).append(row)
                    break
    return Beside(tree.root, tree.images, rows_of, _apart(tree))


def _by_key(images: Iterable[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for image in images:
        keys.setdefault(form(stem(image)), []).append(image)
    return keys


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
            if kind and (role(kind[1:]) or may_tell(kind[1:]))
        ]
    return notes


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
