"""The terms of the objective, against torch.distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.distributions import Normal

from patch_forcing.core.difficulty import LOGVAR_BOUNDS
from patch_forcing.core.losses import gaussian_nll, velocity_error

SHAPES = st.tuples(*[st.integers(1, 4)] * 4)


def batch(shape, seed=0):
    """Velocity, log-variance and target."""
    generator = torch.Generator().manual_seed(seed)
    b, _, h, w = shape
    velocity, target = (torch.randn(shape, generator=generator) for _ in range(2))
    return velocity, 2 * torch.randn(b, 1, h, w, generator=generator), target


@given(SHAPES, st.integers(0, 99))
def test_velocity_error_is_the_mean_square(shape, seed):
    velocity, _, target = batch(shape, seed)
    expected = ((velocity.double().numpy() - target.double().numpy()) ** 2).mean()
    assert velocity_error(velocity, target).item() == pytest.approx(expected, rel=1e-5)


@given(SHAPES, st.integers(0, 99))
def test_nll_is_minus_the_mean_log_density_of_a_gaussian(shape, seed):
    velocity, logvar, target = batch(shape, seed)
    scale = (0.5 * logvar.double()).exp().expand(shape)
    expected = -Normal(velocity.double(), scale).log_prob(target.double()).mean()
    assert gaussian_nll(velocity, logvar, target).item() == pytest.approx(expected.item(), rel=1e-5)


def test_nll_is_least_where_the_variance_is_the_squared_error():
    velocity, _, target = batch((2, 3, 4, 4))
    error = (target - velocity).square().mean(dim=1, keepdim=True)
    logvar = error.log().requires_grad_()
    gaussian_nll(velocity, logvar, target).backward()
    torch.testing.assert_close(logvar.grad, torch.zeros_like(logvar), atol=1e-6, rtol=0)


def test_nll_teaches_the_log_variance_and_not_the_velocity():
    velocity, logvar, target = (x.requires_grad_() for x in batch((2, 3, 4, 4)))
    gaussian_nll(velocity, logvar, target).backward()
    assert velocity.grad is None
    # d/dlogvar of ½·(logvar + e²·exp(−logvar)), meaned over the channels
    error = (target - velocity).detach().square().mean(dim=1, keepdim=True)
    expected = 0.5 * (1 - error * (-logvar.detach()).exp()) / (2 * 4 * 4)
    torch.testing.assert_close(logvar.grad, expected)


def test_velocity_error_teaches_the_velocity():
    velocity, _, target = batch((2, 3, 4, 4))
    velocity.requires_grad_()
    velocity_error(velocity, target).backward()
    torch.testing.assert_close(velocity.grad, 2 * (velocity - target).detach() / velocity.numel())


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_log_variance_is_bounded(extreme):
    velocity, logvar, target = batch((2, 3, 4, 4))
    logvar = torch.full_like(logvar, extreme, requires_grad=True)
    loss = gaussian_nll(velocity, logvar, target)
    loss.backward()
    bound = LOGVAR_BOUNDS[0] if extreme < 0 else LOGVAR_BOUNDS[1]
    error = (target - velocity).double().square().mean().item()
    expected = 0.5 * (math.log(2 * math.pi) + bound + error * math.exp(-bound))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert logvar.grad.isfinite().all()


def test_the_bounds_are_the_latent_diffusion_familys():
    assert LOGVAR_BOUNDS == (-30, 20)


def test_a_log_variance_that_is_not_a_number_is_not_hidden():
    velocity, logvar, target = batch((1, 1, 2, 2))
    logvar[0, 0, 1, 1] = torch.nan
    assert gaussian_nll(velocity, logvar, target).isnan()


def test_low_precision_inputs_are_computed_in_fp32():
    low = [x.bfloat16() for x in batch((2, 3, 8, 8))]
    velocity, logvar, target = (x.float() for x in low)
    assert velocity_error(low[0], low[2]).equal(velocity_error(velocity, target))
    assert gaussian_nll(*low).equal(gaussian_nll(velocity, logvar, target))
    assert gaussian_nll(*low).dtype == velocity_error(low[0], low[2]).dtype == torch.float32


def test_shapes_that_would_broadcast_are_refused():
    velocity, logvar, target = batch((2, 3, 4, 4))
    with pytest.raises(TypeCheckError):
        velocity_error(velocity, target[:1])
    with pytest.raises(TypeCheckError):
        gaussian_nll(velocity, logvar.expand(-1, 3, -1, -1), target)
