"""Training distributions over per-patch time.

Each is a frozen dataclass, whose options are in `timestep_options`. As a function,
`sampler(batch, patches, generator=None, device=None)` returns a PatchTime in [0, 1]. The truncated
Gaussians are those of Patch Forcing (arXiv 2604.19141). The mean-controlled distribution is that of
Spatial Reasoning Models (Wewer et al. 2025).

The letters of formulas stand in the docstring of `patch_forcing`.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.random import Generator, draw_normal, draw_uniform, widen
from patch_forcing.core.time import PatchTime
from patch_forcing.core.timestep_options import (
    LogitNormalTruncatedGaussianOptions,
    MeanControlledOptions,
    NoOptions,
    SharedLogitNormalOptions,
    TruncatedGaussianOptions,
)

Device = torch.device | str | None


@runtime_checkable
class TimestepSampler(Protocol):
    """Draws the times that a training batch is noised to."""

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime: ...


def _logit_normal(
    batch: int, loc: float, scale: float, generator: Generator, device: Device
) -> Float[Tensor, "B 1"]:
    """One σ(loc + scale·z) for each image, z standard normal."""
    z = widen(draw_normal(generator, batch, 1, device=device))
    return torch.sigmoid(loc + scale * z).float()


def _below_maximum(
    t_max: Float[Tensor, "B 1"], cells: int, std: float, generator: Generator
) -> Float[Tensor, "B {cells}"]:
    """t_max − |z|·min(t_max/2, std). A value below 0 is redrawn from U(0, t_max)."""
    batch, device = len(t_max), t_max.device
    z = draw_normal(generator, batch, cells, device=device)
    again = t_max * draw_uniform(generator, batch, cells, device=device)
    t = t_max - z.abs() * (t_max / 2).clamp(max=std)
    return torch.where(t < 0, again, t)


class SharedUniform(NoOptions):
    """All patches of an image share one t ~ U(0, 1): plain flow matching (SiT)."""

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        return PatchTime.shared(draw_uniform(generator, batch, device=device), patches)


class SharedLogitNormal(SharedLogitNormalOptions):
    """All patches of an image share one t = σ(loc + scale·z) (Esser et al. 2024)."""

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        t = _logit_normal(batch, self.loc, self.scale, generator, device)
        return PatchTime.shared(t[:, 0], patches)


class IndependentUniform(NoOptions):
    """Every patch has its own t ~ U(0, 1) (Diffusion Forcing, Chen et al. 2024)."""

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        return PatchTime.dense(draw_uniform(generator, batch, patches, device=device))


class MeanControlled(MeanControlledOptions):
    """The mean time of an image is U(0, 1). Its total is split by recursive halving.

    Of n cells that hold the sum S, the first ⌊n/2⌋ get low + (high − low)·Beta(a, a), where
    low = max(0, S − ⌈n/2⌉), high = min(S, ⌊n/2⌋) and a = sharpness·(n − 1 − n mod 2)^1.05. At the
    end the cells are shuffled. The larger the sharpness, the closer each share is to its middle.
    """

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        total = patches * draw_uniform(generator, batch, device=device)
        draws = draw_uniform(generator, batch, max(patches - 1, 1), 2, device=device)
        cells = torch.stack(self._split(total, patches, draws), dim=1)
        order = draw_uniform(generator, batch, patches, device=device).argsort(dim=1)
        return PatchTime.dense(cells.gather(1, order).clamp(0, 1))

    def _split(self, total: Tensor, n: int, draws: Tensor) -> list[Tensor]:
        """Splits `total` (B,) into n cells (B,). A halving takes one pair of uniform draws."""
        if n == 1:
            return [total]
        few, many = n // 2, n - n // 2
        low, high = (total - many).clamp(min=0), total.clamp(max=few)
        a = self.sharpness * (n - 1 - n % 2) ** 1.05
        share = low + (high - low) * _symmetric_beta(a, draws[:, 0])
        return [
            *self._split(share, few, draws[:, 1:few]),
            *self._split(total - share, many, draws[:, few:]),
        ]


def _symmetric_beta(a: float, uniform: Float[Tensor, "B 2"]) -> Float[Tensor, " B"]:
    """Draws Beta(a, a) from two uniforms, exactly for a ≥ ½ (Ulrich 1984; Devroye 1986, IX.3).

    Counted randomness needs a fixed number of draws, so nothing is rejected.
    """
    u, w = widen(uniform).unbind(1)
    exponent = math.inf if a == 0.5 else 2 / (2 * a - 1)
    radius = (-torch.expm1(exponent * u.log())).sqrt()  # √(1 − u^exponent)
    return (0.5 + 0.5 * radius * torch.cos(2 * math.pi * w)).float()


class TruncatedGaussian(TruncatedGaussianOptions):
    """TG: the patches of an image lie a truncated half-Gaussian below t_max ~ U(0, 1)."""

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        t_max = draw_uniform(generator, batch, 1, device=device)
        return PatchTime.dense(_below_maximum(t_max, patches, self.std, generator))


class LogitNormalTruncatedGaussian(LogitNormalTruncatedGaussianOptions):
    """LTG: as TG, with t_max = σ(loc + scale·z), which limits the information in an image.

    levels: grouped LTG. An image draws only U = levels times, and every patch picks one of them.
    The distribution of a patch is the same, and the modulation has U rows instead of N.
    """

    def __call__(
        self, batch: int, patches: int, *, generator: Generator = None, device: Device = None
    ) -> PatchTime:
        t_max = _logit_normal(batch, self.loc, self.scale, generator, device)
        cells = self.levels or patches
        values = _below_maximum(t_max, cells, self.std, generator)
        if self.levels is None:
            return PatchTime.dense(values)
        pick = draw_uniform(generator, batch, patches, device=device) * cells
        return PatchTime(values, pick.long().clamp(max=cells - 1))


TIMESTEPS: dict[str, type] = {
    "shared-uniform": SharedUniform,
    "shared-logit-normal": SharedLogitNormal,
    "independent-uniform": IndependentUniform,
    "mean-controlled": MeanControlled,
    "tg": TruncatedGaussian,
    "ltg": LogitNormalTruncatedGaussian,
}
"""The names that recipes use, as in `TIMESTEP_OPTIONS`."""
