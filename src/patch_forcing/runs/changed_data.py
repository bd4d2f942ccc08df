"""Whether a run goes on with the data with which it began, and what it may go on with instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError

CONTENTS = {"found.contents", "found.latents"}
"""Facts by which data are known wherever they lie."""
_ADDED = {"found.contents"}
"""Facts that runs did not record which were begun before these were there."""
_OF_IMAGES = (
    "found.images",
    "found.names",
    "found.contents",
    "found.held_out.",
    "found.buckets.",
)
_CLASS = "found.classes."


def may_have_moved(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether these facts tell the same data under another path from others."""
    return any(field in then and field in now for field in CONTENTS)


def check_facts(
    run: Path, then: Mapping[str, Any], now: Mapping[str, Any], *, allow: bool
) -> dict[str, Any]:
    """How the data changed, by fact: what it was and is; empty if it did not.

    then, now: facts by dotted names. allow: whether images may be added or removed.
    Raises UserError naming the first fact that may not differ, and does.
    """
    changes = {}
    gone = [field for field in then if field.startswith(_CLASS) and field not in now]
    for field in [*now, *gone]:
        old, new = then.get(field), now.get(field)
        if old == new or (field in _ADDED and field not in then):
            continue
        what = f"the data changed since {run} began: {field} was {old!r}, now it is {new!r}"
        if not allow:
            raise UserError(
                f"{what}: put back what was there to resume, go on with it by "
                "--allow-changed-data, or choose another --out"
            )
        if field.startswith(_CLASS) and field not in then:
            raise UserError(
                f"{field.removeprefix(_CLASS)} is no class of {run}, whose model has no place for "
                f"it: remove it, or begin another run with --init-from {run}"
            )
        if field in gone or not field.startswith((*_OF_IMAGES, _CLASS)):
            raise UserError(f"{what}: only images may be added or removed: choose another --out")
        changes[field.removeprefix("found.")] = [old, new]
    return changes
