"""Look-ahead: easy patches are pushed ahead for one evaluation, as context for the hard ones."""

from dataclasses import dataclass, replace

from torch import Tensor

from patch_forcing.core.errors import check_range
from patch_forcing.core.random import Generator
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory

PLAIN_UNTIL = 0.05
"""Steps that start until this time are plain: the image shows too little to be context."""


@dataclass(frozen=True)
class LookAheadSampler(TrajectorySampler):
    """At τ_k, push the ⌊p·N⌋ easiest patches to min(1, r·τ_k) by one Euler step, evaluate again on
    that mixed state, move easy patches with the first velocity and hard ones with the second, and
    throw the context away. Two evaluations a step, one while τ_k ≤ 0.05 (arXiv 2604.19141).

    easy_fraction: p. context_ratio: r ≥ 1.
    unguided_context: early plain steps and the context push use the unguided conditional velocity,
    as the published code does.
    """

    easy_fraction: float = 0.4
    context_ratio: float = 1.4
    unguided_context: bool = False

    of_paper = True
    needs_difficulty = True

    def __post_init__(self) -> None:
        check_range("easy_fraction", self.easy_fraction, 0, 1)
        check_range("context_ratio", self.context_ratio, 1)

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        for k, now, then in run.steps(time_grid):
            first = run.evaluate(k, run.shared_time(now), guided=self._is_guided(now))
            difficulty = run.difficulty(first)
            if _is_plain(now):
                run.move(first.velocity, then)
                continue
            easy = run.easy_set(difficulty, self.easy_fraction)
            ahead = self._ahead(now)
            push = first.unguided if self.unguided_context else first.velocity
            context = run.displaced(push, ahead, where=easy)
            second = run.evaluate(k, PatchTime.two_level(easy, ahead, now), context)
            run.move(first.velocity, then, where=easy)
            run.move(second.velocity, then, where=~easy)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        calls = []
        for now in time_grid[:-1]:
            calls.append(Call((now,), guided=self._is_guided(now)))
            if not _is_plain(now):
                calls.append(Call((self._ahead(now), now)))
        return calls

    def as_published(self) -> "LookAheadSampler":
        return replace(self, unguided_context=True)

    def _ahead(self, now: float) -> float:
        """The time that context is pushed to."""
        return min(1.0, self.context_ratio * now)

    def _is_guided(self, now: float) -> bool:
        """Whether the first evaluation of a step is."""
        return not (self.unguided_context and _is_plain(now))


def _is_plain(now: float) -> bool:
    # 0.05 in fp32 is above 0.05, and the same grid in another precision is the same grid
    return now <= PLAIN_UNTIL + 1e-6
