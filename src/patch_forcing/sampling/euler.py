"""Euler: all patches in parallel, the sampler of plain flow matching."""

from dataclasses import dataclass

from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.sampler import TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory


@dataclass(frozen=True)
class EulerSampler(TrajectorySampler):
    """x += (τ_{k+1} − τ_k)·v(x, τ_k). One evaluation a step, first order."""

    of_paper = True

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now))
            run.move(output.velocity, then)
