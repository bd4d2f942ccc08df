"""Euler–Maruyama: its score, its moments, and its noise.

On Gaussian data every step is affine in the image and its fresh noise, so that the moments of the
samples are known without sampling: the mean is where no noise leads, and the covariance is a sum of
squares, one for each number that is drawn.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import (
    CorrelatedGaussian,
    IndependentGaussian,
    SpyField,
    tiny_dit,
    to_image,
    to_patches,
)

EulerMaruyama = pf.samplers.EulerMaruyamaSampler
STRENGTHS = [0.3, 1.0, 2.0]


@given(st.lists(st.floats(0, 0.98), min_size=6, max_size=6), st.integers(0, 999))
def test_the_score_is_minus_the_predicted_noise_over_its_size(times, seed):
    """Against −S⁻¹·(x − A·μ), also where every patch has its own time."""
    model, t = CorrelatedGaussian.random(6, patch_size=2, seed=seed), torch.tensor([times])
    x = torch.randn(1, 2, 4, 6, generator=torch.Generator().manual_seed(seed))
    time = pf.PatchTime.dense(t)
    path = pf.LinearPath(2)
    noise = path.predict_noise(x, model(x, time, None).velocity, time)
    a, eye = torch.diag(t[0].double()), torch.eye(6, dtype=torch.float64)
    cov = a @ model.cov @ a + (eye - a) @ (eye - a)
    centred = to_patches(x.double(), 2) - (a @ model.mean)[:, None]
    score = to_image(-torch.linalg.solve(cov, centred), (4, 6), 2)
    scaled = -(1 - path.spread(time, x).double()) * score  # both sides finite towards the data
    torch.testing.assert_close(noise.double(), scaled, rtol=1e-4, atol=1e-4)


class OneAtATime(CountedGenerator):
    """Row 0 draws zeros; each other row draws a single one, each at another place and draw."""

    def __init__(self, rows: int, size: int):
        super().__init__(range(rows))
        self.row, self.size = 1 + size, size  # the first rows are for x_0

    def normal(self, *shape: int) -> Tensor:
        drawn = torch.zeros(len(self.seeds), self.size)
        drawn[range(self.row, self.row + self.size), range(self.size)] = 1
        self.row += self.size
        return drawn.view(-1, *shape)


def moments(model: CorrelatedGaussian, noise: float, grid: list[float]) -> tuple[Tensor, Tensor]:
    """Mean (N,) and covariance (N, N) of the samples, patches of one pixel in a row."""
    size, draws = len(model.mean), len(grid) - 2
    rows = 1 + size * (1 + draws)
    x_0 = torch.zeros(rows, 1, 1, size)
    x_0[1 : 1 + size, 0, 0] = torch.eye(size)
    generator = OneAtATime(rows, size)
    x_1 = EulerMaruyama(noise)(pf.VelocityField(model), x_0, grid, generator=generator).x_1
    assert generator.row == rows  # no draw in the last step
    x = x_1.view(rows, size).double()
    columns = x[1:] - x[0]
    return x[0], columns.T @ columns


@pytest.mark.parametrize("noise", STRENGTHS)
def test_the_mean_is_exact_and_the_covariance_converges_at_first_order(noise):
    model, steps = CorrelatedGaussian.random(6), [16, 32, 64, 128]
    errors = []
    for count in steps:
        mean, cov = moments(model, noise, uniform_grid(count))
        torch.testing.assert_close(mean, model.mean, rtol=1e-4, atol=1e-5)  # at t·μ, v = μ, x̂_0 = 0
        errors.append(float((cov - model.cov).norm() / model.cov.norm()))
    assert 0.9 < -float(np.polyfit(np.log(steps), np.log(errors), 1)[0]) < 1.1
    assert errors[-1] < 0.03


@pytest.mark.parametrize("noise", STRENGTHS)
@pytest.mark.parametrize("grid", [uniform_grid(16), [0.0, 0.1, 0.15, 0.4, 0.8, 0.95, 1.0]])
def test_samples_have_these_moments(noise, grid):
    """With the noise that is really drawn, on any grid: 4 standard errors of 20,000 samples."""
    model, count = CorrelatedGaussian.random(6), 20_000
    mean, cov = moments(model, noise, grid)
    generator = CountedGenerator(range(count))
    x_0 = generator.fork("noise").normal(1, 1, 6)
    field = pf.VelocityField(model)
    x_1 = EulerMaruyama(noise)(field, x_0, grid, generator=generator.fork("sampler")).x_1
    x = x_1.view(count, 6).double()
    assert ((x.mean(dim=0) - mean).abs() < 4 * (cov.diagonal() / count).sqrt()).all()
    spread = (cov.square() + cov.diagonal()[:, None] * cov.diagonal()) / count
    assert ((x.T.cov() - cov).abs() < 4 * spread.sqrt()).all()


def test_a_run_is_its_pseudo_code():
    model, noise, grid = IndependentGaussian(mean=0.3, std=0.6), 0.7, [0.0, 0.15, 0.2, 0.7, 1.0]
    generator, again = (CountedGenerator([5, 6]).fork("sampler") for _ in range(2))
    x_0 = torch.randn(2, 1, 4, 4)
    x = x_0.double()
    for now, then in pairwise(grid):
        dt, spread = then - now, now**2 * 0.36 + (1 - now) ** 2
        v = 0.3 + (now * 0.36 - (1 - now)) / spread * (x - now * 0.3)
        if then == 1:
            x = x + dt * v
        else:
            w = 2 * noise * (1 - now) ** 2
            score = (now * v - x) / (1 - now)
            x = x + dt * (v + w / 2 * score) + (w * dt) ** 0.5 * again.normal(1, 4, 4)
    samples = EulerMaruyama(noise)(pf.VelocityField(model), x_0, grid, generator=generator).x_1
    torch.testing.assert_close(samples, x.float(), rtol=1e-5, atol=1e-5)


def noise_left(noise: float, steps: int) -> tuple[list[float], float]:
    """Where all data are μ, of (x − t·μ)/(1 − t): its variance before each step, which should be 1,
    and how much of the first noise is in it at last.

    There v = (μ − x)/(1 − t) and x̂_0 = (x − t·μ)/(1 − t).
    """
    variance, first, dt = [1.0], 1.0, 1 / steps
    for m in range(steps, 1, -1):  # steps to go: (1 − t)/Δ
        kept = 1 - 1 / m - noise * dt
        variance.append((kept**2 * variance[-1] + 2 * noise * dt) / (1 - 1 / m) ** 2)
        first *= kept / (1 - 1 / m)
    return variance, first


@pytest.mark.parametrize("noise", STRENGTHS)
def test_noise_is_as_large_as_the_time_says_until_the_last_step_takes_it_all(noise):
    spy = SpyField(pf.VelocityField(IndependentGaussian(mean=0.3, std=0.0)))
    generator = CountedGenerator(range(20))
    x_0 = generator.fork("noise").normal(1, 32, 32)
    x_1 = EulerMaruyama(noise)(spy, x_0, uniform_grid(64), generator=generator).x_1
    torch.testing.assert_close(x_1, torch.full_like(x_1, 0.3), rtol=0, atol=1e-5)
    measured = [
        float(((x - 0.3 * k / 64) / (1 - k / 64)).square().mean()) for k, x in enumerate(spy.x)
    ]
    variance, first = noise_left(noise, 64)
    error = 20_480**-0.5  # of a correlation; √2 times that of a variance
    assert measured == pytest.approx(variance, rel=4 * 2**0.5 * error)
    pair = torch.stack([spy.x[0].flatten(), spy.x[-1].flatten()])
    assert abs(pair.corrcoef()[0, 1] - first / variance[-1] ** 0.5) < 4 * error


@pytest.mark.parametrize("noise", STRENGTHS)
def test_finer_steps_leave_noise_of_the_right_size_even_next_to_the_data(noise):
    coarse, middle, fine = (max(noise_left(noise, steps)[0]) - 1 for steps in (64, 256, 1024))
    assert fine < middle / 2 < coarse / 4
    assert noise_left(noise, 4096)[1] == pytest.approx(np.exp(-noise), rel=0.02)


def run(noise: float, seeds: list[int], steps: int = 6) -> Tensor:
    """Samples of a network from the same noise; only the sampler's draws have seeds."""
    field = pf.VelocityField(tiny_dit(), torch.full((len(seeds),), 3))
    x_0 = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x_0 = x_0.expand(len(seeds), -1, -1, -1)
    generator = CountedGenerator(seeds).fork("sampler")
    return EulerMaruyama(noise)(field, x_0, uniform_grid(steps), generator=generator).x_1


def test_noise_is_of_the_seed_and_not_of_the_batch():
    together = run(1.0, [7, 8, 9])
    for place, seed in enumerate([7, 8, 9]):
        torch.testing.assert_close(run(1.0, [seed])[0], together[place], rtol=1e-5, atol=1e-5)
    backwards = run(1.0, [9, 8, 7]).flip(0)
    torch.testing.assert_close(backwards, together, rtol=1e-5, atol=1e-5)
    assert (together[0] - together[1]).abs().mean() > 0.1


def test_the_last_step_ends_at_the_predicted_data():
    field = pf.VelocityField(IndependentGaussian())
    x_0 = torch.randn(2, 1, 4, 4)
    result = EulerMaruyama()(field, x_0, uniform_grid(5), trace=True)
    torch.testing.assert_close(result.x_1, result.trace[-1].prediction)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_noise_out_of_range_is_refused(value):
    with pytest.raises(pf.UserError, match=f"noise={value} is out of range: choose 0 or more"):
        EulerMaruyama(noise=value)
