"""Samplers: the sequence of their times, their choice of patches, what they refuse."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.sampling.field import Field, FieldOutput
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import ConstantField, SpyField, tiny_dit

Euler, RandomOrder = pf.samplers.EulerSampler, pf.samplers.RandomOrderSampler
DualLoop, LookAhead = pf.samplers.DualLoopSampler, pf.samplers.LookAheadSampler
GRID = [0.0, 0.03, 0.2, 0.3, 0.75, 1.0]
LABELS = torch.tensor([4, 1])


@pytest.fixture
def field() -> pf.VelocityField:
    return pf.VelocityField(tiny_dit().requires_grad_(False), LABELS)


@pytest.fixture
def x_0() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def constant(difficulty: list[float] | None) -> ConstantField:
    """One row of patches of one pixel each."""
    level = None if difficulty is None else torch.tensor([difficulty], dtype=torch.float32)
    return ConstantField(torch.ones(1, 1, 1), level, patch_size=1)


def times(sampler, difficulty: list[float], grid: list[float]) -> list[list[float]]:
    x_0 = torch.zeros(1, 1, 1, len(difficulty))
    trace = sampler(constant(difficulty), x_0, grid, trace=True).trace
    return [record.t[0].tolist() for record in trace]


def test_the_times_of_euler():
    assert times(Euler(), [1, 2], [0, 0.125, 0.5, 1]) == [[0, 0], [0.125, 0.125], [0.5, 0.5]]


def test_the_times_of_dual_loop():
    # patch 1 is easy, patch 0 follows in quarters
    assert times(DualLoop(0.5, 4), [2, 1], [0, 0.5, 1]) == [
        *([0, 0], [0.125, 0.5], [0.25, 0.5], [0.375, 0.5]),
        *([0.5, 0.5], [0.625, 1], [0.75, 1], [0.875, 1]),
    ]


def test_the_times_of_dual_loop_on_an_uneven_grid():
    # ⌊0.7·3⌋ = 2 are easy
    assert times(DualLoop(0.7, 2), [1, 9, 3], [0, 0.25, 1]) == [
        *([0, 0, 0], [0.25, 0.125, 0.25]),
        *([0.25, 0.25, 0.25], [1, 0.625, 1]),
    ]


def test_the_times_of_look_ahead():
    # 0 and 0.03125 ≤ 0.05 are plain, and 2·0.75 is past the data
    assert times(LookAhead(0.5, 2), [2, 1], [0, 0.03125, 0.25, 0.75, 1]) == [
        [0, 0],
        [0.03125, 0.03125],
        *([0.25, 0.25], [0.25, 0.5]),
        *([0.75, 0.75], [0.75, 1]),
    ]


def test_steps_at_0_05_are_plain_whatever_holds_the_grid():
    for grid in (uniform_grid(20), torch.linspace(0, 1, 21), torch.linspace(0, 1, 21).double()):
        assert LookAhead()(constant([2, 1]), torch.zeros(1, 1, 1, 2), grid).nfe == 2 + 2 * 18


@pytest.mark.parametrize(
    ("difficulty", "easy"),
    [
        ([1, 1, 1, 1, 1, 1, 1], [0, 1, 2]),
        ([2, 1, 2, 1, 2, 1, 1], [1, 3, 5]),
        ([3, 2, 2, 1, 2, 2, 0], [1, 3, 6]),
        ([0, 0, 0, 0, 1, 0, 0], [0, 1, 2]),
    ],
)
def test_ties_go_to_the_lower_patch(difficulty, easy):
    for sampler in (DualLoop(0.5, 2), LookAhead(0.5, 1.5)):
        second = times(sampler, difficulty, [0, 0.25, 1])[-1]
        assert [n for n in range(7) if second[n] > min(second)] == easy


@pytest.mark.parametrize("sampler", [DualLoop(0.4, 2), LookAhead(0.4)])
def test_the_easy_of_each_image_and_step_have_its_lowest_difficulty(sampler, field, x_0):
    trace = sampler(field, x_0, [0.0, 0.2, 0.5, 1.0], trace=True).trace
    chosen = []
    for first, second in pairwise(trace):
        if first.step == second.step:
            for difficulty, t in zip(first.difficulty.tolist(), second.t.tolist(), strict=True):
                easy = [n for n in range(16) if t[n] > min(t)]
                assert easy == sorted(sorted(range(16), key=difficulty.__getitem__)[:6])
                chosen.append(easy)
    assert len({tuple(easy) for easy in chosen}) > 2  # images and steps differ


def test_dual_loop_with_one_inner_step_is_euler(field, x_0):
    expected = Euler()(field, x_0, GRID).x_1
    for sampler in (DualLoop(0.4, 1), RandomOrder(0.4, 1)):
        assert sampler(field, x_0, GRID).x_1.equal(expected)


def test_look_ahead_without_a_lead_is_euler(field, x_0):
    expected = Euler()(field, x_0, GRID).x_1
    result = LookAhead(0.4, context_ratio=1)(field, x_0, GRID)
    torch.testing.assert_close(result.x_1, expected, rtol=1e-5, atol=1e-5)
    assert result.nfe == 2 + 2 * 3


@pytest.mark.parametrize("p", [0, 1])
def test_look_ahead_with_all_or_none_easy_is_euler(p, field, x_0):
    expected = Euler()(field, x_0, GRID).x_1
    torch.testing.assert_close(LookAhead(p)(field, x_0, GRID).x_1, expected, rtol=1e-5, atol=1e-5)


def test_dual_loop_with_none_easy_is_euler_on_the_finer_grid(field, x_0):
    expected = Euler()(field, x_0, uniform_grid(12)).x_1
    samples = DualLoop(0, 4)(field, x_0, uniform_grid(3)).x_1
    torch.testing.assert_close(samples, expected, rtol=1e-5, atol=1e-5)


def test_context_is_thrown_away(field, x_0):
    spy = SpyField(field)
    LookAhead(0.4, 3.0)(spy, x_0, [0.0, 0.2, 0.5, 1.0])
    _, before, context, after, _ = spy.x
    easy = (spy.t[2] > 0.2).view(2, 1, 4, 4)
    easy = easy.repeat_interleave(2, 2).repeat_interleave(2, 3).expand_as(x_0)
    assert context[~easy].equal(before[~easy])
    first = spy.outputs[1].velocity
    torch.testing.assert_close(context[easy], (before + 0.4 * first)[easy])
    torch.testing.assert_close(after[easy], (before + 0.3 * first)[easy])
    second = spy.outputs[2].velocity
    torch.testing.assert_close(after[~easy], (before + 0.3 * second)[~easy])


def euler_until(field: Field, x: Tensor, grid: list[float]) -> Tensor:
    """Euler on a grid that stops before the data."""
    for now, then in pairwise(grid):
        time = pf.PatchTime.shared(torch.full((len(x),), now), 16)
        x = x + (then - now) * field(x, time).velocity
    return x


def test_unguided_context_uses_the_bare_velocity_where_the_published_code_does(x_0):
    guided = pf.VelocityField(tiny_dit(), LABELS, pf.ClassifierFreeGuidance(4.0))
    grid = [0.0, 0.04, 0.2, 1.0]
    spy = SpyField(guided)
    result = LookAhead(0.4, 2.0, unguided_context=True)(spy, x_0, grid)
    assert spy.guided == [False, False, True, True]
    assert result.nfe == 1 + 1 + 2 + 2
    bare, second = pf.VelocityField(guided.model, LABELS), spy.outputs[3].velocity
    start = euler_until(bare, x_0, [0.0, 0.04, 0.2])
    torch.testing.assert_close(spy.x[2], start)

    easy = spy.t[3] > 0.2
    easy = easy.view(2, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    first = spy.outputs[2]
    pushed = torch.where(easy, start + 0.2 * first.unguided, start)
    torch.testing.assert_close(spy.x[3], pushed)
    moved = start + 0.8 * torch.where(easy, first.velocity, second)
    torch.testing.assert_close(result.x_1, moved)
    assert not torch.allclose(first.unguided, first.velocity, atol=0.1)


def test_guided_context_costs_two_evaluations_a_call(x_0):
    field = pf.VelocityField(tiny_dit(), LABELS, pf.ClassifierFreeGuidance(4.0))
    assert LookAhead()(field, x_0, [0.0, 0.04, 0.2, 1.0]).nfe == 2 * (1 + 1 + 2)


def test_guidance_in_an_interval_costs_only_there(x_0):
    field = pf.VelocityField(tiny_dit(), LABELS, pf.ClassifierFreeGuidance(4.0, (0.3, 0.6)))
    assert Euler()(field, x_0, uniform_grid(8)).nfe == 8 + 2  # 0.375, 0.5
    # hard and easy patches at 0 0, ⅛ ¼, ¼ ¼, ⅜ ½, ½ ½, ⅝ ¾, ¾ ¾, ⅞ 1: two calls reach inside
    assert DualLoop(0.5, 2)(field, x_0, uniform_grid(4)).nfe == 8 + 2


def easy_of_random_order(generator, x_0: Tensor, field) -> list[Tensor]:
    trace = RandomOrder(0.4, 2)(field, x_0, GRID, generator=generator, trace=True).trace
    return [second.t > second.t.amin(1, keepdim=True) for second in trace[1::2]]


def test_random_order_repeats_with_its_generator_and_differs_between_steps(field, x_0):
    one, again, other = (
        easy_of_random_order(torch.Generator().manual_seed(seed), x_0, field) for seed in (0, 0, 1)
    )
    assert all(a.equal(b) for a, b in zip(one, again, strict=True))
    assert not all(a.equal(b) for a, b in zip(one, other, strict=True))
    assert len({tuple(easy.flatten().tolist()) for easy in one}) == len(one)
    assert all(easy.sum(dim=1).tolist() == [6, 6] for easy in one)


def test_random_order_with_counted_streams_draws_for_each_image_alone(field, x_0):
    together = easy_of_random_order(pf.CountedGenerator([5, 6]), x_0, field)
    one = pf.VelocityField(field.model, LABELS[1:])
    alone = easy_of_random_order(pf.CountedGenerator([6]), x_0[1:], one)
    for both, single in zip(together, alone, strict=True):
        assert both[1:].equal(single)
        assert not both[:1].equal(single)


def test_random_order_takes_every_patch_equally_often():
    random, x_0 = torch.Generator().manual_seed(0), torch.zeros(500, 1, 1, 10)
    trace = RandomOrder(0.3, 2)(constant(None), x_0, GRID, generator=random, trace=True).trace
    easy = torch.cat([second.t > second.t.amin(1, keepdim=True) for second in trace[1::2]])
    share, sets = easy.double().mean(dim=0), 500 * (len(GRID) - 1)
    assert ((share - 0.3).abs() < 4 * (0.3 * 0.7 / sets) ** 0.5).all()


@dataclass
class BreakingField:
    """A constant field whose outputs turn to NaN from time `when` on."""

    when: float
    velocity: float = 1.0
    patch_size: int = 1

    def __call__(self, x_t: Tensor, t: pf.PatchTime, *, guided: bool = True) -> FieldOutput:
        broken = t.to_dense().amin() >= self.when
        level = torch.ones(x_t.shape[0], x_t.shape[3])
        level[-1, -1] = torch.nan if broken else 1.0
        velocity = torch.full_like(x_t, self.velocity if broken else 1.0)
        return FieldOutput(velocity, level, 1, velocity)


@pytest.mark.parametrize("broken", [2, 3])
@pytest.mark.parametrize("sampler", [DualLoop(0.5, 2), LookAhead(0.5)])
def test_difficulty_that_is_not_a_number_is_refused_naming_the_step(sampler, broken):
    with pytest.raises(pf.UserError, match=f"difficulty is NaN at step {broken}"):
        sampler(BreakingField(GRID[broken]), torch.zeros(2, 1, 1, 4), GRID)


@pytest.mark.parametrize("velocity", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampler", [Euler(), RandomOrder(0.5, 2)])
def test_velocity_that_is_not_a_number_is_refused_naming_the_step(sampler, velocity):
    with pytest.raises(pf.UserError, match=r"NaN or infinity.*step 3\b"):
        sampler(BreakingField(GRID[3], velocity), torch.zeros(2, 1, 1, 4), GRID)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("build", [DualLoop, RandomOrder, LookAhead])
def test_fractions_out_of_range_are_refused(build, value):
    with pytest.raises(pf.UserError, match=f"easy_fraction={value} is out of range"):
        build(easy_fraction=value)


@pytest.mark.parametrize("build", [DualLoop, RandomOrder])
def test_less_than_one_inner_step_is_refused(build):
    with pytest.raises(pf.UserError, match="inner_steps=0 is out of range"):
        build(inner_steps=0)


@pytest.mark.parametrize("value", [0.9, float("inf"), float("nan")])
def test_context_ratios_out_of_range_are_refused(value):
    with pytest.raises(pf.UserError, match=f"context_ratio={value} is out of range"):
        LookAhead(context_ratio=value)


def test_images_that_patches_do_not_tile_are_refused():
    with pytest.raises(pf.UserError, match="5x4 is not divisible by patch size 2"):
        Euler()(ConstantField(torch.ones(1, 5, 4), None, 2), torch.zeros(1, 1, 5, 4), [0, 1])


def test_the_state_is_fp32_whatever_the_network_computes_in(x_0):
    field = pf.VelocityField(tiny_dit().bfloat16(), LABELS)
    plain = (Euler(), pf.samplers.HeunSampler(), pf.samplers.EulerMaruyamaSampler())
    for sampler in (*plain, DualLoop(inner_steps=2), LookAhead()):
        for noise in (x_0, x_0.bfloat16(), x_0.double()):
            assert sampler(field, noise, GRID).x_1.dtype == torch.float32
