"""Labels and captions of many images in one file: metadata.jsonl and its like, in any folder.

Each describes the images below its folder, which it names relative to that folder (Hugging Face).
"""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import Annotation
from patch_forcing.data.image_names import ImageNames
from patch_forcing.data.image_table import Table, understood
from patch_forcing.data.notes import listed
from patch_forcing.data.tables import ENDINGS, OtherImagesError, TableError
from patch_forcing.data.tree import Tree, below, parent, stem

_STEM = "metadata"
_STEMS = (
    _STEM, "meta", "dataset", "labels", "label", "classes", "captions", "caption", "prompts",
    "annotations", "annotation", "index",
)  # fmt: skip
"""What such files are called, before their ending."""
_MAX_LOOKED_INTO, _MAX_BYTES = 8, 2**24
"""Files with other names that are looked into, in one folder, and their bytes."""


@dataclass(frozen=True)
class Described:
    """What the tables of a tree say. rows: by image, sorted; all images are there."""

    tables: Sequence[Table]
    rows: dict[str, Annotation]

    @property
    def fields_aside(self) -> list[str]:
        """Fields that are not read, with their file."""
        notes = []
        for table in self.tables:
            unread = [key for key in table.unread if key not in table.labels | table.captions]
            notes += [f"{listed(unread, 5)} of {table.file}"] if unread else []
        return notes

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither a label nor a caption in them, nor that there are none."""
        return not any(t.labels or t.captions or t.unlabelled for t in self.tables)


def read_tables(tree: Tree) -> tuple[Described | None, list[str]]:
    """What files beside the images say of them; and which of them are not read, and why.

    An image that no row names is bad, and so is a row without a sound name, called by its line.
    Raises UserError for a metadata.jsonl, .csv or .parquet that cannot be read, and for two files
    where either could be meant.
    """
    names, notes = ImageNames(tree.images), list[str]()
    tables: dict[str, Table] = {}
    for folder in tree.folders:
        table, unread = _table_of(tree, folder, names)
        notes += unread
        if table is not None:
            tables[folder] = table
    if not tables:
        return None, notes
    rows: dict[str, Annotation] = {}
    for table in tables.values():
        for name, annotation in table.rows.items():
            if rows.setdefault(name, annotation) != annotation:
                rows[name] = Annotation(fault=f"{table.file} and another file name it differently")
    for name in tree.images:
        if name not in rows:
            rows[name] = _unnamed(name, tables)
    return Described(list(tables.values()), dict(sorted(rows.items()))), notes


def _unnamed(image: str, tables: dict[str, Table]) -> Annotation:
    """Of an image without a row, by the table of the nearest folder around it, if there is one."""
    folder = parent(image)
    while folder and folder not in tables:
        folder = parent(folder)
    table = tables.get(folder)
    if table is None or table.unlabelled:
        return Annotation()
    return Annotation(fault=f"no row of {table.file} names it")


def _table_of(tree: Tree, folder: str, names: ImageNames) -> tuple[Table | None, list[str]]:
    """The table in a folder, and what of its like is not read there."""
    listing = tree.folders[folder]
    files = [name for name in listing.others if _ending(name) or _is_called_so(name)]
    images = {stem(image) for image in listing.images if files}
    files = [name for name in files if _is_official(name) or not _is_beside(name, images)]
    others = [name for name in files if not _ending(name)]
    files = [name for name in files if _ending(name)]
    files.sort(key=lambda name: (stem(name).lower() != _STEM, ENDINGS.index(_ending(name)), name))
    official = [name for name in files if _is_official(name)]
    if len(official) > 1:
        raise UserError(f"{tree.root / folder} holds {' and '.join(official)}: remove one")
    known = official or [name for name in files if _is_called_so(name)]
    notes = [f"{below(folder, name)} (write metadata.jsonl or metadata.csv)" for name in others]
    notes += _unread(tree, folder, [name for name in files if name not in known], names, official)
    tables = list[Table]()
    for name in known:
        file = tree.root / folder / name
        try:
            tables.append(understood(tree, below(folder, name), names))
        except TableError as error:
            if name in official:
                raise UserError(f"{file}: {error}") from None
            notes.append(f"{below(folder, name)} ({error})")
        except OSError as error:
            raise UserError(
                f"{file} cannot be read ({error.strerror}): allow it, mend it, or remove it"
            ) from None
    if len(tables) > 1:
        both = " and ".join(PurePosixPath(table.file).name for table in tables)
        raise UserError(
            f"{tree.root / folder} holds {both}, which both name its images: write one "
            "metadata.jsonl of them, or remove one"
        )
    return (tables[0] if tables else None), notes


def _unread(
    tree: Tree, folder: str, files: Sequence[str], names: ImageNames, official: Sequence[str]
) -> list[str]:
    """Notes of files that are not read and say something of the images."""
    notes = []
    for name in files if len(files) <= _MAX_LOOKED_INTO else ():
        try:
            small = (tree.root / folder / name).stat().st_size <= _MAX_BYTES
            table = understood(tree, below(folder, name), names) if small else None
        except (TableError, OSError, UserError) as error:
            why = str(error) if isinstance(error, TableError) else "it cannot be read"
            # any JSON may look as if it named something
            names_some = isinstance(error, OtherImagesError) and _ending(name) != ".json"
            notes += [f"{below(folder, name)} ({why})"] if names_some or _sounds_so(name) else []
            continue
        if table:
            mend = f"{official[0]} is read" if official else f"call it metadata{_ending(name)}"
            notes.append(f"{below(folder, name)} (it names images: {mend})")
    return notes


def tables_around(root: Path) -> list[str]:
    """Notes of files beside the folder itself that may be of its images."""
    root_name, folder = root.resolve().name.lower(), root.resolve().parent
    mend = f"beside {root}, not in it: move it, or give {folder}"
    return [f"{name} ({mend})" for name in tables_in(folder, root_name)[:1]]


def tables_in(folder: Path, more: str = "") -> list[str]:
    """Files in a folder that are called as tables are, or begin with `more`."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names alone, maybe a million
    except OSError:
        return []
    called = [name for name in names if _ending(name)]
    return [n for n in called if _is_called_so(n) or (more and n.lower().startswith(more))]


def _is_beside(name: str, images: Collection[str]) -> bool:
    """Whether it is called as an image is, and more; images: their names without ending."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in images for count in range(1, len(parts)))


def _ending(name: str) -> str:
    """If tables have it, in lower case; else empty. Texts of other names are no tables."""
    ending = name[name.rfind(".") :].lower()
    is_table = ending in ENDINGS and (ending != ".txt" or _is_called_so(name))
    return ending if is_table else ""


def _is_called_so(name: str) -> bool:
    """Whether it is called as tables are, whatever its ending is but that of a page."""
    begin, _, end = name.lower().partition(".")
    return begin in _STEMS and end not in ("html", "htm", "md")


def _sounds_so(name: str) -> bool:
    """Whether the name of a table is part of its name."""
    return not set(re.findall("[a-z]+", name.lower())).isdisjoint(_STEMS)


def _is_official(name: str) -> bool:
    """Whether it can be nothing but a table of images; metadata.json may hold anything."""
    return stem(name).lower() == _STEM and _ending(name) in ENDINGS[:-2]
