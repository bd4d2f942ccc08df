"""A number of a sample with its 95 % interval, without resampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

NORMAL = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""
SPLITS = 32
"""Splits into halves that are compared, where a metric is no smooth function of means."""
_FREEDOM = 7
"""Of an error by splits: in simulations of recall it varied by 27 %, as one of so many degrees."""


@dataclass(frozen=True)
class Estimate:
    """A metric of n images, and how much every part of the sample moves it.

    influence: (K,) fp64; of K = n images, or of halves (`split_estimate`). The entry of an image
    is the derivative of the value by its weight, times n (the infinitesimal jackknife, Efron 1982).
    excess: what the jackknife's variance holds too much, as a share of it, 0 … ½: it counts twice
    what pairs of images add beyond each of them alone (Efron & Stein 1981). freedom: degrees of
    freedom of the error; None: K − 1. bounds: what the metric can be, as no interval goes further.
    Where no image moves a share, as of 0 of n, the interval is Wilson's of n images. Of what is 0
    and has no upper bound it is that of a share, too. Else it has no width: none is known.
    """

    value: float
    influence: Float[Tensor, " K"]
    count: int
    excess: float = 0.0
    freedom: int | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def deviations(self) -> Float[Tensor, " K"]:
        """The influence without that excess: the standard error is its deviation over √K, and that
        of a difference between two samplers on the same seeds is that of the difference of theirs.
        """
        return self.influence * math.sqrt(1 - self.excess)

    @property
    def error(self) -> float:
        """The standard error, over other seeds and at this number of images."""
        return standard_error(self.deviations)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the metric's mean over samples of this size."""
        parts = len(self.influence) if self.freedom is None else self.freedom + 1
        reach = critical(parts) * self.error
        if reach == 0:  # which is no certainty
            return self._interval_of_count()
        low, high = self.bounds
        return max(low, self.value - reach), min(high, self.value + reach)

    def _interval_of_count(self) -> tuple[float, float]:
        """Where no image moves the value."""
        low, high = self.bounds
        if self.value == low and high == math.inf:
            return low, low + wilson(0.0, self.count)[1]
        if not math.isfinite(high - low):
            return self.value, self.value
        first, last = wilson((self.value - low) / (high - low), self.count)
        return low + first * (high - low), low + last * (high - low)


def standard_error(influence: Float[Tensor, " K"]) -> float:
    """That of a value whose parts move it so."""
    return float(influence.std() / math.sqrt(len(influence)))


def critical(parts: int) -> float:
    """97.5 % point of Student's t with parts − 1 degrees of freedom (Cornish–Fisher, to 0.5 % from
    5 degrees on).
    """
    z, v = NORMAL, max(parts - 1, 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` images (Wilson 1927). Of 0 it ends at z²/(n + z²),
    about 3.8/n, and never has no width.
    """
    scale = 1 + NORMAL**2 / count
    middle = (share + NORMAL**2 / (2 * count)) / scale
    spread = share * (1 - share) / count + NORMAL**2 / (4 * count**2)
    reach = NORMAL * math.sqrt(spread) / scale
    # exact at the ends, where rounding would leave a little
    return middle - reach if share > 0 else 0.0, middle + reach if share < 1 else 1.0


def as_share(estimate: Estimate) -> Estimate:
    """The same of a metric from 0 to 1."""
    return replace(estimate, bounds=(0.0, 1.0))


def mean_estimate(values: Shaped[Tensor, " n"]) -> Estimate:
    """The mean of one number an image."""
    wide = values.double()
    mean = wide.mean()
    return Estimate(float(mean), (wide - mean).cpu(), len(wide))


def parts_of(count: int) -> Bool[Tensor, "P n"]:
    """SPLITS random splits of so many images, always the same: each has six rows, two halves and
    then the halves of each half.
    """
    draws = torch.Generator().manual_seed(0)
    rows = torch.zeros(SPLITS, 6, count, dtype=torch.bool)
    half = count // 2
    for split in rows:
        order = torch.randperm(count, generator=draws)
        parts = [order[:half], order[half:]]
        quarters = [part.tensor_split(2) for part in parts]
        for row, part in zip(split, [*parts, *quarters[0], *quarters[1]], strict=True):
            row[part] = True
    return rows.flatten(0, 1)


def split_estimate(value: float, of_parts: Sequence[float], count: int) -> Estimate:
    """A metric that is no smooth function of means, from its values on `parts_of` its images.

    Halves of a sample are independent samples. So half the squared difference of their values is,
    without bias, the variance V of the metric of half as many images. How n·V changes from quarters
    to halves is taken for its change from halves to the whole. Simulations say how well that holds
    (docs/evaluation.md).
    """
    values = torch.tensor(of_parts, dtype=torch.float64).view(-1, 6)
    moved = (values[:, 0] - values[:, 1]) / 2
    quarters = (values[:, 2:].view(-1, 2, 2).diff(dim=2) / 2).square().mean()
    change = float(moved.square().mean() * 2 / quarters) if quarters > 0 else 1.0
    moved = moved * min(max(change, 0.5), 2.0) ** 0.5
    # either half may be called the first: the mean is zero, and a deviation counts from it
    moved = torch.cat([moved, -moved])
    return Estimate(value, moved * math.sqrt(len(moved) - 1), count, freedom=_FREEDOM)
