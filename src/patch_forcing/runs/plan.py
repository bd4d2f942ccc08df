"""What a run on images becomes where the user leaves it open: a warm start, sizes, steps.

On a laptop a network that learns from nothing shows blobs after half an hour; one that starts from
a model of this library, drawings in minutes. So without a GPU that is what a run is, if nothing
else is said.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.image_options import ImageOptions
from patch_forcing.generation.find import find_model
from patch_forcing.io.run_layout import checkpoints, is_run_folder
from patch_forcing.io.run_record import built, read_record
from patch_forcing.models.config import PatchDiTConfig, Recommended
from patch_forcing.models.cost import matrix_rate
from patch_forcing.models.folder import read_config
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.init import check_start
from patch_forcing.runs.named_recipe import NamedRecipe
from patch_forcing.runs.recipe import SCRATCH, Network, Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.texts import with_texts
from patch_forcing.training.options import OptimizerConfig

USUAL_START = "emoji-64"
"""Of colour images: the bundled model that has seen most."""
USUAL_MINUTES = 20.0
"""Without a GPU, unless steps or minutes are given."""
SHARE = 0.9
"""Of the time for steps; the rest goes into sheets, held-out losses and checkpoints."""
MIN_STEPS, MAX_STEPS = 20, 1_000_000
_WARM, _TIMED, _MOST_TIMED, _TIMING = 3, 3, 6, 8.0
"""Steps before the clock starts, and under it: so many, and more for that many seconds."""
WARM_START: dict[str, Any] = {
    "optimizer": OptimizerConfig(lr=5e-4, warmup_steps=20, betas=(0.9, 0.99)),
    "ema_decay": 0.99,
    "snapshot_every": 0,
    "recommended": Recommended(guidance_scale=3.0, guidance_interval=(0.1, 0.8)),
}
"""Of a network that can draw already: steps as large as from nothing would make it forget. Averages
of other lengths are not worth their disk in minutes. More guidance than a model of long training
needs: classes that have been seen for minutes are told apart by it."""
_TIMES_KEPT, _TIMES_SHOWN, _LINES = 5, 5, 40
"""Checkpoints, sheets and, at least, lines of a run whose steps follow from the time."""


@dataclass(frozen=True)
class Plan:
    """A run in full; notes: what was chosen, one sentence each, with the way out.

    Raises UserError if a head alone is to be trained, and no model is named.
    """

    recipe: Recipe
    init_from: str | None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_start(self.recipe.train_only, self.init_from)


def plan_run(
    recipe: Recipe,
    named: NamedRecipe,
    run: Path,
    device: torch.device | str,
    init_from: str | None = None,
    minutes: float | None = None,
    step_seconds: Callable[[Recipe, str], float] | None = None,
) -> Plan:
    """What the recipe leaves as `named` has it is chosen, for this data, device and time.

    A run that goes on in the folder stays as it was begun. Of recipes that do not adapt nothing but
    the steps is chosen, if minutes are given; of several processes, which measure differently, not
    even these.
    init_from: a model, SCRATCH for none, or None for what suits. minutes: for all steps.
    step_seconds: how long one takes on a device; `measured_seconds` if left out.
    Raises UserError if the model does not fit, or if minutes are given beside steps or to several.
    """
    usual, chosen = named.recipe, None if init_from == SCRATCH else init_from
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if minutes is not None:
        check_range("--minutes", minutes, above=0)
        if several:  # each would measure other seconds
            raise UserError(f"--minutes {minutes:g} with several processes: give --steps")
        if recipe.steps != usual.steps:
            raise UserError(
                f"--minutes {minutes:g} with --steps {recipe.steps}: leave one of the two out"
            )
    if not named.adapts and minutes is None:
        return Plan(recipe, chosen)
    if is_run_folder(run) and checkpoints(run):
        return _as_begun(recipe, usual, run, init_from)
    on_laptop = named.adapts and torch.device(device).type == "cpu" and not several
    notes: list[str] = []
    if init_from is None and on_laptop and recipe.network == usual.network:
        chosen = _usual_start(recipe)
        if chosen is not None:
            notes.append(f"no GPU: starts from {chosen}; --init-from none: from scratch")
    if named.adapts and chosen is not None:
        recipe = _in_sizes_of(recipe, usual, chosen)
    if minutes is None and on_laptop and recipe.steps == usual.steps:
        minutes = USUAL_MINUTES
    if minutes is not None:
        seconds = (step_seconds or measured_seconds)(recipe, str(device))
        recipe, note = _steps_for(recipe, usual, minutes, seconds)
        notes.append(note)
    return Plan(recipe, chosen, tuple(notes))


def _as_begun(recipe: Recipe, usual: Recipe, run: Path, init_from: str | None) -> Plan:
    """What is left open is as the run was begun; so is the model that it started from."""
    record = read_record(run)
    before = record["recipe"]
    network = _filled(recipe.network, usual.network, before["network"])
    optimizer = recipe.optimizer
    if optimizer == usual.optimizer:
        optimizer = built(OptimizerConfig, before["optimizer"], run)
    recommended = recipe.recommended
    if recommended == usual.recommended and "recommended" in before:
        recommended = built(Recommended, before["recommended"], run)
    names = (
        "ema_decay",
        "snapshot_every",
        "steps",
        "checkpoint_every",
        "sample_every",
        "log_every",
    )
    others = {name: before[name] for name in names if getattr(recipe, name) == getattr(usual, name)}
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "recommended": recommended}
    recipe = replace(recipe, **parts, **others)
    recipe = _with_images(recipe, before["data"].get("size"), before["data"].get("channels"))
    begun = record.get("init_from", {}).get("model")
    return Plan(recipe, begun if init_from is None else None if init_from == SCRATCH else init_from)


def _usual_start(recipe: Recipe) -> str | None:
    """The bundled model that these images suit, if there is one."""
    model = read_config(find_model(USUAL_START))
    sizes, source = PatchDiTConfig(**model.sizes), recipe.data
    if not isinstance(source, ImageOptions) or source.size not in (None, sizes.image_size[0]):
        return None
    return USUAL_START if source.open().shape[0] == sizes.in_channels else None


def _in_sizes_of(recipe: Recipe, usual: Recipe, name: str) -> Recipe:
    """What is left open takes the model's sizes, and settings for weights that know something."""
    sizes = read_config(find_model(name)).sizes
    network = _filled(recipe.network, usual.network, sizes)
    if recipe.train_only == "difficulty":  # of a model that may have no such head
        network = replace(network, predict_difficulty=True)
    others = {
        key: value
        for key, value in WARM_START.items()
        if getattr(recipe, key) == getattr(usual, key)
    }
    height, width = PatchDiTConfig(**sizes).image_size
    size = height if height == width else None
    recipe = replace(recipe, network=network, **others)
    return _with_images(recipe, size, sizes["in_channels"])


