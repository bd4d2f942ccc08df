"""Heun: an Euler step is a trial, and the mean of the velocities at its ends takes the step.

The second-order sampler of Karras et al. 2022 (arXiv 2206.00364, algorithm 1), on the linear path.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory


@dataclass(frozen=True)
class HeunSampler(TrajectorySampler):
    """x̂ = x + Δ·v(x, τ_k), then x += Δ·(v(x, τ_k) + v(x̂, τ_{k+1}))/2, with Δ = τ_{k+1} − τ_k.

    Two evaluations a step, second order. The last step is Euler's: 2·K − 1 in all.
    """

    order = 2

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        for k, now, then in run.steps(time_grid):
            slope = run.evaluate(k, run.shared_time(now)).velocity.float()
            # At t = 1 the velocity is E[x_1 − x_0 | x_1] = x_1: it knows nothing of the noise that
            # the path still carries, and half of it would replace the velocity that takes just that
            # noise away. Euler's last step ends at x̂_1, and one step is too few to cost the order.
            if then < 1:
                trial = run.displaced(slope, then)
                end = run.evaluate(k, run.shared_time(then), trial)
                slope = (slope + end.velocity.float()) / 2
            run.move(slope, then)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        both = [Call((t,)) for ends in pairwise(time_grid) for t in ends]
        return both[:-1]
