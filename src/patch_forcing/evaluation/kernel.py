"""Distances between sets of images by a kernel of their features: KID, and CMMD of CLIP's."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate

Kernel = Callable[[Float[Tensor, "n F"], Float[Tensor, "m F"]], Float[Tensor, "n m"]]
_ROWS = 1024
"""Rows of the kernel's matrix computed at once."""
_WIDTH, _SCALE = 10.0, 1000.0
"""Of CMMD: the kernel's width, and what the distance is multiplied by."""


def kernel_distance(real: Float[Tensor, "m F"], sampled: Float[Tensor, "n _"]) -> Estimate:
    """KID (Bińkowski et al. 2018): the unbiased squared MMD of the kernel (x·y/F + 1)³.

    Usually it is a mean over random subsets. This is the mean over all subsets there are, which
    needs no seed and varies least. Below zero it is noise around zero.
    Raises UserError if a set has fewer than two images.
    """
    _check("KID", real, sampled)
    real, sampled = real.double(), sampled.double()
    n, m = len(sampled), len(real)
    own = [_cubic_self(features) for features in (sampled, real)]
    first = (_row_sums(sampled, sampled, _cubic) - own[0]) / (n - 1)
    second = _row_sums(sampled, real, _cubic) / m
    among_real = (_row_sums(real, real, _cubic) - own[1]).mean() / (m - 1)
    return _estimate(first, second, float(among_real), n)


def clip_distance(real: Float[Tensor, "m F"], sampled: Float[Tensor, "n _"]) -> Estimate:
    """CMMD (Jayasumana et al. 2024): the squared MMD of embeddings of length 1 by the kernel
    exp(−|x − y|²/(2·10²)), times 1000, over all pairs, an image with itself among them.

    So it is not below zero, and too large by about 1/n. Raises UserError as `kernel_distance` does.
    """
    _check("CMMD", real, sampled)
    real, sampled = (F.normalize(features.double(), dim=1) for features in (real, sampled))
    n, m = len(sampled), len(real)
    first = _SCALE * _row_sums(sampled, sampled, _gaussian) / n
    second = _SCALE * _row_sums(sampled, real, _gaussian) / m
    among_real = _SCALE * _row_sums(real, real, _gaussian).mean() / m
    return _estimate(first, second, float(among_real), n)


def _estimate(
    first: Float[Tensor, " n"], second: Float[Tensor, " n"], among_real: float, count: int
) -> Estimate:
    """Of each sample's mean kernel with samples and with real images."""
    influence = 2 * (first - second)
    value = float(first.mean() - 2 * second.mean()) + among_real
    return Estimate(value, (influence - influence.mean()).cpu(), count)


def _check(name: str, real: Float[Tensor, "m F"], sampled: Float[Tensor, "n _"]) -> None:
    for what, features in (("real", real), ("sampled", sampled)):
        if len(features) < 2:
            raise UserError(f"{name} of {len(features)} {what} images: give at least 2")
    if real.shape[1] != sampled.shape[1]:
        raise UserError(
            f"features of {real.shape[1]} and {sampled.shape[1]} numbers: "
            "use one feature network for both"
        )


def _cubic(a: Float[Tensor, "n F"], b: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    products = (a @ b.mT).div_(a.shape[1]).add_(1)
    return products.square().mul_(products)


def _cubic_self(a: Float[Tensor, "n F"]) -> Float[Tensor, " n"]:
    """The kernel of each with itself."""
    return (a.square().sum(1) / a.shape[1] + 1) ** 3


def _gaussian(a: Float[Tensor, "n F"], b: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    """Of vectors of length 1."""
    return (a @ b.mT).sub_(1).div_(_WIDTH**2).exp_()


def _row_sums(
    a: Float[Tensor, "n F"], b: Float[Tensor, "m F"], kernel: Kernel
) -> Float[Tensor, " n"]:
    """Σ_j k(a_i, b_j)."""
    return torch.cat([kernel(part, b).sum(1) for part in a.split(_ROWS)])
