"""Does predicted variance tell where a velocity errs: means, ranks, calibration, with intervals.

Images are independent, their patches are not. So every interval is over images: the infinitesimal
jackknife of `evaluation.estimate`, with one part for each image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from patch_forcing.core.calibration import PatchErrors, rank_correlations, time_bin
from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate, standard_error

QUANTILES = 10
"""Parts of a bin's patches, of equal number, in the order of their predicted variance."""
MIN_PATCHES = 3
"""Patches of an image in a bin of time below which their ranks say nothing."""
CONSTANT = 1e-3
"""Standard deviation of log variance within images below which a head says one thing of all."""
_LEAST = 1e-30


class Level(NamedTuple):
    """Patches of like predicted variance.

    share: of the bin's patches. predicted, true: means. error: standard error of log₂ true over
    predicted.
    """

    share: float
    predicted: float
    true: float
    error: float


@dataclass(frozen=True)
class Fit:
    """How predicted variances fit the squared errors of patches.

    Both are of one number of the velocity: means over a patch's pixels and channels.

    patches: how many there are. predicted, true: their means. ratio: true over predicted; 1 is
    calibrated. standardised: mean of squared error over variance, each pixel by its own.
    rank_correlation: Spearman's within an image, mean over images. An image whose patches are
    predicted alike counts as 0; None if no image has MIN_PATCHES.
    calibration_error: mean over QUANTILES of |log₂ ratio|; 1 is a factor of two either way.
    by_chance: what it would be on average if each quantile were calibrated.
    spread: standard deviation of log variance within an image, mean over images.
    levels: the quantiles, from the lowest predicted variance on; of a bin of time.
    """

    patches: int
    predicted: float
    true: float
    ratio: Estimate
    standardised: float
    rank_correlation: Estimate | None
    calibration_error: Estimate
    by_chance: float
    spread: float
    levels: tuple[Level, ...] = ()


class TimeFit(NamedTuple):
    """A bin of time, low ≤ t < high, and how variances fit in it."""

    low: float
    high: float
    fit: Fit


def fits_by_time(errors: PatchErrors, bins: int) -> tuple[Fit, list[TimeFit]]:
    """Over all times, and in each of the equal bins of time that have patches.

    errors: (n, M), of n images, on a CPU. Over all times, means and ratio are of all patches.
    Calibration error and chance are means over bins by their number of patches, and the rank
    correlation of an image is its mean over bins.
    Raises UserError for fewer than two images, or where no variance is predicted.
    """
    if errors.variance is None or errors.standardised is None:
        raise UserError("no variance is predicted: choose a model with a difficulty head")
    if len(errors.t) < 2:
        raise UserError(f"{len(errors.t)} image has no interval: give 2 or more")
    number = time_bin(errors.t, bins)
    times = number.unique().tolist()
    parts = [_part(errors, number == k) for k in times]
    fits = [TimeFit(k / bins, (k + 1) / bins, p.fit()) for k, p in zip(times, parts, strict=True)]
    return _joined(parts).fit(), fits


class _Part(NamedTuple):
    """Some patches of n images.

    sums: of each image's patches: their number, predicted variance, squared error, and this over
    that. ranks, spreads: of each image, NaN where it has too few patches.
    """

    sums: Float[Tensor, "n 4"]
    ranks: Float[Tensor, " n"]
    spreads: Float[Tensor, " n"]
    error: Estimate
    by_chance: float
    levels: tuple[Level, ...] = ()

    def fit(self) -> Fit:
        patches, predicted, true, standardised = self.sums.sum(0).tolist()
        ratio = true / predicted
        influence = len(self.sums) * (self.sums[:, 2] - ratio * self.sums[:, 1]) / predicted
        return Fit(
            int(patches),
            predicted / patches,
            true / patches,
            Estimate(ratio, influence, len(self.sums)),
            standardised / patches,
            _mean(self.ranks),
            self.error,
            self.by_chance,
            float(self.spreads.nanmean()),
            self.levels,
        )


