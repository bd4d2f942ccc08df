"""How well predicted variance fits the errors of a velocity, and how errors depend on time."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from patch_forcing.core.difficulty import bound_logvar, difficulty
from patch_forcing.core.output import Network
from patch_forcing.core.patches import pool
from patch_forcing.core.path import LinearPath
from patch_forcing.core.time import PatchTime

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

    @classmethod
    def joined(cls, parts: "Sequence[PatchErrors]", dim: int) -> "PatchErrors":
        """All of them, one after the other: other images (dim 0), or other patches (dim 1)."""
        rows = [part._asdict() for part in parts]
        there = [name for name, field in rows[0].items() if field is not None]
        return cls(**{name: torch.cat([row[name] for row in rows], dim=dim) for name in there})


@torch.no_grad()
def network_errors(
    model: Network,
    x_1: Float[Tensor, "B C H W"],
    x_0: Float[Tensor, "B C H W"],
    t: PatchTime,
    condition: Shaped[Tensor, "B ..."] | None,
    crop: Float[Tensor, "B 4"] | None = None,
) -> PatchErrors:
    """Errors of a network at x_t, by patch: one evaluation, without gradient."""
    path = LinearPath(model.patch_size)
    options: dict[str, Any] = {} if crop is None else {"crop": crop}
    output = model(path.interpolate(x_0, x_1, t), t, condition, **options)
    target = path.velocity(x_0, x_1)
    return patch_errors(output.velocity, output.logvar, target, t.to_dense(), model.patch_size)


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
    return float(rank_correlations(a[None], b[None])[0])


def rank_correlations(
    a: Float[Tensor, "R n"], b: Float[Tensor, "R n"], among: Bool[Tensor, "R n"] | None = None
) -> Float[Tensor, " R"]:
    """Spearman's of each row, in fp64. among: the entries that count; None: all of them."""
    marked = torch.ones_like(a, dtype=torch.bool) if among is None else among
    first, second = _centred_ranks(a, marked), _centred_ranks(b, marked)
    squares = first.square().sum(1) * second.square().sum(1)
    return (first * second).sum(1) / squares.sqrt()


def _centred_ranks(values: Float[Tensor, "R n"], marked: Bool[Tensor, "R n"]) -> Tensor:
    """Ranks among the marked entries less their mean; 0 for all others."""
    last = values.where(marked, math.inf).contiguous()
    ordered = last.sort(dim=1).values
    fewer, not_more = (torch.searchsorted(ordered, last, right=right) for right in (False, True))
    ranks = ((fewer + not_more + 1).double() / 2).where(marked, 0.0)
    mean = ranks.sum(1, keepdim=True) / marked.sum(1, keepdim=True)
    return (ranks - mean).where(marked, 0.0)
