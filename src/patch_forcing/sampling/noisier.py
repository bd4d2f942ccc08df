"""Guidance away from noisier patches: the weak evaluation knows less of half of the patches.

In a random half of the patches its clocks are earlier, s = ratio·t. With ε ~ N(0, 1) that half is
seen as

    x_s = ratio·x_t + σ·ε,    σ² = (1 − s)² − ratio²·(1 − t)² = (1 − ratio)·(1 + ratio − 2·ratio·t),

which is distributed as noisier images are: its mean is s·x_1, and its noise has variance (1 − s)².
The two evaluations are compared by what they predict of x_1, so that in this half

    v_weak = (x_s + (1 − s)·v_s − x_t)/(1 − t).

Every patch has its own t and s, and one that has arrived, t = 1, is seen as it is.
(Less information in the input as guidance: AsyncPatch, arXiv 2606.07079.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from patch_forcing.core.difficulty import easy_count, lowest
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput, Network, prepared
from patch_forcing.core.patches import spread
from patch_forcing.core.random import CountedGenerator, widen
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import ClassifierFreeGuidance, Guidance, Pair, Query
from patch_forcing.sampling.guidance_kinds import NoisierPatches

_OFF_GRID = 1 << 30
"""What numbers of times begin at: above those of steps."""


class Draws:
    """What is random, of images of these seeds, whatever the batch.

    At a time of the grid it is that of the step: steps go in pairs, and the second has the other
    half. At any other time it is that of the time. The time of an image is its earliest patch's.
    """

    def __init__(
        self,
        seeds: Sequence[int] | Int64[Tensor, " B"],
        grid: Sequence[float],
        device: torch.device | str | None = None,
    ):
        # here, not at every evaluation: a copy makes a GPU wait
        self.seeds = torch.as_tensor(seeds, dtype=torch.int64, device=device)
        self.grid = torch.tensor(list(grid), dtype=torch.float32, device=self.seeds.device)

    def half(self, t: PatchTime) -> Bool[Tensor, "B N"]:
        """The patches that are seen noisier, but for those that have arrived."""
        times = t.to_dense()
        step, on_grid = self._step(times)
        pair = torch.where(on_grid, step // 2, step)
        numbers = CountedGenerator(self.seeds, step=pair, device=times.device).fork("half")
        first = lowest(numbers.uniform(t.num_patches), easy_count(0.5, t.num_patches))
        second = on_grid & (step % 2 == 1)
        return (first ^ second[:, None]) & (times < 1)

    def noise(self, t: PatchTime, like: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """ε."""
        step, _ = self._step(t.to_dense())
        numbers = CountedGenerator(self.seeds, step=step, device=like.device).fork("weak")
        return numbers.normal(*like.shape[1:])

    def _step(self, times: Float[Tensor, "B N"]) -> tuple[Int64[Tensor, " B"], Bool[Tensor, " B"]]:
        """The number of each image's time, and whether it is one of the grid."""
        now = times.amin(dim=1).float()
        step = torch.searchsorted(self.grid, now, right=True)
        if not len(self.grid):
            on_grid = torch.zeros_like(step, dtype=torch.bool)
        else:
            on_grid = self.grid[(step - 1).clamp(min=0)] == now
        return torch.where(on_grid, step, now.view(torch.int32).long() + _OFF_GRID), on_grid


class Half(NamedTuple):
    """The half that is seen noisier, spread over pixels.

    where: its pixels. rest: 1 − t. rest_seen: 1 − s. noise: σ·ε. Elsewhere they are those of t = 0.
    """

    where: Bool[Tensor, "B 1 H W"]
    rest: Float[Tensor, "B 1 H W"]
    rest_seen: Float[Tensor, "B 1 H W"]
    noise: Float[Tensor, "B C H W"]


