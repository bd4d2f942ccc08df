"""A number of a sample with its 95 % interval, without resampling."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

NORMAL = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""
GROUPS = 20
"""Parts of a sample that are left out in turn, where a metric is no smooth function of means."""


@dataclass(frozen=True)
class Estimate:
    """A metric of n images, and how much every part of the sample moves it.

    influence: (K,) fp64; K is n, or the number of groups that were left out in turn. Its k-th entry
    is the derivative of the value by the weight of part k, times K (the infinitesimal jackknife,
    Efron 1982). So the standard error is its deviation over √K, and that of a difference between
    two samplers on the same seeds is that of the difference of their influences.
    """

    value: float
    influence: Float[Tensor, " K"]
    count: int

    @property
    def error(self) -> float:
        """The standard error, over other seeds and at this number of images."""
        return standard_error(self.influence)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the metric's mean over samples of this size."""
        reach = critical(len(self.influence)) * self.error
        return self.value - reach, self.value + reach


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


def mean_estimate(values: Shaped[Tensor, " n"]) -> Estimate:
    """The mean of one number an image."""
    wide = values.double()
    mean = wide.mean()
    return Estimate(float(mean), (wide - mean).cpu(), len(wide))


def grouped_estimate(
    value: float, without: Callable[[int, int], float], count: int, groups: int = GROUPS
) -> Estimate:
    """A metric that is no smooth function of means: groups of images are left out in turn.

    without: group, number of groups → the metric without that group, which holds image i if
    i mod groups is its number. The jackknife of groups errs upwards, if at all.
    """
    groups = min(groups, count)
    left = torch.tensor([without(group, groups) for group in range(groups)], dtype=torch.float64)
    return Estimate(value, (groups - 1) * (left.mean() - left), count)
