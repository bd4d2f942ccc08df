"""Distances between sets of images, in the space of some network's features."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.features.statistics import FeatureStatistics


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|μ_a − μ_b|² + tr(Σ_a + Σ_b − 2·(Σ_a·Σ_b)^½), between Gaussians of those moments.

    The formula of FID (Heusel et al. 2017) and of Dowson & Landau 1982. With S = Σ_a^½ the trace of
    the root is that of (S·Σ_b·S)^½, which is symmetric: eigenvalues suffice, singular or not. Its
    bias falls with the number of images: compare equal counts only.
    """
    if a.mean.shape != b.mean.shape:
        raise UserError(
            f"features of {len(a.mean)} and {len(b.mean)} numbers: use one feature network for both"
        )
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    overlap = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    traces = a.covariance.trace() + b.covariance.trace() - 2 * overlap
    return float((a.mean - b.mean).square().sum() + traces)


class PrecisionRecall(NamedTuple):
    """precision: share of samples near a real image. recall: share of real ones near a sample."""

    precision: float
    recall: float


def precision_recall(
    real: Float[Tensor, "R F"], sampled: Float[Tensor, "S _"], neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    An image is near a set if it lies in the ball of one of its members, which reaches to that
    member's `neighbours`-th nearest fellow. Raises UserError if a set has no more than that many.
    """
    for name, features in (("real", real), ("sampled", sampled)):
        if len(features) <= neighbours:
            raise UserError(
                f"{len(features)} {name} images for {neighbours} neighbours: give more images"
            )
        if not features.isfinite().all():
            raise UserError(f"{name} features are not all finite: the images hold NaN or infinity")
    if real.shape[1] != sampled.shape[1]:
        raise UserError(
            f"features of {real.shape[1]} and {sampled.shape[1]} numbers: "
            "use one feature network for both"
        )
    return PrecisionRecall(
        float(_covered(sampled, real, neighbours).float().mean()),
        float(_covered(real, sampled, neighbours).float().mean()),
    )


_ROWS = 1024
"""Rows of the distance matrix computed at once: 10,000 × 1,024 distances are 40 MB."""


def _covered(
    points: Float[Tensor, "P F"], manifold: Float[Tensor, "M F"], neighbours: int
) -> Bool[Tensor, " P"]:
    """Which points lie in a ball of the manifold's members."""
    radii = torch.cat(
        [
            # the nearest is the member itself
            _distances(part, manifold).kthvalue(neighbours + 1, dim=1).values
            for part in manifold.split(_ROWS)
        ]
    )
    near = [(_distances(part, manifold) <= radii).any(dim=1) for part in points.split(_ROWS)]
    return torch.cat(near)


def _distances(a: Shaped[Tensor, "A F"], b: Shaped[Tensor, "B F"]) -> Shaped[Tensor, "A B"]:
    # without the product trick: a member's distance to itself is then exactly 0
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
