"""The Fréchet distance between Gaussians of two sets' features, with its interval and its limit.

It is named FID where the features are Inception's.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.features.statistics import ROWS, FeatureStatistics

_TOLERANCE = 1e-6
"""How far rounding may push an eigenvalue below zero, as a share of the largest."""
SIZES, SMALLEST_SHARE = 10, 5
"""Of the fit against 1/N: subsets, and what of the images the smallest of them leaves out."""


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|μ_a − μ_b|² + tr(Σ_a + Σ_b − 2·(Σ_a·Σ_b)^½), between Gaussians of those moments.

    The formula of FID (Heusel et al. 2017) and of Dowson & Landau 1982. With S = Σ_a^½ the trace of
    the root is that of (S·Σ_b·S)^½, which is symmetric: eigenvalues suffice, singular or not. Its
    bias falls with the number of images: compare equal counts only.
    Raises UserError if a covariance is none.
    """
    _check_widths(len(a.mean), len(b.mean))
    root = _root(a.covariance)
    overlap = _spectrum(root @ b.covariance @ root)[0].clamp(min=0).sqrt().sum()
    traces = a.covariance.trace() + b.covariance.trace() - 2 * overlap
    return float((a.mean - b.mean).square().sum() + traces)


@dataclass(frozen=True)
class FrechetDistance:
    """The distance of samples to a reference; the reference's root is taken once."""

    reference: FeatureStatistics

    def __call__(self, features: Float[Tensor, "n F"]) -> Estimate:
        """The distance, and how each image moves it.

        With x̃ = x − μ and S = Σ_r^½, an image's influence is 2·x̃·(μ − μ_r) + |x̃|² − x̃ᵀ·A·x̃ less
        its mean, where A = S·(S·Σ·S)^−½·S. With fewer images than features all of it comes from the
        n × n matrix X̃·Σ_r·X̃ᵀ. The interval is for other samples of the same number against the
        same reference; the bias, which falls as 1/n, is in the value and not in the interval.
        Raises UserError if there are fewer than two images, features are not finite, or of another
        network than the reference.
        """
        count, width = features.shape
        _check_widths(width, len(self.reference.mean))
        own = FeatureStatistics.of(features)
        overlap, shares = (self._by_images if count < width else self._by_features)(features, own)
        shift = own.mean - self.reference.mean
        influence = torch.empty(count, dtype=torch.float64)
        for rows in _parts(count):
            centred = features[rows].double() - own.mean
            pull = centred.square().sum(1) - (count - 1) * shares[rows]
            influence[rows] = (2 * centred @ shift + pull * count / (count - 1)).cpu()
        scale = float(own.covariance.trace() + self.reference.covariance.trace())
        value = float(shift.square().sum()) + scale - 2 * overlap
        return Estimate(_not_negative(value, scale), influence - influence.mean(), count)

    def _by_images(
        self, features: Float[Tensor, "n F"], own: FeatureStatistics
    ) -> tuple[float, Float[Tensor, " n"]]:
        """The trace of (Σ·Σ_r)^½, and each image's share of it, from products between images."""
        centred = features.double() - own.mean
        product = centred @ self.reference.covariance @ centred.mT / (len(features) - 1)
        values, vectors = _spectrum(product)
        roots = values.clamp(min=0).sqrt()
        return float(roots.sum()), (vectors.square() * roots).sum(1)

    def _by_features(
        self, features: Float[Tensor, "n F"], own: FeatureStatistics
    ) -> tuple[float, Float[Tensor, " n"]]:
        """The same from products between features."""
        values, vectors = _spectrum(self._root @ own.covariance @ self._root)
        kept = values > values.max() * 1e-12
        roots = values.clamp(min=0).sqrt()
        turned = self._root @ vectors[:, kept]
        shares = torch.empty(len(features), dtype=torch.float64, device=features.device)
        for rows in _parts(len(features)):
            seen = (features[rows].double() - own.mean) @ turned
            shares[rows] = (seen.square() / roots[kept]).sum(1) / (len(features) - 1)
        return float(roots.sum()), shares

    @cached_property
    def _root(self) -> Float[Tensor, "F F"]:
        return _root(self.reference.covariance)

    def at_infinity(self, features: Float[Tensor, "n F"]) -> Estimate:
        """FD∞: the value at 1/N = 0 of a line through the distances of N images (Chong & Forsyth
        2020), for ten N from n/5 to n, by images drawn with a fixed seed.

        Raises UserError below 5·F + 5 images, where the distance is no line of 1/N.
        """
        count, width = features.shape
        if count < (least := at_infinity_needs(width)):
            raise UserError(
                f"fd-infinity of {count} images: {width} features take {least} or more: add images"
            )
        sizes = torch.linspace(count // SMALLEST_SHARE, count, SIZES).round().int().tolist()
        draws = torch.Generator().manual_seed(0)
        lines = torch.stack([torch.ones(SIZES), 1 / torch.tensor(sizes)], dim=1).double()
        weights = torch.linalg.pinv(lines)[0]
        value, influence = 0.0, torch.zeros(count, dtype=torch.float64)
        for size, weight in zip(sizes, weights.tolist(), strict=True):
            chosen = torch.randperm(count, generator=draws)[:size]
            part = self(features[chosen.to(features.device)])
            value += weight * part.value
            influence[chosen] += weight * part.influence * count / size
        return Estimate(value, influence - influence.mean(), count)


def at_infinity_needs(width: int) -> int:
    """The least number of images for FD∞ in so many features."""
    return SMALLEST_SHARE * (width + 1)


def _root(covariance: Float[Tensor, "F F"]) -> Float[Tensor, "F F"]:
    """Its symmetric square root, checked against the covariance."""
    values, vectors = _spectrum(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    error = float((root @ root - covariance).abs().max() / covariance.abs().max().clamp(min=1e-300))
    if not error < 1e-4:
        raise UserError(
            f"the square root of a covariance is off by {error:.1g} of it: its entries are no "
            "covariance of features, compute it again"
        )
    return root


def _spectrum(matrix: Float[Tensor, "F F"]) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors of what is symmetric and not negative but for rounding.

    Raises UserError if it is not, or not finite.
    """
    if not matrix.isfinite().all():
        raise UserError("a covariance is not finite: features or statistics hold NaN or infinity")
    matrix = (matrix + matrix.mT) / 2
    values, vectors = torch.linalg.eigh(matrix)
    if float(values.min()) < -_TOLERANCE * max(float(values.max()), 1e-300):
        raise UserError(
            f"a covariance has the eigenvalue {float(values.min()):.3g}, which none has: compute "
            "the statistics again in double precision"
        )
    return values, vectors


def _not_negative(value: float, scale: float) -> float:
    """What rounding leaves of a distance of zero is zero; more would be an error of ours."""
    assert value > -_TOLERANCE * scale, value
    return max(value, 0.0)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]


def _check_widths(a: int, b: int) -> None:
    if a != b:
        raise UserError(f"features of {a} and {b} numbers: use one feature network for both")
