"""Editing: a field in which each patch starts at a time of its own, the less it may change.

A patch of strength m ∈ [0, 1] starts on the path of the original image c at time 1 − m, with
x = (1 − m)·c + m·x_0, and goes on to 1. One clock s ∈ [0, 1] drives all patches:

    t_i(s) = 1 − m_i·(1 − s),      x_i = (1 − m_i)·c_i + m_i·y_i.

A sampler is given y in place of x, and s in place of t. Since dx = m·dy and dt = m·ds, it is

    dy/ds = v(x, t),               y(0) = x_0,

so that a sampler integrates y from pure noise at its usual times, with the velocity as it is. For
m = 1 that is sampling, for one m everywhere SDEdit (Meng et al. 2022, arXiv 2108.01073) on the grid
t(s), for m = 0 the original. It is an ordinary equation, smooth in s: every method keeps its order.

Pixels that are kept within a patch that moves are held on their path, y = s·c + (1 − s)·x_0, whose
velocity is (c − y)/(1 − s), constant: no sampler makes an error there.

What samplers make of it:

- euler, heun, adams-bashforth: the method on the clock. A step Δ of it is m·Δ of a patch's time.
- dual-loop, random-order, multirate: shares count the patches that move. Kept ones are easy.
- look-ahead: context is pushed to clock min(1, r·s), and steps are plain until clock 0.05. By its
  own time a patch is pushed by m·(r − 1)·s, so that one that changes little is pushed little.
- adaptive: estimates of errors are those of y. An error e of y is one of m·e in the image, so that
  patches of small m are followed more closely than they need. Kept patches leave at once.
- euler-maruyama: fresh noise of size σ in y is of size m·σ in x. With x̂_0 = x − t·v, which
  `FieldOutput.noise` says, it is the equation of diffusion w = 2·(λ/m)·(1 − t)²: at the end e^{−λ}
  of the first noise is left in every patch.

The alternative order, that of Differential Diffusion (Levin & Fried 2023, arXiv 2306.00950), lets
patches wait until the clock passes 1 − m. Its velocity jumps there: steps of second order would
need a boundary at every m, and a patch of small m would have few steps.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.evaluation import Evaluation
from patch_forcing.sampling.field import Field, FieldOutput, Recall
from patch_forcing.sampling.sampler import Call, Planned


class EditMap:
    """Between the clock and y of a sampler, and the times and images of an edit.

    original: (1, C, H, W) or (B, C, H, W), c, as the network sees it. strength: (N,), m of each
    patch. fixed: (1, 1, H, W), the pixels that stay; all those of patches of m = 0 do.
    Raises UserError for strengths outside [0, 1], or if all are 0.
    """

    def __init__(
        self,
        original: Float[Tensor, "_ C H W"],
        strength: Float[Tensor, " N"],
        fixed: Bool[Tensor, "1 1 H W"],
        patch_size: int,
    ):
        numbers = strength.tolist()
        if not all(0 <= m <= 1 for m in numbers):
            raise UserError(f"strengths from {min(numbers)} to {max(numbers)}: give 0 to 1")
        if not any(numbers):
            raise UserError("all strengths are 0: nothing would change")
        self.original, self.patch_size = original, patch_size
        self.strength = strength
        self.kept = strength == 0
        self.num_kept = numbers.count(0)
        self.levels = tuple(sorted(set(numbers)))
        self._levels = strength.new_tensor(self.levels)
        self._level = torch.searchsorted(self._levels, strength)
        self._weight = spread(strength[None], original.shape[-2:], patch_size)
        self.fixed = fixed | (self._weight == 0)

    @property
    def starts(self) -> tuple[float, ...]:
        """The times at which patches that move start."""
        return tuple(1 - m for m in self.levels if m)

    def time(self, clock: PatchTime) -> PatchTime:
        """The time of every patch; `known` are those of patches that move."""
        known = None
        if clock.known is not None:
            known = tuple(s + (1 - m) * (1 - s) for s in clock.known for m in self.levels if m)
        if clock.index is None:
            return PatchTime(self.dense(clock.values), None, known)
        late = 1 - self._levels
        values = torch.lerp(clock.values[:, :, None], clock.values.new_ones(()), late).flatten(1)
        index = clock.index * len(self.levels) + self._level
        return PatchTime(values, index, known).padded()

    def dense(self, clock: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """The time of every patch at its own clock. Exactly s where m = 1, and 1 where m = 0."""
        return torch.lerp(clock, clock.new_ones(()), 1 - self.strength)

    def clock(self, t: float) -> Float[Tensor, " N"]:
        """When each patch reaches a time; before 0 where it starts later, −∞ where it is kept."""
        start = 1 - self.strength
        return torch.where(self.kept, -torch.inf, (t - start) / self.strength)

    def image(self, y: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """What the network sees, x. Exactly y where m = 1, and c where m = 0."""
        return torch.lerp(self.original.expand_as(y), y, self._weight.expand_as(y))

    def finished(self, y: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The edited image, or the prediction of it: what is fixed is the original, bit by bit."""
        return torch.where(self.fixed, self.original, self.image(y))

    def seen(self, evaluation: Evaluation) -> Evaluation:
        """An evaluation of a sampler in the times and images of the edit."""
        return replace(
            evaluation,
            t=self.dense(evaluation.t),
            state_t=self.dense(evaluation.state_t),
            prediction=self.finished(evaluation.prediction),
        )


