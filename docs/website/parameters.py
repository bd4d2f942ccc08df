"""Lists the parameters that a docstring explains, for the reference.

The docstrings of the library say `name: what it is.` within their text, so that they are short in
an editor. On a page each name begins a line of a list.
"""

import re
import textwrap
from typing import Any

import griffe

RAISES = re.compile(r"(?:^|(?<=[.;] )|(?<=\n))(?=Raises [A-Z])")


class Parameters(griffe.Extension):
    """An extension of griffe, which reads the source for mkdocstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every function, class and module."""
        if obj.docstring is None:
            return
        names = {part.lstrip("*") for part in _names(obj)} - {"self", "cls"}
        obj.docstring.value = listed(obj.docstring.value, names)


def listed(text: str, names: set[str]) -> str:
    """The text of a docstring with what it says of these names as a list, and its code fenced."""
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith("    "):
            blocks.append(f"```python\n{textwrap.dedent(block)}\n```")
        else:
            blocks.append(_with_list(block, names))
    return "\n\n".join(blocks)


def _with_list(text: str, names: set[str]) -> str:
    text = re.sub(r"(?<=\])\[", r"\\[", text)  # Markdown would take [a]["b"] for a link
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    item = rf"(?:^|(?<=[.;] )|(?<=\n))((?:{known})(?:,\s(?:{known}))*):\s"
    first, *rest = re.split(rf"{item}|{RAISES.pattern}", text)
    parts = [first.strip()]
    for name, meaning in zip(rest[::2], rest[1::2], strict=True):
        meaning = " ".join(meaning.split())
        parts.append(f"- **{_plain(name)}**: {meaning}" if name else meaning)
    lines = "\n".join(part if part.startswith("- ") else f"\n{part}\n" for part in parts)
    return lines.strip("\n")


def _plain(name: str) -> str:
    return " ".join(name.split()).replace("_", r"\_")


def _names(obj: griffe.Object) -> list[str]:
    """What a docstring may explain: parameters, and the attributes of a class."""
    if isinstance(obj, griffe.Function):
        return [parameter.name for parameter in obj.parameters]
    if isinstance(obj, griffe.Class):
        return [*obj.attributes, *(parameter.name for parameter in obj.parameters)]
    return []
