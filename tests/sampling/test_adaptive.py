"""Adaptive: the laws of samplers whose patches choose for themselves, and what packing does."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.active import ActiveTokens, Memory, packed_tokens, token_index
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.sampling.field import FieldOutput, Recall
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.samplers import count_evaluations, steps_within, usual_calls
from tests.scripts.compiled_sampling import GUIDANCE
from tests.support.exact import (
    ConstantField,
    CorrelatedGaussian,
    IndependentGaussian,
    SpyField,
    tiny_dit,
)
from tests.support.waits import waits

Adaptive = pf.samplers.AdaptiveSampler
X_0 = CountedGenerator(range(3)).fork("noise").normal(3, 8, 8)
LABELS = torch.tensor([0, 3, 1])
MODEL = tiny_dit()
SOME = Adaptive(exit=0.02, tolerance=0.1)
"""On this model some patches wait, some leave early, and images differ in how many."""


def run(sampler, rows=slice(None), steps=10, guidance=None):
    field = pf.VelocityField(MODEL, LABELS[rows], guidance)
    return sampler(field, X_0[rows], uniform_grid(steps), trace=True)


options = st.one_of(st.just(0.0), st.floats(1e-4, 10))
choices = st.builds(Adaptive, options, options, st.sampled_from(["moving", "all"]))
guidances = st.sampled_from([None, *GUIDANCE.values()])


@settings(max_examples=40)
@given(choices, st.integers(1, 9), guidances)
def test_patches_never_go_back_end_at_one_and_cost_what_was_computed(sampler, steps, guidance):
    spy = SpyField(pf.VelocityField(MODEL, LABELS, guidance))
    grid = uniform_grid(steps)
    result = sampler(spy, X_0, grid, trace=True)
    assert (result.t == 1).all()
    states = [*(record.state_t for record in result.trace), result.t]
    assert all((now <= then).all() for now, then in pairwise(states))
    assert [record.step for record in result.trace] == list(range(steps))
    assert result.nfe == pytest.approx(sum(output.evaluations for output in spy.outputs))
    most = count_evaluations(sampler, grid, 16, guidance)
    assert result.nfe <= most + 1e-6
    assert (result.image_nfe <= most + 1e-4).all()
    assert result.image_nfe.mean() <= result.nfe + 1e-4


def test_an_image_counts_the_patches_that_were_evaluated_for_it():
    result = run(SOME)
    own = sum(record.evaluated.float().mean(dim=1) for record in result.trace)
    torch.testing.assert_close(result.image_nfe, own)
    assert len(own.unique()) > 1
    # what is padded is counted too, but not to an image: less than a sixteenth a call
    assert own.mean() <= result.nfe < own.mean() + len(result.trace) / 16
    assert result.nfe < 9


@given(st.integers(1, 12), guidances)
def test_where_nobody_chooses_it_is_adams_bashforth(steps, guidance):
    result = run(Adaptive(exit=0, tolerance=0), steps=steps, guidance=guidance)
    expected = run(pf.samplers.AdamsBashforthSampler(), steps=steps, guidance=guidance)
    assert result.x_1.equal(expected.x_1)
    assert result.nfe == expected.nfe
    assert result.image_nfe.equal(expected.image_nfe)


@pytest.mark.parametrize("guidance", [*GUIDANCE.values(), pf.Autoguidance(tiny_dit(seed=1), 1.5)])
@pytest.mark.parametrize(
    "sampler",
    [
        SOME,
        *(
            pytest.param(Adaptive(*o), marks=pytest.mark.slow)
            for o in [(0.02, 0), (0, 0.3), (0.5, 1)]
        ),
    ],
)
def test_no_image_depends_on_the_others(sampler, guidance):
    together = run(sampler, guidance=guidance)
    alone = [run(sampler, slice(k, k + 1), guidance=guidance) for k in range(3)]
    images = torch.cat([one.x_1 for one in alone])
    torch.testing.assert_close(together.x_1, images, rtol=0, atol=5e-5)
    costs = torch.cat([one.image_nfe for one in alone])
    torch.testing.assert_close(together.image_nfe, costs)
    for k, one in enumerate(alone):
        for record, same in zip(one.trace, together.trace, strict=True):
            assert record.state_t.equal(same.state_t[k : k + 1])


def test_a_patch_leaves_once_and_for_all_and_only_one_with_little_change_left():
    result = run(Adaptive(exit=0.02, tolerance=0))
    left = result.trace[0].state_t == 1
    for record in result.trace:
        assert not (left & record.evaluated).any()
        left = left | (record.state_t == 1)
    counts = [int(record.evaluated.sum()) for record in result.trace]
    assert counts == sorted(counts, reverse=True)
    assert 0 < counts[-1] < counts[0] == counts[2]


def test_the_patch_of_an_image_with_the_largest_estimate_takes_every_step():
    result = run(Adaptive(exit=0, tolerance=100))
    counts = [record.evaluated.sum(dim=1).tolist() for record in result.trace]
    assert counts == [[16] * 3] * 3 + [[1] * 3, [16] * 3] * 3 + [[16] * 3]


def test_where_all_have_left_nothing_is_computed_and_the_trace_goes_on():
    """Under a constant velocity nothing changes, and the third evaluation is the last."""
    velocity = torch.randn(3, 8, 8)
    spy = SpyField(ConstantField(velocity, torch.rand(3, 16), patch_size=2))
    result = Adaptive(evaluate="all")(spy, X_0, uniform_grid(6), trace=True)
    torch.testing.assert_close(result.x_1, X_0 + velocity)
    assert len(spy.outputs) == result.nfe == 3
    assert [bool(record.evaluated.any()) for record in result.trace] == [True] * 3 + [False] * 3
    for record in result.trace:
        torch.testing.assert_close(record.prediction, X_0 + velocity)


class Bending:
    """Patch i's velocity is aᵢ·t: an Euler step of length h misses ½·aᵢ·h²."""

    patch_size = 1

    def __init__(self, bends):
        self.bends = torch.tensor(bends).view(1, 1, 1, -1)

    def __call__(self, x_t, t, *, guided=True, **more):
        velocity = self.bends * t.to_dense().view(len(x_t), 1, 1, -1)
        return FieldOutput(velocity, torch.ones(len(x_t), x_t.shape[-1]), 1, velocity)


