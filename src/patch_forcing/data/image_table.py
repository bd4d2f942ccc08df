"""One file that says something of many images: what its rows say, by image."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from patch_forcing.data.annotations import Annotation, from_fields
from patch_forcing.data.captions import CaptionError, Several, joined, shown, weighted
from patch_forcing.data.fields import (
    FILE_FIELDS,
    LABEL_FIELDS,
    TABLE_CAPTION_FIELDS,
    WEIGHT_FIELDS,
    canonical,
    file_of,
    first_given,
    is_given,
    keys_of,
)
from patch_forcing.data.image_names import ImageNames
from patch_forcing.data.tables import OtherImagesError, TableError, read_rows
from patch_forcing.data.tree import Tree, below, parent

_BOXES = ("xmin", "bbox", "bboxes", "x1", "polygon", "segmentation", "rle", "encodedpixels")
"""Fields of rows for objects, of which an image may have many."""
_LOOKED_FOR = 1000
"""Names that are looked for where none is an image's, before the table is of other images."""


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


def understood(tree: Tree, path: str, names: ImageNames) -> Table:
    """Rows that name one image give it several captions, if they do not differ otherwise.

    Raises TableError unless there are rows, of which one names an image that lies there.
    """
    table, folder, first = Table(path), parent(path), ""
    weights: dict[str, Any] = {}
    repeated: dict[str, list[_Row]] = {}
    rows = read_rows(tree.root / path)
    if rows is None:
        table.unlabelled = True
        return table
    any_known = False
    for place, fields in rows:
        name, annotation = _named(fields, below(folder, place), tree.root, folder, names)
        if not annotation.fault:
            assert isinstance(fields, dict)
            _record(table, fields)
            any_known, first = any_known or names.find(name) is not None, first or name
            weight = first_given([fields[key] for key in keys_of(fields, WEIGHT_FIELDS)])
            if is_given(weight):
                weights.setdefault(name, weight)
        if name not in table.rows:
            table.rows[name] = annotation
            continue
        rows_of = repeated.setdefault(name, [(table.rows[name], weights.get(name))])
        rows_of.append((annotation, None if annotation.fault else weight))
    for name, rows_of in repeated.items():
        table.rows[name] = _of_several(rows_of, PurePosixPath(path).name)
    if any(isinstance(row.caption, Several) for row in table.rows.values()):
        for key in keys_of(table.unread, WEIGHT_FIELDS):
            del table.unread[key]
    _check_rows(table, repeated)
    first_rows = islice(table.rows, _LOOKED_FOR)
    if first and not any_known and not any((tree.root / name).exists() for name in first_rows):
        around = tree.root / folder
        raise OtherImagesError(
            f"it names no image that lies there, such as {first}: write paths below {around}, or "
            "move it to the images"
        )
    return table


_Row = tuple[Annotation, Any]
"""What a row says, and the weight that it gives its caption."""


def _of_several(rows: Sequence[_Row], table: str) -> Annotation:
    """What rows of one image say together."""
    fault = Annotation(fault=f"more than one row of {table} names it")
    alike = len({row._replace(caption=None) for row, _ in rows}) == 1
    if not alike or any(row.caption is None for row, _ in rows):
        return fault
    pairs = list[tuple[str, float]]()
    try:
        for row, weight in rows:
            if isinstance(row.caption, str):
                pairs.append((row.caption, _weight(weight)))
            elif row.caption is not None:
                pairs += weighted(row.caption)
        return rows[0][0]._replace(caption=joined(pairs))
    except CaptionError as error:
        return rows[0][0]._replace(caption=None, no_caption=str(error))


def _weight(value: Any) -> float:
    """Of a cell; 1 where there is none."""
    if not is_given(value):
        return 1.0
    try:
        return float(value)
    except (ValueError, TypeError):
        raise CaptionError(f"weight {shown(value)} of a caption is no number") from None


def _check_rows(table: Table, repeated: Collection[str]) -> None:
    """Raises TableError if all of it is of no use. repeated: images that several rows name."""
    if not table.rows:
        raise TableError("it names no images: give a folder of images, or remove it")
    if all(row.fault for row in table.rows.values()) and not repeated:
        place, row = next(iter(table.rows.items()))
        raise TableError(f"no line can be read, such as {place}: {row.fault}: mend it")
    if repeated and not {canonical(name) for name in table.unread}.isdisjoint(_BOXES):
        raise TableError("it holds objects in images: write one label for each image")
    if repeated and all(row.fault for row in table.rows.values()):
        raise TableError(
            f"several rows name one image, such as {min(repeated)}: write one for each"
        )


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
    others = (key for key in fields if key not in used and key not in table.unread)
    table.unread.update(dict.fromkeys(key for key in others if is_given(fields[key])))


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
    image = names.find(whole) or names.find_below(folder, name)
    return image or whole, from_fields(fields, TABLE_CAPTION_FIELDS)


def _can_be_opened(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
