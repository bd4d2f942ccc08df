"""Adaptive: every patch chooses, by its own estimate of the error, when it is evaluated again.

An embedded pair of first and second order, the classical control of a step's error (Hairer, Nørsett
& Wanner, Solving Ordinary Differential Equations I, II.4), one patch at a time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import CarriedMemory, packed_tokens
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.random import Generator
from patch_forcing.sampling.history import History
from patch_forcing.sampling.sampler import TrajectorySampler
from patch_forcing.sampling.trajectory import Moving, Trajectory

SHARED_STEPS = 2
"""Steps that all patches take: before, it is not known how a patch's velocity changes."""


@dataclass(frozen=True)
class AdaptiveSampler(TrajectorySampler):
    """Adams–Bashforth, but a patch whose velocity has settled is evaluated less often, or no more.

    e(h) = ½·h²·|v − v'|/Δ' is what second order adds to an Euler step of length h, as the RMS over
    a patch, in units of the data. With both options 0 this is adams-bashforth.

    exit: a patch with e(1 − t) ≤ exit goes to t = 1 in one step, and is never computed again.
    tolerance: at every second step, a patch with e(h) ≤ tolerance·τ² takes two steps of the grid at
    once, to τ, since an error made early grows on its way. The patch of each image with the largest
    e never does.
    evaluate: what is computed. "moving": the patches that move, packed, whichever image they are
    of. "all": all patches, the control.

    Patches that wait or have left are seen where they are on their way at the time; not computed,
    their keys and values are carried on by their last change. An image takes at most the
    evaluations of adams-bashforth. A GPU waits once a step, to learn how many patches move.
    """

    exit: float = 0.006
    tolerance: float = 0.02
    evaluate: str = "moving"

    order = 2

    def __post_init__(self) -> None:
        for name in ("exit", "tolerance"):
            check_range(name, getattr(self, name), 0, mend="; 0 is never")
        if self.evaluate not in ("moving", "all"):
            raise UserError(f"evaluate={self.evaluate!r} is unknown: choose moving or all")

    @property
    def steady_guidance(self) -> str:
        """Keys and values of patches that wait are carried on."""
        carried = self.evaluate == "moving" and (self.exit > 0 or self.tolerance > 0)
        return "evaluate=all" if carried else ""

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        steps = run.steps(time_grid)
        ends = [step.then for step in steps]
        chooses = self.exit > 0 or self.tolerance > 0
        memory = CarriedMemory() if self.evaluate == "moving" and chooses else None
        history = History(run, apart=chooses)
        due = torch.ones_like(run.t, dtype=torch.bool)
        next_step = torch.zeros_like(run.t, dtype=torch.int64)
        for k, now, _ in steps:
            count, x, time = due.numel(), run.x, run.shared_time(now)
            if chooses and k > SHARED_STEPS:
                due = next_step == k
                count, x = int(due.sum()), history.at(now, due)
            if not count:
                run.rest(k, time, x)
                continue
            moving = None
            if memory is not None and count < due.numel():
                moving = Moving(due, packed_tokens(due, count))
            history.take(run.evaluate(k, time, x, memory=memory, moving=moving), due)
            goals = {k + 1: due}
            if k >= SHARED_STEPS:
                goals = self._goals(history, k, ends, due)
            for step, where in goals.items():
                run.move(history.mean(ends[step - 1]), ends[step - 1], where)
                next_step = next_step.masked_fill(where, step)

    def _goals(
        self, history: History, k: int, ends: list[float], due: Bool[Tensor, "B N"]
    ) -> dict[int, Bool[Tensor, "B N"]]:
        """Which of the patches that are due are next evaluated at which step; K is the end."""
        last, goals = len(ends), {}
        if self.exit > 0 and k + 1 < last:
            goals[last] = due & (history.bend(ends[-1]) <= self.exit)
            due = due & ~goals[last]
        if self.tolerance > 0 and k % 2 == 0 and k + 2 < last:
            bend = history.bend(ends[k + 1])
            largest = bend >= _largest(bend, due)
            goals[k + 2] = due & ~largest & (bend <= self.tolerance * ends[k + 1] ** 2)
            due = due & ~goals[k + 2]
        return goals | {k + 1: due}


def _largest(values: Float[Tensor, "B N"], where: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1"]:
    return values.where(where, -1.0).amax(dim=1, keepdim=True)
