"""Orders of convergence towards exact flows of Gaussian data."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import CorrelatedGaussian, IndependentGaussian

STEPS = [8, 16, 32, 64]


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def sample(sampler, model, x_0: Tensor, steps: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    grid = uniform_grid(steps)
    return sampler(pf.VelocityField(model), x_0, grid, generator=random).x_1


def order(sizes: list[float], errors: list[float]) -> float:
    """The slope of log error against log size."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize(
    "sampler",
    [
        pf.samplers.EulerSampler(),
        pf.samplers.DualLoopSampler(easy_fraction=0.4, inner_steps=4),
        pf.samplers.DualLoopSampler(easy_fraction=0.7, inner_steps=2),
        pf.samplers.RandomOrderSampler(easy_fraction=0.4, inner_steps=4),
    ],
)
def test_samplers_are_of_first_order_on_correlated_patches(sampler):
    model, x_0 = CorrelatedGaussian.random(6, patch_size=2), torch.randn(8, 2, 4, 6)
    errors = [rms(sample(sampler, model, x_0, steps) - model.answer(x_0)) for steps in STEPS]
    assert 0.9 < order([1 / steps for steps in STEPS], errors) < 1.1
    assert errors[-1] < 0.025


@pytest.mark.parametrize("sampler", [pf.samplers.LookAheadSampler(), pf.samplers.DualLoopSampler()])
def test_samplers_are_of_first_order_on_independent_pixels(sampler):
    model, x_0 = IndependentGaussian(), torch.randn(8, 2, 4, 6)
    errors = [rms(sample(sampler, model, x_0, steps) - model.answer(x_0)) for steps in STEPS]
    assert 0.9 < order([1 / steps for steps in STEPS], errors) < 1.1
    assert errors[-1] < 0.015


def test_euler_on_independent_pixels_is_the_product_of_its_steps():
    model, x_0 = IndependentGaussian(mean=0.3, std=0.6), torch.randn(2, 1, 4, 4)
    grid = [0.0, 0.15, 0.2, 0.7, 1.0]
    mean, factor = 0.0, 1.0  # of x as a function of x_0
    for now, then in pairwise(grid):
        spread = now**2 * 0.36 + (1 - now) ** 2
        gain = (then - now) * (now * 0.36 - (1 - now)) / spread
        mean += (then - now) * 0.3 + gain * (mean - now * 0.3)
        factor *= 1 + gain
    samples = pf.samplers.EulerSampler()(pf.VelocityField(model), x_0, grid).x_1
    torch.testing.assert_close(samples, mean + factor * x_0, rtol=1e-5, atol=1e-6)


def test_context_tells_independent_patches_nothing():
    model, x_0 = IndependentGaussian(), torch.randn(4, 2, 4, 6)
    look_ahead = sample(pf.samplers.LookAheadSampler(), model, x_0, 12)
    euler = sample(pf.samplers.EulerSampler(), model, x_0, 12)
    torch.testing.assert_close(look_ahead, euler, rtol=1e-5, atol=1e-6)


def look_ahead_bias(ratio: float, steps: int) -> float:
    """How far context moves the samples of correlated patches, on the same grid."""
    model, x_0 = CorrelatedGaussian.random(6, patch_size=2), torch.randn(8, 2, 4, 6)
    sampler = pf.samplers.LookAheadSampler(context_ratio=ratio)
    euler = sample(pf.samplers.EulerSampler(), model, x_0, steps)
    return rms(sample(sampler, model, x_0, steps) - euler)


def test_the_bias_of_context_does_not_vanish_with_the_step():
    torch.manual_seed(0)
    coarse = look_ahead_bias(1.4, 40)
    torch.manual_seed(0)
    fine = look_ahead_bias(1.4, 160)
    assert fine > 0.03
    assert math.isclose(coarse, fine, rel_tol=0.03)


def test_the_bias_of_context_vanishes_in_proportion_to_ratio_minus_one():
    excess, biases = [0.04, 0.02, 0.01, 0.005], []
    for value in excess:
        torch.manual_seed(0)
        biases.append(look_ahead_bias(1 + value, 40))
    assert 0.95 < order(excess, biases) < 1.05
