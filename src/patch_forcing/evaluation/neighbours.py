"""What nearest neighbours say: precision and recall, density and coverage, copies."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate, grouped_estimate, mean_estimate

NEIGHBOURS = 3
"""Of precision and recall (Kynkäänniemi et al. 2019)."""
DENSITY_NEIGHBOURS = 5
"""Of density and coverage (Naeem et al. 2020)."""
_ROWS = 1024
"""Rows of the distance matrix computed at once: 10,000 × 1,024 distances are 40 MB."""


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
    return PrecisionRecall(
        float(_covered(sampled, real, radii(real, neighbours)).float().mean()),
        float(_covered(real, sampled, radii(sampled, neighbours)).float().mean()),
    )


def precision(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = NEIGHBOURS
) -> Estimate:
    """The share of samples near a real image, with its interval."""
    _check(real, sampled, neighbours)
    return mean_estimate(_covered(sampled, real, radii(real, neighbours)))


def recall(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = NEIGHBOURS
) -> Estimate:
    """The share of real images near a sample; the interval is by groups of samples left out."""
    _check(real, sampled, neighbours)
    if len(sampled) < 2 * (neighbours + 1):
        raise UserError(
            f"{len(sampled)} sampled images for recall with an interval: give at least "
            f"{2 * (neighbours + 1)}"
        )

    def without(group: int, groups: int) -> float:
        kept = torch.arange(len(sampled), device=sampled.device) % groups != group
        part = sampled[kept]
        return float(_covered(real, part, radii(part, neighbours)).double().mean())

    value = float(_covered(real, sampled, radii(sampled, neighbours)).double().mean())
    return grouped_estimate(value, without, len(sampled))


def density(
    real: Float[Tensor, "R F"],
    sampled: Float[Tensor, "S _"],
    neighbours: int = DENSITY_NEIGHBOURS,
) -> Estimate:
    """In how many balls of real images a sample lies, over `neighbours` (Naeem et al. 2020)."""
    _check(real, sampled, neighbours, least_sampled=2)
    reach = radii(real, neighbours)
    balls = [(_distances(part, real) <= reach).double().sum(1) for part in sampled.split(_ROWS)]
    return mean_estimate(torch.cat(balls) / neighbours)


def coverage(
    real: Float[Tensor, "R F"],
    sampled: Float[Tensor, "S _"],
    neighbours: int = DENSITY_NEIGHBOURS,
) -> Estimate:
    """The share of real images whose ball holds a sample (Naeem et al. 2020).

    An image's influence is what is uncovered without it, which errs upwards, if at all.
    """
    _check(real, sampled, neighbours, least_sampled=2)
    reach, count = radii(real, neighbours), len(sampled)
    covered, alone = 0, torch.zeros(count, dtype=torch.float64, device=sampled.device)
    for part, ball in zip(real.split(_ROWS), reach.split(_ROWS), strict=True):
        inside = _distances(part, sampled) <= ball[:, None]
        covered += int(inside.any(1).sum())
        alone += inside[inside.sum(1) == 1].double().sum(0)
    influence = (count - 1) * alone / len(real)
    return Estimate(covered / len(real), (influence - influence.mean()).cpu(), count)


class Nearest(NamedTuple):
    """Of each point: how far its nearest member of another set is, and which one that is."""

    distances: Float[Tensor, " P"]
    members: Int64[Tensor, " P"]


def nearest(points: Float[Tensor, "P F"], members: Float[Tensor, "M F"]) -> Nearest:
    """The nearest member of each point, by Euclidean distance."""
    pairs = [_distances(part, members).min(1) for part in points.split(_ROWS)]
    return Nearest(
        torch.cat([pair.values for pair in pairs]), torch.cat([pair.indices for pair in pairs])
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
    return mean_estimate((farther + not_nearer).double() / (2 * len(ordered)))


def radii(manifold: Float[Tensor, "M F"], neighbours: int) -> Float[Tensor, " M"]:
    """How far each member's ball reaches: to its `neighbours`-th nearest fellow."""
    return torch.cat([
        # the nearest is the member itself
        _distances(part, manifold).kthvalue(neighbours + 1, dim=1).values
        for part in manifold.split(_ROWS)
    ])  # fmt: skip


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
    points: Float[Tensor, "P F"], manifold: Float[Tensor, "M F"], reach: Float[Tensor, " M"]
) -> Bool[Tensor, " P"]:
    """Which points lie in a ball of the manifold's members."""
    near = [(_distances(part, manifold) <= reach).any(dim=1) for part in points.split(_ROWS)]
    return torch.cat(near)


def _distances(a: Shaped[Tensor, "A F"], b: Shaped[Tensor, "B F"]) -> Shaped[Tensor, "A B"]:
    # without the product trick: a member's distance to itself is then exactly 0
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
