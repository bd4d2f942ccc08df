"""What a run on images becomes where the user leaves it open: a warm start, sizes, steps.

On a laptop a network that learns from nothing shows blobs after half an hour; one that starts from
a model of this library, drawings in minutes. So without a GPU that is what a run is, if nothing
else is said.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from patch_forcing.data.image_options import ImageOptions
from patch_forcing.generation.find import find_model
from patch_forcing.io.run_layout import checkpoints, is_run_folder
from patch_forcing.io.run_record import built, read_record
from patch_forcing.models.config import PatchDiTConfig, Recommended
from patch_forcing.models.folder import read_config
from patch_forcing.runs.init import check_start
from patch_forcing.runs.named_recipe import NamedRecipe
from patch_forcing.runs.recipe import SCRATCH, Network, Recipe
from patch_forcing.runs.time_budget import Costs, estimated_costs, fitting, measured_costs
from patch_forcing.training.options import OptimizerConfig
from patch_forcing.views.progress import duration

USUAL_START = "emoji-64"
"""Of colour images: the bundled model that has seen most."""
USUAL_MINUTES = 20.0
"""Without a GPU, unless steps or minutes are given."""
WARM_START: dict[str, Any] = {
    "optimizer": OptimizerConfig(lr=5e-4, warmup_steps=20, betas=(0.9, 0.99)),
    "ema_decay": 0.99,
    "snapshot_every": 0,
    "recommended": Recommended(guidance_scale=3.0, guidance_interval=(0.1, 0.8)),
}
"""Of a network that can draw already: steps as large as from nothing would make it forget. Averages
of other lengths are not worth their disk in minutes. More guidance than a model of long training
needs: classes that have been seen for minutes are told apart by it."""


@dataclass(frozen=True)
class Plan:
    """A run in full. seconds: of the whole command, where the steps follow from a time.

    Raises UserError if a head alone is to be trained, and no model is named.
    """

    recipe: Recipe
    init_from: str | None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_start(self.recipe.train_only, self.init_from)


def plan_run(
    recipe: Recipe,
    named: NamedRecipe,
    run: Path,
    device: torch.device | str,
    init_from: str | None = None,
    minutes: float | None = None,
    *,
    say: Callable[[str], object] = lambda _: None,
    measured: bool = True,
) -> Plan:
    """What the recipe leaves as `named` has it is chosen, for this data, device and time.

    A run that goes on in the folder stays as it was begun. Of recipes that do not adapt nothing but
    the steps is chosen, if minutes are given; of several processes, which measure differently, not
    even these.
    init_from: a model, SCRATCH for none, or None for what suits. minutes: from now until the run is
    at its end. say: told at once what is chosen and done, one sentence each, with the way out.
    measured: whether a few steps are timed, or their seconds estimated.
    Raises UserError if the model does not fit, or if minutes are given beside steps or to several.
    """
    begun = time.perf_counter()
    usual, chosen = named.recipe, None if init_from == SCRATCH else init_from
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    if minutes is not None:
        named.check_minutes(minutes, recipe, several=several)
    if not named.adapts and minutes is None:
        return Plan(recipe, chosen)
    if is_run_folder(run) and checkpoints(run):
        return _as_begun(recipe, usual, run, init_from)
    words: list[str] = []  # said once nothing can be wrong any more: a mistake is one line

    def say_all() -> None:
        for line in words:
            say(line)

    on_laptop = named.adapts and torch.device(device).type == "cpu" and not several
    if init_from is None and on_laptop and recipe.network == usual.network:
        source: Any = recipe.data
        start = usual_start(source, source.open().shape[0])
        if start is not None:
            chosen = start[0]
            words.append(f"no GPU: starts from {chosen}; --init-from none: from scratch")
    if named.adapts and chosen is not None:
        recipe = _in_sizes_of(recipe, usual, chosen)
    if minutes is None and on_laptop and recipe.steps == usual.steps:
        minutes = USUAL_MINUTES
    if minutes is None:
        say_all()
        return Plan(recipe, chosen)
    if measured:
        given = minutes_in_words(minutes)
        words.append(f"timing a few steps, to see how many fit into {given} ...")
        costs = measured_costs(recipe, str(device), say_all)
    else:
        costs = estimated_costs(recipe, str(device))
        say_all()
    recipe, seconds = _in_time(recipe, usual, minutes, costs, time.perf_counter() - begun, say)
    return Plan(recipe, chosen, seconds)


def _in_time(
    recipe: Recipe,
    usual: Recipe,
    minutes: float,
    costs: Costs,
    spent: float,
    say: Callable[[str], object],
) -> tuple[Recipe, float]:
    """With the steps that fit into what is left after the seconds spent, and seconds in all."""
    recipe = fitting(recipe, usual, 60 * minutes - spent, costs)
    seconds = spent + costs.of_run(recipe)
    say(steps_in_words(recipe.steps, costs.step, seconds, minutes))
    return recipe, seconds


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


def usual_start(source: object, channels: int) -> tuple[str, int] | None:
    """The bundled model that training on such images starts from without a GPU, and its side.

    channels: of the images as they are read. None: nothing suits them.
    """
    sizes = PatchDiTConfig(**read_config(find_model(USUAL_START)).sizes)
    side = sizes.image_size[0]
    if not isinstance(source, ImageOptions) or source.size not in (None, side):
        return None
    return (USUAL_START, side) if channels == sizes.in_channels else None


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


def steps_in_words(steps: int, step: float, seconds: float, minutes: float) -> str:
    """What fits into the minutes given, or does not, with the way out.

    step: seconds of one. seconds: of the whole command.
    """
    given = minutes_in_words(minutes)
    if seconds > 1.05 * 60 * minutes:  # the fewest steps that are planned are more than fit
        return (
            f"{steps} steps of {step:.2g} s, {duration(seconds)} with all that belongs to them, "
            f"are more than fit into {given}, and the fewest planned: --steps sets fewer"
        )
    return (
        f"{steps} steps of {step:.2g} s, {duration(seconds)} with all that belongs to them, fit "
        f"into {given}: --minutes or --steps change that"
    )


def minutes_in_words(minutes: float) -> str:
    """As users gave them."""
    return "1 minute" if minutes == 1 else f"{minutes:g} minutes"
