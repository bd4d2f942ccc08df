"""A recipe's data, opened as they were when the run that goes on in a folder began."""

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from patch_forcing.data.batch import HoldsOut, OrdersClasses, TrainingData
from patch_forcing.data.image_options import ImageOptions
from patch_forcing.io.run_layout import checkpoints, is_run_folder
from patch_forcing.io.run_record import read_record
from patch_forcing.runs.changed_recipe import BEFORE
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.texts import with_texts


def open_data(
    run: Path,
    recipe: Recipe,
    allow_changed_data: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[Recipe, TrainingData]:
    """The recipe with the share of images held out in full, and its data.

    A run that goes on keeps its share, and its classes keep their numbers. allow_changed_data: its
    size and channels, too, which other images may suit less. device: where captions are read.
    """
    goes_on = is_run_folder(run) and bool(checkpoints(run))
    record = read_record(run) if goes_on else {}
    source: Any = recipe.data
    chooses = is_dataclass(source) and getattr(source, "held_out", 0.0) is None
    if chooses and goes_on:
        before = record["recipe"].get("data")
        share = before.get("held_out") if isinstance(before, dict) else None
        source = replace(source, held_out=BEFORE["data.held_out"] if share is None else share)
    recorded_data, shape = record.get("found", {}), dict[str, Any]()
    if allow_changed_data and isinstance(source, ImageOptions):
        shape = {
            name: recorded_data[name] for name in ("size", "channels") if name in recorded_data
        }
    data: TrainingData = replace(source, **shape).open() if shape else source.open()
    if chooses and not goes_on and isinstance(data, HoldsOut):
        source = replace(source, held_out=data.held_out_share)
    classes = recorded_data.get("classes")
    if isinstance(classes, dict) and isinstance(data, OrdersClasses):
        data = data.in_recorded_order(list(classes))
    return replace(recipe, data=source), with_texts(recipe, data, device)
