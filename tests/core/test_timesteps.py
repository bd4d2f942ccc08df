"""Training distributions over per-patch time, against their exact laws.

Patches of one image depend on each other, so the unit of every test is an image.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import expit, logit, ndtr, ndtri

import patch_forcing as pf
from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import (
    TIMESTEPS,
    IndependentUniform,
    LogitNormalTruncatedGaussian,
    MeanControlled,
    SharedLogitNormal,
    SharedUniform,
    TruncatedGaussian,
)
from tests.support.laws import IMAGES, draw, p_value, z_of_mean

SPECS = [*TIMESTEPS, "mean-controlled:sharpness=4", "ltg:levels=4", "ltg:std=0.1"]

# The exact law of a truncated Gaussian


def below_maximum_cdf(t, t_max, std):
    """P(t_i ≤ t | t_max): a half-Gaussian below t_max, and U(0, t_max) where that is below 0."""
    scale = np.minimum(t_max / 2, std)
    t = np.clip(t, 0, t_max)
    return (
        2 * (ndtr(t_max / scale) - ndtr((t_max - t) / scale)) + 2 * ndtr(-t_max / scale) * t / t_max
    )


def extreme_cdf(t_max_quantile, std, patches, which):
    """CDF of the largest or smallest of an image's patches: independent given t_max."""
    grid = np.linspace(0, 1, 501)
    t_max = t_max_quantile((np.arange(1000) + 0.5) / 1000)  # integrated over its quantiles
    below = below_maximum_cdf(grid[:, None], t_max, std)
    joint = below**patches if which == "max" else 1 - (1 - below) ** patches
    return lambda t: np.interp(t, grid, joint.mean(axis=1))


def logit_normal_quantile(loc, scale):
    return lambda q: expit(loc + scale * ndtri(q))


LAWS = {
    "tg": (TruncatedGaussian(), lambda q: q, 0.2),
    "narrow tg": (TruncatedGaussian(0.05), lambda q: q, 0.05),
    "ltg": (LogitNormalTruncatedGaussian(), logit_normal_quantile(0.7, 1), 0.6),
    "other ltg": (LogitNormalTruncatedGaussian(-0.5, 2, 0.1), logit_normal_quantile(-0.5, 2), 0.1),
}


def ltg_expectation(of_t_max):
    """E[f(t_max)] for LTG(0.7, 1, 0.6)."""
    density = stats.norm(0.7, 1).pdf
    kinks = logit([0.1, 0.8, 0.9])
    return integrate.quad(lambda y: density(y) * of_t_max(expit(y)), -7, 9, points=kinks)[0]


def patch_mean(t_max):
    return integrate.quad(lambda t: 1 - below_maximum_cdf(t, t_max, 0.6), 0, t_max)[0]


FACTS = {  # a patch's statistic, its expectation given t_max, the exact value, the published one
    "mean": (lambda t: t, patch_mean, 0.40540, 0.405),
    "> 0.8": (lambda t: t > 0.8, lambda m: 1 - below_maximum_cdf(0.8, m, 0.6), 0.03126, 0.032),
    "> 0.9": (lambda t: t > 0.9, lambda m: 1 - below_maximum_cdf(0.9, m, 0.6), 0.00345, 0.004),
    "< 0.1": (lambda t: t < 0.1, lambda m: below_maximum_cdf(0.1, m, 0.6), 0.07194, 0.072),
}


@pytest.mark.parametrize("fact", FACTS)
def test_published_facts_of_ltg(fact):
    statistic, given_t_max, printed, published = FACTS[fact]
    exact = ltg_expectation(given_t_max)
    assert exact == pytest.approx(printed, abs=0.5e-5)
    assert exact == pytest.approx(published, abs=1e-3)  # the published ones were sampled
    image_means = statistic(draw(LogitNormalTruncatedGaussian(), 10 * IMAGES, 4)).mean(axis=1)
    assert z_of_mean(image_means, exact) < 4.5


