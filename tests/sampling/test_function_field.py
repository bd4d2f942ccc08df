"""Functions under samplers, against the same velocity as a model."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.registry import build
from patch_forcing.sampling.samplers import SAMPLERS
from tests.support.exact import IndependentGaussian

MODEL = IndependentGaussian(mean=0.3, std=0.6)
EVERY = [f"{name}:evaluate=all" if name in ("multirate", "adaptive") else name for name in SAMPLERS]
"""Of all patches, since this model computes no part of them."""
GRID = torch.linspace(0, 1, 5)


def of_image(x, t):
    return MODEL(x, pf.PatchTime.shared(t, 16), None).velocity


def of_pixels(x, t):
    """The model's own formula, of a time for each pixel."""
    return MODEL(x, pf.PatchTime.dense(t[:, 0, ::2, ::2].flatten(1)), None)


@pytest.mark.parametrize("name", ["euler", "adams-bashforth", "heun", "euler-maruyama"])
def test_a_plain_function_is_sampled_as_the_model_it_is(name):
    x_0, model = torch.randn(2, 1, 8, 8), pf.VelocityField(MODEL)
    sampler = build("sampler", SAMPLERS, name)
    ours = sampler(of_image, x_0, GRID, generator=torch.Generator().manual_seed(0))
    other = sampler(model, x_0, GRID, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.x_1, other.x_1)
    assert ours.nfe == other.nfe


@pytest.mark.parametrize("name", EVERY)
def test_a_function_of_pixel_times_is_sampled_by_every_sampler(name):
    x_0, model = torch.randn(2, 1, 8, 8), pf.VelocityField(MODEL)
    sampler = build("sampler", SAMPLERS, name)
    field = pf.FunctionField(of_pixels, MODEL.patch_size)
    ours = sampler(field, x_0, GRID, generator=torch.Generator().manual_seed(0))
    other = sampler(model, x_0, GRID, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.x_1, other.x_1)


def test_a_network_of_two_members_is_a_model_but_for_guidance():
    class Bare:
        patch_size = 2

        def __call__(self, x_t, t, condition, **_):
            return MODEL(x_t, t, None)

    x_0, labels = torch.randn(2, 1, 8, 8), torch.tensor([0, 1])
    sampler = pf.samplers.DualLoopSampler()
    ours = sampler(pf.VelocityField(Bare(), labels), x_0, GRID)
    assert ours.x_1.equal(sampler(pf.VelocityField(MODEL), x_0, GRID).x_1)
    guided = pf.VelocityField(Bare(), labels, pf.ClassifierFreeGuidance(2.0))
    with pytest.raises(pf.UserError, match="guidance drops the condition"):
        sampler(guided, x_0, GRID)


def test_what_a_function_cannot_do_is_an_error():
    x_0 = torch.randn(2, 1, 8, 8)
    with pytest.raises(pf.UserError, match="orders patches by"):
        pf.samplers.DualLoopSampler()(of_image, x_0, GRID)
    with pytest.raises(pf.UserError, match="this function takes one time an image"):
        pf.samplers.RandomOrderSampler()(of_image, x_0, GRID, generator=torch.Generator())
    with pytest.raises(pf.UserError, match=r"gives \(2, 1\) for images \(2, 1, 8, 8\)"):
        pf.samplers.EulerSampler()(lambda _, t: t[:, None], x_0, GRID)
