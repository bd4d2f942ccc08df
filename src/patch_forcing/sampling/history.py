"""How patches move from evaluation to evaluation: Adams–Bashforth, each patch at its own pace."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from patch_forcing.core.patches import pool, spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.trajectory import Trajectory

LEAST_LEFT = 1e-3
"""Of what guidance adds, from one evaluation to the next: what turns round is as good as gone."""


class History:
    """From where and when each patch moves, with what velocity, and how that changes.

    With h = t − t_s and the patch's last two evaluations, d apart: x(t) = x_s + h·v + ½·h²·a, a the
    velocity's change over d; 0 in its first step, and at first order.

    Guidance adds a part w to the velocity that fades fast: over a long step the line through its
    last two values would turn it round. So that part's change is limited, as slopes are where a
    fluid has shocks (van Leer 1979): it takes no more than half of w away. How fast w fades is
    measured along itself, in each image, or in each patch where they move `apart`. Short steps are
    not limited, and all is of second order. Where guidance sets in between two evaluations, w stays
    as it is; where it ends within a step, w moves the patch until then.

    longest: step, in steps before it (h/d), up to which a velocity's change is followed.
    """

    def __init__(
        self, run: Trajectory, order: int = 2, apart: bool = False, longest: float = math.inf
    ):
        self._run, self._order, self._apart, self._longest = run, order, apart, longest
        self._start = run.x
        self._velocity = self._plain = self._change = torch.zeros_like(run.x)
        self._most = torch.full_like(run.t, torch.inf)  # h/2 up to which changes are followed
        self._part: Tensor | None = None  # w, once there is guidance
        self._part_change = torch.zeros_like(run.x)
        self._reach = torch.full_like(run.t, torch.inf)  # h/2 at which w's change has halved it
        self._fading = torch.zeros_like(run.t)  # d ln w / dt, along itself
        self._guided = torch.zeros_like(run.t, dtype=torch.bool)
        self._until = torch.inf
        self._time = torch.full_like(run.t, torch.nan)

    def slope(self, output: FieldOutput, goal: PatchTime, due: Bool[Tensor, "B N"]) -> Tensor:
        """Mean velocity up to each patch's goal; the patches that are due start from here."""
        self.take(output, due)
        if self._order == 1:
            return output.velocity.float()
        return self.mean(goal.to_dense())

    def take(self, output: FieldOutput, due: Bool[Tensor, "B N"]) -> None:
        """The patches that are due were evaluated where they stand, and start from here."""
        where = self._spread(due)
        velocity, plain = output.velocity.float(), output.unguided.float()
        if self._order == 2:
            pace = (1 / (self._run.t - self._time)).nan_to_num(0, 0, 0)  # NaN in the first step
            self._most = torch.where(due, self._longest / 2 / pace, self._most)
            change = self._spread(pace) * (plain - self._plain)
            self._change = torch.where(where, change, self._change)
            self._plain = torch.where(where, plain, self._plain)
            if output.guided is not None:
                self._until = output.guided_until
            if output.guided is not None or self._part is not None:
                self._follow_guidance(velocity - plain, output.guided, pace, due)
        self._start = torch.where(where, self._run.x, self._start)
        self._velocity = torch.where(where, velocity, self._velocity)
        self._time = torch.where(due, self._run.t, self._time)

    def is_guided(self, t: float) -> bool:
        """Whether guidance, which was seen before, lasts until that time."""
        return self._part is not None and bool(np.float32(t) <= self._until)

    def with_guidance(self, output: FieldOutput) -> FieldOutput:
        """An evaluation without guidance, with w as it fades since it was last seen."""
        assert self._part is not None
        left = (self._fading * (self._run.t - self._time)).exp()
        velocity = output.unguided.float() + self._spread(left) * self._part
        return output._replace(velocity=velocity, guided=self._guided, guided_until=self._until)

    def mean(self, to: Float[Tensor, "B N"] | float) -> Tensor:
        """The velocity, on average from each patch's last evaluation to that time."""
        return self._mean(to - self._time)

    def bend(self, to: float) -> Float[Tensor, "B N"]:
        """What second order adds to an Euler step up to that time: RMS over each patch."""
        h = to - self._time
        return pool((self._mean(h) - self._level(h)).square(), self._patch_size).sqrt() * h

    def at(self, t: float, due: Bool[Tensor, "B N"]) -> Tensor:
        """The image at one time for all patches; those that are due have just reached it."""
        h = t - self._time
        between = self._start + self._spread(h) * self._mean(h)
        return torch.where(self._spread(due), self._run.x, between)

    def _follow_guidance(
        self,
        part: Tensor,
        guided: Bool[Tensor, "B N"] | None,
        pace: Float[Tensor, "B N"],
        due: Bool[Tensor, "B N"],
    ) -> None:
        """Take in w of the patches that are due."""
        where = self._spread(due)
        before = torch.zeros_like(part) if self._part is None else self._part
        guided = torch.zeros_like(due) if guided is None else guided
        both = guided & self._guided
        seen = before * self._spread(both & due)
        size = self._patch_size
        along, square = pool(part * seen, size), pool(seen.square(), size)
        if not self._apart:
            along, square = (x.mean(dim=1, keepdim=True) for x in (along, square))
        left = along / square  # of w, along itself
        # it loses h/2·(1 − left)/left·pace, half of itself at this h/2; NaN: no w yet, or no time
        # between
        reach = left.clamp(min=0) / (1 - left).clamp(min=0) / (2 * pace)
        change = torch.where(self._spread(both), self._spread(pace) * (part - before), 0)
        rate = left.clamp(LEAST_LEFT, 1).log().nan_to_num(0) * pace
        self._fading = torch.where(due, rate, self._fading)
        self._reach = torch.where(due, reach.nan_to_num(torch.inf, torch.inf), self._reach)
        self._part_change = torch.where(where, change, self._part_change)
        self._part = torch.where(where, part, before)
        self._guided = torch.where(due, guided, self._guided)

    def _mean(self, h: Float[Tensor, "B N"]) -> Tensor:
        """The velocity, on average over h from each patch's last evaluation."""
        mean = self._level(h) + self._spread((h / 2).minimum(self._most)) * self._change
        if self._part is not None:
            lasts = self._lasts(h)
            turn = lasts * (h * lasts / 2).minimum(self._most).minimum(self._reach)
            mean = mean + self._spread(turn) * self._part_change
        return mean

    def _level(self, h: Float[Tensor, "B N"]) -> Tensor:
        """The same at first order: the last velocity, without w once guidance ends."""
        if self._part is None:
            return self._velocity
        return self._velocity - self._spread(1 - self._lasts(h)) * self._part

    def _lasts(self, h: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """The share of h until guidance ends, 0 … 1."""
        return ((self._until - self._time) / h).nan_to_num(1, torch.inf, -torch.inf).clamp(0, 1)

    def _spread(self, values: Shaped[Tensor, "B N"]) -> Shaped[Tensor, "B 1 H W"]:
        return spread(values, self._run.x.shape[-2:], self._patch_size)

    @property
    def _patch_size(self) -> int:
        return self._run.field.patch_size
