"""Editing by time: samplers behind an edit, against closed forms and against plain sampling."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.sampling.edit_field import EditField, EditMap, EditPlan, strengths
from patch_forcing.sampling.evaluation import SampleResult
from patch_forcing.sampling.grids import uniform_grid
from patch_forcing.sampling.samplers import SAMPLERS, count_evaluations
from tests.support.exact import (
    CorrelatedGaussian,
    IndependentGaussian,
    SpyField,
    tiny_dit,
    to_image,
    to_patches,
)
from tests.support.waits import waits

MODEL = tiny_dit()
X_0 = CountedGenerator(range(2)).fork("noise").normal(3, 8, 8)
ORIGINAL = CountedGenerator([7]).fork("noise").normal(3, 8, 8).clamp(-1, 1)
LABELS = torch.tensor([0, 3])
GUIDANCE = pf.ClassifierFreeGuidance(2.0, (0.1, 0.7))
MIXED = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.5, 1.0] * 2)
NOTHING = torch.zeros(1, 1, 8, 8, dtype=torch.bool)


def edited(
    sampler: object, field: object, edit: EditMap, x_0: Tensor, steps: int, **options: object
) -> SampleResult:
    generator = CountedGenerator(range(len(x_0))).fork("sampler")
    options = {"generator": generator, **options}
    return sampler(EditField(field, edit), x_0, uniform_grid(steps), **options)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_white_mask_is_sampling_bit_by_bit(name):
    field, edit = pf.VelocityField(MODEL, LABELS, GUIDANCE), EditMap(
        ORIGINAL, torch.ones(16), NOTHING, 2
    )  # fmt: skip
    result = edited(SAMPLERS[name](), field, edit, X_0, 4)
    generator = CountedGenerator(range(2)).fork("sampler")
    plain = SAMPLERS[name]()(field, X_0, uniform_grid(4), generator=generator)
    assert edit.finished(result.x_1).equal(plain.x_1)
    assert result.nfe == plain.nfe


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_kept_is_the_original_bit_by_bit_and_the_rest_moves(name):
    fixed = NOTHING.clone()
    fixed[..., ::2] = True  # also half of each patch that moves
    edit = EditMap(ORIGINAL, MIXED, fixed, 2)
    field = pf.VelocityField(MODEL, LABELS, GUIDANCE)
    result = edited(SAMPLERS[name](), field, edit, X_0, 4, trace=True)
    x_1, kept = edit.finished(result.x_1), edit.fixed.expand_as(X_0)
    assert x_1[kept].equal(ORIGINAL.expand_as(X_0)[kept])
    assert ((x_1 - ORIGINAL).abs()[~kept] > 1e-6).all()
    # held on its path without an error: y ends at c
    assert torch.allclose(result.x_1[kept], ORIGINAL.expand_as(X_0)[kept], atol=1e-4)
    for evaluation in map(edit.seen, result.trace):
        assert (evaluation.t[:, MIXED == 0] == 1).all()
        assert (evaluation.t >= 1 - MIXED - 1e-6).all()
        assert evaluation.prediction[kept].equal(ORIGINAL.expand_as(X_0)[kept])


def test_one_strength_for_all_is_sdedit():
    m, grid = 0.4, uniform_grid(5)
    edit = EditMap(ORIGINAL, torch.full((16,), m), NOTHING, 2)
    field = pf.VelocityField(MODEL, LABELS)
    result = edited(pf.samplers.EulerSampler(), field, edit, X_0, 5)
    times = [1 - m * (1 - s) for s in grid]
    x = (1 - m) * ORIGINAL + m * X_0
    for now, then in pairwise(times):
        x = x + (then - now) * field(x, pf.PatchTime.everywhere(now, x, 16)).velocity
    torch.testing.assert_close(edit.finished(result.x_1), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("adams-bashforth", 2), ("heun", 2)])
def test_what_is_painted_converges_to_the_data_given_what_is_kept(name, order):
    """With kept patches at t = 1 the flow of the others ends at their conditional Gaussian."""
    data = CorrelatedGaussian.random(6)
    kept = torch.tensor([True, False, False, True, False, True])
    original = to_image(torch.randn(1, 6, 1), (2, 3), 1)
    x_0 = to_image(torch.randn(3, 6, 1), (2, 3), 1)
    fixed = to_image(kept[None, :, None], (2, 3), 1)
    edit = EditMap(original, (~kept).float(), fixed, 1)
    cov, mean = data.cov, data.mean
    gain = cov[~kept][:, kept] @ torch.linalg.inv(cov[kept][:, kept])
    off = to_patches(original.double(), 1)[0, kept, 0] - mean[kept]
    given = CorrelatedGaussian(
        mean[~kept] + gain @ off, cov[~kept][:, ~kept] - gain @ cov[kept][:, ~kept]
    )
    answer = given.answer(to_image(to_patches(x_0, 1)[:, ~kept], (1, 3), 1)).flatten(1)
    errors = []
    for steps in (32, 64):
        result = edited(SAMPLERS[name](), pf.VelocityField(data), edit, x_0, steps)
        painted = to_patches(edit.finished(result.x_1), 1)[:, ~kept, 0]
        errors.append(float((painted - answer).abs().max()))
    assert errors[1] < errors[0] / 2**order * 1.35
    assert errors[1] < 0.1


class OneAtATime(CountedGenerator):
    """Draw k is 1 in row 3 + k, and 0 in all others."""

    draws = 0

    def normal(self, *shape: int) -> Tensor:
        drawn = torch.zeros(len(self.seeds), *shape)
        drawn[3 + self.draws] = 1
        self.draws += 1
        return drawn


@pytest.mark.parametrize("m", [0.3, 0.7, 1.0])
def test_fresh_noise_leaves_the_data_their_distribution(m):
    """Every step is affine in the original, the noise and each fresh noise; of an original of the
    data the result has the data's mean and variance, whatever its strength.
    """
    data, errors = IndependentGaussian(mean=0.3, std=0.6), []
    for steps in (40, 80):
        rows = 3 + steps - 1
        original, x_0 = torch.full((rows, 1, 2, 2), data.mean), torch.zeros(rows, 1, 2, 2)
        original[1] += data.std
        x_0[2] = 1
        edit = EditMap(original, torch.tensor([m]), torch.zeros(1, 1, 2, 2, dtype=torch.bool), 2)
        result = edited(pf.samplers.EulerMaruyamaSampler(), pf.VelocityField(data), edit, x_0,
                        steps, generator=OneAtATime(range(rows)))  # fmt: skip
        x = edit.finished(result.x_1)[:, 0, 0, 0]
        assert float(x[0]) == pytest.approx(data.mean, abs=1e-5)
        errors.append(abs(float((x[1:] - x[0]).square().sum()) - data.std**2))
    assert errors[1] < 0.6 * errors[0] + 1e-4
    assert errors[1] < 0.02


@pytest.mark.parametrize("name", ["dual-loop", "random-order", "multirate"])
def test_shares_count_the_patches_that_move(name):
    """Of 8 that move the easy half goes ahead; only the other 4 of 16 are computed again."""
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    sampler = SAMPLERS[name](
        **{"shares": (0.5, 0.5)} if name == "multirate" else
        {"easy_fraction": 0.5, "inner_steps": 2, "evaluate": "moving"}
    )  # fmt: skip
    result = edited(sampler, pf.VelocityField(MODEL, LABELS), edit, X_0, 3, trace=True)
    assert result.nfe == pytest.approx(3 * (1 + 4 / 16))
    for evaluation in result.trace[1::2]:
        assert not evaluation.evaluated[:, MIXED == 0].any()
        assert (evaluation.evaluated.sum(dim=1) == 4).all()


def test_look_ahead_pushes_the_easy_half_of_those_that_move():
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    sampler = pf.samplers.LookAheadSampler(0.5, 2.0)
    result = edited(sampler, pf.VelocityField(MODEL, LABELS), edit, X_0, 4, trace=True)
    pushed = [
        evaluation for evaluation in result.trace if (evaluation.t > evaluation.state_t).any()
    ]
    assert len(pushed) == 3
    for evaluation in pushed:
        moving = (evaluation.t > evaluation.state_t)[:, MIXED > 0]
        assert (moving.sum(dim=1) == 4).all()


PLANNED = [name for name in SAMPLERS if name != "adaptive"]


@pytest.mark.parametrize("name", [*PLANNED, "reuse"])
@pytest.mark.parametrize("strength", [MIXED, torch.full((16,), 0.5)], ids=["mixed", "half"])
@pytest.mark.parametrize("interval", [(0.1, 0.7), (0.6, 1.0)])
def test_a_run_costs_what_its_plan_says(name, strength, interval):
    """Guidance acts by each patch's own time, and kept patches, at t = 1, cost nothing."""
    edit = EditMap(ORIGINAL, strength, NOTHING, 2)
    sampler = pf.samplers.AdamsBashforthSampler(reuse_guidance=True) if name == "reuse" else (
        SAMPLERS[name]()
    )  # fmt: skip
    guidance = pf.ClassifierFreeGuidance(2.0, interval)
    result = edited(sampler, pf.VelocityField(MODEL, LABELS, guidance), edit, X_0, 5)
    plan = EditPlan(sampler, edit.starts)
    most = count_evaluations(plan, uniform_grid(5), 16, guidance)
    assert result.nfe <= most + 1e-6
    if edit.num_kept == 0 or name not in ("multirate",):
        assert result.nfe == pytest.approx(most)


