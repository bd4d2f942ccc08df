"""Dual-loop: easy patches take the whole step, hard ones follow in small steps with that context.

Random order is the same loop with a random easy set: the control that shows whether the predicted
difficulty matters (Patch Forcing, arXiv 2604.19141).
"""

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import Memory, token_index
from patch_forcing.core.difficulty import easy_count
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.random import Generator, draw_uniform
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.grids import MAX_STEPS, substeps
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Moving, Trajectory


@dataclass(frozen=True)
class _TwoLoops(TrajectorySampler):
    """At τ_k, the first ⌊p·N⌋ patches of an order take the whole step Δ, the others Δ/n. Then n − 1
    evaluations with mixed times move the others by Δ/n each. n evaluations a step, first order.

    easy_fraction: p, the share of patches ahead.
    inner_steps: n, the evaluations of a step.
    evaluate: what the n − 1 inner evaluations of a step compute. "all": all patches. "moving": only
    those that move, with keys and values of the others as the step's first evaluation left them.
    refresh: R, with "moving": every R-th inner evaluation of a step computes all patches; 0 is
    none. All are computed, too, where guidance sets in or ends within a step.
    """

    easy_fraction: float = 0.4
    inner_steps: int = 4
    evaluate: str = "all"
    refresh: int = 0

    of_paper = True

    def __post_init__(self) -> None:
        check_range("easy_fraction", self.easy_fraction, 0, 1)
        check_range("inner_steps", self.inner_steps, 1, MAX_STEPS, whole=True)
        if self.evaluate not in ("all", "moving"):
            raise UserError(f"evaluate={self.evaluate!r} is unknown: choose all or moving")
        check_range("refresh", self.refresh, 0, MAX_STEPS, whole=True, mend="; 0 is none")
        if self.refresh and self.evaluate == "all":
            raise UserError(f"refresh={self.refresh} is for evaluate=moving: leave it out")

    @abstractmethod
    def rank(
        self, run: Trajectory, output: FieldOutput, generator: Generator
    ) -> Float[Tensor, "B N"]:
        """What the patches are ordered by in a step, lowest first."""

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        patches = run.t.shape[1]
        hard_count = self._hard_count(patches - run.num_kept)
        memory = Memory() if self.evaluate == "moving" and self.inner_steps > 1 else None
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now), memory=memory)
            easy = run.easy_set(self.rank(run, output, generator), self.easy_fraction)
            moving = Moving(~easy, token_index(~easy, hard_count))
            fine = substeps(now, then, self.inner_steps)
            run.move(output.velocity, then, where=easy)
            run.move(output.velocity, fine[1], where=~easy)
            for j in self._inner(hard_count):
                time = _patch_time(run, easy, _times(hard_count, patches, then, fine[j]))
                computed = None if self._computes_all(j) else moving
                output = run.evaluate(k, time, memory=memory, moving=computed)
                run.move(output.velocity, fine[j + 1], where=~easy)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        hard_count = self._hard_count(num_patches)
        calls = []
        for now, then in pairwise(time_grid):
            fine = substeps(now, then, self.inner_steps)
            calls.append(Call((now,)))
            for j in self._inner(hard_count):
                share = 1.0 if self._computes_all(j) else hard_count / num_patches
                calls.append(Call(_times(hard_count, num_patches, then, fine[j]), share))
        return calls

    def _hard_count(self, patches: int) -> int:
        return patches - easy_count(self.easy_fraction, patches)

    def _inner(self, hard_count: int) -> range:
        """The inner evaluations of a step, 1 … n − 1; none where no patch moves in them."""
        idle = self.evaluate == "moving" and not hard_count
        return range(1, 1 if idle else self.inner_steps)

    def _computes_all(self, j: int) -> bool:
        return self.evaluate == "all" or bool(self.refresh and j % self.refresh == 0)


def _times(hard_count: int, patches: int, easy_t: float, hard_t: float) -> tuple[float, ...]:
    """The times that occur, the easy patches' first: guidance depends on them."""
    if hard_count in (0, patches):
        return (hard_t if hard_count else easy_t,)
    return (easy_t, hard_t)


def _patch_time(run: Trajectory, easy: Bool[Tensor, "B N"], times: tuple[float, ...]) -> PatchTime:
    return run.shared_time(*times) if len(times) == 1 else PatchTime.two_level(easy, *times)


@dataclass(frozen=True)
class DualLoopSampler(_TwoLoops):
    """Two loops with the ⌊p·N⌋ easiest patches ahead in each step."""

    needs_difficulty = True

    def rank(
        self, run: Trajectory, output: FieldOutput, generator: Generator
    ) -> Float[Tensor, "B N"]:
        return run.difficulty(output)


@dataclass(frozen=True)
class RandomOrderSampler(_TwoLoops):
    """Two loops with ⌊p·N⌋ random patches ahead in each step."""

    def rank(
        self, run: Trajectory, output: FieldOutput, generator: Generator
    ) -> Float[Tensor, "B N"]:
        return draw_uniform(generator, *run.t.shape, device=run.x.device)
