"""How patches move from evaluation to evaluation: Adams–Bashforth, each patch at its own pace.

A patch was last evaluated at x_s = x(t_s), and before that a time d earlier. With h = t − t_s,

    x(t) = x_s + h·v̄(h),    v̄(h) = v + h/2·a,    a = (u − u')/d.

Here v is the velocity at t_s, u its part without guidance, and u' that part one evaluation before.
In a patch's first step, and at first order, a = 0. Without guidance v = u, and a step h is that of
the two-step Adams–Bashforth method for steps of any length.

What guidance adds, w = v − u, changes along a line of its own (`Fading`). Where guidance sets in
between two evaluations, w stays as it is. Where it ends within the step, after a share of h, w
moves the patch for that share only. Short steps meet no bound, and all of it is of second order.
"""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from patch_forcing.core.patches import pool, spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.fading import Fading
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.trajectory import Trajectory


class History:
    """From where and when each patch of a run moves, with what velocity, and how that changes.

    order: 2, or 1 for a = 0.
    apart: the patches of an image are evaluated at different times.
    max_growth: h/d, up to which a velocity's change is followed; beyond, h/2·a is max_growth/2·d·a.
    """

    def __init__(
        self, run: Trajectory, order: int = 2, apart: bool = False, max_growth: float = math.inf
    ):
        self._run, self._order, self._apart, self._max_growth = run, order, apart, max_growth
        self._start = run.x  # x_s
        self._time = torch.full_like(run.t, torch.nan)  # t_s; NaN before the first evaluation
        self._velocity = torch.zeros_like(run.x)  # v
        self._unguided = torch.zeros_like(run.x)  # u
        self._change = torch.zeros_like(run.x)  # a
        self._bound = torch.full_like(run.t, torch.inf)  # h/2 up to which changes are followed
        self._fading: Fading | None = None  # once there is guidance

    def take(self, output: FieldOutput, due: Bool[Tensor, "B N"]) -> None:
        """The patches that are due were evaluated where they stand, and start from here."""
        where = self._spread(due)
        velocity, unguided = output.velocity.float(), output.unguided.float()
        if self._order == 2:
            pace = (1 / (self._run.t - self._time)).nan_to_num(0, 0, 0)  # 1/d; NaN at first
            self._bound = torch.where(due, self._max_growth / 2 / pace, self._bound)
            change = self._spread(pace) * (unguided - self._unguided)
            self._change = torch.where(where, change, self._change)
            self._unguided = torch.where(where, unguided, self._unguided)
            if output.guided is not None and self._fading is None:
                self._fading = Fading(self._run.x, self._run.t, self._patch_size, self._apart)
            if self._fading is not None:
                self._fading.take(output, velocity - unguided, pace, due)
        self._start = torch.where(where, self._run.x, self._start)
        self._velocity = torch.where(where, velocity, self._velocity)
        self._time = torch.where(due, self._run.t, self._time)

    def slope(self, output: FieldOutput, goal: PatchTime, due: Bool[Tensor, "B N"]) -> Tensor:
        """`take`, then the mean velocity up to each patch's goal."""
        self.take(output, due)
        if self._order == 1:
            return output.velocity.float()
        return self.mean(goal.to_dense())

    def mean(self, to: Float[Tensor, "B N"] | float) -> Tensor:
        """The mean velocity v̄ from each patch's last evaluation to that time."""
        return self._mean(to - self._time)

    def at(self, t: float, due: Bool[Tensor, "B N"]) -> Tensor:
        """The image at one time for all patches; those that are due have just reached it."""
        h = t - self._time
        between = self._start + self._spread(h) * self._mean(h)
        return torch.where(self._spread(due), self._run.x, between)

    def bend(self, to: float) -> Float[Tensor, "B N"]:
        """What second order adds to an Euler step up to that time: RMS over each patch."""
        h = to - self._time
        return pool((self._mean(h) - self._level(h)).square(), self._patch_size).sqrt() * h

    def is_guided(self, t: float) -> bool:
        """Whether guidance, which was seen before, lasts until that time."""
        return self._fading is not None and self._fading.acts_at(t)

    def with_guidance(self, output: FieldOutput) -> FieldOutput:
        """An evaluation without guidance, with w as it has faded since it was last computed."""
        fading = self._fading
        assert fading is not None
        w = fading.after(self._run.t - self._time)
        return output._replace(
            velocity=output.unguided.float() + w, guided=fading.guided, guided_until=fading.until
        )

    def _mean(self, h: Float[Tensor, "B N"]) -> Tensor:
        """v̄(h)."""
        mean = self._level(h) + self._spread((h / 2).minimum(self._bound)) * self._change
        fading = self._fading
        if fading is None:
            return mean
        weight = fading.weight(h, fading.share(h, self._time), self._bound)
        return mean + self._spread(weight) * fading.change

    def _level(self, h: Float[Tensor, "B N"]) -> Tensor:
        """v̄(h) at first order: v, without w once guidance has ended."""
        fading = self._fading
        if fading is None:
            return self._velocity
        return self._velocity - self._spread(1 - fading.share(h, self._time)) * fading.w

    def _spread(self, values: Shaped[Tensor, "B N"]) -> Shaped[Tensor, "B 1 H W"]:
        return spread(values, self._run.x.shape[-2:], self._patch_size)

    @property
    def _patch_size(self) -> int:
        return self._run.field.patch_size
