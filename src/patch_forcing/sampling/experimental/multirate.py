"""Multirate: hard patches take more and smaller steps than easy ones, each at second order.

Methods that give components of a system step sizes of their own go back to Gear and Wells (1984)
and Günther and Rentrop (1993); here a patch is a component, and its predicted difficulty chooses.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.active import CarriedMemory, Memory, token_index
from patch_forcing.core.difficulty import easy_count
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import Generator, draw_uniform
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.grids import MAX_STEPS, substeps
from patch_forcing.sampling.history import History
from patch_forcing.sampling.sampler import Call, TrajectorySampler
from patch_forcing.sampling.trajectory import Moving, Trajectory


@dataclass(frozen=True)
class MultirateSampler(TrajectorySampler):
    """In each step of the grid, group g of the patches takes rates[g] substeps; easiest first.

    All patches are evaluated at the start of a step; then, at each substep of the hardest group,
    the groups that are due are evaluated and move, while the others wait. A patch moves by
    variable-step Adams–Bashforth from its own last two evaluations.

    rates: substeps a step, rising, each a divisor of the next.
    shares: of the patches in each group, in sum 1.
    order: 2, or 1 for Euler steps.
    evaluate: what evaluations within a step compute. "moving": the patches that move. "all": all.
    context: how the patches that move see the groups that wait. "level": where those are at the
    time of the evaluation, on the way to the end of their own step; not computed, their keys and
    values are carried on by their last change. "ahead": at that end, as per-patch training allows;
    not computed, their keys and values are those of the step's first evaluation.
    rank: what patches are ordered by. "difficulty", or "random", the control.
    """

    rates: tuple[int, ...] = (1, 2)
    shares: tuple[float, ...] = (0.5, 0.5)
    order: int = 2
    evaluate: str = "moving"
    context: str = "level"
    rank: str = "difficulty"

    def __post_init__(self) -> None:
        rates, shares = self.rates, self.shares
        rising = all(0 < a < b and b % a == 0 for a, b in pairwise(rates))
        if not rates or rates[0] < 1 or rates[-1] > MAX_STEPS or not rising:
            raise UserError(
                f"rates={_text(rates)}: give rising whole numbers from 1, each a divisor of the "
                "next, such as 1/2/4"
            )
        if len(shares) != len(rates):
            raise UserError(f"{len(shares)} shares for {len(rates)} rates: give one for each")
        if not all(share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise UserError(f"shares={_text(shares)}: give shares from 0 to 1 that add up to 1")
        choices: dict[str, tuple[object, ...]] = {
            "order": (1, 2),
            "evaluate": ("moving", "all"),
            "context": ("ahead", "level"),
            "rank": ("difficulty", "random"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                one_of = " or ".join(map(str, known))
                raise UserError(f"{name}={getattr(self, name)}: choose {one_of}")

    @property
    def needs_difficulty(self) -> bool:
        """Whether there are groups to order patches into, by difficulty."""
        return self.rank == "difficulty" and len(self.rates) > 1

    @property
    def steady_guidance(self) -> str:
        """Keys and values of patches that wait are carried on."""
        carried = self.evaluate == "moving" and self.context == "level" and self.rates[-1] > 1
        return "evaluate=all" if carried else ""

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        sizes = self._sizes(run.t.shape[1], run.num_kept)
        memory = None
        if self.evaluate == "moving" and len(self._substeps(0.0, 1.0, sizes)) > 1:
            memory = CarriedMemory() if self.context == "level" else Memory()
        history = History(run, self.order, apart=len(self.rates) > 1)
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now), memory=memory)
            group = _groups(self._ranking(run, output, generator), sizes)
            for substep in self._substeps(now, then, sizes):
                due = group >= substep.first_due
                if substep.number:
                    moving = None
                    if memory is not None:
                        moving = Moving(due, token_index(due, substep.patches))
                    if self.context == "level":
                        time, x = run.shared_time(substep.now), history.at(substep.now, due)
                    else:
                        known = _known(substep.reached, sizes)
                        time, x = _group_time(group, substep.reached, known), None
                    output = run.evaluate(k, time, x, memory=memory, moving=moving)
                slope = history.slope(output, _group_time(group, substep.goals), due)
                for g in range(substep.first_due, len(self.rates)):
                    run.move(slope, substep.goals[g], where=group == g)

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        calls, sizes = [], self._sizes(num_patches)
        for now, then in pairwise(time_grid):
            for substep in self._substeps(now, then, sizes):
                share = 1.0 if self.evaluate == "all" else substep.patches / num_patches
                level = self.context == "level" or not substep.number
                times = (substep.now,) if level else _known(substep.reached, sizes)
                calls.append(Call(times, share))
        return calls

    def _ranking(
        self, run: Trajectory, output: FieldOutput, generator: Generator
    ) -> Float[Tensor, "B N"]:
        """What the patches are ordered by in a step, lowest first."""
        if self.rank == "random":
            ranking = draw_uniform(generator, *run.t.shape, device=run.x.device)
        else:
            ranking = run.difficulty(output) if self.needs_difficulty else torch.zeros_like(run.t)
        return run.kept_first(ranking)

    def _substeps(self, now: float, then: float, sizes: list[int]) -> list["_Substep"]:
        """Those of one step at which patches are due; the first has all of them."""
        fine = substeps(now, then, self.rates[-1])
        reached, due = [now] * len(self.rates), []
        for number in range(self.rates[-1]):
            first_due = self._first_due(number)
            count = sum(sizes[first_due:])
            if not count:
                continue
            goals = [
                fine[number + self.rates[-1] // rate] if g >= first_due else reached[g]
                for g, rate in enumerate(self.rates)
            ]
            due.append(_Substep(number, fine[number], count, first_due, reached, goals))
            reached = goals
        return due

    def _first_due(self, number: int) -> int:
        """The easiest group that moves at substep 0, 1, … of the hardest; harder ones do too."""
        longest = self.rates[-1]
        return next(g for g, rate in enumerate(self.rates) if number % (longest // rate) == 0)

    def _sizes(self, patches: int, kept: int = 0) -> list[int]:
        """How many patches each group has; those that are kept belong to the easiest."""
        sums = [min(1.0, sum(self.shares[:g])) for g in range(1, len(self.shares))]
        starts = [0, *(kept + easy_count(share, patches - kept) for share in sums), patches]
        return [end - start for start, end in pairwise(starts)]


def _known(reached: list[float], sizes: list[int]) -> tuple[float, ...]:
    """The times of the groups that have patches."""
    return tuple(t for t, size in zip(reached, sizes, strict=True) if size)


def _groups(ranking: Float[Tensor, "B N"], sizes: list[int]) -> Int64[Tensor, "B N"]:
    """Each patch's group; ties go to the lower index."""
    ranks = ranking.argsort(dim=1, stable=True).argsort(dim=1)
    group = torch.zeros_like(ranks)
    for start in list(accumulate(sizes))[:-1]:
        group += ranks >= start
    return group


def _group_time(
    group: Int64[Tensor, "B N"], reached: list[float], known: tuple[float, ...] | None = None
) -> PatchTime:
    """The times of the groups, hardest first, as in a dual loop."""
    values = [torch.full((len(group),), t, device=group.device) for t in reversed(reached)]
    return PatchTime(torch.stack(values, dim=1), len(reached) - 1 - group, known)


class _Substep(NamedTuple):
    """A substep of a step at which patches are due.

    number: which of the hardest group's substeps, from 0. now: the time which that group has
    reached. patches: how many are due. first_due: the easiest group that is due; harder ones are
    too. reached, goals: the times that the groups have reached, and will have after it.
    """

    number: int
    now: float
    patches: int
    first_due: int
    reached: list[float]
    goals: list[float]


def _text(numbers: tuple[float, ...]) -> str:
    return "/".join(f"{number:g}" for number in numbers)