def test_published_mean_of_the_maximum_of_ltg():
    exact = ltg_expectation(lambda t_max: t_max)
    assert exact == pytest.approx(0.64116, abs=0.5e-5)
    assert exact == pytest.approx(0.640, abs=1.5e-3)  # the published one was sampled
    # without spread, every patch sits at the maximum
    t_max = draw(LogitNormalTruncatedGaussian(std=1e-9), 10 * IMAGES, 1)[:, 0]
    assert z_of_mean(t_max, exact) < 4.5


@pytest.mark.parametrize("which", ["max", "min"])
@pytest.mark.parametrize("patches", [1, 2, 16])
@pytest.mark.parametrize("law", ["tg", "narrow tg", "ltg", "other ltg"])
def test_extremes_of_truncated_gaussians_have_their_exact_law(law, patches, which):
    sampler, quantile, std = LAWS[law]
    extreme = getattr(draw(sampler, IMAGES, patches), which)(axis=1)
    assert p_value(extreme, extreme_cdf(quantile, std, patches, which)) > 1e-3


@pytest.mark.parametrize(("loc", "std"), [(0.7, 0.6), (0.7, 0.2), (-2.0, 0.2), (-2.0, 0.01)])
def test_patches_given_the_maximum_have_their_exact_law(loc, std):
    # a vanishing scale pins the maximum
    t_max = float(expit(loc))
    t = draw(LogitNormalTruncatedGaussian(loc, 1e-12, std), IMAGES, 1)[:, 0]
    assert p_value(t, lambda t: below_maximum_cdf(t, t_max, std)) > 1e-3
    assert t.min() >= 0
    assert t.max() <= t_max + 1e-7


def test_patches_of_tg_given_the_maximum_have_their_exact_law():
    t = draw(TruncatedGaussian(), 16, 4097)
    t_max = t.max(axis=1, keepdims=True)  # of so many patches, as good as the maximum itself
    rest = np.sort(t, axis=1)[:, :-1]
    assert p_value(below_maximum_cdf(rest, t_max, 0.2).ravel(), "uniform") > 1e-3


def test_a_std_of_ltg_above_a_half_never_binds():
    wide, wider = (draw(LogitNormalTruncatedGaussian(std=std), 100, 8) for std in (0.5, 7.0))
    assert np.array_equal(wide, wider)


# Shared and independent times


def test_shared_uniform():
    time = SharedUniform()(IMAGES, 3, generator=torch.Generator().manual_seed(1))
    assert (time.num_levels, time.num_patches) == (1, 3)
    assert p_value(time.values[:, 0].numpy(), "uniform") > 1e-3


@pytest.mark.parametrize(("loc", "scale"), [(0, 1), (-0.7, 0.3), (2, 3)])
def test_shared_logit_normal(loc, scale):
    time = SharedLogitNormal(loc, scale)(IMAGES, 3, generator=torch.Generator().manual_seed(1))
    assert (time.num_levels, time.num_patches) == (1, 3)
    z = logit(time.values[:, 0].double().numpy())
    assert p_value(z, stats.norm(loc, scale).cdf) > 1e-3


def test_independent_uniform():
    t = draw(IndependentUniform(), IMAGES, 5)
    for n in range(5):
        assert p_value(t[:, n], "uniform") > 1e-3
    r = np.corrcoef(t.T)[np.triu_indices(5, 1)]
    assert (np.abs(r) * math.sqrt(IMAGES) < 4.5).all()


# Grouped LTG


@pytest.mark.parametrize("levels", [1, 2, 8, 13])
def test_grouped_ltg_holds_few_levels_and_picks_them_uniformly(levels):
    sampler = LogitNormalTruncatedGaussian(levels=levels)
    time = sampler(IMAGES, 5, generator=torch.Generator().manual_seed(1))
    assert (time.num_levels, time.num_patches) == (levels, 5)
    index = time.index.numpy()
    counts = np.bincount(index[:, 0], minlength=levels)
    assert len(counts) == levels
    assert levels == 1 or stats.chisquare(counts).pvalue > 1e-3
    same = int((index[:, 0] == index[:, 4]).sum())
    assert stats.binomtest(same, IMAGES, 1 / levels).pvalue > 1e-3


