"""Multirate: hard patches take more and smaller steps than easy ones, each at second order.

Methods that give components of a system step sizes of their own go back to Gear and Wells (1984)
and Günther and Rentrop (1993); here a patch is a component, and its predicted difficulty chooses.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.active import CarriedMemory, Memory, token_index
from patch_forcing.core.difficulty import easy_count
from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import spread
from patch_forcing.core.random import Generator, draw_uniform
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.grids import MOST, substeps
from patch_forcing.sampling.trajectory import Moving, Trajectory, TrajectorySampler


@dataclass(frozen=True)
class MultirateSampler(TrajectorySampler):
    """In each step of the grid, group g of the patches takes rates[g] substeps; easiest first.

    All patches are evaluated at the start of a step; then, at each substep of the hardest group,
    the groups that are due are evaluated and move, while the others wait. A patch moves by
    variable-step Adams–Bashforth from its own last two evaluations.

    rates: substeps a step, rising, each a divisor of the next. shares: of the patches, in sum 1.
    order: 2, or 1 for Euler steps. evaluate: what evaluations within a step compute: the moving
    patches, or all.
    context: how they see the groups that wait. level: at the same time as all, on the way to the
    end of their own step; not computed, their keys and values are carried on by their last change.
    ahead: at that end, as per-patch training allows; not computed, their keys and values are those
    of the step's first evaluation.
    rank: by difficulty, or at random: the control.
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
        if not rates or rates[0] < 1 or rates[-1] > MOST or not rising:
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

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        batch, patches = run.t.shape
        due_counts = self._due_counts(patches)
        memory = None
        if self.evaluate == "moving" and len(due_counts) > 1:
            memory = CarriedMemory() if self.context == "level" else Memory()
        history = _History(run, self.order)
        for k, now, then in run.steps(time_grid):
            output = run.evaluate(k, run.shared_time(now), memory=memory)
            if self.rank == "random":
                hardness = draw_uniform(generator, batch, patches, device=run.x.device)
            elif len(self.rates) > 1:
                hardness = run.difficulty(output)
            else:
                hardness = torch.zeros_like(run.t)
            group = self._groups(hardness)
            fine = substeps(now, then, self.rates[-1])
            reached = [now] * len(self.rates)
            for number, count in enumerate(due_counts):
                if not count:
                    continue
                first_due = self._first_due(number)
                due = group >= first_due
                if number:
                    time = replace(_group_time(group, reached), known=self._known(reached, patches))
                    x = None
                    if self.context == "level":
                        time, x = run.shared_time(fine[number]), history.at(fine[number], due)
                    moving = None
                    if self.evaluate == "moving":
                        moving = Moving(due, token_index(due, count))
                    output = run.evaluate(k, time, x, memory=memory, moving=moving)
                velocity = output.velocity.float()
                targets = [
                    fine[number + self.rates[-1] // rate] if g >= first_due else time_of_group
                    for g, (rate, time_of_group) in enumerate(zip(self.rates, reached, strict=True))
                ]
                slope = history.slope(velocity, _group_time(group, targets), due)
                for g in range(first_due, len(self.rates)):
                    run.move(slope, targets[g], where=group == g)
                reached = targets

    def count_evaluations(self, time_grid: list[float], num_patches: int) -> float:
        counts = self._due_counts(num_patches)
        if self.evaluate == "all":
            each = float(sum(count > 0 for count in counts))
        else:
            each = sum(counts) / num_patches
        return each * (len(time_grid) - 1)

    def _first_due(self, number: int) -> int:
        """The easiest group that moves at substep 0, 1, … of the hardest; harder ones do too."""
        longest = self.rates[-1]
        return next(g for g, rate in enumerate(self.rates) if number % (longest // rate) == 0)

    def _due_counts(self, patches: int) -> list[int]:
        """How many patches move at each substep of the hardest group."""
        starts = self._starts(patches)
        return [patches - starts[self._first_due(number)] for number in range(self.rates[-1])]

    def _starts(self, patches: int) -> list[int]:
        """How many patches are easier than each group."""
        sums = [min(1.0, sum(self.shares[:g])) for g in range(len(self.shares))]
        return [easy_count(share, patches) for share in sums]

    def _known(self, reached: list[float], patches: int) -> tuple[float, ...]:
        """The times of the groups that have patches."""
        starts = [*self._starts(patches), patches]
        sizes = [end - start for start, end in pairwise(starts)]
        return tuple(t for t, size in zip(reached, sizes, strict=True) if size)

    def _groups(self, hardness: Float[Tensor, "B N"]) -> Int64[Tensor, "B N"]:
        """Each patch's group; ties go to the lower index."""
        ranks = hardness.argsort(dim=1, stable=True).argsort(dim=1)
        starts = self._starts(hardness.shape[1])[1:]
        group = torch.zeros_like(ranks)
        for start in starts:
            group += ranks >= start
        return group


class _History:
    """How each patch moves: from where and when, with what velocity, and how that changes.

    x(t) = x_s + h·v + ½·h²·a with h = t − t_s, and a from the patch's last two evaluations: zero in
    its first step, and at first order.
    """

    def __init__(self, run: Trajectory, order: int):
        self._run, self._order = run, order
        self._start, self._velocity = run.x, torch.zeros_like(run.x)
        self._change = torch.zeros_like(run.x)
        self._time = torch.full_like(run.t, torch.nan)

    def slope(self, velocity: Tensor, goal: PatchTime, due: Bool[Tensor, "B N"]) -> Tensor:
        """Mean velocity up to each patch's goal; the patches that are due start from here."""
        where = self._spread(due)
        if self._order == 2:
            rate = (1 / (self._run.t - self._time)).nan_to_num(0, 0, 0)  # NaN in the first step
            change = self._spread(rate) * (velocity - self._velocity)
            self._change = torch.where(where, change, self._change)
        self._start = torch.where(where, self._run.x, self._start)
        self._velocity = torch.where(where, velocity, self._velocity)
        self._time = torch.where(due, self._run.t, self._time)
        if self._order == 1:
            return velocity
        return velocity + self._spread((goal.to_dense() - self._run.t) / 2) * self._change

    def at(self, t: float, due: Bool[Tensor, "B N"]) -> Tensor:
        """The image at one time for all patches; those that are due have just reached it."""
        h = self._spread(t - self._time)
        between = self._start + h * self._velocity + h.square() / 2 * self._change
        return torch.where(self._spread(due), self._run.x, between)

    def _spread(self, values: Shaped[Tensor, "B N"]) -> Shaped[Tensor, "B 1 H W"]:
        return spread(values, self._run.x.shape[-2:], self._run.field.patch_size)


def _group_time(group: Int64[Tensor, "B N"], reached: list[float]) -> PatchTime:
    """The times of the groups, hardest first, as in a dual loop."""
    values = [torch.full((len(group),), t, device=group.device) for t in reversed(reached)]
    return PatchTime(torch.stack(values, dim=1), len(reached) - 1 - group)


def _text(numbers: tuple[float, ...]) -> str:
    return "/".join(f"{number:g}" for number in numbers)
