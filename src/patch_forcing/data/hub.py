"""Data sets of the Hugging Face Hub, or on this disk, through the package `datasets`."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.core.extras import install_line
from patch_forcing.data.annotations import Annotation, Conditions, checked, conditions
from patch_forcing.data.captions import Several
from patch_forcing.data.fields import (
    CAPTION_FIELDS,
    LABEL_FIELDS,
    WEIGHT_FIELDS,
    first_given,
    keys_of,
)
from patch_forcing.data.image_columns import (
    USUAL_NAMES,
    Reader,
    column_reader,
    image_columns,
)
from patch_forcing.data.image_options import local_path
from patch_forcing.data.images import BadImageError
from patch_forcing.data.layout import Layout
from patch_forcing.data.notes import Notes, listed, source
from patch_forcing.data.parquet_files import check_tables, is_parquet
from patch_forcing.data.sources import HubSource

_ROWS = 1000
"""Rows of Parquet that are read at once where a file has none."""


def load_rows(options: HubSource) -> Any:
    """The rows, a datasets.Dataset. Raises UserError if they cannot be had."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"data.path={options.path}: this needs the package datasets: {install_line('datasets')}"
        ) from None
    place = local_path(options.path)
    has_empty_file = check_tables(place)
    saved = any((place / name).is_file() for name in ("dataset_dict.json", "state.json"))
    for name in ("config", "revision"):
        if getattr(options, name) is not None and (saved or is_parquet(place)):
            raise UserError(
                f"data.{name}={getattr(options, name)}: {options.path} was saved without: leave it "
                "out"
            )
    try:
        if not saved:
            # without a number, it reads as many rows at once as a file's first group has
            how = {"batch_size": _ROWS} if has_empty_file else {}
            where = _where(options, place)
            return datasets.load_dataset(**where, **how, split=options.split)
        loaded = datasets.load_from_disk(str(place))
    except Exception as error:  # its own, pyarrow's, the Hub's, and those of the network
        cause = error.__cause__ or error
        why = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
        rest = "its files, {} and {}" if place.exists() else "name, {}, {} and the network"
        mend = rest.format("--data.config", "--data.split")
        raise UserError(f"data.path={options.path} cannot be loaded: {why}: check {mend}") from None
    if isinstance(loaded, datasets.DatasetDict):
        if options.split not in loaded:
            raise unknown_name(f"data.split of {options.path}", options.split, loaded)
        return loaded[options.split]
    if options.split != "train":
        raise UserError(f"data.split={options.split}: {options.path} has no splits: leave it out")
    return loaded


def _where(options: HubSource, place: Path) -> dict[str, Any]:
    """What of the options says to datasets where the data lie."""
    if is_parquet(place):
        return {"path": "parquet", "data_files": {"train": str(place)}}
    local = str(place) if place.exists() else options.path
    return {"path": local, "name": options.config, "revision": options.revision}


def hub_layout(options: HubSource, data: Any) -> Layout:
    """The images of a datasets.Dataset. Raises UserError if no column holds any."""
    import datasets

    data = data.with_format(None)  # one that was saved with it gives tensors
    image_column, decode = _image_column(options, data)
    label_column = _column(options, data, "label", options.label_column, datasets.ClassLabel)
    caption_column = _column(options, data, "caption", options.caption_column, None)
    feature = data.features[label_column] if label_column else None
    class_names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    labels = [label_column] if label_column else []
    if not options.label_column and label_column and class_names is None:
        labels = list(keys_of(data.features, LABEL_FIELDS))
    captions = [caption_column] if caption_column else []
    if not options.caption_column and caption_column:
        captions = list(keys_of(data.features, CAPTION_FIELDS))
    weights = list(keys_of(data.features, WEIGHT_FIELDS)) if captions else []
    annotations = _annotations(data, labels, captions, weights, class_names)
    # as stored, not decoded: so it is read, and found bad, as any other file is
    images = data.select_columns([image_column])
    if isinstance(data.features[image_column], datasets.Image):
        images = images.cast_column(image_column, datasets.Image(decode=False))

    def read(number: int) -> bytes:
        stored = images[number][image_column]
        if stored is None:
            raise BadImageError("no image")
        return decode(stored)

    place = f"{options.path}:{options.split}"
    names = [f"{place}[{number}]" for number in range(len(data))]
    if not names:
        raise UserError(f"data.split={options.split} of {options.path} is empty: name another")
    wanted = options.condition
    if wanted is None and options.caption_column and not options.label_column:
        wanted = "caption"  # whoever names the column means it
        if not any(row.caption for row in annotations):
            raise UserError(
                f"data.caption_column={options.caption_column} of {options.path} holds no "
                f"captions, such as: {annotations[0].no_caption}: name another, or leave it out"
            )
    known = conditions(annotations, wanted, options.path, class_names)
    digest = hashlib.sha256(repr([row[:2] for row in annotations]).encode()).digest()
    several = any(isinstance(row.caption, Several) for row in annotations)
    others = set(data.features) - {image_column, *(weights if several else ())}
    notes = _notes(place, known, labels, captions, others)
    return Layout(options.path, names, *known, read=read, annotations=digest, notes=notes)


