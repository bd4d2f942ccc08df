"""The lists by which a folder of samples is known: samples.json, and what precedes it."""

import json
from pathlib import Path
from typing import Any

ROWS, BEGUN = "samples.json", ".samples-begun.json"
"""Samples that are there, and those that are being made."""
_FIRST_ROW = 2**16
"""Characters in which the first row ends."""


def is_sample_row(row: Any) -> bool:
    """Whether it is a row of samples.json, as `sample` writes it."""
    return isinstance(row, dict) and {"seed", "sampler", "model_hash"} <= row.keys()


def holds_own_samples(path: Path) -> bool:
    """Whether `sample` wrote into the folder: by the first row, of which there may be many."""
    if (path / BEGUN).is_file():
        return True
    try:
        with (path / ROWS).open(encoding="utf-8") as stream:
            text = stream.read(_FIRST_ROW)
        row, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except (OSError, ValueError, RecursionError):
        return False
    return is_sample_row(row)
