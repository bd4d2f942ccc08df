"""The whole objective, against numpy and torch.distributions on a tiny real network."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import patch_forcing as pf

GRID, PATCH, PATCHES = 4, 2, 16
PATH = pf.LinearPath(PATCH)
LTG = pf.timesteps.LogitNormalTruncatedGaussian()
LABELS = torch.tensor([0, 2, 3])


def tiny_model(**options):
    """A PatchDiT whose weights are all random, so that no output is zero."""
    config = pf.PatchDiTConfig(
        input_size=GRID * PATCH,
        patch_size=PATCH,
        in_channels=2,
        hidden_size=16,
        depth=1,
        num_heads=2,
        num_classes=3,
        **options,
    )
    model = pf.PatchDiT(config)
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=random)
    return model


def images(seed):
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


X_0, X_1 = images(1), images(2)
T = torch.rand(3, PATCHES, generator=torch.Generator().manual_seed(3))


def expected_terms(model, t, nll_weight):
    """Velocity error, NLL and total from x_0, x_1 and dense t (B, N)."""
    x_0, x_1 = X_0.double().numpy(), X_1.double().numpy()
    t_pixel = np.kron(t.double().numpy().reshape(3, 1, GRID, GRID), np.ones((PATCH, PATCH)))
    x_t = torch.from_numpy(t_pixel * x_1 + (1 - t_pixel) * x_0).float()
    output = model(x_t, t, LABELS)
    velocity, target = output.velocity.detach().double(), torch.from_numpy(x_1 - x_0)
    error = np.mean((velocity - target).numpy() ** 2)
    variance = output.logvar.detach().double().exp().expand_as(velocity)
    nll = -Normal(velocity, variance.sqrt()).log_prob(target).mean().item()
    return error + nll_weight * nll, error, nll


TWO_LEVELS = pf.PatchTime(T[:, :2], torch.arange(PATCHES).remainder(2).expand(3, -1))


@pytest.mark.parametrize("nll_weight", [0, 0.01, 2])
@pytest.mark.parametrize(
    ("t", "dense"),
    [
        (T, T),
        (pf.PatchTime.dense(T), T),
        (TWO_LEVELS, T[:, :2].repeat(1, 8)),
        (T[:, 0], T[:, :1].expand(-1, PATCHES)),
    ],
    ids=["patches", "dense", "levels", "images"],
)
def test_the_loss_is_the_formula(t, dense, nll_weight):
    model = tiny_model()
    terms = pf.PatchForcingObjective(PATH, LTG, nll_weight)(model, X_1, LABELS, x_0=X_0, t=t)
    actual = [term.item() for term in terms]
    assert actual == pytest.approx(expected_terms(model, dense, nll_weight), rel=1e-5)


def test_the_paper_weighs_the_likelihood_by_a_hundredth():
    terms = pf.PatchForcingObjective(PATH, LTG)(tiny_model(), X_1, LABELS, x_0=X_0, t=T)
    assert terms.total.item() == pytest.approx(
        terms.velocity.item() + 0.01 * terms.nll.item(), rel=1e-6
    )


def test_without_a_difficulty_head_the_loss_is_the_velocity_error():
    model = tiny_model(predict_difficulty=False)
    terms = pf.PatchForcingObjective(PATH, LTG)(model, X_1, LABELS, x_0=X_0, t=T)
    t_pixel = T.view(3, 1, GRID, GRID).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    velocity = model(t_pixel * X_1 + (1 - t_pixel) * X_0, T, LABELS).velocity
    torch.testing.assert_close(terms.total, (velocity - (X_1 - X_0)).square().mean())
    assert terms.velocity.equal(terms.total)
    assert terms.nll.item() == 0


def test_the_likelihood_trains_only_the_log_variance_of_the_last_layer():
    gradients = []
    for nll_weight in (0, 1):
        model = tiny_model()
        objective = pf.PatchForcingObjective(PATH, LTG, nll_weight)
        objective(model, X_1, LABELS, x_0=X_0, t=T).total.backward()
        # rows (patch row, patch column, channel): two of velocity, one of log-variance
        gradients.append(model.final_layer.linear.weight.grad.view(PATCH**2, 3, -1))
    without, with_nll = gradients
    torch.testing.assert_close(with_nll[:, :2], without[:, :2])
    assert without[:, 2].count_nonzero() == 0
    assert with_nll[:, 2].count_nonzero() > 0


def test_terms_are_fp32_whatever_the_model_computes_in():
    model = tiny_model().bfloat16()
    for x_1 in (X_1, X_1.bfloat16()):
        terms = pf.PatchForcingObjective(PATH, LTG)(model, x_1, LABELS, x_0=X_0.to(x_1), t=T)
        assert [term.dtype for term in terms] == [torch.float32] * 3


def counted_loss(model, rows, step=0, **given):
    generator = pf.CountedGenerator(7, [10 + row for row in rows], step)
    objective = pf.PatchForcingObjective(PATH, LTG)
    return objective(model, X_1[rows], LABELS[rows], generator=generator, **given)


def test_counted_losses_repeat_and_change_with_the_step():
    model = tiny_model()
    first, again, later = (counted_loss(model, [0, 1, 2], step) for step in (0, 0, 1))
    for a, b, c in zip(first, again, later, strict=True):
        assert a.equal(b)
        assert not a.equal(c)


def test_a_samples_noise_and_times_do_not_depend_on_its_batch():
    model = tiny_model()
    rows = [[term.item() for term in counted_loss(model, [row])] for row in range(3)]
    for batch in ([0, 1, 2], [2, 0], [1, 2]):
        terms = [term.item() for term in counted_loss(model, batch)]
        expected = [
            math.fsum(column) / len(batch) for column in zip(*(rows[r] for r in batch), strict=True)
        ]
        assert terms == pytest.approx(expected, rel=1e-5)


def test_giving_the_times_or_the_noise_does_not_change_the_other():
    model, rows = tiny_model(), [0, 1, 2]
    drawn = counted_loss(model, rows)
    generator = pf.CountedGenerator(7, [10, 11, 12])
    t = LTG(3, PATCHES, generator=generator.fork("timesteps"))
    x_0 = generator.fork("noise").normal(2, 8, 8)
    assert counted_loss(model, rows, t=t).total.equal(drawn.total)
    assert counted_loss(model, rows, x_0=x_0).total.equal(drawn.total)
    assert counted_loss(model, rows, x_0=X_0, t=T).total.equal(
        pf.PatchForcingObjective(PATH, LTG)(model, X_1, LABELS, x_0=X_0, t=T).total
    )


def test_losses_repeat_with_a_torch_generator():
    model, objective = tiny_model(), pf.PatchForcingObjective(PATH, LTG)
    first, again, other = (
        objective(model, X_1, LABELS, generator=torch.Generator().manual_seed(seed)).total
        for seed in (1, 1, 2)
    )
    assert first.equal(again)
    assert not first.equal(other)


def test_the_timestep_distribution_is_the_one_that_was_asked_for():
    # patches that are all clean: x_t is the data, and the model sees t near 1
    clean = pf.timesteps.SharedLogitNormal(loc=50)
    model, ones = tiny_model(), torch.ones(3)
    generator = torch.Generator().manual_seed(1)
    terms = pf.PatchForcingObjective(PATH, clean)(model, X_1, LABELS, x_0=X_0, generator=generator)
    torch.testing.assert_close(
        terms.velocity, (model(X_1, ones, LABELS).velocity - (X_1 - X_0)).square().mean()
    )


def test_images_and_times_that_do_not_suit_the_patches_are_refused():
    objective = pf.PatchForcingObjective(PATH, LTG)
    with pytest.raises(pf.UserError, match=r"7x8 .* patch size 2"):
        objective(tiny_model(), X_1[:, :, :7], LABELS)
    with pytest.raises(pf.UserError, match="15 patches"):
        objective(tiny_model(), X_1, LABELS, x_0=X_0, t=T[:, :15])


@pytest.mark.parametrize("nll_weight", [-0.01, math.nan, math.inf])
def test_a_weight_out_of_range_is_refused(nll_weight):
    with pytest.raises(pf.UserError, match=rf"nll_weight={nll_weight} "):
        pf.PatchForcingObjective(PATH, LTG, nll_weight)
