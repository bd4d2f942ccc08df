"""The data of a run, made again of what run.json says."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.data.source import DataSource
from patch_forcing.data.sources import (
    Digits,
    EmojiSource,
    EmojiTextSource,
    FolderSource,
    HubSource,
    LatentsSource,
    ShardsSource,
)
from patch_forcing.io.run_record import built

_KINDS: tuple[type, ...] = (
    Digits,
    EmojiSource,
    EmojiTextSource,
    FolderSource,
    ShardsSource,
    HubSource,
    LatentsSource,
)
BEFORE: dict[str, Any] = {
    "condition": None,
    "depth": 1,
    "held_out": 0.0,
    "template": [],
    "template_weights": [],
    "levels": None,
    "buckets": None,
}
"""What data were that were recorded before these fields were there."""


def recorded_source(run: Path, values: Mapping[str, Any]) -> DataSource:
    """The source of a run's data, of what its recipe in run.json says of them.

    Raises UserError if they came from Python, or if a field does not fit.
    """
    kinds = {kind.__name__: kind for kind in _KINDS}
    kind = kinds.get(values.get("kind", ""))
    if kind is None:
        raise UserError(
            f"{run} was trained on data that Python gave it: the same pf.train(…) resumes it"
        )
    names = [field.name for field in fields(kind)]
    older = {name: BEFORE[name] for name in names if name in BEFORE}
    given = {name: value for name, value in values.items() if name != "kind"}
    source: DataSource = built(kind, older | given, run)
    return source
