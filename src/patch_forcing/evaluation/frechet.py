"""The Fréchet distance between Gaussians of two sets' features, with its interval and its limit.

It is named FID where the features are Inception's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import Estimate
from patch_forcing.features.statistics import ROWS, FeatureStatistics

_TOLERANCE = 1e-6
"""How far rounding may push an eigenvalue below zero, as a share of the largest."""
_RANK = 1e-12
"""Eigenvalues below this share of the largest are zero."""
_PAIRS = 2048
"""Pairs of images from which the variance that pairs add is estimated."""
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
class Spread:
    """M = S·Σ·S, where S is the reference's root, in its own axes.

    roots: √λ_a of its r eigenvalues above zero. turned: rows → y = S·x̃ of these images on them.
    """

    roots: Float[Tensor, " r"]
    count: int
    turned: Callable[[Any], Float[Tensor, "_ r"]]

    def shares(self, rows: slice) -> Float[Tensor, " _"]:
        """yᵀ·M^−½·y of images."""
        return (self.turned(rows).square() / self.roots).sum(1)

    def of_pairs(self) -> float:
        """The variance of the distance that comes of pairs of images, beyond each of them alone.

        The second derivative by the weights of images i and j, with c = n/(n − 1), is
        2·c·yᵢᵀ·M^−½·yⱼ + Σ_ab Hᵢ·Hⱼ/(√λ_a·√λ_b·(√λ_a + √λ_b)) with H = c·y·yᵀ − M, and a term in
        1/n that is left out. Over n² it is how removing both differs from removing each.
        """
        n, c = self.count, self.count / (self.count - 1)
        first, second = _some_pairs(n)
        a, b = self.turned(first.to(self.roots.device)), self.turned(second.to(self.roots.device))
        straight = 2 * c * (a * b / self.roots).sum(1)
        weights = 1 / (self.roots[:, None] * self.roots * (self.roots[:, None] + self.roots))
        products = c * a * b
        bent = (products @ weights * products).sum(1)
        own = self.roots / 2  # λ²/(√λ·√λ·2·√λ), and so λ·y²/(…) = y²/(2·√λ)
        bent += own.sum() - c * ((a.square() + b.square()) / (2 * self.roots)).sum(1)
        return float((straight + bent).square().mean()) * (n - 1) / (2 * n**3)


@dataclass(frozen=True)
class FrechetDistance:
    """The distance of samples to a reference; the reference's root is taken once."""

    reference: FeatureStatistics

    def __call__(self, features: Float[Tensor, "n F"]) -> Estimate:
        """The distance, and how each image moves it.

        With x̃ = x − μ and S = Σ_r^½, an image's influence is 2·x̃·(μ − μ_r) + |x̃|² − x̃ᵀ·A·x̃ less
        its mean, where A = S·(S·Σ·S)^−½·S. With fewer images than features all of it comes from the
        n × n matrix X̃·Σ_r·X̃ᵀ. Near zero no image moves the distance alone, and what pairs of them
        do is taken off (`Estimate.excess`). The interval is for other samples of the same number
        against the same reference; the bias, which falls as 1/n, is in the value and not in it.
        Raises UserError if there are fewer than two images, features are not finite, or of another
        network than the reference.
        """
        count, width = features.shape
        _check_widths(width, len(self.reference.mean))
        own = FeatureStatistics.of(features)
        spread = self._spread(features, own)
        shift = own.mean - self.reference.mean
        influence = torch.empty(count, dtype=torch.float64)
        for rows in _parts(count):
            centred = features[rows].double() - own.mean
            pull = centred.square().sum(1) - spread.shares(rows)
            influence[rows] = (2 * centred @ shift + pull * count / (count - 1)).cpu()
        influence -= influence.mean()
        excess = spread.of_pairs() / max(float(influence.square().mean()) / count, 1e-300)
        return Estimate(self._value(own, spread), influence, count, min(excess, 0.5))

    def value(self, features: Float[Tensor, "n F"]) -> float:
        """The distance alone. Raises UserError as a call does."""
        _check_widths(features.shape[1], len(self.reference.mean))
        own = FeatureStatistics.of(features)
        return self._value(own, self._spread(features, own))

    def _value(self, own: FeatureStatistics, spread: Spread) -> float:
        scale = float(own.covariance.trace() + self.reference.covariance.trace())
        shift = float((own.mean - self.reference.mean).square().sum())
        return _not_negative(shift + scale - 2 * float(spread.roots.sum()), scale)

    def _spread(self, features: Float[Tensor, "n F"], own: FeatureStatistics) -> Spread:
        """By the smaller of two matrices."""
        few = len(features) < features.shape[1]
        return (self._by_images if few else self._by_features)(features, own)

    def _by_images(self, features: Float[Tensor, "n F"], own: FeatureStatistics) -> Spread:
        """From products between images."""
        centred = features.double() - own.mean
        product = centred @ self.reference.covariance @ centred.mT / (len(features) - 1)
        values, vectors = _spectrum(product)
        kept = values > values.max() * _RANK
        turned = vectors[:, kept] * ((len(features) - 1) * values[kept]).sqrt()
        return Spread(values[kept].sqrt(), len(features), lambda rows: turned[rows])

    def _by_features(self, features: Float[Tensor, "n F"], own: FeatureStatistics) -> Spread:
        """From products between features."""
        values, vectors = _spectrum(self._root @ own.covariance @ self._root)
        kept = values > values.max() * _RANK
        turned = self._root @ vectors[:, kept]
        return Spread(
            values[kept].sqrt(),
            len(features),
            lambda rows: (features[rows].double() - own.mean) @ turned,
        )

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
        value, excess, influence = 0.0, 0.0, torch.zeros(count, dtype=torch.float64)
        for size, weight in zip(sizes, weights.tolist(), strict=True):
            chosen = torch.randperm(count, generator=draws)[:size]
            part = self(features[chosen.to(features.device)])
            value, excess = value + weight * part.value, part.excess  # in the end, of all images
            influence[chosen] += weight * part.influence * count / size
        return Estimate(value, influence - influence.mean(), count, excess)


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


def _some_pairs(count: int) -> tuple[Int64[Tensor, " P"], Int64[Tensor, " P"]]:
    """All pairs of unlike images, or _PAIRS of them by a fixed seed."""
    if count * (count - 1) // 2 <= _PAIRS:
        first, second = torch.triu_indices(count, count, 1)
        return first, second
    draws = torch.Generator().manual_seed(0)
    first = torch.randint(count, (_PAIRS,), generator=draws)
    return first, (first + torch.randint(1, count, (_PAIRS,), generator=draws)) % count


def _parts(count: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, count, ROWS)]


def _check_widths(a: int, b: int) -> None:
    if a != b:
        raise UserError(f"features of {a} and {b} numbers: use one feature network for both")
