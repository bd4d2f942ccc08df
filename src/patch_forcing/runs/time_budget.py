"""How many steps fit into a time, with all that a run does beside them.

Lines, sheets and checkpoints take seconds too. In a run of a minute they would take more than its
steps if there were as many as in a long one, so that they are as many as a share of the time pays.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from patch_forcing.data.batch import TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.models.cost import matrix_rate
from patch_forcing.runs.checkpoint import KEPT_CHECKPOINTS
from patch_forcing.runs.estimate import estimate
from patch_forcing.runs.held_out import HeldOut
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.state import initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.texts import with_texts
from patch_forcing.runs.watch import EARLY_SHEET, MAX_IMAGES
from patch_forcing.views.sheets import MAX_COLUMNS

MIN_STEPS, MAX_STEPS = 20, 1_000_000
SHARE = 0.1
"""Of the steps' time, what lines may take, and again what sheets and checkpoints may."""
MAX_LINES, MAX_SHEETS = 40, 5
"""Lines of metrics.jsonl; sheets, and checkpoints. More lines where the recipe's interval makes
them."""
MIN_LINES = 2
"""One says nothing of where a loss goes."""
_LEAST_TIMED, _MOST_TIMED, _TIMING = 3, 9, 5.0
"""Steps that are timed: so many, and more for that many seconds after the first."""
_SLOWER = 1.05
"""A step of a run, beside the fastest of those that are timed."""
_FORWARD = 0.4
"""Of the time that a step takes, what its images take in a forward pass alone: a third in large
batches, more in the small ones of lines and sheets."""
_EVALUATIONS = 48
"""Of an image of a sheet, guidance counted: a usual sampler's, or about what a model recommends."""
_DISK = 3e8
"""Bytes of weights that are written and hashed in a second."""


@dataclass(frozen=True)
class Costs:
    """Seconds that a run takes for what it does.

    step, line, sheet, save: for one. early_sheet: for the small first one. snapshots: for all, of
    which there are as many in any run. set_up: until the first step, once the run is planned.
    """

    step: float
    line: float
    sheet: float
    early_sheet: float
    save: float
    snapshots: float = 0.0
    set_up: float = 0.0

    def of_run(self, recipe: Recipe) -> float:
        """Seconds of a whole run."""
        steps, every = recipe.steps, recipe.sample_every
        drawn = self.early_sheet + self.sheet * -(-steps // every) if every else 0.0
        lines = self.line * (steps // recipe.log_every)
        saves = self.save * -(-steps // recipe.checkpoint_every)
        return self.set_up + self.step * steps + lines + drawn + saves + self.snapshots


def fitting(recipe: Recipe, usual: Recipe, seconds: float, costs: Costs) -> Recipe:
    """The recipe with as many steps as take these seconds at most, lines and all; MIN_STEPS at
    least.

    Intervals of lines, sheets and checkpoints that are as `usual` has them are chosen, too.
    """
    counts = range(MIN_STEPS, MAX_STEPS + 1)

    def run(steps: int) -> Recipe:
        return _spaced(recipe, usual, steps, costs)

    many = bisect_right(counts, seconds, key=lambda steps: costs.of_run(run(steps)))
    return run(counts[max(0, many - 1)])


def _spaced(recipe: Recipe, usual: Recipe, steps: int, costs: Costs) -> Recipe:
    """So many steps, with as many lines, sheets and checkpoints as their share of the time pays."""
    paid = SHARE * steps * costs.step
    lines = min(max(MIN_LINES, int(paid / costs.line)), MAX_LINES)
    sheets = min(max(1, int(paid / (costs.sheet + costs.save))), MAX_SHEETS)
    intervals = {
        "log_every": min(usual.log_every, max(1, steps // lines)),
        "sample_every": -(-steps // sheets),
        "checkpoint_every": -(-steps // sheets),
    }
    changes: dict[str, Any] = {
        name: every
        for name, every in intervals.items()
        if getattr(recipe, name) == getattr(usual, name) != 0  # 0: no sheets are drawn
    }
    return replace(recipe, steps=steps, **changes)


def measured_costs(recipe: Recipe, device: str, begin: Callable[[], object]) -> Costs:
    """Of a run on this machine: a few steps are timed, of a network that is thrown away.

    begin: called before the first one, when nothing about data and sizes can be wrong any more.
    """
    begun = time.perf_counter()
    data = with_texts(recipe, recipe.data.open(), device)
    step = TrainStep(initial_state(recipe, data, device), recipe, device)
    batch = data.batch(BatchSpec(0, recipe.batch_size, recipe.seed), device)
    set_up, seconds = time.perf_counter() - begun, list[float]()
    begin()
    with side_stream(device):  # as in training, where the step is recorded from it
        for number in range(_MOST_TIMED):
            if number >= _LEAST_TIMED and sum(seconds[1:]) > _TIMING:
                break
            begun = time.perf_counter()
            step(batch, number)
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
    step.close()
    # the fastest: the first ones are compiled, or wait for memory that later ones have
    fastest = min(seconds)
    return costs(recipe, data, _SLOWER * fastest, set_up + seconds[0] - fastest)


def estimated_costs(recipe: Recipe, device: str) -> Costs:
    """The same from a step's operations and the rate of a product: good to a factor of two."""
    rate = matrix_rate(device, torch.bfloat16 if recipe.precision == "bf16" else torch.float32)
    data = with_texts(recipe, recipe.data.open())
    step = 3600 * estimate(replace(recipe, steps=1), data, rate).hours
    return costs(recipe, data, step, max(_TIMING, _LEAST_TIMED * step))


def costs(recipe: Recipe, data: TrainingData, step: float, set_up: float = 0.0) -> Costs:
    """Of a run whose steps take so many seconds: what follows from a step's."""
    image = _FORWARD * step / recipe.batch_size
    looked_at = min(MAX_IMAGES, recipe.batch_size // recipe.accumulate)
    looked_at += HeldOut(data, recipe, torch.device("cpu")).count
    shown = min(MAX_COLUMNS, data.num_classes or MAX_COLUMNS)
    first = 2 * (EARLY_SHEET.images or 0) * (EARLY_SHEET.num_steps or 0)  # guided
    disk = estimate(recipe, data, 1.0)
    return Costs(
        step,
        line=image * looked_at,
        sheet=image * shown * _EVALUATIONS,
        early_sheet=image * first,
        save=disk.checkpoints_gib / KEPT_CHECKPOINTS * 2**30 / _DISK,
        snapshots=disk.snapshots_gib * 2**30 / _DISK,
        set_up=set_up,
    )
