"""Runs started from Python: a recipe, and data that may be a folder or any torch Dataset."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.data.batch import TrainingData
from patch_forcing.data.given import GivenSource
from patch_forcing.data.image_options import ImageOptions
from patch_forcing.data.source import DataSource
from patch_forcing.data.sources import FolderSource
from patch_forcing.data.torch_dataset import DatasetData
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.io.run_metrics import read_metrics
from patch_forcing.runs.loop import Outcome
from patch_forcing.runs.named_recipe import NamedRecipe
from patch_forcing.runs.plan import plan_run
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.recipes import find_recipe
from patch_forcing.runs.trainer import train as train_recipe

T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)
CUSTOM = "custom"
"""What run.json calls a recipe that was given without a name."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that got to its last step: its folder, and how it went."""

    folder: Path
    outcome: Outcome

    def pipeline(self, device: torch.device | str = "cpu") -> Pipeline:
        """Of its averaged weights."""
        return load(self.folder, device)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_metrics(self.folder)


def train(
    recipe: str | Recipe,
    data: Any = None,
    out: str | Path | None = None,
    *,
    device: torch.device | str | None = None,
    init_from: str | None = None,
    minutes: float | None = None,
    track: Sequence[str] = (),
    encoder: FeatureNetwork | None = None,
    progress: bool | None = None,
    allow_changed_data: bool = False,
    **options: Any,
) -> FinishedRun:
    """Train a recipe, or go on with the run in `out`, as `patch-forcing train` does.

        run = pf.train("folder", data=dataset, out="runs/mine", steps=500, network={"depth": 4})
        run.pipeline()(labels=[0, 1], seeds=[0, 1])

    recipe: a name of `patch-forcing train --list`, or a Recipe.
    data: None, the recipe's own; a path, as --data.path takes it; a map-style torch Dataset of
    (image, condition), of which DatasetData says what fits; or opened TrainingData.
    out: run folder; by default runs/NAME. device: by default a CUDA GPU if there is one.
    init_from: a model to start from; "none": from scratch. minutes: in place of steps. As with the
    command, a recipe of images on a CPU chooses both where nothing is said (runs/plan.py).
    encoder: what the recipe's alignment calls its encoder. options: fields of the recipe; those of
    network, optimizer and alignment as mappings. The rest is as in TrainingRun.
    Raises UserError for what the user can mend; Interrupted, a KeyboardInterrupt, after Ctrl-C or a
    signal, with a checkpoint saved, from which the same call goes on.
    """
    name = CUSTOM if isinstance(recipe, Recipe) else recipe
    named = NamedRecipe(recipe, "", "") if isinstance(recipe, Recipe) else find_recipe(recipe)
    source = named.recipe.data if data is None else _source(data, named.recipe.data)
    named = replace(named, adapts=named.adapts and isinstance(source, ImageOptions))
    given = _changed("recipe", replace(named.recipe, data=source), options)
    folder = Path("runs") / name if out is None else Path(out)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = plan_run(given, named, folder, device, init_from, minutes, say=_LOGGER.info)
    outcome = train_recipe(
        name,
        plan.recipe,
        folder,
        device=device,
        progress=progress,
        track=[track] if isinstance(track, str) else track,
        init_from=plan.init_from,
        encoder=encoder,
        allow_changed_data=allow_changed_data,
    )
    return FinishedRun(folder, outcome)


def _source(data: Any, own: DataSource) -> DataSource:
    """What a user gave as data, as a recipe's source. own: of the recipe without it."""
    if isinstance(data, str | Path):
        if is_dataclass(own) and any(field.name == "path" for field in fields(own)):
            return replace(own, path=str(data))
        return FolderSource(path=str(data))
    if isinstance(data, DataSource) and is_dataclass(data):
        return data
    return GivenSource(data if isinstance(data, TrainingData) else DatasetData(data))


def _changed(kind: str, settings: T, options: Mapping[str, Any]) -> T:
    """A frozen dataclass with other values; a mapping changes fields of a field.

    Raises UserError naming the nearest field, or the value that does not fit.
    """
    values = {}
    known = [field.name for field in fields(settings)]  # type: ignore[arg-type]
    for name, value in options.items():
        if name not in known:
            raise unknown_name(f"field of the {kind}", name, known)
        nested = isinstance(value, Mapping) and is_dataclass(getattr(settings, name))
        values[name] = _changed(name, getattr(settings, name), value) if nested else value
    try:
        return replace(settings, **values)  # type: ignore[type-var]
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{kind}: {values} do not fit ({reason}): see its fields") from None
