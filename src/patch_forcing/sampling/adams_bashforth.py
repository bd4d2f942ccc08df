"""Adams–Bashforth: second order from the velocity of the step before, at one evaluation a step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from patch_forcing.core.random import Generator
from patch_forcing.sampling.guidance import reuses
from patch_forcing.sampling.history import History
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory

MAX_GROWTH = 1 + 2**0.5
"""From one step to the next, as far as a velocity's change is followed.

Two-step formulas of steps that grow faster are not all stable (Grigorieff 1983), and a line that is
followed too far is worse than a shorter one. Steps of the fitted grid grow 2.3 times at most, those
of shift 3 twice.
"""


@dataclass(frozen=True)
class AdamsBashforthSampler(TrajectorySampler):
    """x += Δ·(v + Δ/(2·Δ')·(v − v')), with v', Δ' of the step before; the first step is Euler's.

    The two-step method for steps of any length (Hairer, Nørsett & Wanner, Solving Ordinary
    Differential Equations I, III.5), all patches together; guidance as `History` takes it. Where Δ
    is more than MAX_GROWTH·Δ', the factor Δ/(2·Δ') is MAX_GROWTH/2.

    reuse_guidance: after two guided evaluations only every second one is guided, at the cost of
    two; the others cost one, and take what guidance added before, w, as it fades: w·r^(Δ/Δ'), with
    r = ⟨w, w'⟩/⟨w', w'⟩ ≤ 1 of the image's last two. That part is then of first order. (Leaving
    evaluations of the unconditional branch out: Castillo et al. 2023, arXiv 2312.12487.)
    """

    reuse_guidance: bool = False

    order = 2

    @property
    def steady_guidance(self) -> str:
        """Guidance that is reused."""
        return "reuse_guidance=false" if self.reuse_guidance else ""

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        history = History(run, max_growth=MAX_GROWTH)
        everywhere = torch.ones_like(run.t, dtype=torch.bool)
        inside = 0
        for k, now, then in run.steps(time_grid):
            reuse = self.reuse_guidance and history.is_guided(now) and reuses(inside)
            output = run.evaluate(
                k,
                run.shared_time(now),
                guided=not reuse,
                complete=history.with_guidance if reuse else None,
            )
            inside += output.guided is not None
            run.move(history.slope(output, run.shared_time(then), everywhere), then)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        return [Call((now,), reuse=self.reuse_guidance) for now in time_grid[:-1]]
