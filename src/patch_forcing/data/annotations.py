"""What is said of images beside their pixels: labels and captions, and what is wrong with them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from patch_forcing.core.errors import UserError

Condition = Literal["class", "caption", "none"]
LABEL_FIELDS = ("label", "class", "cls")
CAPTION_FIELDS = ("text", "caption")
NO_LABEL = "no label"
"""Nothing was said; any other reason is of a label that cannot be used."""
ENOUGH = 0.5
"""Share of the images that must have a label, or a caption, for the data to be taken for such."""


class Annotation(NamedTuple):
    """What is said of one image.

    What is missing is None, which is bad only where the condition asks for it: no_label and
    no_caption say why. fault: why it is bad in any case, or empty.
    """

    label: str | int | None = None
    caption: str | None = None
    fault: str = ""
    no_label: str = NO_LABEL
    no_caption: str = "no caption"


class Conditions(NamedTuple):
    """What a model may be told of each image: labels or captions or neither, as Layout has them."""

    class_names: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    faults: Mapping[int, str] = {}


def conditions(
    annotations: Sequence[Annotation],
    wanted: Condition | None,
    place: str,
    class_names: Sequence[str] | None = None,
) -> Conditions:
    """Labels as numbers, or captions, of images of `place`; what lacks one is at fault.

    wanted: None takes labels if half of the images or more have one, else captions likewise.
    class_names: of labels that are numbers already; None: whatever labels there are, sorted.
    Raises UserError if what is wanted is not there, or too rare to be meant.
    """
    kind = wanted or inferred_condition(
        len(annotations),
        sum(said.label is not None for said in annotations),
        sum(said.caption is not None for said in annotations),
        place,
    )
    faults = {number: said.fault for number, said in enumerate(annotations) if said.fault}
    if kind == "none":
        unusable = next((s.no_label for s in annotations if s.no_label != NO_LABEL), None)
        if wanted is None and unusable:  # labels were meant: not to be dropped without a word
            raise UserError(
                f"no label of {place} can be used, such as: {unusable}: mend them, or add "
                "--data.condition none"
            )
        return Conditions(faults=faults)
    if kind == "caption":
        if not any(said.caption for said in annotations):
            raise UserError(f"data.condition=caption: no image of {place} has one: choose none")
        missing = {n: said.no_caption for n, said in enumerate(annotations) if said.caption is None}
        captions = tuple(said.caption or "" for said in annotations)
        return Conditions(captions=captions, faults=missing | faults)
    known = [said.label for said in annotations if said.label is not None and not said.fault]
    if not known:
        raise UserError(f"data.condition=class: no image of {place} has a label: choose none")
    names = tuple(_sorted_names(known) if class_names is None else class_names)
    numbers = {name: number for number, name in enumerate(names)}
    labels = []
    for number, said in enumerate(annotations):
        label = 0  # of what is bad, which is never looked at
        if said.label is None:
            faults.setdefault(number, said.no_label)
        elif not said.fault:
            label = numbers[str(said.label)] if class_names is None else int(said.label)
        labels.append(label)
    return Conditions(names, tuple(labels), (), faults)


def inferred_condition(count: int, labels: int, captions: int, place: str) -> Condition:
    """What `count` images are conditioned on, of which so many have a label or a caption."""
    found: tuple[tuple[Condition, int], ...] = (("class", labels), ("caption", captions))
    for kind, many in found:
        if many and many >= ENOUGH * count:
            return kind
    for kind, many in found:
        if many:
            raise UserError(
                f"only {many} of {count} images of {place} have a "
                f"{'label' if kind == 'class' else kind}: add the others, or say which counts "
                "with --data.condition class, caption or none"
            )
    return "none"


def from_fields(fields: Mapping[str, Any]) -> Annotation:
    """What a JSON object says, under the names that are usual; a null is missing."""
    label = next((fields[name] for name in LABEL_FIELDS if name in fields), None)
    caption = next((fields[name] for name in CAPTION_FIELDS if name in fields), None)
    return checked(label, caption)


def checked(label: object = None, caption: object = None) -> Annotation:
    """A label that is a whole number or a text with letters, a caption that is such a text."""
    no_label, no_caption = NO_LABEL, "no caption"
    if isinstance(label, str):
        label, no_label = label.strip() or None, "empty label"
    elif label is not None and (not isinstance(label, int) or isinstance(label, bool)):
        label, no_label = None, f"label {_shown(label)} is neither a whole number nor a text"
    if isinstance(caption, str):
        caption, no_caption = caption.strip() or None, "empty caption"
    elif caption is not None:
        caption, no_caption = None, f"caption {_shown(caption)} is no text"
    if isinstance(label, str) and _half(label):
        label, no_label = None, "half a character in the label"
    if caption is not None and _half(caption):
        caption, no_caption = None, "half a character in the caption"
    return Annotation(label, caption, "", no_label, no_caption)


def as_text(data: bytes) -> str:
    """UTF-8, a mark of byte order left out. Raises ValueError saying that it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None


def as_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError saying that it is none."""
    try:
        found = json.loads(as_text(data))
    except (json.JSONDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    return found


def _sorted_names(labels: Sequence[str | int]) -> list[str]:
    """Each once: by number if all are numbers, else by text."""
    if all(isinstance(label, int) for label in labels):
        return [str(number) for number in sorted({int(label) for label in labels})]
    return sorted({str(label) for label in labels})


def _half(text: str) -> bool:
    """Whether it cannot be written down: JSON may hold one of the two halves of a character."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"
