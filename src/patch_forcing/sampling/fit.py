"""A time grid fitted to a model: steps are short where their errors matter at the end.

A step h of a multistep method of order p errs by a constant times b(t)·h^(p + 1), b the p-th
derivative of the velocity along the flow, and what it errs by grows by a factor g(t) until t = 1.
Errors that arrive equal, g·b·h^(p + 1) = constant, mean steps in a density proportional to
(g·b)^(1/(p + 1)), which also makes their sum smallest.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import Field
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.trajectory import Trajectory

MIN_DENSITY, MAX_DENSITY = 0.25, 4.0
"""Of steps, against equal ones: a network that was rarely trained somewhere may wiggle there."""
_MIN_RMS = 1e-30
NUDGE_RMS = 1e-2
"""Of the error whose growth is measured."""


class LocalError(NamedTuple):
    """b and g at the start of each of n equal intervals."""

    bend: list[float]
    growth: list[float]


def local_error(
    field: Field, x_0: Float[Tensor, "B C H W"], num_steps: int = 48, order: int = 2, every: int = 4
) -> LocalError:
    """Root mean squares over images and pixels, along the flow in `num_steps` equal steps.

    Growth is measured at each `every`-th interval, by a second run with a small error of the
    direction that a step there would make; between, it is interpolated in the logarithm. Costs
    about num_steps·(1 + num_steps/(2·every)) evaluations of every image.
    """
    grid = uniform_grid(num_steps)
    states: list[Tensor] = []
    velocities: list[Tensor] = []
    run = Trajectory(field, x_0)
    for k, (now, then) in enumerate(pairwise(grid)):
        states.append(run.x)
        velocities.append(run.evaluate(k, run.shared_time(now)).velocity.float())
        run.move(_second_order(velocities), then)
    end = run.result().x_1
    changes = [
        torch.stack(velocities[k : k + order + 1]).diff(n=order, dim=0)[0]
        for k in range(num_steps - order)
    ]
    # the step that leaves t_k looks back: its error is the difference around t_k
    before = order // 2
    changes = [changes[0]] * before + changes + [changes[-1]] * (order - before)
    bend = torch.stack([_rms(change) for change in changes]) * num_steps**order
    places = [*range(0, num_steps - every, every)]
    growth = []
    for k in places:
        error = NUDGE_RMS * changes[k] / _rms(changes[k]).clamp(min=_MIN_RMS)
        final = _finish(field, states[k] + error, grid[k:], velocities[max(0, k - 1) : k])
        growth.append(_rms(final - end) / NUDGE_RMS)
    logs = torch.stack(growth).clamp(min=_MIN_RMS).log().tolist()
    # the last intervals: an error made at the end stays as it is
    known = np.interp(np.arange(num_steps), [*places, num_steps], [*logs, 0.0])
    return LocalError(bend.tolist(), np.exp(known).tolist())


def fit_quantiles(error: LocalError, order: int = 2, count: int = 32) -> tuple[float, ...]:
    """The table of a QuantileGrid whose steps' errors arrive equal."""
    both = np.asarray(error.bend) * np.asarray(error.growth)
    if not both.any():
        both = np.ones_like(both)  # the flow is straight: any grid is exact
    density = both ** (1 / (order + 1))
    density = (density / density.mean()).clip(MIN_DENSITY, MAX_DENSITY)
    share = np.concatenate([[0.0], density.cumsum() / density.sum()])
    times = np.interp(np.linspace(0, 1, count + 1), share, np.linspace(0, 1, len(share)))
    return (0.0, *map(float, times[1:-1]), 1.0)


def _second_order(velocities: list[Tensor]) -> Tensor:
    """Adams–Bashforth's mean velocity over the next of equal steps."""
    last = velocities[-1]
    return last if len(velocities) == 1 else last + (last - velocities[-2]) / 2


def _finish(field: Field, x: Tensor, times: list[float], before: list[Tensor]) -> Tensor:
    """From x at times[0] to the end, in the same steps."""
    velocities = list(before)
    rows, cols = patch_grid(x.shape[-2:], field.patch_size)
    for now, then in pairwise(times):
        t = PatchTime.everywhere(now, x, rows * cols)
        with torch.no_grad():
            velocities.append(field(x, t).velocity.float())
        x = x + (then - now) * _second_order(velocities[-2:])
    return x


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()
