"""Variance against squared error: Gaussian data, where both are known, and what must hold."""

import math

import pytest
import torch
from scipy.stats import spearmanr

from patch_forcing.core.calibration import PatchErrors, network_errors
from patch_forcing.core.errors import UserError
from patch_forcing.core.time import PatchTime
from patch_forcing.evaluation.calibration import dead_head, fits_by_time
from tests.support.exact import CorrelatedGaussian, to_image

BINS, SIDE, P = 4, 4, 4
NETWORK = CorrelatedGaussian.random(SIDE * SIDE, P)


@pytest.fixture(scope="module")
def exact():
    """Errors of the best velocity and of its own variance: 60 images, once in each bin of time."""
    g = torch.Generator().manual_seed(0)
    size, looks = (SIDE * P, SIDE * P), []
    for k in range(BINS):
        root = torch.linalg.cholesky(NETWORK.cov)
        noise = torch.randn(60, SIDE * SIDE, P * P, generator=g, dtype=torch.float64)
        x_1 = to_image(NETWORK.mean[:, None] + root @ noise, size, P).float()
        x_0 = torch.randn(x_1.shape, generator=g)
        t = PatchTime.shared((k + torch.rand(60, generator=g)) / BINS, SIDE * SIDE)
        looks.append(network_errors(NETWORK, x_1, x_0, t, None))
    return PatchErrors.joined(looks, dim=1)


def larger(errors: PatchErrors, factor: float) -> PatchErrors:
    """The same errors of a head that predicts so many times the variance."""
    return errors._replace(
        variance=factor * errors.variance, standardised=errors.standardised / factor
    )


def test_the_exact_variance_of_gaussian_data_is_calibrated(exact):
    overall, by_time = fits_by_time(exact, BINS)
    assert [(row.low, row.high) for row in by_time] == [(k / 4, (k + 1) / 4) for k in range(4)]
    for fit in (overall, *(row.fit for row in by_time)):
        low, high = fit.ratio.interval
        assert low < 1 < high
        assert fit.true / fit.predicted == pytest.approx(fit.ratio.value)
        assert fit.standardised == pytest.approx(1, abs=0.05)
        assert fit.calibration_error.value < 3 * fit.by_chance
    assert overall.patches == 60 * 16 * BINS
    assert dead_head(overall) is None


def test_variance_four_times_too_large_is_two_octaves_off_and_ranks_alike(exact):
    ours, _ = fits_by_time(exact, BINS)
    wrong, by_time = fits_by_time(larger(exact, 4), BINS)
    assert wrong.ratio.value == pytest.approx(ours.ratio.value / 4)
    assert wrong.ratio.error == pytest.approx(ours.ratio.error / 4)
    assert wrong.rank_correlation.value == ours.rank_correlation.value
    for _, _, fit in by_time:
        assert fit.calibration_error.value == pytest.approx(2, abs=4 * fit.calibration_error.error)
        logs = [level.share * abs(math.log2(level.true / level.predicted)) for level in fit.levels]
        assert fit.calibration_error.value == pytest.approx(sum(logs))


def test_ranks_are_scipys_within_each_image(exact):
    overall, by_time = fits_by_time(exact, BINS)
    assert 0.2 < overall.rank_correlation.value < 0.9
    values = []
    for k, row in enumerate(by_time):
        columns = slice(16 * k, 16 * (k + 1))
        pairs = zip(exact.variance[:, columns], exact.error[:, columns], strict=True)
        values.append([spearmanr(a.numpy(), b.numpy()).statistic for a, b in pairs])
        assert row.fit.rank_correlation.value == pytest.approx(sum(values[-1]) / 60)
    # an image has one number over all bins, and its deviation is the error
    means = torch.tensor(values).mean(0)
    assert overall.rank_correlation.value == pytest.approx(float(means.mean()))
    assert overall.rank_correlation.error == pytest.approx(float(means.std()) / math.sqrt(60))