def _image_column(options: HubSource, data: Any) -> tuple[str, Reader]:
    """The column of images that is named, or the only one, and how to read it."""
    known, columns = image_columns(data.features), list(data.features)
    mend = "write the bytes of image files into a column, or cast it to datasets.Image()"
    chosen = options.image_column
    if chosen is not None:
        if chosen not in columns:
            raise unknown_name(f"data.image_column of {options.path}", chosen, columns)
        decode = column_reader(data.features, chosen)
        if decode is None:
            kind = str(data.features.arrow_schema.field(chosen).type)[:60]
            choices = f"choose among {', '.join(known)}" if known else mend
            raise UserError(
                f"data.image_column={chosen} of {options.path} holds no images, but {kind}: "
                f"{choices}"
            )
        return chosen, decode
    if not known:
        raise UserError(
            f"{options.path} has no column of images, only {', '.join(columns)}: name another "
            f"data set, or {mend}"
        )
    usual = [name for name in USUAL_NAMES if name in known]
    if len(known) > 1 and not usual:
        raise UserError(
            f"{options.path} has the image columns {', '.join(known)}: choose one with "
            "--data.image-column"
        )
    name = usual[0] if len(known) > 1 else next(iter(known))
    return name, known[name]


def _column(options: HubSource, data: Any, what: str, chosen: str | None, kind: type | None) -> str:
    """The column of that name or kind, or with a usual name; "" if there is none."""
    columns = list(data.features)
    if chosen is not None:
        if chosen not in columns:
            raise unknown_name(f"data.{what}_column of {options.path}", chosen, columns)
        return chosen
    of_kind = [name for name in columns if kind and isinstance(data.features[name], kind)]
    usual = LABEL_FIELDS if what == "label" else CAPTION_FIELDS
    named = keys_of(of_kind or columns, usual)
    if len(of_kind) == 1:
        return of_kind[0]
    if of_kind and not named:
        raise UserError(
            f"{options.path} has the {what} columns {', '.join(of_kind)}: choose one with "
            f"--data.{what}-column"
        )
    return named[0] if named else ""


def _notes(
    place: str, known: Conditions, labels: list[str], captions: list[str], columns: set[str]
) -> Notes:
    """columns: all but that of images."""
    others = sorted(columns - {*labels, *captions})
    return Notes(
        source(place, known, listed(labels, 3), listed(captions, 3)),
        unread=f"columns {listed(others, 5)}" if others else "",
    )


def _annotations(
    data: Any,
    labels: list[str],
    captions: list[str],
    weights: list[str],
    class_names: Sequence[str] | None,
) -> list[Annotation]:
    """The label and the caption of each image, in the first of these columns that gives one.

    weights: columns of the weights of several captions of an image.
    """

    def column(names: list[str]) -> Iterator[Any]:
        if not names:
            return itertools.repeat(None, len(data))
        table = data.select_columns(names).with_format("arrow")[:]  # in the order of the data
        return map(first_given, zip(*(table[name].to_pylist() for name in names), strict=True))

    rows = []
    columns = column(labels), column(captions), column(weights)
    for label, caption, weight in zip(*columns, strict=True):
        row = checked(label, caption, weight)
        if class_names is not None and row.label is not None:
            known = isinstance(row.label, int) and 0 <= row.label < len(class_names)
            if not known:
                row = row._replace(label=None, no_label=f"label {label} is no class")
        rows.append(row)
    return rows
