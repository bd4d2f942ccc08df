"""KID: a distance between sets of images without bias, by a kernel of their features."""

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate

_ROWS = 1024
"""Rows of the kernel's matrix computed at once."""


def kernel_distance(real: Float[Tensor, "m F"], sampled: Float[Tensor, "n _"]) -> Estimate:
    """KID (Bińkowski et al. 2018): the unbiased squared MMD of the kernel (x·y/F + 1)³.

    Usually it is a mean over random subsets. This is the mean over all subsets there are, which
    needs no seed and varies least. Below zero it is noise around zero.
    Raises UserError if a set has fewer than two images.
    """
    for name, features in (("real", real), ("sampled", sampled)):
        if len(features) < 2:
            raise UserError(f"KID of {len(features)} {name} images: give at least 2")
    if real.shape[1] != sampled.shape[1]:
        raise UserError(
            f"features of {real.shape[1]} and {sampled.shape[1]} numbers: "
            "use one feature network for both"
        )
    among, across = _row_sums(sampled, sampled, own=True), _row_sums(sampled, real)
    among_real = _row_sums(real, real, own=True)
    n, m = len(sampled), len(real)
    first, second = among / (n - 1), across / m
    value = float(first.mean() - 2 * second.mean() + among_real.mean() / (m - 1))
    influence = 2 * (first - second)
    return Estimate(value, (influence - influence.mean()).cpu(), n)


def _row_sums(
    a: Float[Tensor, "n F"], b: Float[Tensor, "m F"], own: bool = False
) -> Float[Tensor, " n"]:
    """Σ_j k(a_i, b_j); own: without j = i, of a set with itself."""
    wide = b.double()
    sums = []
    for part in a.split(_ROWS):
        kernel = (part.double() @ wide.mT / a.shape[1] + 1) ** 3
        sums.append(kernel.sum(1))
        if own:
            sums[-1] = sums[-1] - (part.double().square().sum(1) / a.shape[1] + 1) ** 3
    return torch.cat(sums)
