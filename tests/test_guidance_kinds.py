"""Kinds of guidance by the input are what they are said to be, in closed form."""

import json
from dataclasses import asdict

import pytest
import torch

import patch_forcing as pf
from benchmarks.guidance.kinds import Context, Lie, Tilted
from benchmarks.guidance.run import named, number
from benchmarks.guidance.settings import leading, search
from benchmarks.pages.guidance import chosen, tried
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import Query
from patch_forcing.sampling.noisier import Draws
from tests.support.exact import CorrelatedGaussian, IndependentGaussian, tiny_dit

MODEL = tiny_dit()
LABELS = torch.tensor([0, 3])
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GRID = (0.0, 0.25, 0.5, 1.0)
SEEDS = (4, 9)


def velocity(guidance, t=0.5, x=X, labels=LABELS):
    guidance = guidance and guidance.for_images(SEEDS, GRID)
    field = pf.VelocityField(MODEL, labels, guidance)
    return field(x, PatchTime.everywhere(t, x, 16)).velocity


@pytest.mark.parametrize("kind", [Context, Lie])
def test_with_as_much_information_the_scale_does_not_matter(kind):
    plain, almost = velocity(None), 1 - 1e-9
    for scale in (0.5, 3.0):
        same = velocity(kind(scale, ratio=almost, keep_condition=True))
        torch.testing.assert_close(same, plain, rtol=1e-3, atol=1e-3)
    less = velocity(kind(3.0, ratio=0.5, keep_condition=True))
    assert not torch.allclose(less, plain, atol=1e-2)


def test_with_the_same_input_and_no_label_it_is_guidance_by_the_label():
    expected = velocity(pf.ClassifierFreeGuidance(2.0))
    guided = velocity(Lie(2.0, ratio=1 - 1e-9))
    torch.testing.assert_close(guided, expected, rtol=1e-4, atol=1e-4)


def test_the_control_is_guidance_by_the_label_in_the_other_half():
    where = Draws(SEEDS, GRID).half(PatchTime.everywhere(0.5, X, 16))
    plain, guided = velocity(None), velocity(pf.ClassifierFreeGuidance(2.0))
    half = torch.where(pf.spread(where, (8, 8), 2), plain, guided)
    torch.testing.assert_close(velocity(Context(2.0, ratio=1)), half, rtol=1e-4, atol=1e-4)


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


def test_of_patches_that_say_nothing_of_each_other_less_context_takes_nothing():
    query = Query(X, PatchTime.everywhere(0.5, X, 16), None)
    context = Context(3.0, ratio=0.5, keep_condition=True).for_images(SEEDS, GRID)
    alone = context.predict(IndependentGaussian(), query)
    torch.testing.assert_close(alone.bad.velocity, alone.good.velocity)
    together = context.predict(CorrelatedGaussian.random(16, 2), query)
    changed = (together.bad.velocity - together.good.velocity).abs() > 1e-4
    half = Draws(SEEDS, GRID).half(query.t)
    patches = changed.unfold(2, 2, 2).unfold(3, 2, 2).any(dim=(1))[..., 0, 0].flatten(1)
    assert torch.equal(patches, ~half)


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
    text = tried({"choosing": json.loads(json.dumps(rows))})
    assert "| by the label | 3 |  | 12.0 [11.0, 13.0] | 90.0 % [0.0, 100.0] |" in text
    assert "99 images a row, of other seeds" in text
