"""Fields and guidance against explicit calls of the network."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.patches import spread
from patch_forcing.core.registry import build
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import (
    CorrelatedGaussian,
    IndependentGaussian,
    SpyField,
    tiny_dit,
    to_patches,
)

LABELS = torch.tensor([0, 3])
NULL = torch.tensor([5, 5])


@pytest.fixture
def model() -> pf.PatchDiT:
    return tiny_dit(num_classes=5).requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def mixed_time() -> pf.PatchTime:
    """Half of the patches at 0.25, half at 0.75."""
    return pf.PatchTime(torch.tensor([[0.25, 0.75]] * 2), torch.arange(16).repeat(2, 1) % 2)


def difficulty_of(logvar: Tensor) -> Tensor:
    return to_patches(logvar.exp(), 2).mean(dim=2)


def test_without_guidance_a_field_is_the_model(model, x):
    output = pf.VelocityField(model, LABELS)(x, mixed_time())
    predicted = model(x, mixed_time(), LABELS)
    assert output.velocity.equal(predicted.velocity)
    assert output.unguided.equal(predicted.velocity)
    torch.testing.assert_close(output.difficulty, difficulty_of(predicted.logvar))
    assert output.evaluations == 1


def test_a_model_without_difficulty_gives_none(x):
    output = pf.VelocityField(tiny_dit(predict_difficulty=False))(x, mixed_time())
    assert output.difficulty is None


@given(t=st.floats(0, 1), std=st.floats(0.1, 3))
def test_the_exact_difficulty_of_independent_pixels(t, std):
    field = pf.VelocityField(IndependentGaussian(std=std))
    output = field(torch.zeros(1, 1, 4, 4), pf.PatchTime.shared(torch.tensor([t]), 4))
    variance = std**2 / (t**2 * std**2 + (1 - t) ** 2)
    torch.testing.assert_close(output.difficulty, torch.full((1, 4), variance), rtol=1e-5, atol=0)


@given(times=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_uncorrelated_patches_are_the_independent_gaussian(times):
    cov = 0.49 * torch.eye(4, dtype=torch.float64)
    together = CorrelatedGaussian(torch.full((4,), 0.2, dtype=torch.float64), cov, 2)
    alone = IndependentGaussian(mean=0.2, std=0.7)
    x, t = torch.linspace(-2, 2, 32).view(1, 2, 4, 4), pf.PatchTime.dense(torch.tensor([times]))
    one, other = (pf.VelocityField(model)(x, t) for model in (together, alone))
    torch.testing.assert_close(one.velocity, other.velocity, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one.difficulty, other.difficulty, rtol=1e-5, atol=1e-5)


@given(scale=st.floats(0, 10))
def test_classifier_free_guidance_is_its_formula(scale):
    model, x = tiny_dit(num_classes=5).requires_grad_(False), torch.randn(2, 3, 8, 8)
    guidance = pf.ClassifierFreeGuidance(scale)
    output = pf.VelocityField(model, LABELS, guidance)(x, mixed_time())
    conditional, null = model(x, mixed_time(), LABELS), model(x, mixed_time(), NULL)
    expected = null.velocity + scale * (conditional.velocity - null.velocity)
    torch.testing.assert_close(output.velocity, expected, rtol=0, atol=1e-5 * (1 + scale))
    torch.testing.assert_close(output.unguided, conditional.velocity, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.difficulty, difficulty_of(conditional.logvar))
    assert output.evaluations == 2


@pytest.mark.parametrize(("scale", "labels"), [(1, LABELS), (0, NULL)])
def test_guidance_1_is_conditional_and_0_unconditional(model, x, scale, labels):
    output = pf.VelocityField(model, LABELS, pf.ClassifierFreeGuidance(scale))(x, mixed_time())
    expected = model(x, mixed_time(), labels).velocity
    torch.testing.assert_close(output.velocity, expected, rtol=0, atol=1e-5)


def test_a_field_that_is_not_to_guide_is_the_conditional_model_for_one_evaluation(model, x):
    field = pf.VelocityField(model, LABELS, pf.ClassifierFreeGuidance(3.0))
    output = field(x, mixed_time(), guided=False)
    assert output.velocity.equal(model(x, mixed_time(), LABELS).velocity)
    assert output.unguided.equal(output.velocity)
    assert output.evaluations == 1


@pytest.mark.parametrize(
    ("interval", "guided_times"),
    [
        ((0.1, 0.5), [0.25]),
        ((0.25, 0.5), [0.25]),
        ((0.5, 0.75), [0.75]),
        ((0.25, 0.75), [0.25, 0.75]),
        ((0.0, 1.0), [0.25, 0.75]),
        ((0.3, 0.7), []),
        ((0.8, 1.0), []),
    ],
)
def test_an_interval_guides_the_patches_inside_ends_included(model, x, interval, guided_times):
    guidance = pf.ClassifierFreeGuidance(3.0, interval)
    output = pf.VelocityField(model, LABELS, guidance)(x, mixed_time())
    bare = model(x, mixed_time(), LABELS).velocity
    whole = pf.VelocityField(model, LABELS, pf.ClassifierFreeGuidance(3.0))(x, mixed_time())
    inside = torch.isin(mixed_time().to_dense(), torch.tensor(guided_times))
    expected = torch.where(spread(inside, (8, 8), 2), whole.velocity, bare)
    torch.testing.assert_close(output.velocity, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.unguided, bare, rtol=0, atol=1e-5)
    assert output.evaluations == (2 if guided_times else 1)


@pytest.mark.parametrize("tenth", range(1, 10))
def test_interval_ends_that_fp32_cannot_hold_are_still_included(model, x, tenth):
    end = tenth / 10
    for interval in ((end, 1.0), (0.0, end)):
        field = pf.VelocityField(model, LABELS, pf.ClassifierFreeGuidance(3.0, interval))
        assert field(x, pf.PatchTime.shared(torch.full((2,), end), 16)).evaluations == 2


def test_logvar_is_extrapolated_only_on_demand_and_only_inside(model, x):
    conditional, null = model(x, mixed_time(), LABELS), model(x, mixed_time(), NULL)
    logvar = null.logvar + 2 * (conditional.logvar - null.logvar)
    guidance = pf.ClassifierFreeGuidance(2.0, extrapolate_logvar=True)
    output = pf.VelocityField(model, LABELS, guidance)(x, mixed_time())
    torch.testing.assert_close(output.difficulty, difficulty_of(logvar), rtol=1e-4, atol=1e-4)

    guidance = pf.ClassifierFreeGuidance(2.0, (0.5, 1.0), extrapolate_logvar=True)
    output = pf.VelocityField(model, LABELS, guidance)(x, mixed_time())
    inside = mixed_time().to_dense() == 0.75
    expected = torch.where(inside, difficulty_of(logvar), difficulty_of(conditional.logvar))
    torch.testing.assert_close(output.difficulty, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("labels", [LABELS, None])
@pytest.mark.parametrize("extrapolate_logvar", [False, True])
def test_autoguidance_is_its_formula(model, x, labels, extrapolate_logvar):
    weak = tiny_dit(seed=1, num_classes=5, depth=1).requires_grad_(False)
    guidance = pf.Autoguidance(weak, 2.5, extrapolate_logvar=extrapolate_logvar)
    output = pf.VelocityField(model, labels, guidance)(x, mixed_time())
    good, bad = model(x, mixed_time(), labels), weak(x, mixed_time(), labels)
    velocity = bad.velocity + 2.5 * (good.velocity - bad.velocity)
    logvar = bad.logvar + 2.5 * (good.logvar - bad.logvar) if extrapolate_logvar else good.logvar
    torch.testing.assert_close(output.velocity, velocity)
    torch.testing.assert_close(output.difficulty, difficulty_of(logvar))
    assert output.unguided.equal(good.velocity)
    assert output.evaluations == 2


def test_autoguidance_keeps_to_its_interval(model, x):
    guidance = pf.Autoguidance(tiny_dit(seed=1), 2.5, (0.3, 0.7))
    output = pf.VelocityField(model, LABELS, guidance)(x, mixed_time())
    assert output.velocity.equal(model(x, mixed_time(), LABELS).velocity)
    assert output.evaluations == 1


def test_guidance_without_a_condition_is_refused(model):
    with pytest.raises(pf.UserError, match="guidance without a condition"):
        pf.VelocityField(model, None, pf.ClassifierFreeGuidance(2.0))


def test_labels_the_model_does_not_know_are_refused(model):
    with pytest.raises(pf.UserError, match="label 7 is out of range: this model knows 0 to 4"):
        pf.VelocityField(model, torch.tensor([1, 7]))


def test_labels_the_weak_model_does_not_know_are_refused(model):
    weak = tiny_dit(num_classes=2)
    with pytest.raises(pf.UserError, match="label 3 is out of range: this model knows 0 to 1"):
        pf.VelocityField(model, LABELS, pf.Autoguidance(weak, 2.0))


def test_labels_for_another_number_of_images_are_refused(model, x):
    field = pf.VelocityField(model, torch.tensor([1]))
    with pytest.raises(pf.UserError):
        field(x, mixed_time())


@pytest.mark.parametrize("scale", [-0.1, float("inf"), float("nan")])
def test_scales_out_of_range_are_refused(model, scale):
    for kind in (pf.ClassifierFreeGuidance, lambda scale: pf.Autoguidance(model, scale)):
        with pytest.raises(pf.UserError, match=f"guidance scale {scale} is out of range"):
            kind(scale)


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (0.5, 1.1)])
def test_intervals_that_are_none_are_refused(model, interval):
    with pytest.raises(pf.UserError, match="0 <= low < high <= 1"):
        pf.ClassifierFreeGuidance(2.0, interval)
    with pytest.raises(pf.UserError, match="0 <= low < high <= 1"):
        pf.Autoguidance(model, 2.0, interval)


class Repainting:
    """A field around another one: while t rises from 0 to 1, patch i goes from 1 − m_i to 1."""

    def __init__(self, field, change: Tensor):
        self.field, self.patch_size = field, field.patch_size
        self.change = change  # m, (N,)

    def __call__(self, x_t, t, **options):
        inner = pf.PatchTime.dense(1 - self.change * (1 - t.to_dense()))
        output = self.field(x_t, inner, **options)
        slower = spread(self.change[None], x_t.shape[-2:], self.patch_size)
        return output._replace(velocity=slower * output.velocity, unguided=slower * output.unguided)


@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(2.0)])
@pytest.mark.parametrize(
    "spec", [*sorted(set(pf.samplers.SAMPLERS) - {"euler-maruyama"}), "dual-loop:evaluate=moving"]
)
def test_a_field_around_another_serves_every_sampler(spec, guidance, x):
    """Patches that are to stay stay bit for bit; the others see them at their own times."""
    sampler = build("sampler", pf.samplers.SAMPLERS, spec)
    inner = pf.VelocityField(tiny_dit(num_classes=5), LABELS, guidance)
    change = torch.tensor([0.0, 0.25, 1.0, 0.5] * 4)
    spy = SpyField(inner)
    generator = pf.CountedGenerator((0, 1))
    result = sampler(Repainting(spy, change), x, uniform_grid(4), generator=generator, trace=True)
    kept = spread((change == 0)[None], (8, 8), 2).expand_as(x)
    assert result.x_1[kept].equal(x[kept])
    assert not torch.isclose(result.x_1[~kept], x[~kept]).any()
    assert spy.t[0][0].equal(1 - change)
    plain = sampler(inner, x, uniform_grid(4), generator=generator)
    if spec != "adaptive":
        assert result.nfe == plain.nfe
