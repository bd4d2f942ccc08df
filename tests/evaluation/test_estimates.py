"""Metrics with intervals: published formulas, closed forms, and how often an interval is right."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from patch_forcing.core.errors import UserError
from patch_forcing.evaluation.estimate import (
    Estimate,
    critical,
    mean_estimate,
    standard_error,
    wilson,
)
from patch_forcing.evaluation.frechet import FrechetDistance, frechet_distance
from patch_forcing.evaluation.inception_score import inception_score
from patch_forcing.evaluation.kernel import kernel_distance
from patch_forcing.evaluation.neighbours import (
    coverage,
    density,
    nearer_to_training,
    nearest,
    precision,
    precision_recall,
    recall,
)
from patch_forcing.features.statistics import FeatureStatistics

WIDTH = 8
SEEDS = st.integers(0, 2**32 - 1)
MIXING = (
    torch.eye(WIDTH) + torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(1)) / 3
)


def draws(seed: int, count: int, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def adm_fid(a: np.ndarray, b: np.ndarray) -> float:
    """As ADM's and pytorch-fid's evaluators write it."""
    mean = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(first.dot(second)).real
    return float(mean.dot(mean) + np.trace(first) + np.trace(second) - 2 * np.trace(root))


@settings(max_examples=20)
@given(SEEDS, st.sampled_from([5, 16, 40]))
def test_the_distance_is_that_of_adms_formula_with_fewer_and_more_images_than_features(seed, count):
    sampled, real = draws(seed, count, 16) * 2 + 1, draws(seed + 1, 60, 16)
    estimate = FrechetDistance(FeatureStatistics.of(real))(sampled)
    a, b = sampled.double().numpy(), real.double().numpy()
    # scipy's root of a singular matrix is itself only so good
    assert estimate.value == pytest.approx(adm_fid(a, b), rel=1e-3)
    both = frechet_distance(FeatureStatistics.of(sampled), FeatureStatistics.of(real))
    assert estimate.value == pytest.approx(both, rel=1e-6)


def test_gaussians_have_the_distance_of_their_closed_form():
    # of diagonal covariances: |shift|² + Σ (σ_a − σ_b)²
    spread = torch.linspace(0.5, 2, WIDTH)
    reference = FeatureStatistics(torch.ones(WIDTH).double(), torch.eye(WIDTH).double(), 10**6)
    closed = WIDTH + float((spread - 1).square().sum())
    estimate = FrechetDistance(reference)(draws(0, 40_000) * spread)
    assert estimate.value == pytest.approx(closed, rel=0.03)
    assert 0.001 < estimate.error / closed < 0.02


@pytest.mark.parametrize("count", [5, 50])
def test_a_set_is_at_no_distance_from_itself(count):
    real = draws(0, count)
    assert FrechetDistance(FeatureStatistics.of(real))(real).value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("count", [6, 30])
def test_an_influence_is_how_an_image_moves_the_distance(count):
    # by a small weight more of one image, in NumPy, against the derivative
    sampled, real = draws(2, count) @ MIXING, draws(3, 200)
    reference = FeatureStatistics.of(real)
    estimate = FrechetDistance(reference)(sampled)
    points, step = sampled.double(), 1e-4

    def weighted(image: int, by: float) -> float:
        weights = torch.full((count,), 1 / count).double()
        weights = weights * (1 - by)
        weights[image] += by
        mean = weights @ points
        spread = (points - mean).mT @ ((points - mean) * weights[:, None]) * count / (count - 1)
        return frechet_distance(reference, FeatureStatistics(mean, spread, count))

    for image in (0, count - 1):
        slope = (weighted(image, step) - weighted(image, -step)) / (2 * step)
        assert float(estimate.influence[image]) == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("apart", [True, False])
def test_intervals_hold_the_distances_mean_as_often_as_they_say(apart):
    reference = FrechetDistance(FeatureStatistics.of(draws(0, 4000)))
    mixing, shift = (MIXING, 0.3) if apart else (torch.eye(WIDTH), 0.0)
    runs = [reference(draws(seed, 50) @ mixing + shift) for seed in range(1, 301)]
    # near zero pairs of images make up to half of what single ones seem to
    excess = sum(run.excess for run in runs) / len(runs)
    assert 0 <= excess < 0.1 if apart else 0.3 < excess <= 0.5
    mean = sum(run.value for run in runs) / len(runs)
    held = sum(low <= mean <= high for low, high in (run.interval for run in runs)) / len(runs)
    assert 0.925 <= held <= 0.975


def test_at_small_numbers_the_distance_is_too_large_and_its_limit_is_not():
    reference = FrechetDistance(FeatureStatistics.of(draws(0, 4000)))
    true = reference(draws(1, 100_000) @ MIXING + 0.3).value
    few = [draws(seed, 60) @ MIXING + 0.3 for seed in range(2, 42)]
    values = torch.tensor([reference(part).value for part in few])
    limits = torch.tensor([reference.at_infinity(part).value for part in few])
    error = float(limits.std()) / math.sqrt(len(few))
    assert values.mean() - true > 3 * float(values.std()) / math.sqrt(len(few))
    assert abs(float(limits.mean()) - true) < 3 * error


def test_the_difference_of_two_samplers_on_the_same_seeds_has_the_error_of_its_influences():
    reference = FrechetDistance(FeatureStatistics.of(draws(0, 4000)))
    pairs = []
    for seed in range(1, 201):
        z = draws(seed, 100)
        first, second = reference(z @ MIXING + 0.3), reference(z @ MIXING * 0.9 + 0.2)
        error = standard_error(first.influence - second.influence)
        pairs.append((first.value - second.value, error, first.error, second.error))
    differences, errors, first, second = map(torch.tensor, zip(*pairs, strict=True))
    assert float(errors.mean()) == pytest.approx(float(differences.std()), rel=0.2)
    assert errors.mean() < 0.6 * torch.hypot(first, second).mean()


def test_fd_infinity_names_the_images_it_takes():
    reference = FrechetDistance(FeatureStatistics.of(draws(0, 50)))
    with pytest.raises(UserError, match="fd-infinity of 44 images: 8 features take 45 or more"):
        reference.at_infinity(draws(1, 44))


def test_what_is_no_covariance_has_no_root():
    bent = torch.eye(WIDTH).double()
    bent[0, 0] = -0.5
    with pytest.raises(UserError, match=r"eigenvalue -0\.5, which none has"):
        FrechetDistance(FeatureStatistics(torch.zeros(WIDTH).double(), bent, 9))(draws(0, 50))
    bent[0, 0] = math.nan
    with pytest.raises(UserError, match="not finite"):
        FrechetDistance(FeatureStatistics(torch.zeros(WIDTH).double(), bent, 9))(draws(0, 50))


# KID


def test_kid_is_the_published_sum_over_pairs():
    a, b = draws(0, 7).double(), draws(1, 5).double() + 0.5
    kernel = lambda x, y: (float(x @ y) / WIDTH + 1) ** 3  # noqa: E731
    among = [kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j]
    real = [kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j]
    across = [kernel(x, y) for x in a for y in b]
    expected = np.mean(among) + np.mean(real) - 2 * np.mean(across)
    assert kernel_distance(a, b).value == pytest.approx(expected)


def test_kid_of_two_samples_of_one_distribution_is_zero_on_average():
    values = [kernel_distance(draws(2 * k, 40), draws(2 * k + 1, 40)).value for k in range(100)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 10
    assert min(values) < 0 < max(values)


# The Inception score


def test_the_inception_score_of_sure_and_unsure_networks():
    sure = torch.eye(4).repeat(5, 1)
    assert inception_score(sure).value == pytest.approx(4)
    assert inception_score(torch.full((9, 4), 0.25)).value == pytest.approx(1)
    assert inception_score(sure[:1].repeat(9, 1)).value == pytest.approx(1)


def test_the_inception_score_is_the_mean_over_splits():
    chances = draws(0, 20).softmax(1)
    halves = [inception_score(chances[:10]).value, inception_score(chances[10:]).value]
    assert inception_score(chances, split=10).value == pytest.approx(np.mean(halves))


# Neighbours


def test_precision_is_of_the_samples_and_recall_of_the_real_images():
    # samples that are a part of the real images: a swap would turn the two around
    real = torch.cat([draws(0, 40, 2), draws(1, 40, 2) + 50])
    sampled = real[:40]
    assert precision(real, sampled).value == 1
    assert recall(real, sampled).value == 0.5
    assert coverage(real, sampled).value == 0.5
    assert precision_recall(real, sampled) == (1, 0.5)


def test_density_counts_balls_and_coverage_the_balls_that_hold_a_sample():
    # with one neighbour the balls of 0, 1, 3 reach 1, 1, 2 far
    real = torch.tensor([[0.0], [1.0], [3.0]])
    sampled = torch.tensor([[0.5], [4.9]])
    assert density(real, sampled, 1).value == pytest.approx((2 + 1) / 2)
    assert coverage(real, sampled, 1).value == 1
    assert coverage(real, sampled[1:].repeat(2, 1), 1).value == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", [precision, density, coverage, recall])
def test_intervals_by_neighbours_are_as_wide_as_samples_differ(metric):
    real = draws(0, 100)
    runs = [metric(real, draws(seed, 60) @ MIXING + 0.3) for seed in range(1, 41)]
    spread = torch.tensor([run.value for run in runs]).std()
    error = sum(run.error for run in runs) / len(runs)
    assert 0.75 * spread < error < 1.4 * spread


def test_copies_of_training_images_are_nearer_than_held_out_ones():
    train, held_out = draws(0, 80), draws(1, 40)
    real = nearest(held_out, train).distances
    assert nearest(train[:7], train).members.tolist() == list(range(7))
    copies = nearest(train[:30] + 0.01, train).distances
    assert nearer_to_training(copies, real).value > 0.99
    assert 0.3 < nearer_to_training(nearest(draws(2, 40), train).distances, real).value < 0.7
    assert nearer_to_training(real, real).value == pytest.approx(0.5)


@pytest.mark.parametrize("parts", [6, 20, 200])
def test_the_critical_value_is_students(parts):
    assert critical(parts) == pytest.approx(stats.t.ppf(0.975, parts - 1), rel=5e-3)


# The same features by another library


def test_torch_fidelity_finds_the_same_in_the_same_features():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    real, sampled = draws(0, 60) @ MIXING, draws(1, 60)
    moments = [fid.fid_features_to_statistics(features) for features in (sampled, real)]
    theirs = fid.fid_statistics_to_metric(*moments, False)["frechet_inception_distance"]
    ours = FrechetDistance(FeatureStatistics.of(real))(sampled)
    assert ours.value == pytest.approx(theirs, rel=1e-3)
    theirs = kid.kid_features_to_metric(
        sampled, real, kid_subsets=1, kid_subset_size=60, verbose=False
    )["kernel_inception_distance_mean"]
    assert kernel_distance(real, sampled).value == pytest.approx(theirs, rel=1e-6)
    theirs = isc.isc_features_to_metric(sampled, splits=1, shuffle=False)["inception_score_mean"]
    assert inception_score(sampled.softmax(1)).value == pytest.approx(theirs, rel=1e-6)
    theirs = prc.prc_features_to_metric(sampled, real, prc_neighborhood=3, verbose=False)
    ours = precision_recall(real, sampled)
    assert ours.precision == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours.recall == pytest.approx(theirs["recall"], abs=1e-6)


def test_no_interval_goes_beyond_what_a_share_can_be():
    """Four of five: 0.8 ± 2.776·0.2 by Student's t."""
    shares = mean_estimate(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))
    assert shares.interval == pytest.approx((0.2447, 1.3553), abs=3e-3)
    bounded = replace(shares, bounds=(0.0, 1.0))
    assert bounded.interval == (shares.interval[0], 1.0)
    assert bounded.error == shares.error


