"""Euler: all patches in parallel, the sampler of plain flow matching."""

from dataclasses import dataclass

from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.field import Field
from patch_forcing.sampling.trajectory import Callback, SampleResult, Trajectory


@dataclass(frozen=True)
class EulerSampler:
    """x += (τ_{k+1} − τ_k)·v(x, τ_k). One evaluation a step, first order."""

    def __call__(
        self,
        field: Field,
        x_0: Tensor,
        time_grid: list[float] | Tensor,
        *,
        generator: Generator = None,
        trace: bool = False,
        callback: Callback | None = None,
    ) -> SampleResult:
        run = Trajectory(field, x_0, trace=trace, callback=callback)
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now))
            run.move(output.velocity, then)
        return run.result()

    def count_evaluations(self, time_grid: list[float], num_patches: int) -> float:
        return len(time_grid) - 1