def due_at(sampler, bends, steps):
    """At which steps each patch of an image has waited for its turn, and takes it."""
    noise = torch.zeros(1, 1, 1, len(bends))
    result = sampler(Bending(bends), noise, uniform_grid(steps), trace=True)
    on_time = torch.stack([record.state_t[0] == record.step / steps for record in result.trace])
    return [column.nonzero()[:, 0].tolist() for column in on_time.T]


def test_a_patch_takes_two_steps_at_once_up_to_the_tolerance_times_the_square_of_the_time():
    # after 2 and 4 of 8 steps, ½·a·(1/4)² against 0.08·(1/2)² and 0.08·(3/4)²
    sampler = Adaptive(exit=0, tolerance=0.08, evaluate="all")
    every = list(range(8))
    only_late = [0, 1, 2, 3, 4, 6, 7]
    both = [0, 1, 2, 4, 6, 7]
    bends = [0.01, 0.639, 0.641, 1.439, 1.441, 9.0]
    expected = [both, both, only_late, only_late, every, every]
    assert due_at(sampler, bends, 8) == expected


def test_a_patch_leaves_once_the_rest_of_its_way_adds_no_more_than_the_option():
    # after 2 … 6 of 8 steps, ½·a·(6/8 … 2/8)² against 0.02
    bends = [2 * 0.02 * (8 / left) ** 2 * near for left in (6, 5, 4, 3, 2) for near in (0.99, 1.01)]
    sampler = Adaptive(exit=0.02, tolerance=0, evaluate="all")
    last = [2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    assert due_at(sampler, bends, 8) == [list(range(k + 1)) for k in last]


@pytest.mark.slow
@pytest.mark.parametrize("model", [IndependentGaussian(), CorrelatedGaussian.random(6, 2)])
@pytest.mark.parametrize("option", ["exit", "tolerance"])
def test_the_error_on_exact_flows_falls_with_the_tolerance_to_that_of_the_grid(model, option):
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    field, grid = pf.VelocityField(model), uniform_grid(64)

    def error(sampler) -> float:
        return float((sampler(field, x_0, grid).x_1 - model.answer(x_0)).square().mean().sqrt())

    least = error(pf.samplers.AdamsBashforthSampler())
    off = {"exit": 0.0, "tolerance": 0.0, "evaluate": "all"}
    errors = [error(Adaptive(**off | {option: 10.0**-k})) for k in (2, 3, 4)]
    for k, one in zip((2, 3, 4), errors, strict=True):
        assert one <= least + 3 * 10.0**-k
    assert error(Adaptive(**off | {option: 1e-9})) == pytest.approx(least, rel=1e-3)


@pytest.mark.slow
def test_with_a_tolerance_that_falls_as_the_square_of_the_step_it_is_of_second_order():
    model = CorrelatedGaussian.random(6, patch_size=2)
    x_0 = torch.randn(8, 2, 4, 6, generator=torch.Generator().manual_seed(0))

    def error(k: int) -> float:
        sampler = Adaptive(exit=4 / k**2, tolerance=4 / k**2, evaluate="all")
        samples = sampler(pf.VelocityField(model), x_0, uniform_grid(k)).x_1
        return float((samples - model.answer(x_0)).square().mean().sqrt())

    assert 1.6 < torch.tensor(error(16) / error(64)).log2() / 2 < 2.4


@torch.no_grad()
@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(2.0)])
@pytest.mark.parametrize("dense", [False, True])
def test_packed_tokens_are_computed_as_those_of_each_image_are(guidance, dense):
    field = pf.VelocityField(MODEL, LABELS, guidance)
    where = torch.rand(3, 16, generator=torch.Generator().manual_seed(0)).argsort(dim=1) < 7
    time = pf.PatchTime.two_level(where, 0.3, 0.6)
    time = pf.PatchTime.dense(time.to_dense()) if dense else time
    both = Memory(), Memory()
    for memory in both:
        field(X_0 + 1, pf.PatchTime.everywhere(0.2, X_0, 16), recall=Recall(memory))
    packed = packed_tokens(where, 21)
    assert packed.shape == (21,)  # sevenths of three: 3 more
    rows = field(X_0, time, recall=Recall(both[0], token_index(where, 7)))
    flat = field(X_0, time, recall=Recall(both[1], packed))
    assert flat.evaluations == pytest.approx(rows.evaluations)
    torch.testing.assert_close(flat.velocity, rows.velocity)
    torch.testing.assert_close(flat.difficulty[where], rows.difficulty[where])
    for one, other in zip(both[0].of_model, both[1].of_model, strict=True):
        torch.testing.assert_close(one, other)


