"""Time grids, their substeps, and what a budget buys."""

from functools import cache
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.time_grid import check_grid
from patch_forcing.sampling.grids import QuantileGrid, ShiftedGrid, substeps, uniform_grid

SAMPLERS = [
    pf.samplers.EulerSampler(),
    pf.samplers.DualLoopSampler(inner_steps=3),
    pf.samplers.RandomOrderSampler(inner_steps=5),
    pf.samplers.LookAheadSampler(),
    pf.samplers.DualLoopSampler(evaluate="moving", refresh=2),
    pf.samplers.MultirateSampler(),
    pf.samplers.HeunSampler(),
    pf.samplers.EulerMaruyamaSampler(),
]
RARE = pf.samplers.MultirateSampler(shares=(0.8, 0.2))
"""Computes so little within a step that guidance setting in there costs more than a step."""


@pytest.mark.parametrize("steps", [1, 3, 49])
def test_a_uniform_grid_has_equal_steps_from_0_to_1(steps):
    grid = check_grid(uniform_grid(steps))
    assert (len(grid), grid[0], grid[-1]) == (steps + 1, 0, 1)
    assert [then - now for now, then in pairwise(grid)] == pytest.approx([1 / steps] * steps)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_grid_without_steps_is_refused(steps):
    with pytest.raises(pf.UserError, match=f"steps={steps} is out of range: choose 1 to 1000000"):
        uniform_grid(steps)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([], "goes from nothing"),
        ([0.0], "goes from 0.0 to 0.0"),
        ([0.1, 1.0], "goes from 0.1 to 1.0"),
        ([0.0, 0.9], "goes from 0.0 to 0.9"),
        ([1.0, 0.0], "goes from 1.0 to 0.0"),
        ([0.0, 0.5, 0.5, 1.0], r"does not rise at step 1 \(0.5 to 0.5\)"),
        ([0.0, 0.2, 0.6, 0.4, 1.0], r"does not rise at step 2 \(0.6 to 0.4\)"),
        ([0.0, 1.5, 1.0], r"does not rise at step 1 \(1.5 to 1.0\)"),
        ([0.0, float("nan"), 1.0], "does not rise at step 0"),
        ([0.0, float("inf"), 1.0], "does not rise at step 0"),
        ([float("nan"), 1.0], "goes from nan to 1.0"),
    ],
)
def test_grids_that_do_not_rise_from_0_to_1_are_refused(grid, message):
    with pytest.raises(pf.UserError, match=message):
        check_grid(grid)


def test_a_grid_may_be_a_tensor():
    grid = [0.0, 0.2, 0.7, 1.0]
    assert check_grid(torch.tensor(grid, dtype=torch.float64)) == grid
    assert check_grid(torch.tensor(grid)) == pytest.approx(grid, abs=1e-7)


@given(st.floats(0, 0.999), st.floats(1e-3, 1), st.integers(1, 20))
@example(0.0, 0.05, 3)  # 0 + 0.05·3/3 > 0.05 in floating point
def test_substeps_are_equal_and_end_exactly(now, length, count):
    then = min(1.0, now + length)
    times = substeps(now, then, count)
    assert (len(times), times[0], times[-1]) == (count + 1, now, then)
    steps = [after - before for before, after in pairwise(times)]
    assert steps == pytest.approx([(then - now) / count] * count, abs=1e-15 * count)
    assert min(steps) > 0


@given(st.floats(0.001, 1000), st.integers(1, 60))
def test_a_shifted_grid_shifts_the_odds_of_every_time(shift, steps):
    grid = check_grid(ShiftedGrid(shift)(steps))
    assert (grid[0], grid[-1]) == (0, 1)
    for t, u in zip(grid[1:-1], uniform_grid(steps)[1:-1], strict=True):
        assert (1 - t) / t == pytest.approx(shift * (1 - u) / u)


def test_a_shift_of_one_is_none():
    assert ShiftedGrid(1)(7) == pytest.approx(uniform_grid(7))


@pytest.mark.parametrize("shift", [0.0, -1.0, 1e9, float("nan")])
def test_a_shift_out_of_range_is_refused(shift):
    with pytest.raises(pf.UserError, match=r"shift=.* is out of range"):
        ShiftedGrid(shift)