def _part(errors: PatchErrors, marked: Bool[Tensor, "n M"]) -> _Part:
    assert errors.variance is not None and errors.standardised is not None
    columns = marked.any(0)  # of one time an image, a bin has few of all
    marked = marked[:, columns]
    variance, error, standardised = (
        part[:, columns].double() for part in (errors.variance, errors.error, errors.standardised)
    )
    sums = [part.where(marked, 0.0).sum(1) for part in (variance, error, standardised)]
    counts = marked.sum(1)
    log = variance.clamp(min=_LEAST).log()
    centred = log - (log.where(marked, 0.0).sum(1) / counts)[:, None]
    spreads = (centred.square().where(marked, 0.0).sum(1) / counts).sqrt()
    # an image that is predicted alike has no order, which is no correlation
    ranks = rank_correlations(variance, error, marked).nan_to_num(0.0)
    ranks = ranks.where(counts >= MIN_PATCHES, math.nan)
    image = marked.nonzero()[:, 0]
    calibrated = _calibration(variance[marked], error[marked], image, len(marked))
    return _Part(torch.stack([counts.double(), *sums], dim=1), ranks, spreads, *calibrated)


def _joined(parts: Sequence[_Part]) -> _Part:
    """All bins of time, by their number of patches."""
    sums = torch.stack([part.sums for part in parts])
    weights = sums[:, :, 0].sum(1) / sums[:, :, 0].sum()
    influence = weights @ torch.stack([part.error.influence for part in parts])
    value = weights @ torch.tensor([part.error.value for part in parts], dtype=torch.float64)
    chance = weights @ torch.tensor([part.by_chance for part in parts], dtype=torch.float64)
    return _Part(
        sums.sum(0),
        torch.stack([part.ranks for part in parts]).nanmean(0),
        torch.stack([part.spreads for part in parts]).nanmean(0),
        Estimate(float(value), influence, len(influence)),
        float(chance),
    )


def _calibration(
    predicted: Float[Tensor, " m"], true: Float[Tensor, " m"], image: Int64[Tensor, " m"], n: int
) -> tuple[Estimate, float, tuple[Level, ...]]:
    """Calibration error, what chance makes of it, and the quantiles, of m patches of n images.

    Patches that are predicted alike stay together.
    """
    places = torch.arange(1, QUANTILES) * len(predicted) // QUANTILES
    edges = predicted.sort().values[places].unique()
    _, level, counts = torch.bucketize(predicted, edges, right=True).unique(
        return_inverse=True, return_counts=True
    )
    cell, shape = image * len(counts) + level, (n, len(counts))
    errors, variances = (
        torch.bincount(cell, values, n * len(counts)).view(shape) for values in (true, predicted)
    )
    totals, expected = (part.sum(0).clamp(min=_LEAST) for part in (errors, variances))
    logs, shares = (totals / expected).log2(), counts.double() / len(level)
    moved = n * (errors / totals - variances / expected) / math.log(2)  # (n, Q)
    noise = torch.tensor([standard_error(column) for column in moved.T], dtype=torch.float64)
    levels = torch.stack([shares, expected / counts, totals / counts, noise], dim=1)
    return (
        Estimate(float(shares @ logs.abs()), moved @ (shares * logs.sign()), n),
        # a normal variable around 0 is √(2/π) of its deviations away from it on average
        math.sqrt(2 / math.pi) * float(shares @ noise),
        tuple(Level(*row) for row in levels.tolist()),
    )


def _mean(values: Float[Tensor, " n"]) -> Estimate | None:
    """Of one number an image, NaN where it has none."""
    there = ~values.isnan()
    count = int(there.sum())
    if not count:
        return None
    mean = values[there].mean()
    influence = ((values - mean) * len(values) / count).where(there, 0.0)
    return Estimate(float(mean), influence, count)


def dead_head(fit: Fit) -> str | None:
    """Why samplers cannot go by a head of this fit, over all times; None if they can.

    It is dead if it says one thing of all patches of an image, or if the interval of its rank
    correlation holds 0 or lies below.
    """
    ranks = fit.rank_correlation
    if fit.spread < CONSTANT:
        return f"it predicts the same for all patches of an image ({fit.predicted:.3g} on average)"
    if ranks is None:
        return None
    low, high = ranks.interval
    if low > 0:
        return None
    what = "does not tell which patches err" if high >= 0 else "ranks patches the wrong way round"
    return f"it {what}: rank correlation {ranks.value:.2g} ({low:.2g} … {high:.2g})"