@dataclass(frozen=True)
class NoisierGuidance(NoisierPatches, ClassifierFreeGuidance):
    """v = v_weak + scale·(v − v_weak), where v_weak sees half of the patches noisier.

    Without keep_condition it has no condition either, as in classifier-free guidance, and it costs
    as much: two evaluations. The half and its noise are drawn anew at every evaluation, from seeds:
    call `for_images` before it is used.
    ratio: s/t, above 0, below 1: the less, the noisier. The rest: as `ClassifierFreeGuidance`.
    Raises UserError for values out of range.
    """

    draws: Draws | None = field(default=None, repr=False, compare=False)

    is_drawn = True

    def __post_init__(self) -> None:
        Guidance.__post_init__(self)
        NoisierPatches.__post_init__(self)

    def for_images(
        self,
        seeds: Sequence[int] | Int64[Tensor, " B"],
        time_grid: Sequence[float] = (),
        device: torch.device | str | None = None,
    ) -> "NoisierGuidance":
        return replace(self, draws=Draws(seeds, time_grid, device))

    def check(self, condition: Tensor | None) -> None:
        if condition is None and not self.keep_condition:
            raise UserError(
                "guidance without a condition: give labels, or noisier:keep_condition=true, or "
                "leave guidance out"
            )

    def prepare(self, model: Network, condition: Tensor | None, batch: int) -> Any:
        if not self.keep_condition:
            return super().prepare(model, condition, batch)
        both = None if condition is None else torch.cat([condition, condition])
        return prepared(model, both, 2 * batch)

    def predict(self, model: Network, query: Query) -> Pair:
        x_t, t, both, active = query
        if self.draws is None:
            raise UserError("NoisierGuidance has no seeds to draw from: call its for_images(seeds)")
        if len(self.draws.seeds) != len(x_t):
            raise UserError(
                f"NoisierGuidance has {len(self.draws.seeds)} seeds for {len(x_t)} images: give "
                "for_images one each"
            )
        if active is not None:
            active = active.tile(2, len(x_t) * t.num_patches)
        patches = self.draws.half(t)
        half = self._half(x_t, t, patches, model.patch_size)
        x_s = torch.where(half.where, self.seen(x_t, half), x_t)
        times = self._times(t, patches)
        output = Query(torch.cat([x_t, x_s]), times, both, active).ask(model)
        logvars = (None, None) if output.logvar is None else output.logvar.chunk(2)
        good, bad = map(ModelOutput, output.velocity.chunk(2), logvars)
        compared = self.compared(good.velocity, bad.velocity, x_t, x_s, half)
        return Pair(good, bad._replace(velocity=torch.where(half.where, compared, bad.velocity)))

    def seen(self, x_t: Float[Tensor, "B C H W"], half: Half) -> Float[Tensor, "B C H W"]:
        """x_s."""
        return self.ratio * x_t + half.noise

    def compared(
        self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, half: Half
    ) -> Float[Tensor, "B C H W"]:
        """v_weak in the noisier half. v, v_s: the velocities of both evaluations."""
        return (x_s + half.rest_seen * v_s - x_t) / half.rest

    def _half(
        self, x_t: Float[Tensor, "B C H W"], t: PatchTime, patches: Bool[Tensor, "B N"], side: int
    ) -> Half:
        assert self.draws is not None
        ratio = self.ratio
        levels = PatchTime(_exact(t), t.index).to_dense()
        time = torch.where(patches, levels, torch.zeros_like(levels))  # so that 1 − t is not 0
        sigma = ((1 - ratio) * (1 + ratio - 2 * ratio * time)).sqrt()

        def pixels(values: Tensor) -> Tensor:
            return spread(values, x_t.shape[-2:], side)

        rest, rest_seen = pixels((1 - time).float()), pixels((1 - ratio * time).float())
        noise = pixels(sigma.float()) * self.draws.noise(t, x_t)
        return Half(pixels(patches), rest, rest_seen, noise)

    def _times(self, t: PatchTime, patches: Bool[Tensor, "B N"]) -> PatchTime:
        """Those of both evaluations, (2·B, …)."""
        earlier = (self.ratio * _exact(t)).float()
        if t.index is None:
            return PatchTime(torch.cat([t.values, torch.where(patches, earlier, t.values)]))
        values = torch.cat([t.values, earlier], dim=1).repeat(2, 1)
        index = torch.cat([t.index, t.index + t.num_levels * patches])
        return PatchTime(values, index).padded()


def _exact(t: PatchTime) -> Tensor:
    """The (B, U) values before they were rounded, so far as they are known."""
    values = widen(t.values)
    if t.num_levels == 1 and t.known is not None and len(t.known) == 1:
        return torch.full_like(values, t.known[0])
    return values
