"""Kinds of guidance by what the weak evaluation sees, and a scale for each patch.

All are v = v_weak + scale·(v − v_weak), at the cost of classifier-free guidance. In a random half
of the patches the weak evaluation's clocks are earlier, s = ratio·t. With ε ~ N(0, 1) that half is
seen as

    x_s = (s/t)·x_t + σ·ε,    σ² = (1 − s)² − (s/t)²·(1 − t)²,

which is distributed as noisier images are: its mean is s·x_1, and its noise has variance (1 − s)².
The half is another one for each image and each pair of steps; in the second step it is the other
half. (Less information in the input as guidance: AsyncPatch, arXiv 2606.07079.)
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.difficulty import difficulty, easy_count, lowest
from patch_forcing.core.output import ModelOutput, Network, prepared
from patch_forcing.core.patches import spread
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import ClassifierFreeGuidance, Pair, Query


@dataclass(frozen=True)
class Draws:
    """What is random, of images of these seeds at the steps of this grid, whatever the batch."""

    seeds: tuple[int, ...]
    grid: tuple[float, ...]

    def half(self, t: float, like: Tensor, patches: int) -> Bool[Tensor, "B N"]:
        """The patches that are seen noisier at that time."""
        pair, second = divmod(self._step(t), 2)
        numbers = CountedGenerator(self.seeds, step=pair, device=like.device).fork("half")
        first = lowest(numbers.uniform(patches), easy_count(0.5, patches))
        return ~first if second else first

    def noise(self, t: float, like: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """ε."""
        numbers = CountedGenerator(self.seeds, step=self._step(t), device=like.device)
        return numbers.fork("weak").normal(*like.shape[1:])

    def _step(self, t: float) -> int:
        return bisect_right(self.grid, t)


@dataclass(frozen=True)
class _WithDraws:
    """A base of its own, so that its field comes before those of guidance."""

    draws: Draws


@dataclass(frozen=True)
class Both(ClassifierFreeGuidance, _WithDraws):
    """Both halves are compared: the noisier one by its prediction of x_1.

    There v_weak = (x_s + (1 − s)·v_s − x_t)/(1 − t). All patches share one time, below 1.

    ratio: s/t. drop: the weak evaluation has no label either.
    """

    ratio: float = 0.5
    drop: bool = True

    def prepare(self, model: Network, condition: Tensor | None, batch: int) -> Any:
        if self.drop:
            return super().prepare(model, condition, batch)
        assert condition is not None
        return prepared(model, condition.repeat(2, *(1,) * (condition.ndim - 1)), 2 * batch)

    def predict(self, model: Network, query: Query) -> Pair:
        x_t, t = query.x_t, query.t
        assert t.known is not None and len(t.known) == 1
        now = float(t.known[0])
        half = self.draws.half(now, x_t, t.num_patches)
        pixels = spread(half, x_t.shape[-2:], model.patch_size)
        x_s = torch.where(pixels, self.seen(x_t, now), x_t)
        earlier = torch.cat([torch.zeros_like(half), half])
        times = PatchTime.two_level(earlier, self.ratio * now, now)
        output = Query(torch.cat([x_t, x_s]), times, query.condition).ask(model)
        logvars = (None, None) if output.logvar is None else output.logvar.chunk(2)
        good, bad = map(ModelOutput, output.velocity.chunk(2), logvars)
        compared = self.compared(good.velocity, bad.velocity, x_t, x_s, now)
        return Pair(good, bad._replace(velocity=torch.where(pixels, compared, bad.velocity)))

    def seen(self, x_t: Float[Tensor, "B C H W"], t: float) -> Float[Tensor, "B C H W"]:
        """x_s."""
        s = self.ratio * t
        variance = (1 - s) ** 2 - self.ratio**2 * (1 - t) ** 2
        return self.ratio * x_t + max(variance, 0.0) ** 0.5 * self.draws.noise(t, x_t)

    def compared(self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, t: float) -> Tensor:
        """v_weak in the noisier half."""
        return (x_s + (1 - self.ratio * t) * v_s - x_t) / (1 - t)


@dataclass(frozen=True)
class Context(Both):
    """Only the half that is seen as it is is compared: it has less context to go by."""

    def compared(self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, t: float) -> Tensor:
        return v


@dataclass(frozen=True)
class Lie(Both):
    """The clocks of a half are earlier, and no noise is added; velocities are compared as such."""

    def seen(self, x_t: Tensor, t: float) -> Tensor:
        return x_t

    def compared(self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, t: float) -> Tensor:
        return v_s


@dataclass(frozen=True)
class Tilted(ClassifierFreeGuidance):
    """Classifier-free guidance with more of it in hard patches, or, below 0, in easy ones.

    The excess of the scale over 1 is multiplied by 1 + tilt·(2·rank − 1), with the patch's rank of
    difficulty in its image, 0 to 1. So it is the same on average.
    """

    tilt: float = 0.0

    def combine(
        self, pair: Pair, t: PatchTime, where: Bool[Tensor, "B N"], patch_size: int
    ) -> ModelOutput:
        good, bad = pair.good.velocity, pair.bad.velocity
        assert pair.good.logvar is not None
        order = difficulty(pair.good.logvar, patch_size).argsort(dim=1, stable=True)
        rank = order.argsort(dim=1) / (order.shape[1] - 1)
        scale = self.scale + (self.scale - 1) * self.tilt * (2 * rank - 1)
        size = good.shape[-2:]
        guided = bad + spread(scale, size, patch_size) * (good - bad)
        velocity = torch.where(spread(where, size, patch_size), guided, good)
        return ModelOutput(velocity, pair.good.logvar)
