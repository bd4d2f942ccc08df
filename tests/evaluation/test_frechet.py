"""The Fréchet distance is the published formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.frechet import frechet_distance
from patch_forcing.features.statistics import FeatureStatistics

SEEDS = st.integers(0, 2**32 - 1)


def gaussian(mean, covariance) -> FeatureStatistics:
    mean, covariance = (torch.as_tensor(x, dtype=torch.float64) for x in (mean, covariance))
    return FeatureStatistics(mean, covariance, 100)


def features(random, count, width, rank=None):
    """Correlated features of unlike spread, fp64; those of low rank lie in a plane."""
    mixing = random.standard_normal((rank or width, width)) * random.uniform(0.1, 3, width)
    points = random.standard_normal((count, len(mixing))) @ mixing
    return points + random.standard_normal(width)


def orthogonal(random, width):
    return torch.from_numpy(np.linalg.qr(random.standard_normal((width, width)))[0])


# Statistics


@given(SEEDS, st.integers(2, 30), st.integers(1, 9))
def test_statistics_are_numpys(seed, count, width):
    points = features(np.random.default_rng(seed), count, width)
    result = FeatureStatistics.of(torch.from_numpy(points))
    np.testing.assert_allclose(result.mean, points.mean(0), rtol=1e-12, atol=1e-12)
    expected = np.cov(points, rowvar=False).reshape(width, width)
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-9, atol=1e-12)
    assert result.count == count


def test_statistics_of_fp32_features_are_summed_in_fp64():
    points = torch.rand(5000, 3) + 1000
    result = FeatureStatistics.of(points)
    assert result.mean.dtype == result.covariance.dtype == torch.float64
    np.testing.assert_allclose(result.covariance, np.cov(points.double().T), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_refused(count):
    with pytest.raises(UserError, match=f"{count} images have no covariance: give at least 2"):
        FeatureStatistics.of(torch.zeros(count, 3))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_refused(value):
    points = torch.zeros(4, 3)
    points[2, 1] = value
    with pytest.raises(UserError, match="not all finite"):
        FeatureStatistics.of(points)


# The Fréchet distance


@given(SEEDS, st.integers(1, 12))
def test_the_distance_is_the_published_formula(seed, width):
    random = np.random.default_rng(seed)
    a, b = (
        FeatureStatistics.of(torch.from_numpy(features(random, 3 * width + 5, width)))
        for _ in range(2)
    )
    product = a.covariance.numpy() @ b.covariance.numpy()
    traces = a.covariance + b.covariance - 2 * torch.from_numpy(linalg.sqrtm(product).real)
    published = (a.mean - b.mean).square().sum() + traces.trace()
    assert frechet_distance(a, b) == pytest.approx(float(published), rel=1e-6)


@given(SEEDS, st.integers(1, 12), st.integers(2, 20), st.integers(2, 20), st.integers(1, 12))
def test_the_distance_of_singular_covariances_is_that_of_their_factors(
    seed, width, first, second, rank
):
    # with Σ_a = XᵀX and Σ_b = YᵀY, tr (Σ_a·Σ_b)^½ is the sum of the singular values of X·Yᵀ
    random = np.random.default_rng(seed)
    points = [features(random, first, width, rank), features(random, second, width)]
    a, b = (FeatureStatistics.of(torch.from_numpy(subset)) for subset in points)
    x, y = ((subset - subset.mean(0)) / math.sqrt(len(subset) - 1) for subset in points)
    overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    expected = ((points[0].mean(0) - points[1].mean(0)) ** 2).sum()
    expected += (x**2).sum() + (y**2).sum() - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.floats(0, 5))
def test_a_shifted_gaussian_is_as_far_as_it_is_shifted(seed, width, rank, shift):
    random = np.random.default_rng(seed)
    a = FeatureStatistics.of(torch.from_numpy(features(random, 30, width, rank)))
    direction = random.standard_normal(width)
    step = torch.from_numpy(shift * direction / np.linalg.norm(direction))
    b = FeatureStatistics(a.mean + step, a.covariance, 7)
    scale = float(a.covariance.trace())
    assert frechet_distance(a, b) == pytest.approx(shift**2, rel=1e-9, abs=1e-7 * scale)


SPREADS = st.lists(
    st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(-3, 3)), min_size=1, max_size=9
)


@given(SPREADS)
def test_commuting_covariances_differ_by_their_deviations(rows):
    a, b, shift = (np.array(column) for column in zip(*rows, strict=True))
    result = frechet_distance(gaussian(shift, np.diag(a)), gaussian(np.zeros_like(a), np.diag(b)))
    expected = (shift**2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert result == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(SEEDS, st.integers(1, 10), st.integers(2, 20))
def test_the_distance_is_symmetric_and_keeps_under_rotation(seed, width, count):
    random = np.random.default_rng(seed)
    points = [torch.from_numpy(features(random, count, width)) for _ in range(2)]
    a, b = map(FeatureStatistics.of, points)
    there = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(there, rel=1e-6)
    turn, step = orthogonal(random, width), torch.from_numpy(random.standard_normal(width))
    turned = [FeatureStatistics.of(subset @ turn + step) for subset in points]
    assert frechet_distance(*turned) == pytest.approx(there, rel=1e-6)
    doubled = [FeatureStatistics.of(2 * subset) for subset in points]
    assert frechet_distance(*doubled) == pytest.approx(4 * there, rel=1e-6)


def test_features_of_two_networks_are_refused():
    a, b = (gaussian(np.zeros(width), np.eye(width)) for width in (3, 4))
    with pytest.raises(UserError, match="features of 3 and 4 numbers"):
        frechet_distance(a, b)
