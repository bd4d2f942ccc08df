"""Heun: its order, its pseudo-code, and its last step."""

import numpy as np
import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import CorrelatedGaussian, IndependentGaussian, SpyField, tiny_dit

Heun = pf.samplers.HeunSampler


def squared_grid(steps: int) -> list[float]:
    """Fine towards the data."""
    return [1 - (1 - t) ** 2 for t in uniform_grid(steps)]


@pytest.mark.parametrize("make_grid", [uniform_grid, squared_grid])
@pytest.mark.parametrize(
    "model", [IndependentGaussian(), CorrelatedGaussian.random(6, patch_size=2)]
)
def test_it_is_of_second_order(model, make_grid):
    x_0, steps = torch.randn(8, 2, 4, 6), [16, 32, 64]
    field, answer = pf.VelocityField(model), model.answer(x_0)
    errors = [(Heun()(field, x_0, make_grid(k)).x_1 - answer).square().mean() ** 0.5 for k in steps]
    assert 1.8 < -float(np.polyfit(np.log(steps), np.log(errors), 1)[0]) < 2.2
    euler = pf.samplers.EulerSampler()(field, x_0, make_grid(127)).x_1  # as many evaluations
    assert errors[-1] < 0.2 * (euler - answer).square().mean() ** 0.5


@torch.no_grad()
def test_it_is_its_pseudo_code():
    model, labels = tiny_dit(), torch.tensor([4, 1])
    x_0 = torch.randn(2, 3, 8, 8)

    def v(x: Tensor, t: float) -> Tensor:
        return model(x, torch.full((2,), t), labels).velocity

    x = x_0 + 0.4 * (v(x_0, 0.0) + v(x_0 + 0.4 * v(x_0, 0.0), 0.4)) / 2
    x = x + 0.6 * v(x, 0.4)
    result = Heun()(pf.VelocityField(model, labels), x_0, [0.0, 0.4, 1.0], trace=True)
    torch.testing.assert_close(result.x_1, x, rtol=1e-5, atol=1e-5)
    state_t = [record.state_t[0, 0] for record in result.trace]
    assert torch.stack(state_t).equal(torch.tensor([0.0, 0.0, 0.4]))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_it_never_asks_at_the_data_and_lands_on_data_that_are_a_point(steps):
    # there v = (μ − x)/(1 − t): straight lines, on which the velocity at t = 1 is 0/0
    spy = SpyField(pf.VelocityField(IndependentGaussian(mean=0.3, std=0.0)))
    x_1 = Heun()(spy, torch.randn(2, 1, 4, 4), uniform_grid(steps)).x_1
    torch.testing.assert_close(x_1, torch.full_like(x_1, 0.3), rtol=0, atol=1e-5)
    assert max(t.max() for t in spy.t) < 1


def test_guidance_costs_by_the_times_of_the_evaluations():
    guidance = pf.ClassifierFreeGuidance(4.0, (0.3, 0.6))
    field = pf.VelocityField(tiny_dit(), torch.tensor([4, 1]), guidance)
    # 0 ¼, ¼ ½, ½ ¾, ¾: two calls reach inside
    assert Heun()(field, torch.randn(2, 3, 8, 8), uniform_grid(4)).nfe == 7 + 2
