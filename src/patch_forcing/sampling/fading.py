"""What guidance adds to a velocity: a part w, which fades fast once guidance has set in.

Over a long step the line through the last two values of w would turn it round. Its change is
therefore limited, as slopes are where a fluid has shocks (van Leer 1979): in a step it takes no
more than half of w away. How fast w fades is measured along itself. With w' one evaluation before
w, and d the time between them,

    r = ⟨w, w'⟩/⟨w', w'⟩                       of w' is left after d;
    ln r / d                                   is the rate at which w fades;
    h/2 ≤ ½·d·r/(1 − r)                        is how far its change is followed, over a step h.

At the bound the change, (1 − r)/d of w' per time, takes half of r·w', of what is left.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.patches import pool, spread
from patch_forcing.sampling.field import FieldOutput

MIN_LEFT = 1e-3
"""Of w from one evaluation to the next (r): what turns round is as good as gone."""

ROUNDING = 1e-6
"""Of the end of guidance where patches have clocks of their own."""


class Fading:
    """w at each patch's last evaluation, how it changes, and how long it lasts.

    apart: r is measured in each patch, because patches move apart; otherwise in each image.
    """

    def __init__(
        self, x: Float[Tensor, "B C H W"], t: Float[Tensor, "B N"], patch_size: int, apart: bool
    ):
        self._patch_size, self._apart = patch_size, apart
        self.w = torch.zeros_like(x)
        self.change = torch.zeros_like(x)  # of w, per time
        self._bound = torch.full_like(t, torch.inf)  # h/2 up to which that change is followed
        self._rate = torch.zeros_like(t)
        self.guided = torch.zeros_like(t, dtype=torch.bool)  # in each patch's last evaluation
        self.until: float | Tensor = torch.inf

    def take(
        self,
        output: FieldOutput,
        w: Float[Tensor, "B C H W"],
        pace: Float[Tensor, "B N"],
        due: Bool[Tensor, "B N"],
    ) -> None:
        """The patches that are due were evaluated, with this w; pace: 1/d, 0 at first."""
        guided = output.guided
        if guided is None:
            guided = torch.zeros_like(due)
        else:
            self.until = output.guided_until
        twice = guided & self.guided
        before = self.w * self._spread(twice & due)
        along, square = pool(w * before, self._patch_size), pool(before.square(), self._patch_size)
        if not self._apart:
            along, square = (x.mean(dim=1, keepdim=True) for x in (along, square))
        left = along / square  # r; NaN where there is no w' yet, or no time between
        bound = left.clamp(min=0) / (1 - left).clamp(min=0) / (2 * pace)
        rate = left.clamp(MIN_LEFT, 1).log().nan_to_num(0) * pace
        change = (self._spread(pace) * (w - self.w)).masked_fill(~self._spread(twice), 0)
        where = self._spread(due)
        self._rate = torch.where(due, rate, self._rate)
        self._bound = torch.where(due, bound.nan_to_num(torch.inf, torch.inf), self._bound)
        self.change = torch.where(where, change, self.change)
        self.w = torch.where(where, w, self.w)
        self.guided = torch.where(due, guided, self.guided)

    def acts_at(self, t: float) -> bool:
        """Whether guidance lasts until that time, in any patch."""
        if isinstance(self.until, Tensor):
            return bool((self.until >= t - ROUNDING).any())
        return bool(np.float32(t) <= self.until)

    def after(self, h: Float[Tensor, "B N"]) -> Float[Tensor, "B C H W"]:
        """What is left of w after a time h without guidance."""
        return self._spread((self._rate * h).exp()) * self.w

    def share(self, h: Float[Tensor, "B N"], time: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """The share of the time from `time` to `time` + h in which guidance acts, 0 … 1."""
        return ((self.until - time) / h).nan_to_num(1, torch.inf, -torch.inf).clamp(0, 1)

    def weight(
        self, h: Float[Tensor, "B N"], share: Float[Tensor, "B N"], bound: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B N"]:
        """The factor of `change` in the mean velocity over h; bound: h/2, up to which v's is."""
        return share * (h * share / 2).minimum(bound).minimum(self._bound)

    def _spread(self, values: Tensor) -> Tensor:
        return spread(values, self.w.shape[-2:], self._patch_size)