def test_guidance_sets_in_and_ends_where_it_says_for_each_patch():
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    guidance = pf.ClassifierFreeGuidance(2.0, (0.1, 0.8))
    spy = SpyField(EditField(pf.VelocityField(MODEL, LABELS, guidance), edit))
    pf.samplers.EulerSampler()(spy, X_0, uniform_grid(10))
    for clock, output in zip(spy.t, spy.outputs, strict=True):
        time = edit.dense(clock)
        inside = (time >= 0.1) & (time <= 0.8 + 1e-6) & (MIXED > 0)
        guided = torch.zeros_like(inside) if output.guided is None else output.guided
        assert guided.equal(inside)
    ends = edit.dense(edit.clock(0.8).clamp(0, 1)[None])[0]
    assert torch.allclose(ends[MIXED >= 0.25], torch.tensor(0.8))
    assert (edit.clock(0.8)[MIXED == 0] == -torch.inf).all()
    assert (edit.clock(0.7)[MIXED == 0.25] < 0).all()


def test_times_of_a_few_levels_stay_few():
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    clock = pf.PatchTime.two_level(torch.arange(16)[None] < 8, 0.5, 0.25)
    time = edit.time(clock)
    assert time.num_levels == 8
    torch.testing.assert_close(time.to_dense(), edit.dense(clock.to_dense()))
    assert set(time.known) == {0.875, 0.75, 0.5, 0.8125, 0.625, 0.25}


