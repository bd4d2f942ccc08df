"""What is looked at while a run trains, beyond its loss; none of it changes the run."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from patch_forcing.core.calibration import (
    BINS,
    Calibration,
    PatchErrors,
    bin_means,
    calibration,
    network_errors,
)
from patch_forcing.core.time import PatchTime
from patch_forcing.data.batch import TrainingData
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.distributed.sharded_checkpoint import whole_description
from patch_forcing.distributed.shards import forget_gathered, is_sharded
from patch_forcing.generation.gallery import write_model_sheet
from patch_forcing.io.run_metrics import METRICS
from patch_forcing.models.cost import matrix_rate, operations
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import ModelDescription
from patch_forcing.runs.held_out import HeldOut, Parting
from patch_forcing.runs.inputs import Inputs
from patch_forcing.runs.parts import computed_times
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.run_folder import rows_until
from patch_forcing.runs.trackers import Trackers

LOG = logging.getLogger("patch_forcing")
MAX_IMAGES = 256
"""Images of a batch whose errors are looked at."""
MIN_STEPS = 200
"""Steps, or the warm-up if that is longer, before which a difficulty head may be anything."""
MIN_BAD_LINES = 3
"""Lines of metrics.jsonl in which a head must seem dead before it is said to be."""
RATIO_RANGE = (0.5, 2.0)
"""Squared error over predicted variance; outside, a head is badly calibrated."""

EARLY, EARLY_SHARE = 60.0, 4
"""A first sheet comes after so many seconds of training, or after one in EARLY_SHARE of the steps
before the first whole sheet."""


class Sheet(NamedTuple):
    """How much of a sheet is drawn. images, num_steps: at most, None: as the model recommends."""

    images: int | None = None
    num_steps: int | None = None


FULL_SHEET, EARLY_SHEET = Sheet(), Sheet(images=4, num_steps=8)
"""The early one takes less work than a step of training on a batch of 64 images."""


def look(model: PatchDiT, recipe: Recipe, inputs: Inputs) -> PatchErrors:
    """Errors of the weights as they are, on a step's own inputs, MAX_IMAGES images of them at most.

    One forward pass without gradient, beside the step: that one may be compiled and recorded.
    """
    x_1, condition, dropped, x_0, values, index, crop = inputs[:7]
    rows = slice(min(MAX_IMAGES, max(1, len(x_1) // recipe.accumulate)))
    x_1, x_0 = x_1[rows], x_0[rows]
    t = PatchTime(values[rows], None if index is None else index[rows])
    with (
        torch.no_grad(),
        torch.autocast(x_1.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"),
    ):
        if condition is not None:
            condition = model.drop_condition(condition[rows], dropped[rows])
        crop = None if crop is None else crop[rows]
        return network_errors(model, x_1, x_0, t, condition, crop).cpu()


def error_row(errors: PatchErrors) -> dict[str, float]:
    """Velocity loss by time, and the difficulty head's calibration, for a line of metrics.jsonl.

    velocity_at_0.3: of patches with 0.3 ≤ t < 0.4; NaN if there were none.
    """

    def by_time(name: str, values: torch.Tensor) -> dict[str, float]:
        means = bin_means(errors.t, values).tolist()
        return {f"{name}_at_{k / BINS:.1f}": _short(mean) for k, mean in enumerate(means)}

    row = by_time("velocity", errors.error)
    fit = calibration(errors)
    if fit is not None and errors.standardised is not None:
        row |= {f"difficulty_{name}": _short(value) for name, value in fit._asdict().items()}
        row |= by_time("difficulty_ratio", errors.standardised)
    return row


class HeadCheck:
    """Says once if the difficulty head is dead: no better than a constant, or badly calibrated."""

    def __init__(self, recipe: Recipe):
        # a head that nothing teaches is meant to be as it is
        self._taught = recipe.nll_weight > 0
        self._from = max(MIN_STEPS, recipe.optimizer.warmup_steps)
        self._in_a_row, self._warned = 0, False

    def record(self, steps: int, fit: Calibration | None) -> str | None:
        """What is wrong, if it has been for MIN_BAD_LINES records; None if that is known."""
        if fit is None or not self._taught or self._warned or steps < self._from:
            return None
        low, high = RATIO_RANGE
        dead, wild = not fit.gain > 0, not low <= fit.ratio <= high
        self._in_a_row = self._in_a_row + 1 if dead or wild else 0
        if self._in_a_row < MIN_BAD_LINES:
            return None
        self._warned = True
        if dead:
            return (
                f"the difficulty head is dead: its variances fit no better than one constant "
                f"(gain {fit.gain:.3g} nats, spread of their logarithm {fit.spread:.3g}): "
                "adaptive samplers will not profit; a higher --nll-weight teaches it more"
            )
        return (
            f"the difficulty head is badly calibrated: squared errors are {fit.ratio:.3g} times "
            "the variance it predicts; a higher --nll-weight teaches it more"
        )


class Watch:
    """Lines, sheets and trackers of a run. The first rank's share of a batch stands for all."""

    def __init__(
        self,
        recipe: Recipe,
        run: Path,
        ema: PatchDiT,
        device: torch.device | str,
        ranks: Ranks,
        done: int,
        trackers: Trackers | None,
        data: TrainingData,
    ):
        """done: steps before this process. trackers: of the first rank."""
        self._recipe, self._run, self._ema = recipe, run, ema
        self._device, self._ranks, self._trackers = torch.device(device), ranks, trackers
        self._head = HeadCheck(recipe)
        self._floor = self._images_at_best() if ranks.first else None
        self._held_out: HeldOut | None = None
        if ranks.first or is_sharded(ema):
            self._held_out = HeldOut(data, recipe, self._device)
        self._parting = Parting(rows_until(run / METRICS, done) if ranks.first else ())
        self._steps, self._since = done, time.perf_counter()
        self._early = min(recipe.sample_every, recipe.steps) // EARLY_SHARE
        self._waits_for_first = done < self._early  # one that got further has a sheet
        self._first_step: float | None = None

    def row(self, steps: int, model: PatchDiT, inputs: Callable[[], Inputs]) -> dict[str, float]:
        """What a line of metrics.jsonl has besides the loss; all ranks ask together.

        Ask when the device has done what was asked of it: the clock is read here.
        """
        seconds = time.perf_counter() - self._since
        speed = (steps - self._steps) * self._recipe.batch_size / seconds
        self._steps, self._since = steps, time.perf_counter()
        row = {"images_per_second": round(speed, 1)}
        if self._floor is not None:
            row["share_of_floor"] = _short(speed / self._floor)
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            row["peak_memory_gib"] = round(peak / 2**30, 3)
        # on all ranks, since a model may be spread over them
        errors = look(model, self._recipe, inputs())
        forget_gathered(model)
        if self._ranks.first:
            row |= error_row(errors)
            if warning := self._head.record(steps, calibration(errors)):
                LOG.warning("step %d: %s", steps, warning)
        return row | self._held_out_losses(steps)

    def _held_out_losses(self, steps: int) -> dict[str, float]:
        """The same number on any ranks: the first computes it, or all if the model is spread."""
        if self._held_out is None:
            return {}
        losses = self._held_out.losses(self._ema)
        forget_gathered(self._ema)
        if self._ranks.first and (warning := self._parting.record(steps, losses)):
            LOG.warning("step %d: %s", steps, warning)
        return losses

    def log(self, steps: int, row: Mapping[str, Any]) -> None:
        """Pass a line on to the trackers."""
        if self._trackers is not None:
            self._trackers.log(steps, row)

    def due_sheet(self, steps: int) -> Sheet | None:
        """What is to be drawn after a step, the same on all ranks, which ask together.

        A run that draws at all soon has a small first sheet, to show that it learns.
        """
        every = self._recipe.sample_every
        if every == 0:
            return None
        if steps % every == 0 or steps == self._recipe.steps:
            self._waits_for_first = False
            return FULL_SHEET
        if not self._waits_for_first:
            return None
        self._first_step = self._first_step or time.monotonic()
        is_late = time.monotonic() - self._first_step >= EARLY
        if self._ranks.any(self._ranks.first and (is_late or steps >= self._early)):
            self._waits_for_first = False
            return EARLY_SHEET
        return None

    def draw(self, steps: int, sheet: Sheet = FULL_SHEET) -> Path | None:
        """A sheet of the averaged weights by the first rank, for which the others wait.

        A sheet that cannot be drawn or written is a warning: it is no reason to stop.
        """
        path, described = None, whole_description(self._ema, self._ranks)
        if self._ranks.first:
            self._wait()  # other streams are about to read the weights
            try:
                path = write_model_sheet(self._whole(described), self._run, steps, *sheet)
            except Exception as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                LOG.warning("no samples of step %d: %s; training goes on", steps, reason)
            self._wait()
            if path is not None and self._trackers is not None:
                self._trackers.image(steps, "samples", path)
        self._ranks.wait()
        return path

    def close(self) -> None:
        """Let the trackers end."""
        if self._trackers is not None:
            self._trackers.close()

    def _whole(self, described: ModelDescription) -> PatchDiT:
        """The average, or of one that is spread over ranks a whole copy, if it fits."""
        if not is_sharded(self._ema):
            return self._ema
        config, info = self._ema.config, self._ema.data_info
        whole = PatchDiT(config, info, self._ema.sampling_info).to(self._device)
        whole.load_state_dict(described.weights)
        return whole.eval().requires_grad_(False)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _images_at_best(self) -> float | None:
        """Images a second if all GPUs did nothing but large matrix products; None on a CPU, where
        measuring would take long and other programs' work would decide.
        """
        if self._device.type != "cuda":
            return None
        bf16 = self._recipe.precision == "bf16"
        with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
            rate = matrix_rate(self._device, torch.bfloat16 if bf16 else torch.float32)
        torch.cuda.reset_peak_memory_stats(self._device)
        config = self._ema.config
        levels = computed_times(self._recipe, config.num_patches)
        # backward is twice the forward pass; what is computed again is of no use
        return self._ranks.world * rate / (3 * operations(config, levels))


def _short(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else value
