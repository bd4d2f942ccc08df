"""Captions and labels that lie beside images: one file for all, or a text file for each image."""

import csv
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.data.annotations import (
    LABEL_FIELDS,
    Annotation,
    as_object,
    as_text,
    checked,
    from_fields,
)

METADATA = ("metadata.jsonl", "metadata.csv")
"""One JSON object a line, or a table with a line of names: file_name below the folder, and a label
or a caption (Hugging Face)."""
CAPTION_ENDING = ".txt"


def find_metadata(root: Path) -> Path | None:
    """The file that names the images of a folder, if there is one. Raises UserError for two."""
    files = [root / name for name in METADATA if (root / name).is_file()]
    if len(files) > 1:
        raise UserError(f"{root} holds {' and '.join(METADATA)}: remove one")
    return files[0] if files else None


def read_metadata(file: Path, images: Sequence[str]) -> dict[str, Annotation]:
    """What metadata.jsonl or metadata.csv holds of each image, by name, sorted.

    images: those that lie there; one without a row is bad, and so is a row without a sound
    name, which is called by its line. Raises OSError if the file cannot be read.
    """
    rows: dict[str, Annotation] = {}
    of_table = file.suffix == ".csv"
    for place, fields in _rows_of_table(file) if of_table else _rows_of_lines(file):
        name, annotation = _named(fields, place)
        if name in rows:
            annotation = Annotation(fault=f"more than one row of {file.name} names it")
        rows[name] = annotation
    for name in images:
        rows.setdefault(name, Annotation(fault=f"no row of {file.name} names it"))
    return dict(sorted(rows.items()))


Row = tuple[str, dict[str, Any] | str]
"""Where it stands, and its fields, or why it has none."""


def _rows_of_lines(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{file.name}:{number}"
                try:
                    yield place, as_object(line)
                except ValueError as error:
                    yield place, f"the line {error}"


def _rows_of_table(file: Path) -> Iterator[Row]:
    """Raises OSError also for what is no table, UserError for one whose columns have no names."""
    # bytes that are no text: in a file's name they may be right, elsewhere they are found later
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        table = csv.DictReader(lines, strict=True)
        try:
            table.fieldnames = _columns(file, table.fieldnames or ())
            for fields in table:
                surplus = any(fields.pop(None, ()))
                if surplus:
                    yield f"{file.name}:{table.line_num}", "the line has too many commas"
                if surplus or not any(fields.values()):
                    continue
                for name in LABEL_FIELDS:  # a table does not tell numbers from texts
                    number = re.fullmatch(r"(-?[0-9]{1,18})(\.0)?", fields.get(name) or "")
                    if number:  # with .0 where others of the column are missing
                        fields[name] = int(number[1])
                yield f"{file.name}:{table.line_num}", fields
        except csv.Error as error:
            raise OSError(errno.EINVAL, f"line {table.line_num + 1}: {error}") from None


def _columns(file: Path, names: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in names]
    if "file_name" not in columns:
        raise UserError(
            f"{file}: no column file_name in its first line, {','.join(columns)[:80]!r}: name the "
            "columns there, with commas between"
        )
    for name in columns:
        if name and columns.count(name) > 1:
            raise UserError(f"{file}: two columns {name!r} in its first line: remove one")
    return columns


def _named(fields: dict[str, Any] | str, place: str) -> tuple[str, Annotation]:
    if isinstance(fields, str):
        return place, Annotation(fault=fields)
    name = fields.get("file_name")
    if not isinstance(name, str) or not name.strip("/. ") or not _can_be_opened(name):
        return place, Annotation(fault="the line has no file_name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return place, Annotation(fault="its file_name leads out of the folder")
    return path.as_posix(), from_fields(fields)


def _can_be_opened(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def images_below(root: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Names below `root` of all images, however deep; hidden ones are left aside."""
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(root)
        for name in files:
            if name.lower().endswith(endings) and not name.startswith("."):
                yield (below / name).as_posix()


def count_captions(root: Path, names: Sequence[str]) -> int:
    """How many of the images have a text file of their name beside them."""
    folders = {str(PurePosixPath(name).parent) for name in names}
    texts = {
        (Path(folder) / text).with_suffix("").as_posix()
        for folder in folders
        for text in os.listdir(root / folder)  # noqa: PTH208  # names alone, a million
        if text.endswith(CAPTION_ENDING)
    }
    return sum(PurePosixPath(name).with_suffix("").as_posix() in texts for name in names)


def read_caption(image: Path) -> Annotation:
    """The text of the file beside an image; it is missing if there is none."""
    file = image.with_suffix(CAPTION_ENDING)
    try:
        return checked(caption=as_text(file.read_bytes()))
    except FileNotFoundError:
        return Annotation()
    except ValueError as error:
        return Annotation(no_caption=f"its caption {error}")
    except OSError as error:
        return Annotation(no_caption=f"its caption cannot be read: {error.strerror}")
