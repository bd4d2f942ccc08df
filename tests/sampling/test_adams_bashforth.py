"""Adams–Bashforth, with guidance and without, against its formula and against finer steps."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import patch_forcing as pf
from patch_forcing.core.patches import spread
from patch_forcing.core.random import CountedGenerator
from patch_forcing.sampling.field import FieldOutput
from patch_forcing.sampling.grids import ShiftedGrid, uniform_grid
from tests.support.exact import CorrelatedGaussian, SpyField, tiny_dit


class Given(NamedTuple):
    """A field of patches of 2 pixels that is this function."""

    call: Callable[..., FieldOutput]
    patch_size: int = 2

    def __call__(self, *args, **options) -> FieldOutput:
        return self.call(*args, **options)


X_0 = CountedGenerator(range(2)).fork("noise").normal(3, 8, 8)
LABELS = torch.tensor([0, 3])
GRID = [0.0, 0.2, 0.35, 0.6, 0.8, 1.0]


def test_without_guidance_each_step_takes_the_line_through_the_last_two_velocities():
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS))
    result = pf.samplers.AdamsBashforthSampler()(spy, X_0, GRID)
    velocities = [output.velocity for output in spy.outputs]
    x = X_0 + 0.2 * velocities[0]
    for k in range(1, 5):
        torch.testing.assert_close(spy.x[k], x)
        now, before = velocities[k], velocities[k - 1]
        # the integral over the step of the line through both
        weight, _ = quad(lambda t, k=k: (t - GRID[k]) / (GRID[k] - GRID[k - 1]), *GRID[k : k + 2])
        x = x + (GRID[k + 1] - GRID[k]) * now + weight * (now - before)
    torch.testing.assert_close(result.x_1, x)


def test_where_a_step_is_far_longer_than_the_one_before_the_line_is_followed_less_far():
    grid = [0.0, 0.1, 0.2, 1.0]
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS))
    result = pf.samplers.AdamsBashforthSampler()(spy, X_0, grid)
    before, now = (output.velocity for output in spy.outputs[1:])
    mean = now + (1 + 2**0.5) / 2 * (now - before)  # instead of 4
    torch.testing.assert_close(result.x_1, spy.x[2] + 0.8 * mean)


def mean_of_guidance(now: np.ndarray, before: np.ndarray, ahead: float) -> np.ndarray:
    """Of one image: on average over the next `ahead` steps, at least half of it along itself."""
    ratio = (now * before).sum() / (before * before).sum()
    lost = np.inf if ratio <= 0 else ahead / 2 * (1 / ratio - 1)
    limit = 1 if lost <= 0.5 else 0.5 / lost
    return now + limit * ahead / 2 * (now - before)


@pytest.mark.parametrize("last", [0.6, 0.31])
def test_guidance_changes_by_half_at_most_and_moves_nothing_after_its_end(last):
    grid = [0.0, 0.2, 0.3, last, 0.7, 1.0]
    guidance = pf.ClassifierFreeGuidance(4.0, (0.2, 0.6))  # guided but at 0 and 0.7
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS, guidance))
    result = pf.samplers.AdamsBashforthSampler()(spy, X_0, grid)
    x = X_0 + 0.2 * spy.outputs[0].velocity
    for k in range(1, 5):
        torch.testing.assert_close(spy.x[k], x, rtol=1e-4, atol=1e-4)
        now, before = spy.outputs[k], spy.outputs[k - 1]
        step, step_before = grid[k + 1] - grid[k], grid[k] - grid[k - 1]
        part, part_before = (output.velocity - output.unguided for output in (now, before))
        lasts = min(1.0, max(0.0, (0.6 - grid[k]) / step))  # that share of the step
        if k in (2, 3):
            pairs = zip(part.double().numpy(), part_before.double().numpy(), strict=True)
            ahead = min(lasts * step / step_before, 1 + 2**0.5)
            means = [mean_of_guidance(*pair, ahead) for pair in pairs]
            part = lasts * torch.from_numpy(np.stack(means)).float()
        change = now.unguided - before.unguided
        ahead = min(step / step_before, 1 + 2**0.5)
        x = x + step * (now.unguided + ahead / 2 * change + part)
    torch.testing.assert_close(result.x_1, x, rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 99), steps=st.integers(1, 6), guided=st.booleans())
def test_multirate_with_one_rate_is_adams_bashforth(seed, steps, guided):
    guidance = pf.ClassifierFreeGuidance(3.0, (0.1, 0.7)) if guided else None
    field = pf.VelocityField(tiny_dit(), LABELS, guidance)
    x_0 = CountedGenerator([seed, seed + 1]).fork("noise").normal(3, 8, 8)
    grid = ShiftedGrid(2.0)(steps)
    one = pf.samplers.AdamsBashforthSampler()(field, x_0, grid)
    other = pf.samplers.MultirateSampler((1,), (1.0,))(field, x_0, grid)
    assert one.x_1.equal(other.x_1)
    assert one.nfe == other.nfe


def test_guidance_that_is_reused_fades_as_it_did_before():
    grid = [0.0, 0.1, 0.3, 0.4, 0.6, 0.65, 0.9, 1.0]
    guidance = pf.ClassifierFreeGuidance(1.5, (0.1, 0.6))  # guided but at 0, 0.65 and 0.9
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS, guidance))
    result = pf.samplers.AdamsBashforthSampler(reuse_guidance=True)(spy, X_0, grid, trace=True)
    assert spy.guided == [True, True, True, False, True, True, True]
    assert result.nfe == 7 + 3
    first, second, last = (
        (spy.outputs[k].velocity - spy.outputs[k].unguided).double() for k in (1, 2, 4)
    )
    ratio = (first * second).sum((1, 2, 3)) / first.square().sum((1, 2, 3))
    assert ((ratio > 0) & (ratio < 1)).all()
    third = second * (ratio ** ((0.4 - 0.3) / (0.3 - 0.1)))[:, None, None, None]
    guided = spy.outputs[3].unguided + third.float()
    torch.testing.assert_close(result.trace[3].prediction, spy.x[3] + (1 - 0.4) * guided)
    # the same steps, as of a field that gives this instead
    parts = {0.1: first, 0.3: second, 0.4: third, 0.6: last}

    def replay(x_t, t, **_):
        now = round(float(t.to_dense()[0, 0]), 6)
        output = pf.VelocityField(tiny_dit(), LABELS)(x_t, t)
        part = parts.get(now)
        if part is None:
            return output
        everywhere = torch.ones(2, 16, dtype=torch.bool)
        return output._replace(
            velocity=output.velocity + part.float(), guided=everywhere, guided_until=0.6
        )

    again = pf.samplers.AdamsBashforthSampler()(Given(replay), X_0, grid)
    torch.testing.assert_close(result.x_1, again.x_1, rtol=1e-4, atol=1e-4)


def order(sampler, field, x_0: torch.Tensor, answer: torch.Tensor, steps=(16, 32, 64)) -> float:
    """By which errors fall with the number of equal steps."""
    errors = [
        (sampler(field, x_0, uniform_grid(n)).x_1 - answer).square().mean().sqrt().item()
        for n in steps
    ]
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("scale", [1.0, pytest.param(1.5, marks=pytest.mark.slow), 3.0])
def test_of_second_order_guided_or_not(scale):
    good, weak = (CorrelatedGaussian.random(6, patch_size=2, seed=seed) for seed in (0, 1))
    guidance = None if scale == 1 else pf.Autoguidance(weak, scale)
    field = pf.VelocityField(good, None, guidance)
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    sampler = pf.samplers.AdamsBashforthSampler()
    answer = pf.samplers.HeunSampler()(field, x_0, uniform_grid(256)).x_1
    assert 1.75 < order(sampler, field, x_0, answer) < 2.3


def test_reused_guidance_is_of_first_order_or_better():
    good, weak = (CorrelatedGaussian.random(6, patch_size=2, seed=seed) for seed in (0, 1))
    field = pf.VelocityField(good, None, pf.Autoguidance(weak, 3.0, (0.1, 0.8)))
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    answer = pf.samplers.AdamsBashforthSampler()(field, x_0, uniform_grid(500)).x_1
    sampler = pf.samplers.AdamsBashforthSampler(reuse_guidance=True)
    slope = order(sampler, field, x_0, answer, steps=(32, 64, 128))
    assert slope > 0.9


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_two_guided_evaluations_are_never_replaced(steps):
    guidance = pf.ClassifierFreeGuidance(3.0, (0.3, 0.7))
    field = pf.VelocityField(tiny_dit(), LABELS, guidance)
    samplers = [pf.samplers.AdamsBashforthSampler(reuse) for reuse in (False, True)]
    one, other = (sampler(field, X_0, uniform_grid(steps)) for sampler in samplers)
    assert one.x_1.equal(other.x_1)
    assert one.nfe == other.nfe


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_second_order_where_guidance_ends_within_a_step(apart):
    end = 0.63
    good, weak = (CorrelatedGaussian.random(6, patch_size=2, seed=seed) for seed in (0, 1))
    field = pf.VelocityField(good, None, pf.Autoguidance(weak, 3.0, (0.0, end)))
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    # an end between two times that are next to each other
    fine = [*np.linspace(0, end, 200).tolist(), *np.linspace(end + 1e-6, 1, 150).tolist()]
    answer = pf.samplers.HeunSampler()(field, x_0, fine).x_1
    sampler = pf.samplers.AdamsBashforthSampler()
    if apart:
        sampler = pf.samplers.AdaptiveSampler(0.0, 1e-9, evaluate="all")
    assert 1.75 < order(sampler, field, x_0, answer) < 2.3


def test_guidance_that_fades_fast_is_not_thrown_over_by_a_long_step():
    """W = e^(−12·t): on the line through its last two values a step of 0.2 would turn it round."""

    class Fading:
        patch_size = 4

        def __call__(self, x_t, t, *, guided=True):
            dense = t.to_dense()
            part = spread((-12 * dense).exp(), x_t.shape[-2:], 4).expand_as(x_t)
            everywhere = torch.ones_like(dense, dtype=torch.bool)
            none = torch.zeros_like(x_t)
            return FieldOutput(part, None, 2, none, True, everywhere)

    x_1 = pf.samplers.AdamsBashforthSampler()(
        Fading(), torch.zeros(1, 1, 8, 8), uniform_grid(5)
    ).x_1
    # Euler's first step, then half of what there is
    steps = 0.2 * np.exp(-12 * np.arange(5) / 5) * [1, 0.5, 0.5, 0.5, 0.5]
    torch.testing.assert_close(x_1, torch.full_like(x_1, steps.sum()))
    assert x_1.max() > 0.2


@pytest.mark.parametrize("rates, shares", [((1, 2), (0.1, 0.9)), ((1, 4), (0.2, 0.8))])
def test_patches_that_move_apart_keep_half_of_their_guidance_each(rates, shares):
    """W = e^(−6·t) in velocities of nothing else: no step moves by less than half of w."""
    moved = []

    class Fading:
        patch_size = 2

        def __call__(self, x_t, t, *, guided=True):
            dense = t.to_dense()
            part = spread((-6 * dense).exp(), x_t.shape[-2:], 2).expand_as(x_t)
            moved.append((dense, part, x_t))
            everywhere = torch.ones_like(dense, dtype=torch.bool)
            difficulty = torch.arange(dense.shape[1]).expand_as(dense).float()
            return FieldOutput(part, difficulty, 2, torch.zeros_like(x_t), True, everywhere)

    sampler = pf.samplers.MultirateSampler(rates, shares, evaluate="all", context="ahead")
    x_0 = torch.zeros(1, 1, 8, 8)
    result = sampler(Fading(), x_0, uniform_grid(8), trace=True)
    states = [x for _, _, x in moved] + [result.x_1]
    times = [record.state_t for record in result.trace] + [result.t]
    for k, (_, part, x) in enumerate(moved):
        lasted = spread(times[k + 1] - times[k], (8, 8), 2)
        assert (states[k + 1] - x >= 0.499 * lasted * part).all()


def test_two_evaluations_at_one_time_in_fp32_are_survived():
    guidance = pf.ClassifierFreeGuidance(3.0)
    field = pf.VelocityField(tiny_dit(), LABELS, guidance)
    result = pf.samplers.AdamsBashforthSampler()(field, X_0, [0.0, 0.5, 0.5 + 1e-8, 1.0])
    assert result.x_1.isfinite().all()