@pytest.mark.parametrize("levels", [1, 2, 8])
def test_a_patch_of_grouped_ltg_has_the_law_of_ltg(levels):
    _, quantile, std = LAWS["ltg"]
    t = draw(LogitNormalTruncatedGaussian(levels=levels), IMAGES, 3)
    for n in range(3):
        assert p_value(t[:, n], extreme_cdf(quantile, std, 1, "max")) > 1e-3


# All of them

POSITIVE = st.floats(0.01, 20)
SAMPLERS = st.one_of(
    st.builds(SharedUniform),
    st.builds(SharedLogitNormal, st.floats(-20, 20), POSITIVE),
    st.builds(IndependentUniform),
    st.builds(MeanControlled, st.floats(0.5, 50)),
    st.builds(TruncatedGaussian, POSITIVE),
    st.builds(
        LogitNormalTruncatedGaussian,
        st.floats(-20, 20),
        POSITIVE,
        POSITIVE,
        st.none() | st.integers(1, 9),
    ),
)


@given(SAMPLERS, st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**63 - 1))
def test_times_are_fp32_from_0_to_1_for_every_patch(sampler, batch, patches, seed):
    for generator in (
        pf.CountedGenerator(seed, range(batch)),
        torch.Generator().manual_seed(seed),
        None,
    ):
        t = sampler(batch, patches, generator=generator).to_dense()
        assert t.shape == (batch, patches)
        assert t.dtype == torch.float32
        assert ((t >= 0) & (t <= 1)).all()


@pytest.mark.parametrize("spec", SPECS)
def test_an_images_times_do_not_depend_on_its_batch(spec):
    sampler = build("timesteps", TIMESTEPS, spec)
    batch = sampler(256, 7, generator=pf.CountedGenerator(3, range(256))).to_dense()
    for ids in torch.arange(256).split(5):  # too few for vector instructions, unlike the batch
        few = sampler(len(ids), 7, generator=pf.CountedGenerator(3, ids)).to_dense()
        assert few.equal(batch[ids])


@pytest.mark.parametrize("spec", SPECS)
def test_times_repeat_with_a_torch_generator(spec):
    sampler = build("timesteps", TIMESTEPS, spec)
    first, second, other = (
        sampler(4, 6, generator=torch.Generator().manual_seed(seed)).to_dense()
        for seed in (1, 1, 2)
    )
    assert first.equal(second)
    assert not first.equal(other)


def test_the_defaults_are_the_papers():
    assert SharedLogitNormal() == SharedLogitNormal(loc=0, scale=1)
    assert MeanControlled() == MeanControlled(sharpness=1)
    assert TruncatedGaussian() == TruncatedGaussian(std=0.2)
    ltg = LogitNormalTruncatedGaussian(loc=0.7, scale=1, std=0.6, levels=None)
    assert LogitNormalTruncatedGaussian() == ltg


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
@pytest.mark.parametrize(
    ("sampler", "option"),
    [
        (SharedLogitNormal, "scale"),
        (MeanControlled, "sharpness"),
        (TruncatedGaussian, "std"),
        (LogitNormalTruncatedGaussian, "scale"),
        (LogitNormalTruncatedGaussian, "std"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(sampler, option, value):
    with pytest.raises(pf.UserError, match=rf"{sampler.__name__}: {option}={value} "):
        sampler(**{option: value})


@pytest.mark.parametrize("levels", [0, -1])
def test_levels_out_of_range_are_refused(levels):
    with pytest.raises(pf.UserError, match=rf"levels={levels} "):
        LogitNormalTruncatedGaussian(levels=levels)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sampler", [SharedLogitNormal, LogitNormalTruncatedGaussian])
def test_a_location_that_is_not_finite_is_refused(sampler, value):
    with pytest.raises(pf.UserError, match="loc"):
        sampler(loc=value)