def test_patches_of_an_image_may_have_their_own_times(exact):
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    mixed = PatchErrors(*(part[:, order] for part in exact))
    (a, first), (b, second) = fits_by_time(exact, BINS), fits_by_time(mixed, BINS)
    for ours, theirs in ((a, b), *((x.fit, y.fit) for x, y in zip(first, second, strict=True))):
        for name in ("ratio", "rank_correlation", "calibration_error"):
            left, right = getattr(ours, name), getattr(theirs, name)
            assert left.value == pytest.approx(right.value)
            assert left.influence.numpy() == pytest.approx(right.influence.numpy())


def test_images_with_few_patches_in_a_bin_have_no_rank_there(exact):
    t = torch.full((60, 64), 0.1)
    t[:, :2] = 0.9
    t[:7, :5] = 0.9
    overall, (early, late) = fits_by_time(exact._replace(t=t), 2)
    assert (early.fit.rank_correlation.count, late.fit.rank_correlation.count) == (60, 7)
    assert (early.fit.patches, late.fit.patches) == (60 * 64 - 53 * 2 - 7 * 5, 53 * 2 + 7 * 5)
    assert overall.patches == 60 * 64


@pytest.mark.parametrize("name", ["ratio", "rank_correlation", "calibration_error"])
def test_influence_is_what_leaving_an_image_out_changes(exact, name):
    exact = larger(exact, 4)  # where the sign of no quantile changes
    whole = getattr(fits_by_time(exact, 1)[0], name)
    for i in (0, 23, 59):
        kept = torch.arange(60) != i
        less = fits_by_time(PatchErrors(*(part[kept] for part in exact)), 1)[0]
        moved = 59 * (whole.value - getattr(less, name).value)
        # patches that change their quantile are not in the influence
        allowed = 0.3 if name == "calibration_error" else 0.05
        scale = float(whole.influence.std())
        assert moved == pytest.approx(float(whole.influence[i]), abs=allowed * scale)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    g, held = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        variance = torch.rand(25, 12, generator=g) + 0.5
        image = torch.randn(25, 1, generator=g).square()  # patches of an image err together
        error = variance * image * torch.randn(25, 12, generator=g).square()
        low, high = fits_by_time(errors(variance, error), 1)[0].ratio.interval
        held += low <= 1 <= high
    assert 0.85 < held / 200 < 0.99


def errors(variance: torch.Tensor, error: torch.Tensor) -> PatchErrors:
    ratio = error / variance
    return PatchErrors(torch.full_like(error, 0.5), error, ratio, ratio, variance)


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(20, 9, generator=g) + 0.1, torch.rand(20, 9, generator=g)


def test_a_constant_head_has_one_quantile_and_is_dead():
    _, error = drawn(0)
    fit, ((_, _, only),) = fits_by_time(errors(torch.full_like(error, 2.0), error), 1)
    (level,) = only.levels
    assert (level.share, level.predicted) == (1, 2)
    assert level.true == pytest.approx(float(error.mean()))
    expected = abs(math.log2(float(error.double().mean()) / 2))
    assert fit.calibration_error.value == pytest.approx(expected)
    assert fit.rank_correlation.interval == (0, 0)
    assert fit.spread == 0
    assert "predicts the same for all patches of an image (2 on average)" in dead_head(fit)


def test_a_head_that_knows_no_patch_is_dead_whatever_it_knows_of_images():
    _, error = drawn(1)
    image = torch.rand(20, 1, generator=torch.Generator().manual_seed(3)) + 1
    of_images = fits_by_time(errors(image.expand_as(error), image * error), 1)[0]
    assert "predicts the same" in dead_head(of_images)
    noise, error = drawn(4)
    assert "does not tell which patches err" in dead_head(fits_by_time(errors(noise, error), 1)[0])
    wrong = fits_by_time(errors(1.1 - error, error), 1)[0]
    assert "ranks patches the wrong way round: rank correlation -1" in dead_head(wrong)
    assert dead_head(fits_by_time(errors(0.1 + error, error), 1)[0]) is None


def test_what_has_no_interval_or_no_variance_is_refused(exact):
    with pytest.raises(UserError, match="1 image has no interval: give 2 or more"):
        fits_by_time(PatchErrors(*(part[:1] for part in exact)), BINS)
    with pytest.raises(UserError, match="no variance is predicted"):
        fits_by_time(PatchErrors(exact.t, exact.error), BINS)
