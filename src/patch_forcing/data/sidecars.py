"""Files beside an image that say what it shows: KEY.txt, KEY.caption, KEY.cls, KEY.json.

One rule for folders and for tar files. KEY.cls is a whole number, as WebDataset has it. What else
a kind is follows from the names of fields: KEY.label holds a label, a number or a name, and
KEY.prompt a caption. KEY.caption.txt is KEY.caption, KEY.png.txt is KEY.txt.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from patch_forcing.data.annotations import Annotation, as_object, as_text, checked, from_fields
from patch_forcing.data.fields import CAPTION_FIELDS, LABEL_FIELDS, canonical, number_or_text
from patch_forcing.data.image_kinds import ending, is_image_name, may_be_image

MAX_TEXT = 2**20
"""Bytes of a label or a caption; what has more is none."""
_TEXTS = (".json", ".xml", ".yaml", ".yml", ".md", ".csv", ".ini")
"""Endings of files, known not to be images, that may tell something of one."""
Role = Literal["json", "caption", "label"]


class Sidecar(NamedTuple):
    """kind: what follows the image's KEY and a dot. read: may raise ValueError that says why."""

    kind: str
    read: Callable[[], bytes]


@lru_cache(maxsize=4096)
def role(kind: str) -> Role | None:
    """What a file of this kind says of the image beside which it lies, or None."""
    field, dot, last = kind.lower().rpartition(".")
    if not dot:
        if last in ("json", "txt", "cap"):
            return "json" if last == "json" else "caption"
        field = last
    elif last != "txt":
        return None
    if "." in field:
        return None
    if canonical(field) in CAPTION_FIELDS or (dot and is_image_name(f"x.{field}")):
        return "caption"
    return "label" if canonical(field) in LABEL_FIELDS else None


def may_tell(kind: str) -> bool:
    """Whether a file of a kind without a role may hold labels or captions all the same."""
    name = f"x.{kind}"
    return ending(name) in _TEXTS or may_be_image(name)


def annotate(sidecars: Iterable[Sidecar]) -> Annotation:
    """What they say together; files of one text say more precisely what a JSON object says too.

    Two of one role have to agree.
    """
    by_role: dict[Role | None, list[Sidecar]] = {}
    for sidecar in sidecars:
        by_role.setdefault(role(sidecar.kind), []).append(sidecar)
    annotation = Annotation()
    for one in by_role.get("json", ()):
        annotation = _of_json(one)
    if "caption" in by_role:
        read = _agreed(by_role["caption"], _caption)
        annotation = annotation._replace(caption=read.caption, no_caption=read.no_caption)
    if "label" in by_role:
        read = _agreed(by_role["label"], _label)
        annotation = annotation._replace(label=read.label, no_label=read.no_label)
    return annotation


def _agreed(sidecars: list[Sidecar], read: Callable[[Sidecar], Annotation]) -> Annotation:
    """What the sound ones say, if it is the same; else why there is nothing."""
    rows = [read(sidecar) for sidecar in sidecars]
    sound = [row for row in rows if (row.label, row.caption) != (None, None)]
    if len({row[:2] for row in sound}) <= 1:
        return (sound or rows)[0]
    why = "its " + " and ".join(f".{sidecar.kind}" for sidecar in sidecars) + " differ"
    return Annotation(no_label=why, no_caption=why)


def _of_json(sidecar: Sidecar) -> Annotation:
    try:
        return from_fields(as_object(sidecar.read()))
    except ValueError as error:
        why = _reason(sidecar, error)
        return Annotation(no_label=why, no_caption=why)


def _caption(sidecar: Sidecar) -> Annotation:
    try:
        return checked(caption=_text(sidecar))
    except ValueError as error:
        return Annotation(no_caption=_reason(sidecar, error))


def _label(sidecar: Sidecar) -> Annotation:
    try:
        text = _text(sidecar)
        if sidecar.kind.lower() == "cls" and not text.strip().isdecimal():
            raise ValueError("is no whole number (for a name: .label)")
        if "\n" in text.strip():
            raise ValueError("has more than one line")
        return checked(label=number_or_text(text))
    except ValueError as error:
        return Annotation(no_label=_reason(sidecar, error))


def _text(sidecar: Sidecar) -> str:
    text = as_text(sidecar.read())
    if "\0" in text:
        raise ValueError("holds zeros")
    return text


def _reason(sidecar: Sidecar, error: ValueError) -> str:
    return f"its .{sidecar.kind} {str(error)[:80]}"
