"""Rows of files that say something of many images: JSON objects by line, JSON, CSV, Parquet.

Each row is a mapping of fields, of which one names the image's file.
"""

import csv
import errno
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.data.annotations import UTF_16, as_object, as_text
from patch_forcing.data.fields import (
    FILE_FIELDS,
    LABEL_FIELDS,
    TABLE_CAPTION_FIELDS,
    WEIGHT_FIELDS,
    canonical,
    file_of,
    keys_of,
    number_or_text,
)

ENDINGS = (".jsonl", ".csv", ".parquet", ".tsv", ".ndjson", ".json", ".txt")
_SEPARATORS = ",\t;|"
_LOOKED_AT = 64
_MAX_JSON = 2**30
"""Bytes of a JSON file, which is read as a whole."""
Row = tuple[str, dict[str, Any] | str]
"""Where it stands, and its fields, or why it has none."""


class TableError(ValueError):
    """A file that is no table of images; says what is wrong, and the mend."""


class OtherImagesError(TableError):
    """A table of images that do not lie there."""


def read_rows(file: Path) -> Iterator[Row] | None:
    """The rows of a table; None if it says that images have no labels.

    Raises TableError if it is none, OSError if it cannot be read, UserError if Parquet cannot.
    Some are raised when rows are taken.
    """
    match file.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return _rows_of_table(file)
        case ".parquet":
            return _rows_of_parquet(file)
        case ".json":
            return _rows_of_json(file)
    with file.open("rb") as stream:  # some call a JSON file so
        is_list = stream.read(_LOOKED_AT).lstrip().startswith(b"[")
    return _rows_of_json(file) if is_list else _rows_of_lines(file)


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
    """Raises OSError also for what is no table, TableError for one whose columns have no names."""
    # bytes that are no text: in a file's name they may be right, elsewhere they are found later
    with file.open(encoding=_encoding(file), errors="surrogateescape", newline="") as lines:
        skipped, first = 0, lines.readline()
        while first and (not first.strip() or first.startswith("sep=")):  # as Excel writes it
            skipped, first = skipped + 1, lines.readline()
        separator = _separator(first)
        table = csv.DictReader(chain([first], lines), delimiter=separator, strict=True)
        try:
            table.fieldnames = _columns(table.fieldnames or ())
            labels = keys_of(table.fieldnames, LABEL_FIELDS)
            for fields in table:
                place = f"{file.name}:{table.line_num + skipped}"
                if any(fields.pop(None, ())):
                    what = {",": "commas", "\t": "tabs"}.get(separator, f"{separator!r}")
                    yield place, f"the line has too many {what}"
                elif any(fields.values()):
                    # a table does not tell numbers from texts
                    numbers = {key: number_or_text(fields[key]) for key in labels if fields[key]}
                    yield place, {**fields, **numbers}
        except csv.Error as error:
            raise OSError(errno.EINVAL, f"line {table.line_num + skipped + 1}: {error}") from None


def _encoding(file: Path) -> str:
    with file.open("rb") as stream:
        return "utf-16" if stream.read(2) in UTF_16 else "utf-8-sig"


def _separator(first: str) -> str:
    """What stands between the names of columns, one of which is that of the files."""

    def names(separator: str) -> list[str]:
        try:
            return next(csv.reader([first], delimiter=separator), [])
        except csv.Error:  # which reading it meets again
            return []

    fitting = [s for s in _SEPARATORS if keys_of(names(s), FILE_FIELDS)]
    return max(fitting, key=lambda separator: len(names(separator)), default=",")


def _columns(names: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in names]
    if not keys_of(columns, FILE_FIELDS):
        raise TableError(
            f"no column file_name in its first line, {','.join(columns)[:80]!r}: name the "
            "columns there, with commas between"
        )
    for name in columns:
        if name and columns.count(name) > 1:
            raise TableError(f"two columns {name!r} in its first line: remove one")
    return columns


