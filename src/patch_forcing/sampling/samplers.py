"""The samplers by name, and how many steps a budget of evaluations buys."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.sampling.dual_loop import DualLoopSampler, RandomOrderSampler
from patch_forcing.sampling.euler import EulerSampler
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.look_ahead import LookAheadSampler
from patch_forcing.sampling.trajectory import Sampler

SAMPLERS: dict[str, type[Any]] = {
    "euler": EulerSampler,
    "random-order": RandomOrderSampler,
    "dual-loop": DualLoopSampler,
    "look-ahead": LookAheadSampler,
}


def steps_within(
    sampler: Sampler,
    budget: float,
    cost: int = 1,
    make_grid: Callable[[int], list[float]] = uniform_grid,
) -> int:
    """The most steps whose evaluations stay within `budget`.

    cost: network evaluations of one call of the field: 2 under guidance.
    Raises UserError if not even one step fits.
    """

    def needed(steps: int) -> int:
        return cost * sampler.count_evaluations(make_grid(steps))

    if not isfinite(budget):
        raise UserError(f"{budget} evaluations: choose a finite number")
    if needed(1) > budget:
        raise UserError(
            f"{budget:g} evaluations are too few: one step of this sampler takes {needed(1)}"
        )
    enough, too_many = 1, 2
    while needed(too_many) <= budget:
        enough, too_many = too_many, 2 * too_many
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        enough, too_many = (middle, too_many) if needed(middle) <= budget else (enough, middle)
    return enough