class EditField:
    """The `Field` that a sampler is given in place of `field`, to edit by a map."""

    def __init__(self, field: Field, edit: EditMap):
        self.field, self.edit = field, edit

    @property
    def patch_size(self) -> int:
        """P."""
        return self.field.patch_size

    @property
    def kept(self) -> Bool[Tensor, " N"]:
        """The patches of m = 0."""
        return self.edit.kept

    @property
    def num_kept(self) -> int:
        """Their number."""
        return self.edit.num_kept

    def __call__(
        self, x_t: Tensor, t: PatchTime, *, guided: bool = True, recall: Recall | None = None
    ) -> FieldOutput:
        """x_t: y. t: the clock."""
        edit, y = self.edit, x_t
        x, time = edit.image(y), edit.time(t)
        options: dict[str, Any] = {} if recall is None else {"recall": recall}
        output = self.field(x, time, guided=guided, **options)
        size = y.shape[-2:]
        s = spread(t.to_dense(), size, self.patch_size)
        straight = ((edit.original - y) / (1 - s)).where(s < 1, 0.0)

        def held(velocity: Tensor) -> Tensor:
            return torch.where(edit.fixed, straight, velocity.float())

        velocity = output.velocity.float()
        noise = x - spread(time.to_dense(), size, self.patch_size) * velocity
        until = output.guided_until
        return output._replace(
            velocity=held(output.velocity),
            unguided=held(output.unguided),
            difficulty=_of_moving(output.difficulty, edit.kept),
            guided=None if output.guided is None else output.guided & ~edit.kept,
            guided_until=until if until == float("inf") else edit.clock(float(until)),
            noise=torch.where(edit.fixed, y - s * straight, noise),
        )


def _of_moving(
    difficulty: Float[Tensor, "B N"] | None, kept: Bool[Tensor, " N"]
) -> Float[Tensor, "B N"] | None:
    """What is kept is as easy as the easiest patch that moves, so that maps show the others."""
    if difficulty is None:
        return None
    easiest = difficulty.masked_fill(kept, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(kept, easiest, difficulty)


def strengths(
    mask: Float[Tensor, "H W"], factor: int, patch_size: int
) -> tuple[Float[Tensor, " N"], Bool[Tensor, "1 1 h w"]]:
    """The m of each patch and the fixed pixels of what the network sees, of a mask of the image.

    factor: pixels along the side of a latent's cell; 1 of pixels. A patch has the greatest strength
    in it: with the mean, white pixels beside black ones could not change as far as white says. A
    cell is fixed if all its pixels are black.
    """
    cells = torch.nn.functional.max_pool2d(mask[None, None], factor)
    patches = torch.nn.functional.max_pool2d(cells, patch_size)
    return patches.flatten(), cells == 0


@dataclass(frozen=True)
class EditPlan:
    """What an edit takes of a sampler's evaluations, as guidance counts by the patches' own times.

    starts: the times at which patches start.
    """

    sampler: Planned
    starts: tuple[float, ...]

    def plan(self, time_grid: list[float], num_patches: int) -> list[Call]:
        """The sampler's calls, at the times of the patches."""
        return [
            call._replace(times=tuple(s + a * (1 - s) for s in call.times for a in self.starts))
            for call in self.sampler.plan(time_grid, num_patches)
        ]
