"""What a grid of times is. Nothing here needs torch, so that a grid is checked early."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import SupportsFloat

from patch_forcing.core.errors import UserError


def check_grid(time_grid: Iterable[SupportsFloat]) -> list[float]:
    """Returns the grid as floats. Raises UserError unless it rises strictly from 0 to 1."""
    grid = [float(tau) for tau in time_grid]
    if len(grid) < 2 or grid[0] != 0 or grid[-1] != 1:
        ends = f"{grid[0]} to {grid[-1]}" if grid else "nothing"
        raise UserError(f"time grid goes from {ends}: it starts at 0 and ends at 1")
    for k, (now, then) in enumerate(pairwise(grid)):
        if not (math.isfinite(then) and now < then):
            raise UserError(f"time grid does not rise at step {k} ({now} to {then}): sort it")
    return grid