@pytest.mark.parametrize(("count", "share"), [(24, 0.0), (24, 1.0), (200, 0.25)])
def test_a_share_that_no_image_moves_has_wilsons_interval(count, share):
    """Known values of 0 of 24 and 24 of 24: 3.8415/(24 + 3.8415)."""
    still = Estimate(share, torch.zeros(count), count, bounds=(0.0, 1.0))
    theirs = stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
    assert still.interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert wilson(0.0, 24) == pytest.approx((0.0, 0.13798), abs=1e-5)


@pytest.mark.parametrize("metric", [precision, recall, density, coverage])
def test_none_of_few_samples_is_no_certainty(metric):
    estimate = metric(draws(0, 60), draws(1, 24) + 100)
    assert estimate.value == 0
    assert estimate.interval == pytest.approx((0.0, 0.13798), abs=1e-5)


def test_all_of_few_samples_is_no_certainty():
    near = draws(0, 60)[:24] + 1e-3
    assert precision(draws(0, 60), near).interval == pytest.approx((1 - 0.13798, 1.0), abs=1e-5)
    copies = nearer_to_training(torch.zeros(24), torch.ones(10))
    assert (copies.value, *copies.interval) == pytest.approx((1, 1 - 0.13798, 1), abs=1e-5)


def test_what_can_be_anything_and_does_not_vary_has_no_interval():
    assert mean_estimate(torch.full((5,), 0.7)).interval == (pytest.approx(0.7),) * 2