@given(st.integers(1, 4), st.integers(1, 40), st.data())
def test_packed_tokens_are_those_asked_for_and_of_few_sizes(batch, patches, data):
    total = batch * patches
    chosen = data.draw(st.sets(st.integers(0, total - 1), min_size=1))
    where = torch.zeros(total, dtype=torch.bool)
    where[list(chosen)] = True
    packed = packed_tokens(where.view(batch, patches), len(chosen))
    assert set(packed.tolist()) == chosen
    part = -(-total // 16)
    assert len(packed) < len(chosen) + part
    assert len(packed) in {min(total, k * part) for k in range(1, 17)}


def test_tokens_of_repeated_batches():
    tiled = ActiveTokens(torch.tensor([1, 5]), []).tile(2, 8)
    assert tiled.tokens.tolist() == [1, 5, 9, 13]
    rows = ActiveTokens(torch.tensor([[1], [3]]), []).tile(2, 8)
    assert rows.tokens.tolist() == [[1], [3], [1], [3]]
    assert ActiveTokens(None, []).tile(2, 8).tokens is None


@pytest.mark.parametrize("sampler", [SOME, Adaptive()])
def test_a_run_waits_once_a_step_from_the_fourth_on(sampler):
    field = pf.VelocityField(MODEL, LABELS)
    counts = [waits(lambda n=n: sampler(field, X_0, uniform_grid(n))) for n in (3, 4, 8)]
    assert [count - counts[0] for count in counts] == [0, 1, 5]


def test_a_budget_is_the_most_that_it_takes():
    assert steps_within(Adaptive(), 12, 16) == 12
    assert usual_calls(Adaptive()) == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit=-1", "exit=-1.0 is out of range: choose 0 or more"),
        ("tolerance=nan", "tolerance=nan is out of range"),
        ("tolerance=inf", "tolerance=inf is out of range"),
        ("evaluate=some", "evaluate='some' is unknown: choose moving or all"),
    ],
)
def test_wrong_options_are_refused(text, message):
    with pytest.raises(pf.UserError, match=message):
        build("sampler", pf.samplers.SAMPLERS, f"adaptive:{text}")
