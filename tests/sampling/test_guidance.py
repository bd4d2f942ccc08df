"""Guidance is per patch in time and works with every registered sampler."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.patches import spread
from patch_forcing.core.registry import build
from patch_forcing.sampling.compat import as_published
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.guidance import SCHEDULES
from patch_forcing.sampling.samplers import count_evaluations
from tests.support.exact import SpyField, tiny_dit

LABELS = torch.tensor([0, 3])
MODEL = tiny_dit(num_classes=5).requires_grad_(False)
WEAK = tiny_dit(seed=1, num_classes=5, depth=1).requires_grad_(False)
PUBLISHED = ["euler", "random-order", "dual-loop", "look-ahead"]

schedules = st.sampled_from(sorted(SCHEDULES))
tenths = st.integers(0, 10)
intervals = st.none() | st.tuples(tenths, tenths).filter(lambda ab: ab[0] < ab[1]).map(
    lambda ab: (ab[0] / 10, ab[1] / 10)
)
guidances = st.builds(
    lambda weak, scale, interval, schedule: (
        pf.Autoguidance(WEAK, scale, interval, schedule=schedule)
        if weak
        else pf.ClassifierFreeGuidance(scale, interval, schedule=schedule)
    ),
    st.booleans(),
    st.floats(1, 4),
    intervals,
    schedules,
)
times = st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=16, max_size=16)


def expected_scale(schedule: str, scale: float, t: float) -> float:
    excess = {"constant": 1, "linear": 2 * t, "cosine": 1 - math.cos(math.pi * t)}[schedule]
    return 1 + (scale - 1) * excess


@given(guidance=guidances, one=times, other=times)
def test_every_patch_is_guided_by_its_own_time(guidance, one, other):
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([one, other])
    output = pf.VelocityField(MODEL, LABELS, guidance)(x, pf.PatchTime.dense(t))
    good = MODEL(x, t, LABELS).velocity
    weak = isinstance(guidance, pf.Autoguidance)
    bad = (WEAK(x, t, LABELS) if weak else MODEL(x, t, torch.tensor([5, 5]))).velocity
    low, high = guidance.interval or (0, 1)
    scale = torch.tensor([
        [
            expected_scale(guidance.schedule, guidance.scale, float(time))
            if low - 1e-7 <= time <= high + 1e-7
            else 1.0
            for time in row
        ]
        for row in t.tolist()
    ])  # fmt: skip
    expected = bad + spread(scale, (8, 8), 2) * (good - bad)
    torch.testing.assert_close(output.velocity, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        output.difficulty, pf.difficulty(MODEL(x, t, LABELS).logvar, 2), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_schedules_keep_the_mean_over_time_and_rise(schedule):
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    values = SCHEDULES[schedule](t)
    torch.testing.assert_close(torch.trapezoid(values, t), torch.tensor(1.0).double())
    assert (values.diff() >= 0).all()


@settings(max_examples=4)
@pytest.mark.parametrize("name", sorted(pf.samplers.SAMPLERS))
@given(guidance=guidances, steps=st.integers(1, 4))
def test_every_sampler_is_guided_at_the_cost_it_plans(name, guidance, steps):
    sampler, grid = build("sampler", pf.samplers.SAMPLERS, name), uniform_grid(steps)
    spy = SpyField(pf.VelocityField(MODEL, LABELS, guidance))
    result = sampler(spy, torch.randn(2, 3, 8, 8), grid, generator=pf.CountedGenerator((0, 1)))
    assert result.x_1.isfinite().all()
    most = count_evaluations(sampler, grid, 16, guidance)
    assert result.nfe <= most + 1e-6
    if name != "adaptive":
        assert result.nfe == pytest.approx(most)
    low, high = guidance.interval or (0, 1)
    for t, output in zip(spy.t, spy.outputs, strict=True):
        if output.whole:
            inside = (t >= low - 1e-6) & (t <= high + 1e-6)
            assert output.evaluations == (2 if inside.any() else 1)


@settings(max_examples=4)
@pytest.mark.parametrize("name", sorted(pf.samplers.SAMPLERS))
@given(schedule=schedules, weak=st.booleans())
def test_a_scale_of_one_is_no_guidance_in_any_sampler(name, schedule, weak):
    kind = (lambda *a, **k: pf.Autoguidance(WEAK, *a, **k)) if weak else pf.ClassifierFreeGuidance
    sampler, x_0 = build("sampler", pf.samplers.SAMPLERS, name), torch.randn(2, 3, 8, 8)
    results = [
        sampler(
            pf.VelocityField(MODEL, LABELS, guidance),
            x_0,
            uniform_grid(3),
            generator=pf.CountedGenerator((0, 1)),
        ).x_1
        for guidance in (None, kind(1.0, schedule=schedule))
    ]
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_compat_asks_both_of_look_ahead_and_of_guidance():
    sampler, guidance = as_published(
        pf.samplers.LookAheadSampler(0.3), pf.ClassifierFreeGuidance(2.0, (0.1, 0.9))
    )
    assert sampler == pf.samplers.LookAheadSampler(0.3, unguided_context=True)
    assert guidance == pf.ClassifierFreeGuidance(2.0, (0.1, 0.9), extrapolate_logvar=True)


@pytest.mark.parametrize("name", sorted(set(pf.samplers.SAMPLERS) - set(PUBLISHED)))
def test_compat_is_refused_to_samplers_that_were_not_published(name):
    with pytest.raises(pf.UserError, match="is not of the paper"):
        as_published(build("sampler", pf.samplers.SAMPLERS, name), None)


def test_compat_knows_no_autoguidance():
    with pytest.raises(pf.UserError, match="knows no autoguidance"):
        as_published(pf.samplers.EulerSampler(), pf.Autoguidance(WEAK, 2.0))


def test_schedules_that_are_none_are_refused():
    with pytest.raises(pf.UserError, match="did you mean 'linear'"):
        pf.ClassifierFreeGuidance(2.0, schedule="linaer")
    with pytest.raises(pf.UserError, match="choose 1 or more"):
        pf.ClassifierFreeGuidance(0.5, schedule="linear")