def _rows_of_parquet(file: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, parquet
        from pyarrow.types import is_struct  # such as an image's bytes
    except ImportError:
        raise UserError(
            f"{file} needs the package pyarrow: {install_line('datasets')}, or write "
            "metadata.jsonl in its place"
        ) from None
    try:
        with parquet.ParquetFile(file) as table:
            names = dict.fromkeys(table.schema_arrow.names)
            if not keys_of(names, FILE_FIELDS):
                raise TableError(f"no column file_name among {', '.join(names)[:80]!r}: rename it")
            known = (*FILE_FIELDS, *LABEL_FIELDS, *TABLE_CAPTION_FIELDS, *WEIGHT_FIELDS)
            kinds, number = table.schema_arrow, 0
            read = [name for name in keys_of(names, known) if not is_struct(kinds.field(name).type)]
            for batch in table.iter_batches(columns=read):
                for fields in batch.to_pylist():
                    number += 1
                    yield f"{file.name}:{number}", dict.fromkeys(names, True) | fields
    except ArrowException as error:
        raise OSError(errno.EINVAL, " ".join(str(error).split())[:160]) from None


def _rows_of_json(file: Path) -> Iterator[Row] | None:
    """Of whichever shape it is; several shapes that programs write are known."""
    if file.stat().st_size > _MAX_JSON:
        raise TableError(f"more than {_MAX_JSON} bytes: write one object a line, as metadata.jsonl")
    try:
        content = json.loads(as_text(file.read_bytes()))
    except (ValueError, RecursionError) as error:
        rows = _rows_of_lines(file)  # as some call files of JSON lines, too
        first = next(rows, None)
        if first is None or isinstance(first[1], str) or not file_of(first[1]):
            why = error if str(error) == "is no UTF-8 text" else "is no JSON"
            raise TableError(f"it {why}: mend it") from None
        return chain([first], rows)
    if isinstance(content, dict) and content.get("labels", ()) is None:
        return None  # as StyleGAN and EDM write it
    rows_of = list(_fields_of(content, canonical(file.stem)))
    return iter([(f"{file.name}[{number}]", fields) for number, fields in enumerate(rows_of)])


def _fields_of(content: Any, stem: str) -> Iterable[dict[str, Any]]:
    """Raises TableError for a shape that has no one meaning."""
    if isinstance(content, dict) and _is_pairs(content.get("labels")):
        return ({"file_name": name, "label": label} for name, label in content["labels"])
    if isinstance(content, dict):
        if keys_of(content, FILE_FIELDS):  # columns, whose rows pandas numbers
            values = content.items()
            content = {k: [*v.values()] if isinstance(v, dict) else v for k, v in values}
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) == len(content) > 1 and keys_of(content, FILE_FIELDS):
            if len(set(map(len, lists))) > 1:
                raise TableError("its columns are not equally long: mend it")
            return (dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True))
        objects = [rows for rows in lists if rows and all(isinstance(row, dict) for row in rows)]
        if len(objects) > 1:
            raise TableError("it holds several lists: write one row for each image")
        content = objects[0] if objects else list(content.items())
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return content
    if _is_pairs(content):
        return (_of_pair(name, value, stem) for name, value in content)
    raise TableError("it holds no list of objects: write one for each image")


def _is_pairs(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str) for row in rows
    )


def _of_pair(name: str, value: Any, stem: str) -> dict[str, Any]:
    """The fields of an image by its name and what is said of it."""
    if isinstance(value, dict):
        return {**value, "file_name": name}
    if name.isdecimal():
        raise TableError(f"{name} may be an image or a class: write objects with file_name")
    if isinstance(value, int) and not isinstance(value, bool):
        return {"file_name": name, "label": value}
    kinds = ("label", str, LABEL_FIELDS), ("text", str | list, TABLE_CAPTION_FIELDS)
    for field, kind, names in kinds:
        if isinstance(value, kind) and {stem, stem.removesuffix("s")} & set(names):
            return {"file_name": name, field: value}
    raise TableError(
        f"{json.dumps(value, default=str)[:40]} may be a label or a caption: write objects with "
        "file_name and label, or text"
    )
