"""Multirate: its special cases, its order, its groups and its count."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import (
    ConstantField,
    CorrelatedGaussian,
    IndependentGaussian,
    SpyField,
    tiny_dit,
)

Multirate = pf.samplers.MultirateSampler
GRID = [0.0, 0.2, 0.3, 0.7, 1.0]
X_0 = CountedGenerator(range(3)).fork("noise").normal(3, 8, 8)
LABELS = torch.tensor([0, 3, 1])
RATES = [(1,), (1, 2), (1, 4), (1, 2, 4), (2, 4), (1, 3, 6), (3,)]


def run(sampler, rows=slice(None), grid=GRID, guidance=None):
    field = pf.VelocityField(tiny_dit(), LABELS[rows], guidance)
    generator = CountedGenerator(list(range(3))[rows]).fork("sampler")
    return sampler(field, X_0[rows], grid, generator=generator, trace=True)


def assert_same(one, other):
    assert one.x_1.equal(other.x_1)
    assert one.nfe == pytest.approx(other.nfe)
    for a, b in zip(one.trace, other.trace, strict=True):
        assert a.t.equal(b.t)
        assert a.evaluated.equal(b.evaluated)
        assert a.difficulty.equal(b.difficulty)


def test_one_group_at_first_order_is_euler():
    assert_same(run(Multirate((1,), (1.0,), order=1)), run(pf.samplers.EulerSampler()))


@pytest.mark.parametrize("evaluate", ["all", "moving"])
@pytest.mark.parametrize("p", [0.25, 0.7])
@pytest.mark.parametrize("n", [2, 3])
def test_two_groups_at_first_order_are_a_dual_loop(evaluate, p, n):
    dual = pf.samplers.DualLoopSampler(p, n, evaluate=evaluate)
    options = {"order": 1, "evaluate": evaluate, "context": "ahead"}
    assert_same(run(Multirate((1, n), (p, 1 - p), **options)), run(dual))


@torch.no_grad()
def adams_bashforth(model, x: Tensor, labels: Tensor, grid: list[float]) -> Tensor:
    """Two steps, unequal, from their Lagrange polynomial; an Euler step first."""
    before = None
    for now, then in pairwise(grid):
        velocity = model(x, torch.full((len(x),), now), labels).velocity
        if before is None:
            x = x + (then - now) * velocity
        else:
            earlier, old = before
            # ∫ from now to then of the line through (earlier, old) and (now, velocity)
            weight = (then - now) ** 2 / (2 * (now - earlier))
            x = x + (then - now + weight) * velocity - weight * old
        before = now, velocity
    return x


def test_one_group_at_second_order_is_adams_bashforth():
    result = run(Multirate((1,), (1.0,)))
    expected = adams_bashforth(tiny_dit(), X_0, LABELS, GRID)
    torch.testing.assert_close(result.x_1, expected, rtol=1e-4, atol=1e-5)
    assert result.nfe == 4


def order(model, sampler: pf.samplers.Sampler) -> float:
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    steps = [16, 32, 64]
    errors = [
        (sampler(pf.VelocityField(model), x_0, uniform_grid(k)).x_1 - model.answer(x_0))
        .square()
        .mean()
        .sqrt()
        .item()
        for k in steps
    ]
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize("rates", RATES)
def test_every_group_is_of_second_order_where_patches_do_not_depend_on_each_other(rates):
    shares = tuple(1 / len(rates) for _ in rates)
    slope = order(IndependentGaussian(), Multirate(rates, shares, evaluate="all"))
    assert 1.8 < slope < 2.2


def test_one_group_is_of_second_order_on_correlated_patches():
    model = CorrelatedGaussian.random(6, patch_size=2)
    assert 1.9 < order(model, Multirate((1,), (1.0,))) < 2.2


def test_context_that_is_ahead_leaves_first_order_between_correlated_patches():
    model = CorrelatedGaussian.random(6, patch_size=2)
    slope = order(model, Multirate((1, 2), (0.5, 0.5), evaluate="all", context="ahead"))
    assert 0.9 < slope < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(1, 2), (1, 4), (1, 2, 4), (2, 4)])
def test_context_at_the_same_time_keeps_second_order_between_correlated_patches(rates):
    model = CorrelatedGaussian.random(6, patch_size=2)
    shares = tuple(1 / len(rates) for _ in rates)
    level = Multirate(rates, shares, evaluate="all", context="level")
    assert 1.8 < order(model, level) < 2.2


@cache
def deeper_field():
    """A network of three blocks, and where it leads in many steps."""
    field = pf.VelocityField(tiny_dit(depth=3), LABELS)
    return field, Multirate((1,), (1.0,))(field, X_0, uniform_grid(256)).x_1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "context", "expected"),
    [
        ((1, 2), "ahead", 1),
        ((1, 2, 4), "level", 2),
        pytest.param((1, 2), "level", 2, marks=pytest.mark.slow),
        pytest.param((1, 2, 4), "ahead", 1, marks=pytest.mark.slow),
    ],
)
def test_keys_and_values_carried_on_keep_second_order_though_few_patches_are_computed(
    rates, context, expected
):
    field, truth = deeper_field()
    shares = (0.5, *(0.5 / (len(rates) - 1) for _ in rates[1:]))
    steps, errors = [8, 16, 32], []
    for k in steps:
        samples = Multirate(rates, shares, context=context)(field, X_0, uniform_grid(k)).x_1
        errors.append(float((samples - truth).square().mean().sqrt()))
    slope = -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])
    assert expected - 0.25 < slope < expected + 0.25


@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(2.0)])
def test_where_all_patches_are_due_carrying_changes_nothing(guidance):
    for rates in ((2,), (1, 2)):
        shares = (1.0,) if len(rates) == 1 else (0.0, 1.0)
        moving = run(Multirate(rates, shares), guidance=guidance)
        assert_same(moving, run(Multirate(rates, shares, evaluate="all"), guidance=guidance))


@pytest.mark.parametrize("sampler", [Multirate(), Multirate((1, 2, 4), (0.5, 0.25, 0.25))])
def test_networks_may_compute_in_bf16(sampler):
    exact = run(sampler).x_1
    low = sampler(pf.VelocityField(tiny_dit().bfloat16(), LABELS), X_0, GRID).x_1
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(sampler).x_1
    for measured in (low, mixed):
        assert measured.dtype == torch.float32
        torch.testing.assert_close(measured, exact, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    "guidance",
    [pf.ClassifierFreeGuidance(2.0, (0.25, 0.6)), pf.Autoguidance(tiny_dit(seed=1), 1.5)],
)
def test_carried_memories_of_guided_runs_depend_on_no_other_image(guidance):
    sampler = Multirate((1, 2, 4), (0.5, 0.25, 0.25))
    together = run(sampler, guidance=guidance).x_1
    alone = [run(sampler, slice(k, k + 1), guidance=guidance).x_1 for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=5e-5)


def test_level_context_is_at_one_time_and_exactly_where_patches_are_going():
    """Under a constant velocity all patches are on a line, wherever their own steps end."""
    velocity = torch.randn(3, 8, 8)
    difficulty = torch.rand(3, 16)
    spy = SpyField(ConstantField(velocity, difficulty, patch_size=2))
    sampler = Multirate((1, 2, 4), (0.25, 0.5, 0.25), evaluate="all", context="level")
    result = sampler(spy, X_0, GRID)
    torch.testing.assert_close(result.x_1, X_0 + velocity)
    for x, t in zip(spy.x, spy.t, strict=True):
        assert (t == t[:, :1]).all()
        torch.testing.assert_close(x, X_0 + t[0, 0] * velocity)


@pytest.mark.parametrize(
    "rates", [*RATES[:2], *(pytest.param(rates, marks=pytest.mark.slow) for rates in RATES[2:])]
)
@pytest.mark.parametrize("evaluate", [pytest.param("all", marks=pytest.mark.slow), "moving"])
@given(cuts=st.lists(st.integers(0, 16), min_size=2, max_size=2))
def test_patches_take_the_steps_of_their_group_and_evaluations_count_by_share(
    rates, evaluate, cuts
):
    ends = [0, *sorted(cuts)[: len(rates) - 1], 16]
    counts = [b - a for a, b in pairwise(ends)]
    sampler = Multirate(rates, tuple(count / 16 for count in counts), evaluate=evaluate)
    grid = [0.0, 0.4, 1.0]
    result = run(sampler, grid=grid)
    assert (result.t == 1).all()
    shares = [float(record.evaluated.float().mean()) for record in result.trace]
    assert result.nfe == pytest.approx(sum(shares))
    assert result.nfe == pytest.approx(pf.samplers.count_evaluations(sampler, grid, 16))
    first = [record for record in result.trace if record.step == 0]
    ranks = first[0].difficulty.argsort(dim=1, stable=True).argsort(dim=1)
    # every time that a patch stood at, besides where it ended: one more for each substep
    stood = torch.stack([record.state_t for record in first])
    for rank in range(16):
        rate = next(r for r, end in zip(rates, ends[1:], strict=True) if rank < end)
        largest = max(r for r, count in zip(rates, counts, strict=True) if count)
        for image in range(3):
            times = stood[:, image, ranks[image] == rank].unique()
            # what moves at the same moments as it, and what of its substeps nothing looks at
            assert len(times) == min(rate + (rate < largest), largest)


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(2.0, (0.1, 0.6))])
@pytest.mark.parametrize("rank", ["difficulty", "random"])
def test_no_image_depends_on_the_others(guidance, rank):
    sampler = Multirate((1, 2, 4), (0.5, 0.25, 0.25), rank=rank)
    together = run(sampler, guidance=guidance).x_1
    alone = torch.cat([run(sampler, slice(k, k + 1), guidance=guidance).x_1 for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)


def test_random_ranks_need_no_difficulty_and_one_group_needs_none():
    field = pf.VelocityField(tiny_dit(predict_difficulty=False), LABELS)
    for sampler in (Multirate(rank="random"), Multirate((1,), (1.0,))):
        assert sampler(field, X_0, GRID).x_1.isfinite().all()
    with pytest.raises(pf.UserError, match="predicts no difficulty"):
        Multirate()(field, X_0, GRID)


def test_a_group_without_patches_is_never_evaluated():
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS))
    Multirate((1, 4), (1.0, 0.0))(spy, X_0, GRID)
    assert len(spy.outputs) == 4


def test_options_as_text():
    made = build(
        "sampler", pf.samplers.SAMPLERS, "multirate:rates=1/2/4,shares=0.5/0.3/0.2,order=1"
    )
    assert made == Multirate((1, 2, 4), (0.5, 0.3, 0.2), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("rates=2/1", "rates=2/1: give rising"),
        ("rates=1/1", "rates=1/1: give rising"),
        ("rates=2/3", "each a divisor of the next"),
        ("rates=0/1", "rates=0/1"),
        ("rates=1/2/4", "2 shares for 3 rates"),
        ("shares=0.5/0.4", "add up to 1"),
        ("shares=1.5/-0.5", "from 0 to 1"),
        ("shares=nan/0.5", "from 0 to 1"),
        ("order=3", "order=3: choose 1 or 2"),
        ("evaluate=none", "evaluate=none: choose moving or all"),
        ("rank=size", "rank=size: choose difficulty or random"),
        ("rates=1/two", "rates='two' does not fit"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(pf.UserError, match=message):
        build("sampler", pf.samplers.SAMPLERS, f"multirate:{options}")