def _filled(network: Network, usual: Network, sizes: dict[str, Any]) -> Network:
    """A network whose open fields are these."""
    names = [field.name for field in fields(Network)]
    return replace(
        network,
        **{
            name: sizes[name]
            for name in names
            if name in sizes and getattr(network, name) == getattr(usual, name)
        },
    )


def _with_images(recipe: Recipe, size: int | None, channels: int | None) -> Recipe:
    """Images of this size and so many channels, where the recipe leaves it open."""
    source: Any = recipe.data
    if not isinstance(source, ImageOptions):
        return recipe
    size = size if source.size is None else source.size
    known: Any = channels if channels in (1, 3) and source.channels is None else source.channels
    return replace(recipe, data=replace(source, size=size, channels=known))


def _steps_for(recipe: Recipe, usual: Recipe, minutes: float, seconds: float) -> tuple[Recipe, str]:
    """As many steps of these seconds as the time allows, and one sentence about them."""
    steps = min(max(MIN_STEPS, int(SHARE * 60 * minutes / seconds)), MAX_STEPS)
    changes: dict[str, Any] = {"steps": steps}
    if recipe.checkpoint_every == usual.checkpoint_every:
        changes["checkpoint_every"] = max(1, steps // _TIMES_KEPT)
    if recipe.sample_every == usual.sample_every:
        changes["sample_every"] = max(1, steps // _TIMES_SHOWN)
    if recipe.log_every == usual.log_every:
        changes["log_every"] = min(usual.log_every, max(1, steps // _LINES))
    note = (
        f"{steps} steps of {seconds:.2g} s fit into {minutes:g} minutes: --minutes or --steps "
        "change that"
    )
    needed = steps * seconds / SHARE / 60
    if needed > 1.05 * minutes:  # the fewest steps that are planned are more than fit
        note = (
            f"{steps} steps of {seconds:.2g} s take {needed:.1f} minutes, more than the "
            f"{minutes:g} given, and are the fewest planned: --steps sets fewer"
        )
    return replace(recipe, **changes), note


def measured_seconds(recipe: Recipe, device: str) -> float:
    """Of a step: the median of a few, of a network that is thrown away."""
    data = with_texts(recipe, recipe.data.open(), device)
    step = TrainStep(initial_state(recipe, data, device), recipe, device)
    batch = data.batch(BatchSpec(0, recipe.batch_size, recipe.seed), device)
    seconds: list[float] = []
    with side_stream(device):  # as in training, where the step is recorded from it
        for number in range(_WARM + _MOST_TIMED):
            if number >= _WARM + _TIMED and sum(seconds) > _TIMING:
                break
            begun = time.perf_counter()
            step(batch, number)
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
    step.close()
    return statistics.median(seconds[_WARM:])


def estimated_seconds(recipe: Recipe, device: str) -> float:
    """Of a step, from its operations and the rate of a product: good to a factor of two."""
    rate = matrix_rate(device, torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    data = with_texts(recipe, recipe.data.open())
    return 3600 * estimate(replace(recipe, steps=1), data, rate).hours
