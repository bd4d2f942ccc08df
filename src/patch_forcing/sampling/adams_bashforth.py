"""Adams–Bashforth: second order from the velocity of the step before, at one evaluation a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.history import History
from patch_forcing.sampling.trajectory import Call, Trajectory, TrajectorySampler


@dataclass(frozen=True)
class AdamsBashforthSampler(TrajectorySampler):
    """x += Δ·(v + Δ/(2·Δ')·(v − v')), with v', Δ' of the step before; the first step is Euler's.

    The two-step method for steps of any length (Hairer, Nørsett & Wanner, Solving Ordinary
    Differential Equations I, III.5), all patches together; guidance as `History` takes it.
    """

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        history, everywhere = History(run), torch.ones_like(run.t, dtype=torch.bool)
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now))
            run.move(history.slope(output, run.shared_time(then), everywhere), then)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        return [Call((now,)) for now in time_grid[:-1]]
