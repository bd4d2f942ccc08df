"""What nearest neighbours say: precision and recall, density and coverage, copies."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.distances import (
    ROWS,
    Fellows,
    centred,
    pairs_within,
    reach,
    squared,
)
from patch_forcing.evaluation.estimate import (
    Estimate,
    as_share,
    mean_estimate,
    parts_of,
    split_estimate,
)

NEIGHBOURS = 3
"""Of precision and recall (Kynkäänniemi et al. 2019)."""
DENSITY_NEIGHBOURS = 5
"""Of density and coverage (Naeem et al. 2020)."""


class PrecisionRecall(NamedTuple):
    """precision: share of samples near a real image. recall: share of real ones near a sample."""

    precision: float
    recall: float


def precision_recall(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    An image is near a set if it lies in the ball of one of its members, which reaches to that
    member's `neighbours`-th nearest fellow. Raises UserError if a set has no more than that many.
    """
    _check(real, sampled, neighbours)
    real, sampled = centred(real, sampled)
    return PrecisionRecall(
        float(_covered(sampled, real, reach(real, neighbours)).double().mean()),
        float(_covered(real, sampled, reach(sampled, neighbours)).double().mean()),
    )


def precision(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = NEIGHBOURS
) -> Estimate:
    """The share of samples near a real image, with its interval."""
    _check(real, sampled, neighbours)
    real, sampled = centred(real, sampled)
    return as_share(mean_estimate(_covered(sampled, real, reach(real, neighbours))))


def recall(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = NEIGHBOURS
) -> Estimate:
    """The share of real images near a sample; the interval is by parts of the samples."""
    _check(real, sampled, neighbours, least_sampled=4 * (neighbours + 1))
    real, sampled = centred(real, sampled)
    fellows, parts = Fellows.of(sampled), parts_of(len(sampled)).to(sampled.device)
    parts = torch.cat([torch.ones_like(parts[:1]), parts])  # all of them, first
    balls = fellows.reaches(neighbours, parts)
    points, members, distances = pairs_within(real, sampled, balls.max(0).values)
    shares = []
    for reached, chosen in zip(balls, parts, strict=True):
        near = (distances <= reached[members]) & chosen[members]
        covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        covered[points[near]] = True
        shares.append(float(covered.double().mean()))
    return as_share(split_estimate(shares[0], shares[1:], len(sampled)))


def density(
    real: Float[Tensor, "R F"],
    sampled: Float[Tensor, "S _"],
    neighbours: int = DENSITY_NEIGHBOURS,
) -> Estimate:
    """In how many balls of real images a sample lies, over `neighbours` (Naeem et al. 2020).

    One from among the real images counts 1 on average.
    """
    _check(real, sampled, neighbours, least_sampled=2)
    real, sampled = centred(real, sampled)
    near = pairs_within(sampled, real, reach(real, neighbours)).points
    estimate = mean_estimate(near.bincount(minlength=len(sampled)) / neighbours)
    return replace(estimate, bounds=(0.0, math.inf))


def coverage(
    real: Float[Tensor, "R F"],
    sampled: Float[Tensor, "S _"],
    neighbours: int = DENSITY_NEIGHBOURS,
) -> Estimate:
    """The share of real images whose ball holds a sample (Naeem et al. 2020).

    An image's influence is what is uncovered without it, which errs upwards, if at all.
    """
    _check(real, sampled, neighbours, least_sampled=2)
    real, sampled = centred(real, sampled)
    samples, balls, _ = pairs_within(sampled, real, reach(real, neighbours))
    inside, count = balls.bincount(minlength=len(real)), len(sampled)
    alone = samples[inside[balls] == 1].bincount(minlength=count).double()
    influence = (count - 1) * alone / len(real)
    value = int((inside > 0).sum()) / len(real)
    return as_share(Estimate(value, (influence - influence.mean()).cpu(), count))


class Nearest(NamedTuple):
    """Of each point: how far its nearest member of another set is, and which one that is."""

    distances: Float[Tensor, " P"]
    members: Int64[Tensor, " P"]


def nearest(points: Float[Tensor, "P F"], members: Float[Tensor, "M F"]) -> Nearest:
    """The nearest member of each point, by Euclidean distance."""
    members, points = centred(members, points)
    pairs = [squared(part, members).min(1) for part in points.split(ROWS)]
    return Nearest(
        torch.cat([pair.values for pair in pairs]).sqrt(),
        torch.cat([pair.indices for pair in pairs]),
    )


def nearer_to_training(sampled: Float[Tensor, " S"], held_out: Float[Tensor, " R"]) -> Estimate:
    """How often a sample is nearer to its nearest training image than a held-out image is to its.

    The share of pairs (ties count half): 0.5 says that samples are as near as new real images are,
    1 that they are copies. Of distances as `nearest` gives them.
    """
    ordered = held_out.double().sort().values
    near = sampled.double()
    farther = len(ordered) - torch.searchsorted(ordered, near, right=True)
    not_nearer = len(ordered) - torch.searchsorted(ordered, near)
    return as_share(mean_estimate((farther + not_nearer).double() / (2 * len(ordered))))


def _check(
    real: Float[Tensor, "R F"],
    sampled: Float[Tensor, "S _"],
    neighbours: int,
    least_sampled: int | None = None,
) -> None:
    least = neighbours + 1
    for name, features, needed in (("real", real, least), ("sampled", sampled, least_sampled)):
        if len(features) < (least if needed is None else needed):
            raise UserError(
                f"{len(features)} {name} images for {neighbours} neighbours: give more images, "
                f"{least if needed is None else needed} or more"
            )
        if not features.isfinite().all():
            raise UserError(f"{name} features are not all finite: the images hold NaN or infinity")
    if real.shape[1] != sampled.shape[1]:
        raise UserError(
            f"features of {real.shape[1]} and {sampled.shape[1]} numbers: "
            "use one feature network for both"
        )


def _covered(
    points: Float[Tensor, "P F"], members: Float[Tensor, "M F"], reach: Float[Tensor, " M"]
) -> Bool[Tensor, " P"]:
    """Which points lie in a ball of the members."""
    covered = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    covered[pairs_within(points, members, reach).points] = True
    return covered