@st.composite
def tables(draw: st.DrawFn) -> tuple[float, ...]:
    """Quantiles that rise from 0 to 1."""
    widths = draw(st.lists(st.floats(0.01, 1), min_size=1, max_size=12))
    ends = [0.0, *accumulate(widths)]
    return (0.0, *(end / ends[-1] for end in ends[1:-1]), 1.0)


@given(tables(), st.integers(1, 60))
def test_a_grid_by_quantiles_places_equal_shares_of_the_steps_between_them(table, steps):
    grid = check_grid(QuantileGrid(table)(steps))
    assert (len(grid), grid[0], grid[-1]) == (steps + 1, 0, 1)
    shares = np.interp(grid, table, np.linspace(0, 1, len(table)))
    np.testing.assert_allclose(shares, uniform_grid(steps), atol=1e-9)
    same = QuantileGrid(table)(len(table) - 1)
    assert same == pytest.approx(table)


def test_quantiles_must_rise():
    with pytest.raises(pf.UserError, match="does not rise at step 1"):
        QuantileGrid((0.0, 0.5, 0.5, 1.0))


@cache
def costs_by_steps(sampler, make_grid, guidance):
    count = pf.samplers.count_evaluations
    return [count(sampler, make_grid(steps), 10, guidance) for steps in range(1, 41)]


@pytest.mark.parametrize("make_grid", [uniform_grid, ShiftedGrid(), QuantileGrid((0, 0.1, 1))])
@pytest.mark.parametrize("sampler", [*SAMPLERS, RARE])
@pytest.mark.parametrize(
    "guidance",
    [
        None,
        pytest.param(pf.ClassifierFreeGuidance(2.0), marks=pytest.mark.slow),  # twice None
        pf.ClassifierFreeGuidance(2.0, (0.1, 0.8)),
    ],
)
def test_steps_within_a_budget_are_the_most_that_fit(sampler, make_grid, guidance):
    costs = costs_by_steps(sampler, make_grid, guidance)
    exact = [costs[count - 1] for count in (1, 2, 5, 12) if costs[count - 1] <= 40]
    for budget in (*exact, *(cost - 0.01 for cost in exact if cost >= 1.01), 17.3, 40):
        fitting = [steps for steps, cost in enumerate(costs, 1) if cost <= budget + 1e-6]
        if fitting:
            steps = pf.samplers.steps_within(sampler, budget, 10, guidance, make_grid)
            assert steps == max(fitting)
        else:
            with pytest.raises(pf.UserError, match="evaluations are too few"):
                pf.samplers.steps_within(sampler, budget, 10, guidance, make_grid)


@pytest.mark.parametrize(
    ("sampler", "budget", "steps"),
    [*zip(SAMPLERS, [48] * 8, [48, 16, 9, 25, 14, 32, 24, 48], strict=True)],
)
def test_forty_eight_evaluations_buy_these_steps(sampler, budget, steps):
    # look-ahead, 25 steps: 0 and 0.04 are plain, 2 + 2·23 = 48
    assert pf.samplers.steps_within(sampler, budget, 16) == steps
    assert (
        pf.samplers.steps_within(sampler, 2 * budget, 16, pf.ClassifierFreeGuidance(2.0)) == steps
    )


def test_the_samplers_have_their_names():
    assert {name: type(build()) for name, build in pf.samplers.SAMPLERS.items()} == {
        "euler": pf.samplers.EulerSampler,
        "adams-bashforth": pf.samplers.AdamsBashforthSampler,
        "heun": pf.samplers.HeunSampler,
        "euler-maruyama": pf.samplers.EulerMaruyamaSampler,
        "random-order": pf.samplers.RandomOrderSampler,
        "dual-loop": pf.samplers.DualLoopSampler,
        "look-ahead": pf.samplers.LookAheadSampler,
        "multirate": pf.samplers.MultirateSampler,
        "adaptive": pf.samplers.AdaptiveSampler,
    }


@pytest.mark.parametrize("patches", [25, 36, 60, 100])
@pytest.mark.parametrize("steps", [10, 18, 30])
def test_a_budget_that_is_spent_exactly_buys_the_step(patches, steps):
    sampler = pf.samplers.DualLoopSampler(0.4, 4, evaluate="moving")
    hard = patches - patches * 2 // 5
    budget = (patches + 3 * hard) * steps / patches
    assert pf.samplers.steps_within(sampler, budget, patches) == steps
