"""Labels and captions of many images in one file: metadata.jsonl and its like, in any folder.

Each describes the images below its folder, which it names relative to that folder (Hugging Face).
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import Annotation, from_fields
from patch_forcing.data.fields import (
    FILE_FIELDS,
    LABEL_FIELDS,
    TABLE_CAPTION_FIELDS,
    canonical,
    file_of,
    is_given,
    keys_of,
)
from patch_forcing.data.image_names import ImageNames
from patch_forcing.data.notes import listed
from patch_forcing.data.tables import ENDINGS, TableError, read_rows
from patch_forcing.data.tree import Tree, below, parent, stem

_STEM = "metadata"
_STEMS = (
    _STEM, "meta", "dataset", "labels", "label", "classes", "captions", "caption", "prompts",
    "annotations", "annotation", "index",
)  # fmt: skip
"""What such files are called, before their ending."""
_BOXES = ("xmin", "bbox", "bboxes", "x1", "polygon", "segmentation", "rle", "encodedpixels")
"""Fields of rows for objects, of which an image may have many."""
_MAX_LOOKED_INTO, _MAX_BYTES = 8, 2**24
"""Files with other names that are looked into, in one folder, and their bytes."""


@dataclass
class Table:
    """A file that describes images, by its path below the root.

    rows: by image, or by line where that names none soundly. labels, captions: fields that gave
    some. unread: other fields. unlabelled: whether it says that no image has a label.
    """

    file: str
    rows: dict[str, Annotation] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    captions: Counter[str] = field(default_factory=Counter)
    unread: dict[str, None] = field(default_factory=dict)
    unlabelled: bool = False


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
    files = [name for name in files if _is_official(name) or stem(name) not in images]
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
            tables.append(_understood(tree, below(folder, name), names))
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
            table = _understood(tree, below(folder, name), names) if small else None
        except (TableError, OSError, UserError):
            continue
        if table:
            mend = f"{official[0]} is read" if official else f"call it metadata{_ending(name)}"
            notes.append(f"{below(folder, name)} (it names images: {mend})")
    return notes


def tables_around(root: Path) -> list[str]:
    """Notes of files beside the folder itself that may be of its images."""
    begins, folder = (*_STEMS, root.resolve().name.lower()), root.resolve().parent
    try:
        names = sorted(os.listdir(folder)) if folder != root.resolve() else []  # noqa: PTH208
    except OSError:
        return []
    files = [name for name in names if _ending(name) and stem(name).lower().startswith(begins)]
    mend = f"beside {root}, not in it: move it, or give {folder}"
    return [f"{name} ({mend})" for name in files[:1]]


def _ending(name: str) -> str:
    """If tables have it, in lower case; else empty. Texts of other names are no tables."""
    ending = name[name.rfind(".") :].lower()
    is_table = ending in ENDINGS and (ending != ".txt" or _is_called_so(name))
    return ending if is_table else ""


def _is_called_so(name: str) -> bool:
    """Whether it is called as tables are, whatever its ending is but that of a page."""
    begin, _, end = name.lower().partition(".")
    return begin in _STEMS and end not in ("html", "htm", "md")


def _is_official(name: str) -> bool:
    """Whether it can be nothing but a table of images; metadata.json may hold anything."""
    return stem(name).lower() == _STEM and _ending(name) in ENDINGS[:-2]


def _understood(tree: Tree, path: str, names: ImageNames) -> Table:
    """Raises TableError unless there are rows, of which one names an image that lies there."""
    table, folder, first = Table(path), parent(path), ""
    rows = read_rows(tree.root / path)
    if rows is None:
        table.unlabelled = True
        return table
    found = False
    for place, fields in rows:
        name, annotation = _named(fields, below(folder, place), tree.root, folder, names)
        if not annotation.fault:
            assert isinstance(fields, dict)
            _record(table, fields)
            found, first = found or names.find(name) is not None, first or name
        if name in table.rows:
            what = PurePosixPath(path).name
            annotation = Annotation(fault=f"more than one row of {what} names it")
        table.rows[name] = annotation
    return _sound(table, tree, found, first)


def _sound(table: Table, tree: Tree, found: bool, first: str) -> Table:
    """The table. first: a name in it. Raises TableError if all of it is of no use."""
    if not table.rows:
        raise TableError("it names no images: give a folder of images, or remove it")
    if not first:
        place, row = next(iter(table.rows.items()))
        raise TableError(f"no line can be read, such as {place}: {row.fault}: mend it")
    if set(map(canonical, table.unread)) & set(_BOXES) and not _is_official(table.file):
        raise TableError("it holds objects in images: write one label for each image")
    if not found and not any((tree.root / name).exists() for name in list(table.rows)[:1000]):
        around = tree.root / parent(table.file)
        raise TableError(
            f"it names no image that lies there, such as {first}: write paths below {around}"
        )
    return table


def _record(table: Table, fields: dict[str, Any]) -> None:
    """Which fields gave something, and which are there besides."""
    names = next(iter(keys_of(fields, FILE_FIELDS)), "")
    used = {names}
    for given, known in ((table.labels, LABEL_FIELDS), (table.captions, TABLE_CAPTION_FIELDS)):
        for key in keys_of(fields, known):
            if is_given(fields[key]):
                given[key] += 1
                used.add(key)
                break
    table.unread.update(dict.fromkeys(key for key in fields if key not in used))


def _named(
    fields: dict[str, Any] | str, place: str, root: Path, folder: str, names: ImageNames
) -> tuple[str, Annotation]:
    if isinstance(fields, str):
        return place, Annotation(fault=fields)
    name = file_of(fields)
    if not name or not _can_be_opened(name):
        return place, Annotation(fault="the line has no file_name")
    whole = below(folder, name)
    if whole in names:
        return whole, from_fields(fields, TABLE_CAPTION_FIELDS)
    written, here = PurePosixPath(name), (root / folder).absolute()
    if written.is_absolute() and written.is_relative_to(here):
        written = written.relative_to(here)
    if written.is_absolute() or ".." in written.parts:
        return place, Annotation(fault="its file_name leads out of the folder")
    whole = below(folder, written.as_posix())
    return names.find(whole) or whole, from_fields(fields, TABLE_CAPTION_FIELDS)


def _can_be_opened(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
