"""Errors by patch against the objective's own terms, and calibration against what must hold."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from patch_forcing.core.calibration import (
    PatchErrors,
    bin_means,
    calibration,
    network_errors,
    patch_errors,
    rank_correlation,
    rank_correlations,
)
from patch_forcing.core.losses import gaussian_nll, velocity_error
from patch_forcing.core.path import LinearPath
from patch_forcing.core.time import PatchTime
from patch_forcing.core.timesteps import LogitNormalTruncatedGaussian
from patch_forcing.training.objective import PatchForcingObjective
from tests.support.exact import tiny_dit


def drawn(seed, scale=1.0):
    """Velocity, log-variance, and targets whose errors have that variance times scale²."""
    g = torch.Generator().manual_seed(seed)
    velocity = torch.randn(64, 3, 8, 8, generator=g)
    logvar = torch.randn(64, 1, 8, 8, generator=g)
    noise = torch.randn(velocity.shape, generator=g)
    return velocity, logvar, velocity + scale * (0.5 * logvar).exp() * noise


def errors(velocity, logvar, target, seed=0):
    t = torch.rand(len(velocity), 16, generator=torch.Generator().manual_seed(seed))
    return patch_errors(velocity, logvar, target, t, 2)


def test_means_over_patches_are_the_terms_of_the_objective():
    velocity, logvar, target = drawn(0)
    result = errors(velocity, 30 * logvar, target)
    assert result.error.mean() == pytest.approx(float(velocity_error(velocity, target)), rel=1e-6)
    nll = gaussian_nll(velocity, 30 * logvar, target)
    assert result.nll.mean() == pytest.approx(float(nll), rel=1e-5)


def test_the_bins_weighted_by_their_patches_add_up_to_the_mean():
    result = errors(*drawn(1))
    result = result._replace(t=result.t.clamp(max=0.75))
    means = bin_means(result.t, result.error)
    assert means[:8].isfinite().all()
    assert means[8:].isnan().all()
    counts = torch.histc(result.t, 10, 0, 1)[:8]
    whole = float((means[:8] * counts).sum() / counts.sum())
    assert whole == pytest.approx(float(result.error.mean()), rel=1e-5)


def test_both_ends_of_time_have_their_bin():
    means = bin_means(torch.tensor([[0.0, 0.1, 1.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
    assert means[[0, 1, 9]].tolist() == [1, 2, 3]


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_ratio_is_how_much_larger_errors_are_than_predicted(scale):
    result = calibration(errors(*drawn(2, scale)))
    assert result.ratio == pytest.approx(scale**2, rel=0.05)


def test_the_gain_of_true_variances_is_that_of_the_formula():
    # ½·(ln E[σ²] − E[ln σ²]); of a log-normal variance with deviation 1 it is ¼
    assert calibration(errors(*drawn(3))).gain == pytest.approx(0.25, abs=0.03)


@given(st.floats(-8, 8), st.integers(0, 100))
def test_a_constant_gains_nothing_and_says_so(constant, seed):
    velocity, logvar, target = drawn(seed)
    result = calibration(errors(velocity, torch.full_like(logvar, constant), target))
    assert result.gain <= 1e-6
    assert result.spread == pytest.approx(0, abs=1e-6)
    assert math.isnan(result.rank_correlation)
    best = float((target - velocity).square().mean().log())
    result = calibration(errors(velocity, torch.full_like(logvar, best), target))
    assert result.gain == pytest.approx(0, abs=1e-5)
    assert result.ratio == pytest.approx(1, rel=1e-4)


def test_time_alone_is_no_rank_correlation():
    # variance and error both follow the bin of time, and within it nothing
    g = torch.Generator().manual_seed(0)
    t = torch.rand(400, 16, generator=g)
    level = (10 * t).floor()
    noise = torch.rand(2, 400, 16, generator=g)
    result = PatchErrors(t, level + noise[0], t, t, 1 + level + noise[1])
    assert rank_correlation(result.variance.flatten(), result.error.flatten()) > 0.9
    assert abs(calibration(result).rank_correlation) < 0.05
    same = result._replace(variance=result.error + 1)
    assert calibration(same).rank_correlation == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40))
def test_rank_correlation_is_scipys_with_ties(pairs):
    a, b = (np.array(side, dtype=np.float32) for side in zip(*pairs, strict=True))
    result = rank_correlation(torch.from_numpy(a), torch.from_numpy(b))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(result)
    else:
        assert result == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_a_network_without_a_head_has_errors_only():
    velocity, _, target = drawn(4)
    result = errors(velocity, None, target)
    assert calibration(result) is None
    assert result.cpu().error.equal(result.error)


@given(st.integers(0, 2**31), st.integers(3, 9))
def test_rank_correlations_of_marked_entries_are_those_of_the_entries_alone(seed, width):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 5, (2, 4, width)).astype(np.float32)
    among = random.random((4, width)) < 0.7
    rows = rank_correlations(*map(torch.from_numpy, (a, b, among)))
    for row, first, second, kept in zip(rows, a, b, among, strict=True):
        alone = rank_correlation(*(torch.from_numpy(x[kept]) for x in (first, second)))
        assert float(row) == pytest.approx(alone, nan_ok=True)


def test_errors_of_a_network_are_those_of_its_objective():
    model = tiny_dit(8, patch_size=2)
    objective = PatchForcingObjective(LinearPath(2), LogitNormalTruncatedGaussian())
    x_1, x_0 = torch.randn(2, 6, 3, 8, 8)
    condition = torch.arange(6) % 5
    t = PatchTime.dense(torch.rand(6, 16))
    result = network_errors(model, x_1, x_0, t, condition)
    with torch.no_grad():
        loss = objective(model, x_1, condition, x_0=x_0, t=t)
    assert float(result.error.mean()) == pytest.approx(float(loss.velocity), rel=1e-5)
    assert float(result.nll.mean()) == pytest.approx(float(loss.nll), rel=1e-5)
    assert result.t.equal(t.values)
