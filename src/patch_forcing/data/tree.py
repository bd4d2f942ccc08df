"""All that lies below a folder of images, without our own outputs and what systems put there."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from patch_forcing.data.image_kinds import ending
from patch_forcing.data.listing import Listing, list_folder
from patch_forcing.data.notes import listed
from patch_forcing.data.own_outputs import own_images, own_output


@dataclass(frozen=True)
class Tree:
    """folders: their contents, by their path below the root, which is "" itself; sorted.

    outputs: our own ones, and what each is, by path; of the root's contents all the same.
    drawn: images of ours, one by one.
    """

    root: Path
    folders: Mapping[str, Listing]
    outputs: Mapping[str, str]
    drawn: tuple[str, ...]

    @cached_property
    def images(self) -> list[str]:
        """Their paths below the root, folder by folder."""
        return [
            below(folder, name)
            for folder, listing in self.folders.items()
            for name in listing.images
        ]

    @property
    def top_folders(self) -> list[str]:
        """The folders right below the root."""
        return self.folders[""].folders

    def holds_images(self, top_folder: str) -> bool:
        """Whether an image lies in it, however deep."""
        return top_folder in self._tops

    @cached_property
    def _tops(self) -> frozenset[str]:
        return frozenset(
            folder.partition("/")[0] for folder, listing in self.folders.items() if listing.images
        )

    def aside(self, read: Iterable[str] = ()) -> str:
        """What is not read, in a sentence; empty if all is.

        read: files that are no images and are read, by their path.
        """
        known = set(read)
        kinds = Counter(
            ending(name)
            for folder, listing in self.folders.items()
            for name in listing.others
            if below(folder, name) not in known
        )
        counts = [f"{many} {kind or 'without an ending'}" for kind, many in sorted(kinds.items())]
        own = [f"{place} ({what})" for place, what in self.outputs.items() if place]
        own += [f"{self.drawn[0]} (drawn by it)"] if len(self.drawn) == 1 else []
        own += [f"{len(self.drawn)} images drawn by it"] if len(self.drawn) > 1 else []
        hidden = sum(len(listing.hidden) for listing in self.folders.values())
        links = [below(folder, name) for folder, one in self.folders.items() for name in one.links]
        parts = {
            "left aside: ": counts,
            "hidden or of the system: ": [str(hidden)] * bool(hidden),
            "outputs of patch-forcing: ": own,
            "links that lead back: ": links,
            "no image in ": self._empty(),
        }
        return "; ".join(begin + listed(names) for begin, names in parts.items() if names)

    def _empty(self) -> list[str]:
        with_outputs = {place.partition("/")[0] for place in (*self.outputs, *self.drawn)}
        known = self._tops | with_outputs
        return [name for name in self.top_folders if name not in known]


def below(folder: str, name: str) -> str:
    """The path of what lies in a folder."""
    return f"{folder}/{name}" if folder else name


def parent(path: str) -> str:
    """The folder in which something lies."""
    return path.rpartition("/")[0]


def stem(name: str) -> str:
    """A file's name without its folder and its ending."""
    name = name.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def scan(root: Path) -> Tree:
    """All below `root`. Raises UserError naming a folder that cannot be read."""
    folders: dict[str, Listing] = {}
    outputs: dict[str, str] = {}
    drawn: list[str] = []
    waiting: list[tuple[str, tuple[Path, ...]]] = [("", (root.resolve(),))]
    while waiting:
        place, way = waiting.pop()
        listing = list_folder(root / place, way)
        names = {*listing.folders, *listing.others, *listing.hidden}
        what = own_output(root / place, names)
        if what:
            outputs[place] = what
            if place:
                continue
        own = own_images(root / place, listing.images, listing.others)
        drawn += [below(place, name) for name in own]
        images = [name for name in listing.images if name not in own]
        folders[place] = listing._replace(images=images)
        for name in listing.folders:
            folder = root / place / name
            real = folder.resolve() if folder.is_symlink() else way[-1] / name
            waiting.append((below(place, name), (*way, real)))
    folders, outputs = dict(sorted(folders.items())), dict(sorted(outputs.items()))
    return Tree(root, folders, outputs, tuple(sorted(drawn)))
