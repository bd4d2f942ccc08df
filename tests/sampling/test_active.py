"""Inner evaluations of the moving patches alone: what stays the same, and what is counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.active import Memory, token_index
from patch_forcing.core.random import CountedGenerator
from patch_forcing.sampling.field import Recall
from patch_forcing.sampling.grids import uniform_grid
from tests.support.exact import SpyField, tiny_dit

TWO_LOOPS = [pf.samplers.DualLoopSampler, pf.samplers.RandomOrderSampler]
X_0 = CountedGenerator(range(3)).fork("noise").normal(3, 8, 8)
LABELS = torch.tensor([0, 3, 1])
GUIDANCE = [
    None,
    pf.ClassifierFreeGuidance(2.0),
    pf.ClassifierFreeGuidance(2.0, (0.3, 0.8)),
    pf.Autoguidance(tiny_dit(seed=1), 1.5),
]


def run(sampler, guidance=None, rows=slice(None), steps=3):
    field = pf.VelocityField(tiny_dit(), LABELS[rows], guidance)
    generator = CountedGenerator(list(range(3))[rows]).fork("sampler")
    return sampler(field, X_0[rows], uniform_grid(steps), generator=generator, trace=True)


def assert_same(one, other):
    assert one.x_1.equal(other.x_1)
    assert one.nfe == other.nfe
    for a, b in zip(one.trace, other.trace, strict=True):
        assert a.difficulty.equal(b.difficulty)
        assert a.prediction.equal(b.prediction)
        assert a.evaluated.equal(b.evaluated)


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("build", TWO_LOOPS)
@pytest.mark.parametrize("same", [{"refresh": 1}, {"easy_fraction": 0.0}, {"inner_steps": 1}])
def test_where_everything_is_computed_it_is_the_dense_sampler_bit_for_bit(build, same, guidance):
    options = {"easy_fraction": 0.4, "inner_steps": 3, **same}
    moving = run(build(evaluate="moving", **options), guidance)
    options.pop("refresh", None)
    assert_same(moving, run(build(**options), guidance))


@pytest.mark.parametrize("build", TWO_LOOPS)
@given(
    p=st.integers(0, 16),
    inner_steps=st.integers(1, 5),
    refresh=st.integers(0, 4),
    steps=st.integers(1, 3),
)
def test_an_evaluation_counts_by_the_share_of_patches_computed(
    build, p, inner_steps, refresh, steps
):
    sampler = build(p / 16, inner_steps, evaluate="moving", refresh=refresh)
    result = run(sampler, steps=steps)
    shares = [float(record.evaluated.float().mean()) for record in result.trace]
    assert result.nfe == pytest.approx(sum(shares))
    assert result.nfe == pytest.approx(
        pf.samplers.count_evaluations(sampler, uniform_grid(steps), 16)
    )
    assert len(shares) == steps * (1 if p == 16 else inner_steps)
    assert (result.t == 1).all()


def test_after_a_refresh_the_others_are_remembered_as_they_are_now():
    """Step by step with the network itself: the second memory is of the refreshed image."""
    model, p, n = tiny_dit(depth=3), 0.5, 4
    field = pf.VelocityField(model, LABELS)
    spy = SpyField(field)
    sampler = pf.samplers.DualLoopSampler(p, n, evaluate="moving", refresh=2)
    sampler(spy, X_0, [0.0, 1.0])
    assert [output.whole for output in spy.outputs] == [True, False, True, False]
    memory = Memory()
    where = (spy.t[3] == 0.75) & torch.ones(3, 16, dtype=torch.bool)
    field(spy.x[2], pf.PatchTime.dense(spy.t[2]), recall=Recall(memory))
    tokens = token_index(where, 8)
    last = field(spy.x[3], pf.PatchTime.dense(spy.t[3]), recall=Recall(memory, tokens))
    torch.testing.assert_close(last.difficulty[where], spy.outputs[3].difficulty[where])
    stale = Memory()
    field(spy.x[0], pf.PatchTime.dense(spy.t[0]), recall=Recall(stale))
    other = field(spy.x[3], pf.PatchTime.dense(spy.t[3]), recall=Recall(stale, tokens))
    assert (other.difficulty[where] - last.difficulty[where]).abs().max() > 1e-4


def test_an_empty_memory_is_filled():
    field, tokens = pf.VelocityField(tiny_dit(), LABELS), torch.arange(4).expand(3, 4)
    time = pf.PatchTime.everywhere(0.5, X_0, 16)
    memory = Memory()
    output = field(X_0, time, recall=Recall(memory, tokens))
    assert (output.whole, output.evaluations, len(memory.of_model)) == (True, 1, 2)


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 4])
def test_guidance_is_paid_for_only_where_a_patch_is(p, n):
    field = pf.VelocityField(tiny_dit(), LABELS, pf.ClassifierFreeGuidance(2, (0.9, 1.0)))
    result = pf.samplers.DualLoopSampler(p, n)(field, X_0, [0.0, 1.0], trace=True)
    inside = sum(bool((record.t >= 0.9).any()) for record in result.trace)
    assert result.nfe == n + inside


def test_where_all_patches_are_easy_nothing_is_left_to_compute():
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS))
    pf.samplers.DualLoopSampler(1.0, 4, evaluate="moving", refresh=2)(spy, X_0, [0.0, 0.5, 1.0])
    assert len(spy.outputs) == 2


def test_a_network_meets_padded_times():
    class Levels(SpyField):
        seen = ()

        def __call__(self, x_t, t, **more):
            self.seen = (*self.seen, t.num_levels)
            return super().__call__(x_t, t, **more)

    field = Levels(pf.VelocityField(tiny_dit(), LABELS))
    sampler = pf.samplers.MultirateSampler((1, 2, 4), (0.5, 0.25, 0.25), context="ahead")
    sampler(field, X_0, [0.0, 1.0])
    assert field.seen == (1, 4, 4, 4)


def test_only_the_hard_patches_are_computed_and_the_others_keep_what_was_said_of_them():
    result = run(pf.samplers.DualLoopSampler(0.5, 4, evaluate="moving"))
    for first in range(0, 12, 4):
        outer, *inner = result.trace[first : first + 4]
        assert outer.evaluated.all()
        for before, record in zip([outer, *inner], inner, strict=False):
            assert (record.evaluated.sum(dim=1) == 8).all()
            assert record.evaluated.equal(inner[0].evaluated)
            easy = ~record.evaluated
            assert record.difficulty[easy].equal(before.difficulty[easy])
            assert not record.difficulty[~easy].equal(before.difficulty[~easy])


@pytest.mark.parametrize("guidance", GUIDANCE)
def test_no_image_depends_on_the_others(guidance):
    sampler = pf.samplers.DualLoopSampler(0.5, 3, evaluate="moving", refresh=2)
    together = run(sampler, guidance).x_1
    alone = torch.cat([run(sampler, guidance, slice(k, k + 1)).x_1 for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)


def test_guidance_costs_two_and_where_it_begins_or_ends_all_is_computed():
    spy = SpyField(pf.VelocityField(tiny_dit(), LABELS, pf.ClassifierFreeGuidance(2, (0.2, 0.6))))
    sampler = pf.samplers.DualLoopSampler(0.5, 4, evaluate="moving")
    result = sampler(spy, X_0, [0.0, 1.0])
    # hard patches at 0, ¼, ½, ¾: guided in the middle two; easy ones at 1 are outside
    assert [output.whole for output in spy.outputs] == [True, True, False, True]
    assert [output.evaluations for output in spy.outputs] == [1, 2, 1, 1]
    assert result.nfe == 5


@pytest.mark.parametrize("guidance", GUIDANCE)
@torch.no_grad()
def test_a_field_told_nothing_new_answers_the_same(guidance):
    field, memory = pf.VelocityField(tiny_dit(), LABELS, guidance), Memory()
    where = torch.arange(16).expand(3, 16) % 2 == 0
    time = pf.PatchTime.shared(torch.full((3,), 0.5), 16)
    whole = field(X_0, time, recall=Recall(memory))
    part = field(X_0, time, recall=Recall(memory, token_index(where, 8)))
    assert part.evaluations == whole.evaluations / 2
    torch.testing.assert_close(part.difficulty[where], whole.difficulty[where])
    pixels = where.view(3, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3).expand_as(X_0)
    torch.testing.assert_close(part.velocity[pixels], whole.velocity[pixels])
    torch.testing.assert_close(part.unguided[pixels], whole.unguided[pixels])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate": "some"}, "all or moving"),
        ({"refresh": -1}, "refresh=-1"),
        ({"refresh": 2}, "refresh=2 is for evaluate=moving"),
    ],
)
@pytest.mark.parametrize("build", TWO_LOOPS)
def test_options_out_of_range_are_refused(build, options, message):
    with pytest.raises(pf.UserError, match=message):
        build(**options)
