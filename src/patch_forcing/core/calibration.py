"""How well predicted variance fits the errors of a velocity, and how errors depend on time."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.difficulty import bound_logvar, difficulty
from patch_forcing.core.patches import pool

BINS = 10
"""Equal parts of 0 ≤ t ≤ 1."""


class PatchErrors(NamedTuple):
    """Of every patch: its time, ‖v − v*‖² and, where variance is predicted, what it says of that.

    error: mean over the patch of the squared velocity error. standardised: mean of the same, each
    pixel's divided by its predicted variance; expected to be 1. nll: mean Gaussian likelihood.
    variance: the difficulty.
    """

    t: Float[Tensor, "B N"]
    error: Float[Tensor, "B N"]
    standardised: Float[Tensor, "B N"] | None = None
    nll: Float[Tensor, "B N"] | None = None
    variance: Float[Tensor, "B N"] | None = None

    def cpu(self) -> "PatchErrors":
        """The same there; one wait for a GPU each."""
        moved = {name: part.cpu() for name, part in self._asdict().items() if part is not None}
        return PatchErrors(**moved)


def patch_errors(
    velocity: Float[Tensor, "B C H W"],
    logvar: Float[Tensor, "B 1 H W"] | None,
    target: Float[Tensor, "B C H W"],
    t: Float[Tensor, "B N"],
    patch_size: int,
) -> PatchErrors:
    """Errors of a prediction, in fp32, by patch."""
    squared = (velocity.float() - target.float()).square()
    error = pool(squared, patch_size)
    if logvar is None:
        return PatchErrors(t, error)
    bounded = bound_logvar(logvar)
    standardised = pool(squared * (-bounded).exp(), patch_size)
    nll = 0.5 * (math.log(2 * math.pi) + pool(bounded, patch_size) + standardised)
    return PatchErrors(t, error, standardised, nll, difficulty(logvar, patch_size))


def bin_means(
    t: Float[Tensor, "B N"], values: Float[Tensor, "B N"], bins: int = BINS
) -> Float[Tensor, " bins"]:
    """Mean of the values whose t lies in [k/bins, (k + 1)/bins), the last bin with t = 1; NaN
    where there are none.
    """
    chosen = time_bin(t, bins).flatten() == torch.arange(bins, device=t.device)[:, None]
    chosen = chosen.double()
    return (chosen @ values.flatten().double() / chosen.sum(dim=1)).float()


def time_bin(t: Tensor, bins: int = BINS) -> Tensor:
    """Which of the bins, 0 … bins − 1, each time lies in."""
    return (t * bins).floor().long().clamp(0, bins - 1)


class Calibration(NamedTuple):
    """How good predicted variances are.

    ratio: mean of squared error over predicted variance. 1 is calibrated; above, errors are larger
    than predicted. It is stationary there: ∂NLL/∂s = (1 − ratio)/2 for a shift s of all logvar.
    gain: by how much the mean NLL, in nats a number, is below that of the best constant, which
    knows the mean error of these very patches. A constant head's is 0 at most.
    rank_correlation: Spearman's, of predicted variance and error of patches within one bin of time,
    mean over the bins by how many patches they hold; NaN where either is constant.
    spread: standard deviation of the logarithm of the patches' predicted variance.
    """

    ratio: float
    gain: float
    rank_correlation: float
    spread: float


@torch.no_grad()
def calibration(errors: PatchErrors) -> Calibration | None:
    """None where no variance is predicted."""
    if errors.standardised is None or errors.nll is None or errors.variance is None:
        return None
    constant = 0.5 * (math.log(2 * math.pi) + errors.error.double().mean().log() + 1)
    return Calibration(
        float(errors.standardised.double().mean()),
        float(constant - errors.nll.double().mean()),
        _within_bins(time_bin(errors.t), errors.variance, errors.error),
        float(errors.variance.double().clamp(min=1e-30).log().std(correction=0)),
    )


def _within_bins(bins: Tensor, a: Tensor, b: Tensor) -> float:
    total, weight = 0.0, 0
    for k in bins.unique().tolist():
        inside = bins == k
        value, count = rank_correlation(a[inside], b[inside]), int(inside.sum())
        if not math.isnan(value):
            total, weight = total + value * count, weight + count
    return total / weight if weight else math.nan


def rank_correlation(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Spearman's; equal values share their mean rank. NaN if either list is constant."""
    ranks = torch.stack([_ranks(a), _ranks(b)])
    ranks -= ranks.mean(dim=1, keepdim=True)
    product, first, second = (ranks[0] * ranks[1]).sum(), *ranks.square().sum(dim=1)
    return float(product / (first * second).sqrt())


def _ranks(values: Tensor) -> Tensor:
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[place]
