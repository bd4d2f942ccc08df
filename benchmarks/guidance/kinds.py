"""Kinds of guidance by what the weak evaluation sees, and a scale for each patch.

All are v = v_weak + scale·(v − v_weak), at the cost of classifier-free guidance. They are what was
tried beside `NoisierGuidance`, which draws the half of the patches and its noise. A ratio of 1 is
the control: as much information, in half of the patches.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import ClassifierFreeGuidance, Guidance, Pair
from patch_forcing.sampling.noisier import Half, NoisierGuidance


@dataclass(frozen=True)
class Context(NoisierGuidance):
    """Only the half that is seen as it is is compared: it has less context to go by."""

    def __post_init__(self) -> None:
        Guidance.__post_init__(self)

    def compared(self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, half: Half) -> Tensor:
        return v


@dataclass(frozen=True)
class Lie(NoisierGuidance):
    """The clocks of a half are earlier, and no noise is added; velocities are compared as such."""

    def seen(self, x_t: Tensor, half: Half) -> Tensor:
        return x_t

    def compared(self, v: Tensor, v_s: Tensor, x_t: Tensor, x_s: Tensor, half: Half) -> Tensor:
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