def test_a_patch_has_the_greatest_strength_in_it():
    mask = torch.zeros(8, 8)
    mask[1, 5], mask[6, 2] = 0.5, 1.0
    m, fixed = strengths(mask, factor=1, patch_size=4)
    assert m.tolist() == [0.0, 0.5, 1.0, 0.0]
    assert int((~fixed).sum()) == 2
    m, fixed = strengths(mask, factor=2, patch_size=2)
    assert m.tolist() == [0.0, 0.5, 1.0, 0.0]
    assert fixed.shape == (1, 1, 4, 4)
    assert int((~fixed).sum()) == 2


@pytest.mark.parametrize("strength", [torch.zeros(16), torch.full((16,), 1.5)])
def test_strengths_lie_between_0_and_1_and_one_is_more_than_0(strength):
    with pytest.raises(pf.UserError, match="strengths"):
        EditMap(ORIGINAL, strength, NOTHING, 2)


@pytest.mark.parametrize("name", ["euler", "adams-bashforth", "euler-maruyama", "dual-loop"])
def test_an_edit_lets_a_gpu_wait_no_more_than_sampling(name):
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    field = pf.VelocityField(MODEL, LABELS, GUIDANCE)
    counts = {
        steps: waits(lambda n=steps: edited(SAMPLERS[name](), field, edit, X_0, n))
        for steps in (2, 5)
    }
    generator = CountedGenerator(range(2)).fork("sampler")
    plain = waits(lambda: SAMPLERS[name]()(field, X_0, uniform_grid(5), generator=generator))
    assert counts[2] == counts[5] == plain


def test_second_order_is_kept_where_guidance_ends_at_a_clock_of_each_patchs_own():
    edit = EditMap(ORIGINAL, MIXED, NOTHING, 2)
    field = pf.VelocityField(MODEL, LABELS, pf.ClassifierFreeGuidance(2.0, (0.0, 0.8)))
    sampler = pf.samplers.AdamsBashforthSampler()
    ends = [edit.finished(edited(sampler, field, edit, X_0, k).x_1) for k in (10, 20, 80)]
    coarse, fine = (float((end - ends[-1]).square().mean().sqrt()) for end in ends[:-1])
    assert fine < coarse / 3
