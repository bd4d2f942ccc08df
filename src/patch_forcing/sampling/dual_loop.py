"""Dual-loop: easy patches take the whole step, hard ones follow in small steps with that context.

Random order is the same loop with a random easy set: the control that shows whether the predicted
difficulty matters (Patch Forcing, arXiv 2604.19141).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import Memory, token_index
from patch_forcing.core.difficulty import check_fraction, easy_count, easy_set
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import Generator, draw_uniform
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.grids import MOST, substeps
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Moving, Trajectory


@dataclass(frozen=True)
class _TwoLoops(TrajectorySampler):
    """easy_fraction: p, the share of patches ahead. inner_steps: n, evaluations a step.

    evaluate: what the n − 1 inner evaluations of a step compute: all patches, or only those that
    are moving, with the others' keys and values as the step's first evaluation left them.
    refresh: of those, every so many computes all patches after all; 0 is none. Where guidance sets
    in or ends within a step, all are computed too.
    """

    easy_fraction: float = 0.4
    inner_steps: int = 4
    evaluate: str = "all"
    refresh: int = 0

    def __post_init__(self) -> None:
        check_fraction("easy_fraction", self.easy_fraction)
        if not isinstance(self.inner_steps, int) or not 1 <= self.inner_steps <= MOST:
            raise UserError(
                f"inner_steps={self.inner_steps} is out of range: choose a whole number, 1 or more"
            )
        if self.evaluate not in ("all", "moving"):
            raise UserError(f"evaluate={self.evaluate!r} is unknown: choose all or moving")
        if not isinstance(self.refresh, int) or not 0 <= self.refresh <= MOST:
            raise UserError(f"refresh={self.refresh} is out of range: choose 0 or more; 0 is none")
        if self.refresh and self.evaluate == "all":
            raise UserError(f"refresh={self.refresh} is for evaluate=moving: leave it out")

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        hard_count = num_patches - easy_count(self.easy_fraction, num_patches)
        calls = []
        for now, then in pairwise(time_grid):
            calls.append(Call((now,)))
            if not hard_count and self.evaluate == "moving":
                continue  # nothing moves
            inner = substeps(now, then, self.inner_steps)[1:-1]
            for number, hard_now in enumerate(inner, 1):
                share = 1.0 if self._computes_all(number) else hard_count / num_patches
                calls.append(Call(_times(hard_count, num_patches, then, hard_now), share))
        return calls

    def _computes_all(self, number: int) -> bool:
        """Whether inner evaluation 1, 2, … of a step computes all patches."""
        return self.evaluate == "all" or bool(self.refresh and number % self.refresh == 0)

    def _run(
        self,
        run: Trajectory,
        time_grid: list[float] | Tensor,
        rank: Callable[[FieldOutput], Float[Tensor, "B N"]],
    ) -> None:
        """rank: what the patches are ordered by, lowest first."""
        patches = run.t.shape[1]
        hard_count = patches - easy_count(self.easy_fraction, patches)
        memory = Memory() if self.evaluate == "moving" and self.inner_steps > 1 else None
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now), memory=memory)
            easy: Bool[Tensor, "B N"] = easy_set(rank(output), self.easy_fraction)
            hard = Moving(~easy, token_index(~easy, hard_count))
            inner = substeps(now, then, self.inner_steps)
            run.move(output.velocity, then, where=easy)
            run.move(output.velocity, inner[1], where=~easy)
            for number, (hard_now, hard_then) in enumerate(pairwise(inner[1:]), 1):
                if not hard_count and self.evaluate == "moving":
                    continue  # nothing moves
                time = _time(run, easy, hard_count, then, hard_now)
                if self._computes_all(number):
                    output = run.evaluate(k, time, memory=memory)
                else:
                    output = run.evaluate(k, time, memory=memory, moving=hard)
                run.move(output.velocity, hard_then, where=~easy)


def _time(
    run: Trajectory, easy: Bool[Tensor, "B N"], hard_count: int, easy_t: float, hard_t: float
) -> PatchTime:
    """Two times, or the one that occurs: guidance asks which do."""
    times = _times(hard_count, run.t.shape[1], easy_t, hard_t)
    return run.shared_time(*times) if len(times) == 1 else PatchTime.two_level(easy, *times)


def _times(hard_count: int, patches: int, easy_t: float, hard_t: float) -> tuple[float, ...]:
    if hard_count in (0, patches):
        return (hard_t if hard_count else easy_t,)
    return (easy_t, hard_t)


@dataclass(frozen=True)
class DualLoopSampler(_TwoLoops):
    """At τ_k, the ⌊p·N⌋ easiest patches take the whole step Δ, the others Δ/n; then n − 1
    evaluations with mixed times move the others by Δ/n each. n evaluations a step, first order.
    """

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        self._run(run, time_grid, rank=run.difficulty)


@dataclass(frozen=True)
class RandomOrderSampler(_TwoLoops):
    """Dual-loop with ⌊p·N⌋ random patches ahead in each step."""

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        batch, patches = run.t.shape
        self._run(
            run,
            time_grid,
            rank=lambda _: draw_uniform(generator, batch, patches, device=run.x.device),
        )
