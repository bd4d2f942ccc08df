"""Names under which tables and JSON objects keep an image's file, its label and its caption.

Case, spaces, hyphens and underscores do not count: "File Name" is file_name.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

FILE_FIELDS = (
    "filename", "file", "filepath", "path", "image", "imagepath", "imagefile", "imagefilename",
    "imagefilepath", "imagename", "img", "imgpath", "imgfile", "imgname", "relativepath", "relpath",
    "imageid", "imgid", "key", "id",
)  # fmt: skip
_NUMBERS = ("imageid", "imgid", "key", "id")
"""Of these, names that may be whole numbers: 7 is 7.png."""
LABEL_FIELDS = (
    "label", "class", "cls", "classname", "labelname", "category", "categoryname", "target",
    "classid", "labelid", "categoryid", "classindex", "labelindex", "labels",
)  # fmt: skip
CAPTION_FIELDS = ("text", "caption", "prompt", "description", "captions")
TABLE_CAPTION_FIELDS = (*CAPTION_FIELDS, "title")
"""In tables. Beside an image, the title in a JSON object is often the file's name."""
WEIGHT_FIELDS = (
    "captionweights", "captionweight", "textweights", "textweight", "weights", "weight",
)  # fmt: skip
"""Of captions: how often each of several is shown."""


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """A field's name as it stands in the lists here."""
    return re.sub(r"[\W_]+", "", name).lower()


def keys_of(fields: Iterable[str], names: Sequence[str]) -> Sequence[str]:
    """What the fields of these names are called there, in the order of the names."""
    return _keys(tuple(fields), tuple(names))


@lru_cache(maxsize=4096)
def _keys(fields: tuple[str, ...], names: tuple[str, ...]) -> Sequence[str]:
    """Remembered, since rows of a table have the same fields."""
    by_name: dict[str, list[str]] = {}
    for key in fields:
        by_name.setdefault(canonical(key), []).append(key)
    return tuple(key for name in names for key in by_name.get(name, ()))


def first_given(values: Sequence[Any]) -> Any:
    """The first that is not missing. Nulls, NaN (a null of tables) and blank texts are."""
    return next((value for value in values if is_given(value)), values[0] if values else None)


def is_given(value: object) -> bool:
    """Whether it is neither null nor a blank text, nor a list of such."""
    if isinstance(value, list):
        return any(map(is_given, value))
    return not is_null(value) and bool(str(value).strip())


def is_null(value: object) -> bool:
    """Whether it is None, or NaN, a null of tables."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def file_of(fields: Mapping[str, Any]) -> str:
    """The name of the image's file; empty if there is none."""
    for key in keys_of(fields, FILE_FIELDS):
        value = fields[key]
        if isinstance(value, int) and canonical(key) in _NUMBERS and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip("/. "):
            return value
    return ""


def number_or_text(text: str) -> str | int:
    """A label that was written as text: 3 and 3.0 are the number 3."""
    number = re.fullmatch(r"\s*(-?[0-9]{1,18})(\.0)?\s*", text)
    return int(number[1]) if number else text
