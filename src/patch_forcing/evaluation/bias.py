"""By about how much the Fréchet distance of few images is too large."""

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.evaluation.frechet import FrechetDistance
from patch_forcing.features.statistics import FeatureStatistics

Real = Float[Tensor, "_ F"] | FeatureStatistics
SPLITS = 2
"""Splits into halves that are averaged."""


def frechet_bias(sampled: Float[Tensor, "n F"], real: Real) -> float:
    """What halves of the samples, and of real images if they are there, have more than the whole.

    The bias is about C/n + D/m (Chong & Forsyth 2020), so halves have twice as much, and the
    difference is the bias of the whole. With far fewer images than features it grows more slowly
    than that, and the difference is a part of it. Of statistics, D/m is taken for none. From 0 to
    the distance itself. Raises UserError as `FrechetDistance` does, and for fewer than four images
    of a set.
    """
    draws = torch.Generator().manual_seed(0)
    whole = _distance(sampled, real)
    more = [
        _distance(ours, theirs) - whole
        for _ in range(SPLITS)
        for ours, theirs in zip(_halves(sampled, draws), _halves(real, draws), strict=True)
    ]
    return min(max(sum(more) / len(more), 0.0), whole)


def _halves(real: Real, draws: torch.Generator) -> list[Real]:
    """Of statistics, the whole twice."""
    if isinstance(real, FeatureStatistics):
        return [real, real]
    order = torch.randperm(len(real), generator=draws).to(real.device)
    return [real[part] for part in order.tensor_split(2)]


def _distance(sampled: Real, real: Real) -> float:
    assert isinstance(sampled, torch.Tensor)
    statistics = real if isinstance(real, FeatureStatistics) else FeatureStatistics.of(real)
    return FrechetDistance(statistics).value(sampled)
