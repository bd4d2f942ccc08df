"""Time grids 0 = τ_0 < … < τ_K = 1."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor

from patch_forcing.core.errors import UserError

MOST = 1_000_000
"""Steps and evaluations beyond this are a slip of the finger."""


def uniform_grid(num_steps: int) -> list[float]:
    """K equal steps."""
    if not 1 <= num_steps <= MOST:
        raise UserError(f"{num_steps} steps: choose 1 to {MOST}")
    return [k / num_steps for k in range(num_steps + 1)]


def check_grid(time_grid: Iterable[float] | Tensor) -> list[float]:
    """The grid as numbers. Raises UserError unless it rises strictly from 0 to 1."""
    grid = [float(tau) for tau in time_grid]
    if len(grid) < 2 or grid[0] != 0 or grid[-1] != 1:
        ends = f"{grid[0]} to {grid[-1]}" if grid else "nothing"
        raise UserError(f"time grid goes from {ends}: it starts at 0 and ends at 1")
    for k, (now, then) in enumerate(pairwise(grid)):
        if not (math.isfinite(then) and now < then):
            raise UserError(f"time grid does not rise at step {k} ({now} to {then}): sort it")
    return grid


def substeps(now: float, then: float, count: int) -> Sequence[float]:
    """`count` equal steps from `now` to exactly `then`, both ends included."""
    return [now + (then - now) * j / count for j in range(count)] + [then]
