"""Predicted log-variance becomes the difficulty of patches, and difficulty the easy set."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.errors import check_range
from patch_forcing.core.patches import pool

LOGVAR_BOUNDS = (-30.0, 20.0)
"""Within these, exp(logvar) and exp(−logvar) are finite in fp32 (as in latent diffusion)."""


def bound_logvar(logvar: Tensor) -> Tensor:
    """The log-variance in fp32 and within LOGVAR_BOUNDS. NaN stays NaN."""
    return logvar.float().clamp(*LOGVAR_BOUNDS)


def difficulty(logvar: Float[Tensor, "B 1 H W"], patch_size: int) -> Float[Tensor, "B N"]:
    """d_i is the mean of exp(logvar) over patch i, the error variance that the model predicts."""
    return pool(bound_logvar(logvar).exp(), patch_size)


def easy_count(easy_fraction: float, num_patches: int) -> int:
    """The size ⌊p·N⌋ of the easy set.

    Rounding errors are forgiven: 0.29 of 100 patches are 29, although 0.29·100 < 29 in floating
    point. Raises UserError unless 0 ≤ p ≤ 1.
    """
    check_range("easy_fraction", easy_fraction, 0, 1)
    return math.floor(easy_fraction * num_patches + 1e-9)


def easy_set(difficulty: Float[Tensor, "B N"], easy_fraction: float) -> Bool[Tensor, "B N"]:
    """Marks the ⌊p·N⌋ patches of each image with the lowest d. Ties go to the lower index."""
    return lowest(difficulty, easy_count(easy_fraction, difficulty.shape[1]))


def lowest(ranking: Float[Tensor, "B N"], count: int) -> Bool[Tensor, "B N"]:
    """Marks the `count` patches of each image that rank lowest. Ties go to the lower index."""
    order = ranking.argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(ranking, dtype=torch.bool).scatter_(1, order, True)
