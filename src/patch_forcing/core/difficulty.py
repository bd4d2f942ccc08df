"""From predicted log-variance to the difficulty of patches and the set of easy ones."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import pool

LOGVAR_BOUNDS = (-30.0, 20.0)
"""exp(logvar) and exp(−logvar) stay finite in fp32 (the bounds of the latent diffusion family)."""


def bound_logvar(logvar: Tensor) -> Tensor:
    """fp32, within LOGVAR_BOUNDS; NaN stays NaN."""
    return logvar.float().clamp(*LOGVAR_BOUNDS)


def difficulty(logvar: Float[Tensor, "B 1 H W"], patch_size: int) -> Float[Tensor, "B N"]:
    """d_i = mean of exp(logvar) over patch i: the variance the model expects of its velocity."""
    return pool(bound_logvar(logvar).exp(), patch_size)


def easy_count(easy_fraction: float, num_patches: int) -> int:
    """⌊p·N⌋, so that 0.29 of 100 patches is 29 although 0.29·100 < 29 in floating point."""
    check_fraction("easy_fraction", easy_fraction)
    return math.floor(easy_fraction * num_patches + 1e-9)


def easy_set(difficulty: Float[Tensor, "B N"], easy_fraction: float) -> Bool[Tensor, "B N"]:
    """The ⌊p·N⌋ patches of each image with the lowest difficulty; ties go to the lower index."""
    count = easy_count(easy_fraction, difficulty.shape[1])
    order = difficulty.argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(difficulty, dtype=torch.bool).scatter_(1, order, True)


def check_fraction(name: str, value: float) -> None:
    """Raises UserError unless 0 ≤ value ≤ 1."""
    if not 0 <= value <= 1:
        raise UserError(f"{name}={value} is out of range: choose a number from 0 to 1")
