"""Kinds of guidance by the input are what they are said to be, in closed form."""

import json
from dataclasses import asdict

import pytest
import torch

import patch_forcing as pf
from benchmarks.guidance.kinds import Both, Context, Draws, Lie, Tilted
from benchmarks.guidance.run import named, number
from benchmarks.guidance.settings import leading, search
from benchmarks.pages.guidance import chosen
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import Query
from tests.support.exact import CorrelatedGaussian, IndependentGaussian, tiny_dit

MODEL = tiny_dit()
LABELS = torch.tensor([0, 3])
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GRID = (0.0, 0.25, 0.5, 1.0)
DRAWS = Draws((4, 9), GRID)
NOISY = [Both, Context, Lie]


def velocity(guidance, t=0.5, x=X, labels=LABELS):
    field = pf.VelocityField(MODEL, labels, guidance)
    return field(x, PatchTime.everywhere(t, x, 16)).velocity


@pytest.mark.parametrize("kind", NOISY)
def test_with_as_much_information_the_scale_does_not_matter(kind):
    plain = velocity(None)
    for scale in (0.5, 3.0):
        torch.testing.assert_close(velocity(kind(DRAWS, scale, ratio=1, drop=False)), plain)
    assert not torch.allclose(velocity(kind(DRAWS, 3.0, ratio=0.5, drop=False)), plain, atol=1e-3)


@pytest.mark.parametrize("kind", [Both, Lie])
def test_with_the_same_input_and_no_label_it_is_guidance_by_the_label(kind):
    expected = velocity(pf.ClassifierFreeGuidance(2.0))
    torch.testing.assert_close(velocity(kind(DRAWS, 2.0, ratio=1)), expected, rtol=1e-4, atol=1e-4)


def test_a_tilt_of_nothing_is_classifier_free_guidance_bit_for_bit():
    assert torch.equal(velocity(Tilted(1.7)), velocity(pf.ClassifierFreeGuidance(1.7)))


def test_a_tilt_gives_hard_patches_more_and_the_same_on_average():
    plain, tilted = (velocity(Tilted(2.0, tilt=tilt)) for tilt in (0.0, 0.5))
    field = pf.VelocityField(MODEL, LABELS, pf.ClassifierFreeGuidance(2.0))
    output = field(X, PatchTime.everywhere(0.5, X, 16))
    added = (plain - output.unguided).unfold(2, 2, 2).unfold(3, 2, 2)  # (B, C, r, c, P, P)
    moved = (tilted - output.unguided).unfold(2, 2, 2).unfold(3, 2, 2)
    factor = ((added * moved).sum((1, 4, 5)) / added.square().sum((1, 4, 5))).flatten(1)
    order = output.difficulty.argsort(dim=1)
    torch.testing.assert_close(
        factor.gather(1, order), torch.linspace(0.5, 1.5, 16).expand(2, -1), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(("t", "ratio"), [(0.25, 0.5), (0.5, 0.8)])
def test_noisier_inputs_have_the_mean_and_the_variance_of_their_time(t, ratio):
    model, draws = IndependentGaussian(), torch.Generator().manual_seed(0)
    x_0 = torch.randn(1, 3, 128, 128, generator=draws)
    x_1 = model.answer(torch.randn(1, 3, 128, 128, generator=draws))
    x_s = Both(Draws((1,), GRID), 2.0, ratio=ratio).seen(t * x_1 + (1 - t) * x_0, t)
    s = ratio * t
    assert x_s.mean().item() == pytest.approx(s * model.mean, abs=0.02)
    assert x_s.var().item() == pytest.approx(s**2 * model.std**2 + (1 - s) ** 2, rel=0.02)


def test_of_patches_that_say_nothing_of_each_other_less_context_takes_nothing():
    query = Query(X, PatchTime.everywhere(0.5, X, 16), None)
    alone = Context(DRAWS, 3.0, drop=False).predict(IndependentGaussian(), query)
    torch.testing.assert_close(alone.bad.velocity, alone.good.velocity)
    together = Context(DRAWS, 3.0, drop=False).predict(CorrelatedGaussian.random(16, 2), query)
    changed = (together.bad.velocity - together.good.velocity).abs() > 1e-4
    half = DRAWS.half(0.5, X, 16)
    patches = changed.unfold(2, 2, 2).unfold(3, 2, 2).any(dim=(1))[..., 0, 0].flatten(1)
    assert torch.equal(patches, ~half)


def test_halves_swap_and_noise_is_that_of_the_seed():
    assert torch.equal(DRAWS.half(0.25, X, 16), ~DRAWS.half(0.5, X, 16))
    assert DRAWS.half(0.25, X, 16).sum(1).tolist() == [8, 8]
    together = velocity(Both(DRAWS, 2.0))
    alone = velocity(Both(Draws((9,), GRID), 2.0), x=X[1:], labels=LABELS[1:])
    torch.testing.assert_close(together[1:], alone)


def made_row(name, fd, accuracy):
    (setting,) = named(search([2.0, 3.0]), [name])
    metrics = {"fd": number(fd, fd - 1, fd + 1), "accuracy": number(accuracy, 0, 1)}
    return {"name": name, "group": setting.group, **asdict(setting), "images": 99, **metrics}


def test_the_best_of_each_kind_goes_on_where_it_is_no_worse_than_the_best_by_the_label():
    rows = [
        made_row("label_2", 10, 0.80),
        made_row("label_3", 12, 0.90),
        made_row("both_2_0.5", 9, 0.70),
        made_row("both_3_0.5", 8, 0.60),
        made_row("lie_2_0.5", 16, 0.90),
        made_row("context_keep_2_0.5", 16, 0.60),
    ]
    names = {"label_2": ["fd"], "both_3_0.5": ["fd"], "label_3": ["accuracy"]}
    assert leading(rows) == {**names, "lie_2_0.5": ["accuracy"]}


def test_the_page_has_values_with_intervals_and_paired_differences():
    none, less = number(0, 0, 0), number(-1, -2, 0.5)
    points = number(0.01, -0.02, 0.04)
    rows = [
        {**made_row("label_3", 12, 0.9), "fd_less_label": none, "accuracy_less_label": none},
        {**made_row("tilt_3_-0.5", 11, 1), "fd_less_label": less, "accuracy_less_label": points},
    ]
    about = {"commit": "a", "date": "2026-01-01", "hardware": "x", "versions": {"torch": "2"}}
    model = {"model": {"name": "m"}, "evaluations": 19.0, "real": {"features": "emoji 1"}}
    text = chosen(json.loads(json.dumps({**about, **model, "rows": rows})))
    assert "| by the label | 3 |  | 12.0 [11.0, 13.0] |  | 90.0 % [0.0, 100.0] |  |" in text
    assert "| −0.5 | 11.0 [10.0, 12.0] | −1.0 [−2.0, +0.5] |" in text
    assert "| +1.0 [−2.0, +4.0] |" in text
    assert "m, 19 evaluations an image, 99 images a row" in text
