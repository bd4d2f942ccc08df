"""The loss of images that training never sees, beside that of images that it does.

Both are of the averaged weights, with the same noise and times at each look. So they change as the
network does, and by nothing else.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import Examples, HoldsOut, TrainingData
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.parts import timestep_sampler
from patch_forcing.runs.recipe import Recipe
from patch_forcing.training.objective import PatchForcingObjective

MAX_IMAGES, MAX_BYTES = 64, 2**28
"""Of each kind that are looked at."""
_AT_ONCE = 16
"""Always, so that the rounding does not depend on ranks or batches."""
HELD_OUT, SEEN = "held_out", "seen"
"""What metrics.jsonl calls the two losses."""
RISE, LINES = 0.05, 5
"""Losses have parted if that of images held out was so much above its lowest in so many lines."""


class HeldOut:
    """Images held out and images seen, ready to be looked at."""

    def __init__(self, data: TrainingData, recipe: Recipe, device: torch.device):
        most = min(MAX_IMAGES, MAX_BYTES // (4 * math.prod(data.shape)))
        both = data.examples(max(1, most)) if isinstance(data, HoldsOut) else None
        self._both = dict(zip((HELD_OUT, SEEN), both, strict=True)) if both else {}
        self._recipe, self._device = recipe, device

    @property
    def count(self) -> int:
        """How many are looked at, of both kinds."""
        return sum(len(examples.ids) for examples in self._both.values())

    @torch.no_grad()
    def losses(self, model: PatchDiT) -> dict[str, float]:
        """The velocity loss of both by their names in metrics.jsonl; empty if none are held out."""
        times = timestep_sampler(self._recipe)
        objective = PatchForcingObjective(LinearPath(model.patch_size), times)
        return {name: self._loss(model, objective, one) for name, one in self._both.items()}

    def _loss(self, model: PatchDiT, objective: PatchForcingObjective, examples: Examples) -> float:
        (x_1, condition, _, crop), ids = examples
        total = torch.zeros((), device=self._device)
        for start in range(0, len(ids), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            images = x_1[part].to(self._device)
            of_part = None if condition is None else condition[part].to(self._device)
            counted = CountedGenerator(self._recipe.seed, ids[part], device=self._device)
            with torch.autocast(
                self._device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16"
            ):
                places = None if crop is None else crop[part].to(self._device)
                generator = counted.fork("held out")
                loss = objective(model, images, of_part, generator=generator, crop=places)
            total += loss.velocity * len(images)
        return float(total) / len(ids)


class Parting:
    """Says once if the loss of images held out rises while that of images seen falls."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()):
        """rows: lines of metrics.jsonl so far."""
        self._lines: list[tuple[int, float, float]] = []
        self._warned = False
        for row in rows:
            if isinstance(row.get("step"), int):
                self.record(row["step"], row)

    def record(self, steps: int, row: Mapping[str, Any]) -> str | None:
        """What is wrong, if LINES lines in a row say so; None if that is known."""
        held, seen = row.get(HELD_OUT), row.get(SEEN)
        if not isinstance(held, float) or not isinstance(seen, float):
            return None
        self._lines.append((steps, held, seen))
        recent, before = self._lines[-LINES:], self._lines[:-LINES]
        if self._warned or not before:
            return None
        best, lowest, then = min(before, key=lambda line: line[1])
        if not all(now > (1 + RISE) * lowest and also < then for _, now, also in recent):
            return None
        self._warned = True
        return (
            f"the loss of images held out rose to {held:.3g} from {lowest:.3g} at step {best}, "
            f"while that of images seen fell from {then:.3g} to {seen:.3g}: the network learns its "
            f"images by heart: take the checkpoint nearest to step {best}, give more images, or "
            "choose a smaller --network.hidden-size"
        )
