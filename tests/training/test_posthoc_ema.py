"""Post-hoc averages against their integrals, and against averages kept while training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from patch_forcing.training.posthoc_ema import (
    MAX_WIDTH,
    Profile,
    _inner,
    power_share,
    profile_exponent,
    snapshot_weights,
)

widths = st.floats(0.01, MAX_WIDTH)


def density(gamma, t, tau):
    return np.where(tau <= t, (gamma + 1) * tau**gamma / t ** (gamma + 1), 0)


@given(widths)
def test_the_width_is_the_standard_deviation_of_the_profile(width):
    gamma = profile_exponent(width)
    tau = (np.arange(20_000) + 0.5) / 20_000
    p = density(gamma, 1, tau)
    mean = (p * tau).mean() / p.mean()
    assert np.sqrt((p * (tau - mean) ** 2).mean() / p.mean()) == pytest.approx(width, rel=1e-4)


@given(widths, widths, st.floats(0.2, 3), st.floats(0.2, 3))
def test_inner_products_are_integrals(width, other_width, t, other_t):
    gamma, other = profile_exponent(width), profile_exponent(other_width)
    integral, _ = quad(
        lambda tau: density(gamma, t, tau) * density(other, other_t, tau),
        0,
        min(t, other_t),
        epsabs=1e-12,
    )
    result = _inner(*(np.array([x]) for x in (t, gamma, other_t, other)))
    assert result == pytest.approx(integral, rel=1e-6, abs=1e-10)


@given(widths, st.integers(1, 60))
def test_the_recursion_gives_each_step_its_part_of_the_profile(width, steps):
    shares = [power_share(step, width) for step in range(1, steps + 1)]
    parts = np.zeros(steps)
    for step, share in enumerate(shares):
        parts *= 1 - share
        parts[step] += share
    power = profile_exponent(width) + 1
    ends = (np.arange(steps + 1) / steps) ** power
    np.testing.assert_allclose(parts, np.diff(ends), atol=1e-12)


@given(st.integers(0, 7), st.sampled_from([0.05, 0.1]))
def test_a_stored_average_is_itself(number, width):
    stored = [Profile(t, w) for t in range(1, 9) for w in (0.05, 0.1)]
    weights = snapshot_weights(stored, Profile(number + 1, width))
    expected = [float(profile == Profile(number + 1, width)) for profile in stored]
    np.testing.assert_allclose(weights, expected, atol=1e-5)


@given(st.floats(0.03, 0.2), st.integers(0, 2**31))
def test_averages_of_other_lengths_are_near_to_those_kept_while_training(width, seed):
    steps, every, sizes = 512, 32, (0.05, 0.1)
    weights = np.random.default_rng(seed).normal(size=(steps, 16)).cumsum(axis=0)
    kept = {one: np.zeros(16) for one in (*sizes, width)}
    stored, snapshots = [], []
    for step, now in enumerate(weights, start=1):
        for one, average in kept.items():
            average += power_share(step, one) * (now - average)
        if step % every == 0:
            stored += [Profile(step, one) for one in sizes]
            snapshots += [kept[one].copy() for one in sizes]
    made = snapshot_weights(stored, Profile(steps, width)) @ np.array(snapshots)
    # beside how far the two that were kept are from each other
    apart = np.linalg.norm(kept[sizes[0]] - kept[sizes[1]])
    assert np.linalg.norm(made - kept[width]) < 0.03 * apart


def test_equal_weights_stay():
    stored = [Profile(t, w) for t in range(1, 9) for w in (0.05, 0.1)]
    assert snapshot_weights(stored, Profile(8, 0.15)).sum() == pytest.approx(1, abs=1e-12)
