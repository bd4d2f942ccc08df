"""Look-ahead: easy patches are pushed ahead for one evaluation, as context for the hard ones."""

from dataclasses import dataclass

from torch import Tensor

from patch_forcing.core.difficulty import check_fraction, easy_set
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import Generator
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory

PLAIN_UNTIL = 0.05
"""Up to this time nothing is known yet: plain steps."""


def _is_plain(now: float) -> bool:
    # 0.05 in fp32 is above 0.05, and the same grid in another precision is the same grid
    return now <= PLAIN_UNTIL + 1e-6


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

    def __post_init__(self) -> None:
        check_fraction("easy_fraction", self.easy_fraction)
        if not 1 <= self.context_ratio < float("inf"):
            raise UserError(f"context_ratio={self.context_ratio} is out of range: choose 1 or more")

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        for k, now, then in run.steps(time_grid):
            plain = _is_plain(now)
            guided = not (plain and self.unguided_context)
            first = run.evaluate(k, run.shared_time(now), guided=guided)
            hard = run.difficulty(first)
            if plain:
                run.move(first.velocity, then)
                continue
            easy = easy_set(hard, self.easy_fraction)
            ahead = self._ahead(now)
            push = first.unguided if self.unguided_context else first.velocity
            context = run.displaced(push, ahead, where=easy)
            second = run.evaluate(k, PatchTime.two_level(easy, ahead, now), context)
            run.move(first.velocity, then, where=easy)
            run.move(second.velocity, then, where=~easy)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        calls = []
        for now in time_grid[:-1]:
            plain = _is_plain(now)
            calls.append(Call((now,), guided=not (plain and self.unguided_context)))
            if not plain:
                calls.append(Call((self._ahead(now), now)))
        return calls

    def _ahead(self, now: float) -> float:
        return min(1.0, self.context_ratio * now)
