"""Fitted grids: where a velocity bends, and steps of equal error."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.sampling.fit import (
    MAX_DENSITY,
    MIN_DENSITY,
    LocalError,
    fit_quantiles,
    local_error,
)
from patch_forcing.sampling.grids import QuantileGrid, uniform_grid
from tests.support.exact import ConstantField, IndependentGaussian

ADAMS_BASHFORTH = pf.samplers.MultirateSampler(rates=(1,), shares=(1.0,))


def flow(times: torch.Tensor, model: IndependentGaussian) -> torch.Tensor:
    """s(t) of the flow x(t) = μt + s(t)·x_0."""
    return (times.square() * model.std**2 + (1 - times).square()).sqrt()


@pytest.mark.parametrize("order", [1, 2])
def test_the_bend_is_a_derivative_of_the_velocity_along_the_flow(order):
    """|s⁽ᵒʳᵈᵉʳ⁺¹⁾| for x_0 ~ N(0, 1), in the middle of the points that the difference takes."""
    model, steps = IndependentGaussian(), 128
    x_0 = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    bend = local_error(pf.VelocityField(model), x_0, steps, order, every=64).bend
    # a first difference belongs to the middle of its interval, a second to its start
    times = (torch.arange(steps, dtype=torch.float64) + order % 2 / 2) / steps
    times.requires_grad_()
    value = flow(times, model)
    for _ in range(order + 1):
        (value,) = torch.autograd.grad(value.sum(), times, create_graph=True)
    inside = slice(steps // 8, -steps // 8)
    expected = value.detach().abs().numpy()[inside] * float(x_0.square().mean().sqrt())
    np.testing.assert_allclose(np.array(bend)[inside], expected, rtol=0.03, atol=0.02)


def test_errors_grow_as_the_flow_carries_them():
    """∂x_1/∂x_t = s(1)/s(t), for an error of any direction."""
    model, steps, every = IndependentGaussian(), 64, 4
    x_0 = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    growth = local_error(pf.VelocityField(model), x_0, steps, every=every).growth
    measured = np.arange(0, steps - every, every)
    expected = model.std / flow(torch.tensor(measured / steps), model).numpy()
    np.testing.assert_allclose(np.array(growth)[measured], expected, rtol=0.02)


@given(st.lists(st.floats(1.0, 20.0), min_size=8, max_size=8), st.integers(1, 3))
def test_steps_of_a_fitted_grid_have_equal_errors(bends, order):
    table = fit_quantiles(LocalError(bends, [1.0] * 8), order, count=16)
    assert table == fit_quantiles(LocalError([1.0] * 8, bends), order, count=16)
    density = np.array(bends) ** (1 / (order + 1))
    inside = density / density.mean()
    if inside.min() < MIN_DENSITY or inside.max() > MAX_DENSITY:
        return
    shares = np.interp(table, np.linspace(0, 1, 9), [0, *density.cumsum() / density.sum()])
    np.testing.assert_allclose(shares, np.linspace(0, 1, 17), atol=1e-9)


def test_equal_bends_give_equal_steps_and_no_step_is_out_of_proportion():
    equal = LocalError([3.0] * 10, [2.0] * 10)
    assert fit_quantiles(equal, count=5) == pytest.approx(uniform_grid(5))
    extreme = LocalError([1e-9] * 40 + [1e9], [1.0] * 41)
    steps = np.diff(QuantileGrid(fit_quantiles(extreme))(40))
    assert steps.max() / steps.min() <= MAX_DENSITY / MIN_DENSITY * 1.001


def test_a_straight_flow_has_equal_steps():
    field = ConstantField(torch.randn(1, 8, 8), None, patch_size=2)
    assert fit_quantiles(local_error(field, torch.randn(2, 1, 8, 8), 16), count=4) == (
        pytest.approx(uniform_grid(4))
    )


def test_a_fitted_grid_is_closer_to_the_exact_flow_at_equal_cost():
    model = IndependentGaussian(std=0.1)  # the flow bends near t = 1
    field = pf.VelocityField(model)
    x_0 = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    table = fit_quantiles(local_error(field, x_0[:16]))
    errors = {}
    for name, grid in (("fitted", QuantileGrid(table)), ("uniform", uniform_grid)):
        samples = ADAMS_BASHFORTH(field, x_0, grid(12)).x_1
        errors[name] = float((samples - model.answer(x_0)).square().mean().sqrt())
    assert errors["fitted"] < errors["uniform"] / 2, errors
