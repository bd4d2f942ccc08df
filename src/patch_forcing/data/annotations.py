"""Labels and captions of images, and what is wrong with them."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from patch_forcing.core.errors import UserError
from patch_forcing.data.captions import NO_CAPTION, Caption, CaptionError, half, read_caption, shown
from patch_forcing.data.fields import (
    CAPTION_FIELDS,
    LABEL_FIELDS,
    WEIGHT_FIELDS,
    first_given,
    is_null,
    keys_of,
)
from patch_forcing.data.image_options import Condition

NO_LABEL = "no label"
"""There is none; any other reason is of a label that cannot be used."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Marks of byte order with which such a text begins, as some programs of Windows write it."""
ENOUGH_ANNOTATED = 0.5
"""Share of the images that must have a label, or a caption, for the data to be taken for such."""


class Annotation(NamedTuple):
    """The label and the caption of one image, which may have several texts.

    What is missing is None, which is bad only where the condition asks for it: no_label and
    no_caption say why. fault: why it is bad in any case, or empty.
    """

    label: str | int | None = None
    caption: Caption | None = None
    fault: str = ""
    no_label: str = NO_LABEL
    no_caption: str = NO_CAPTION


class Conditions(NamedTuple):
    """What is known of each image, and which part of it a model is conditioned on.

    class_names, labels: of classes, if these are the condition. captions: one for each image, empty
    where it has none; where classes are the condition they are kept beside it. faults: why images
    are bad whatever their pixels are, by number.
    """

    class_names: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    captions: tuple[Caption, ...] = ()
    faults: Mapping[int, str] = {}
    condition: Condition = "none"


def conditions(
    annotations: Sequence[Annotation],
    wanted: Condition | None,
    place: str,
    class_names: Sequence[str] | None = None,
) -> Conditions:
    """Labels as numbers, or captions, of images of `place`; what lacks one is at fault.

    wanted: None takes labels if half of the images or more have one, else captions likewise. Beside
    labels, captions that half of the images or more have are kept.
    class_names: of labels that are numbers already; None: whatever labels there are,
    in the order of `name_order`.
    Raises UserError if what is wanted is not there, or too rare to be meant.
    """
    count = len(annotations)
    num_labels = sum(row.label is not None for row in annotations)
    num_captions = sum(row.caption is not None for row in annotations)
    kind = wanted or inferred_condition(count, num_labels, num_captions, place)
    faults = {number: row.fault for number, row in enumerate(annotations) if row.fault}
    captions = tuple(row.caption or "" for row in annotations) if num_captions else ()
    if kind == "none":
        if wanted is None:
            _check_meant(annotations, place)
        return Conditions(faults=faults)
    if kind == "caption":
        if not captions:
            raise UserError(f"data.condition=caption: no image of {place} has one: choose none")
        missing = {n: row.no_caption for n, row in enumerate(annotations) if row.caption is None}
        return Conditions(captions=captions, faults=missing | faults, condition="caption")
    known = _classes(annotations, faults, place, class_names)
    keeps = wanted is None and num_captions >= ENOUGH_ANNOTATED * count
    return known._replace(captions=captions) if keeps else known


def _check_meant(annotations: Sequence[Annotation], place: str) -> None:
    """Raises UserError if there are labels, or captions, of which none can be used."""
    labels = (row.no_label for row in annotations if row.no_label != NO_LABEL)
    captions = (row.no_caption for row in annotations if row.no_caption != NO_CAPTION)
    for what, reasons in (("label", labels), ("caption", captions)):
        reason = next(reasons, None)
        if reason:  # it was meant: not to be dropped without a word
            raise UserError(
                f"no {what} of {place} can be used, such as: {reason}: mend them, or add "
                "--data.condition none"
            )


def _classes(
    annotations: Sequence[Annotation],
    faults: dict[int, str],
    place: str,
    class_names: Sequence[str] | None,
) -> Conditions:
    """Labels as numbers; faults are completed."""
    known = [row.label for row in annotations if row.label is not None and not row.fault]
    if not known:
        raise UserError(f"data.condition=class: no image of {place} has a label: choose none")
    names = tuple(
        sorted(set(map(str, known)), key=name_order) if class_names is None else class_names
    )
    numbers = {name: number for number, name in enumerate(names)}
    labels = []
    for number, row in enumerate(annotations):
        label = 0  # of what is bad, which is never looked at
        if row.label is None:
            faults.setdefault(number, row.no_label)
        elif not row.fault:
            label = numbers[str(row.label)] if class_names is None else int(row.label)
        labels.append(label)
    return Conditions(names, tuple(labels), faults=faults, condition="class")


def inferred_condition(count: int, labels: int, captions: int, place: str) -> Condition:
    """What `count` images are conditioned on, of which so many have a label or a caption."""
    counts: tuple[tuple[Condition, int], ...] = (("class", labels), ("caption", captions))
    for kind, many in counts:
        if many and many >= ENOUGH_ANNOTATED * count:
            return kind
    for kind, many in counts:
        if many:
            raise UserError(
                f"only {many} of {count} images of {place} have a "
                f"{'label' if kind == 'class' else kind}: add the others, or say which counts "
                "with --data.condition class, caption or none"
            )
    return "none"


def from_fields(fields: Mapping[str, Any], captions: Sequence[str] = CAPTION_FIELDS) -> Annotation:
    """What an object holds under the usual names; where one is missing, the next counts.

    captions: the usual names of captions.
    """
    label = first_given([fields[name] for name in keys_of(fields, LABEL_FIELDS)])
    caption = first_given([fields[name] for name in keys_of(fields, captions)])
    weights = first_given([fields[name] for name in keys_of(fields, WEIGHT_FIELDS)])
    return checked(label, caption, weights)


def checked(label: object = None, caption: object = None, weights: object = None) -> Annotation:
    """A label that is a whole number from 0 or a text with letters, a caption that is such a text,
    or a list of such (`read_caption`).

    A number below 0, of which -1 is the usual one, says that there is no label.
    """
    no_label = NO_LABEL
    label = None if is_null(label) else label
    if isinstance(label, float) and label.is_integer() and abs(label) < 2**53:
        label = int(label)  # of a column in which others are missing
    if isinstance(label, str):
        label, no_label = label.strip() or None, "empty label"
    elif label is not None and (not isinstance(label, int) or isinstance(label, bool)):
        label, no_label = None, f"label {shown(label)} is neither a whole number nor a text"
    if re.fullmatch(r"-[0-9]+", str(label)):
        label, no_label = None, f"label {label} is no class"
    if isinstance(label, str) and half(label):
        label, no_label = None, "half a character in the label"
    try:
        return Annotation(label, read_caption(caption, weights), "", no_label)
    except CaptionError as error:
        return Annotation(label, None, "", no_label, str(error))


def as_text(data: bytes) -> str:
    """UTF-8, or UTF-16 with a mark of byte order. Raises ValueError saying that it is neither."""
    try:
        return data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None


def as_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError saying that it is none."""
    try:
        fields = json.loads(as_text(data))
    except (json.JSONDecodeError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ValueError("is no JSON object")
    return fields


def name_order(name: str) -> tuple[bool, Decimal, str]:
    """The key by which class names are sorted: numbers by their value, then the others by text."""
    number = re.fullmatch(r"\s*([+-]?\d+(?:\.\d+)?)\s*", name)
    return number is None, Decimal(number[1] if number else 0), name
