"""What holds for every sampler, every grid and every shape."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.sampling.evaluation import Evaluation
from tests.support.exact import ConstantField, CorrelatedGaussian, SpyField, tiny_dit

hundredths = st.integers(0, 100)
two_loops = st.sampled_from([pf.samplers.DualLoopSampler, pf.samplers.RandomOrderSampler])
multirate = [
    pf.samplers.MultirateSampler((1,), (1.0,), evaluate="all"),
    pf.samplers.MultirateSampler((1, 2), (0.5, 0.5), evaluate="all"),
    pf.samplers.MultirateSampler((2, 4, 12), (0.4, 0.3, 0.3), evaluate="all", order=1),
    pf.samplers.MultirateSampler((1, 3), (0.7, 0.3), evaluate="all", rank="random"),
]
published = st.one_of(
    st.builds(pf.samplers.EulerSampler),
    st.builds(
        lambda build, p, n: build(easy_fraction=p / 100, inner_steps=n),
        two_loops,
        hundredths,
        st.integers(1, 6),
    ),
    st.builds(
        lambda p, r: pf.samplers.LookAheadSampler(easy_fraction=p / 100, context_ratio=r),
        hundredths,
        st.floats(1, 30),
    ),
)
second_order = st.sampled_from([pf.samplers.HeunSampler(), pf.samplers.AdamsBashforthSampler()])
flows = st.one_of(published, second_order, st.sampled_from(multirate))
choosing = st.builds(pf.samplers.AdaptiveSampler, st.floats(0, 3), st.floats(0, 3), st.just("all"))
stochastic = st.builds(pf.samplers.EulerMaruyamaSampler, st.floats(0, 3))
samplers = st.one_of(flows, stochastic)
with_choosing = st.one_of(samplers, choosing)


@st.composite
def time_grids(draw: st.DrawFn) -> list[float]:
    steps = draw(st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
    reached = [sum(steps[: k + 1]) / sum(steps) for k in range(len(steps))]
    return [0.0, *reached[:-1], 1.0]


@st.composite
def problems(draw: st.DrawFn) -> tuple[pf.VelocityField, torch.Tensor]:
    """An exact field on oblong images of any patch size, and noise."""
    batch, channels, rows, cols = (draw(st.integers(1, most)) for most in (3, 2, 4, 4))
    patch_size = draw(st.sampled_from([1, 2, 4, 8]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    model = CorrelatedGaussian.random(rows * cols, patch_size, random.initial_seed())
    size = (rows * patch_size, cols * patch_size)
    return pf.VelocityField(model), torch.randn(batch, channels, *size, generator=random)


@given(problems(), with_choosing, time_grids())
def test_every_patch_ends_at_exactly_one_and_never_goes_back(problem, sampler, grid):
    field, x_0 = problem
    before = x_0.clone()
    result = sampler(field, x_0, grid, trace=True)
    assert (result.t == 1).all()
    assert (result.x_1.shape, result.x_1.dtype) == (x_0.shape, torch.float32)
    states = [*(record.state_t for record in result.trace), result.t]
    assert not states[0].any()
    assert all((now <= then).all() for now, then in pairwise(states))
    assert x_0.equal(before)


@given(problems(), samplers, time_grids())
def test_evaluations_are_the_calls_that_were_made(problem, sampler, grid):
    spy = SpyField(problem[0])
    result = sampler(spy, problem[1], grid, trace=True)
    assert (
        result.nfe
        == len(spy.t)
        == len(result.trace)
        == pf.samplers.count_evaluations(sampler, grid, spy.t[0].shape[1])
    )


@given(problems(), samplers, time_grids())
def test_the_trace_and_the_callback_hold_what_the_network_saw(problem, sampler, grid):
    spy, heard = SpyField(problem[0]), []
    trace = sampler(spy, problem[1], grid, trace=True, callback=heard.append).trace
    assert len(trace) == len(heard)
    for record, same, x, t, output in zip(trace, heard, spy.x, spy.t, spy.outputs, strict=True):
        assert same is record
        assert record.t.equal(t)
        assert record.difficulty.equal(output.difficulty)
        assert record.evaluated.all()
        pixels = t.unflatten(1, (x.shape[2] // spy.patch_size, -1))
        pixels = pixels.repeat_interleave(spy.patch_size, 1).repeat_interleave(spy.patch_size, 2)
        expected = x + (1 - pixels[:, None]) * output.velocity
        torch.testing.assert_close(record.prediction, expected)


def expected_times(sampler, grid: list[float]) -> list[tuple[int, float, float]]:
    """(step, time of easy patches, time of hard patches) of every evaluation."""
    times = []
    for step, (now, then) in enumerate(pairwise(grid)):
        times.append((step, now, now))
        if isinstance(sampler, pf.samplers.LookAheadSampler) and now > 0.05:
            times.append((step, min(1.0, sampler.context_ratio * now), now))
        if isinstance(sampler, pf.samplers.HeunSampler) and then < 1:
            times.append((step, then, then))
        n = getattr(sampler, "inner_steps", 1)
        times += [(step, then, ((n - j) * now + j * then) / n) for j in range(1, n)]
    return times


@given(problems(), st.one_of(published, second_order, stochastic), time_grids())
def test_the_grid_is_honoured_and_the_easy_are_a_fixed_share(problem, sampler, grid):
    trace = sampler(*problem, grid, trace=True).trace
    expected = expected_times(sampler, grid)
    assert [record.step for record in trace] == [step for step, _, _ in expected]
    patches = trace[0].t.shape[1]
    count = round(getattr(sampler, "easy_fraction", 0) * 100) * patches // 100
    for record, (_, easy, hard) in zip(trace, expected, strict=True):
        # ranked by time: hard patches are behind, easy ones ahead
        times = record.t.sort(dim=1).values
        ranked = torch.tensor([hard] * (patches - count) + [easy] * count)
        torch.testing.assert_close(times, ranked.expand_as(times), rtol=0, atol=1e-7)


@given(problems(), st.one_of(flows, choosing), time_grids(), st.integers(0, 999))
def test_under_a_constant_velocity_noise_is_displaced_by_it(problem, sampler, grid, seed):
    field, x_0 = problem
    patches = x_0[0, 0].numel() // field.patch_size**2
    random = torch.Generator().manual_seed(seed)
    velocity = 3 * torch.randn(x_0.shape[1:], generator=random)
    difficulty = torch.randint(3, (len(x_0), patches), generator=random).float()  # many ties
    constant = ConstantField(velocity, difficulty, field.patch_size)
    result = sampler(constant, x_0, grid)
    size = x_0.abs().max() + 2 * velocity.abs().max()
    rounding = 2**-23 * size * (result.nfe + 1)
    assert (result.x_1 - (x_0 + velocity)).abs().max() <= rounding


@given(problems(), with_choosing, time_grids())
def test_a_grid_may_be_a_tensor(problem, sampler, grid):
    torch.manual_seed(0)
    as_list = sampler(*problem, grid).x_1
    torch.manual_seed(0)
    assert sampler(*problem, torch.tensor(grid, dtype=torch.float64)).x_1.equal(as_list)


@given(problems(), with_choosing)
def test_a_grid_that_does_not_reach_the_data_is_refused(problem, sampler):
    with pytest.raises(pf.UserError, match="starts at 0 and ends at 1"):
        sampler(*problem, [0.0, 0.5])


@pytest.mark.parametrize(
    "sampler",
    [
        pf.samplers.EulerSampler(),
        pf.samplers.RandomOrderSampler(inner_steps=2),
        pf.samplers.DualLoopSampler(inner_steps=3),
        pf.samplers.LookAheadSampler(),
        pf.samplers.HeunSampler(),
        pf.samplers.EulerMaruyamaSampler(),
    ],
)
@pytest.mark.parametrize("guidance", [None, pf.ClassifierFreeGuidance(1.5, (0.2, 0.9))])
def test_samples_together_or_alone_are_the_same(sampler, guidance):
    model, labels, seeds = tiny_dit((4, 6)), torch.tensor([3, 0, 4]), [7, 8, 9]
    x_0 = pf.CountedGenerator(seeds).normal(3, 4, 6)

    def sample(images: slice) -> torch.Tensor:
        random = pf.CountedGenerator(seeds[images]).fork("order")
        field = pf.VelocityField(model, labels[images], guidance)
        return sampler(field, x_0[images], [0.0, 0.1, 0.3, 0.8, 1.0], generator=random).x_1

    alone = torch.cat([sample(slice(i, i + 1)) for i in range(3)])
    torch.testing.assert_close(alone, sample(slice(None)), rtol=1e-5, atol=1e-5)


def test_records_of_images_join_to_those_of_the_batch():
    field = pf.VelocityField(tiny_dit())
    x_0 = torch.randn(3, 3, 8, 8)
    trace = pf.samplers.DualLoopSampler()(field, x_0, [0.0, 0.5, 1.0], trace=True).trace
    for record in trace:
        joined = Evaluation.join([record[:1], record[1:]])
        assert joined.step == record.step
        for name in ("t", "state_t", "difficulty", "evaluated", "prediction"):
            assert getattr(joined, name).equal(getattr(record, name))


fractions = hundredths.map(lambda percent: percent / 100)


@given(problems(), time_grids(), fractions, two_loops, st.integers(0, 999))
def test_two_loops_with_one_inner_step_are_euler(problem, grid, easy_fraction, build, seed):
    field, x_0 = problem
    random = torch.Generator().manual_seed(seed)
    result = build(easy_fraction, 1)(field, x_0, grid, generator=random)
    euler = pf.samplers.EulerSampler()(field, x_0, grid)
    assert result.x_1.equal(euler.x_1)
    assert result.nfe == euler.nfe


@given(problems(), time_grids())
def test_euler_maruyama_without_noise_is_euler(problem, grid):
    field, x_0 = problem
    result = pf.samplers.EulerMaruyamaSampler(noise=0)(field, x_0, grid)
    euler = pf.samplers.EulerSampler()(field, x_0, grid)
    assert result.x_1.equal(euler.x_1)
    assert result.nfe == euler.nfe


@given(problems(), time_grids(), fractions)
def test_look_ahead_that_looks_nowhere_is_euler(problem, grid, easy_fraction):
    field, x_0 = problem
    result = pf.samplers.LookAheadSampler(easy_fraction, 1.0)(field, x_0, grid)
    euler = pf.samplers.EulerSampler()(field, x_0, grid)
    torch.testing.assert_close(result.x_1, euler.x_1, rtol=1e-4, atol=1e-4)


class LevelField:
    """A real field with another difficulty, of so many levels; it is NaN from a time on."""

    def __init__(self, field, levels: int | None, broken_from: float = 2.0):
        self.field, self.levels, self.broken_from = field, levels, broken_from
        self.patch_size = field.patch_size

    def __call__(self, x_t, t, *, guided=True):
        output = self.field(x_t, t, guided=guided)
        level = torch.arange(t.num_patches).remainder(self.levels).float()
        level = level.expand(len(x_t), -1).clone()
        level[t.values.min(dim=1).values >= self.broken_from] = float("nan")
        return output._replace(difficulty=level)


@given(problems(), time_grids(), fractions, st.integers(1, 3))
def test_ties_go_to_the_lower_patch_in_every_image_and_step(problem, grid, fraction, levels):
    field, x_0 = problem
    sampler = pf.samplers.DualLoopSampler(fraction, 2)
    trace = sampler(LevelField(field, levels), x_0, grid, trace=True).trace
    patches = trace[0].t.shape[1]
    order = sorted(range(patches), key=lambda n: (n % levels, n))
    easy = set(order[: round(100 * fraction) * patches // 100])
    for k, (evaluation, then) in enumerate(zip(trace[1::2], grid[1:], strict=True)):
        expected = [n in easy for n in range(patches)]
        for image in evaluation.t:
            assert evaluation.step == k
            assert [bool(t == torch.tensor(then)) for t in image] == expected


@given(problems(), time_grids(), st.data(), st.sampled_from(["dual-loop", "look-ahead"]))
def test_difficulty_that_is_not_a_number_names_the_step(problem, grid, data, name):
    field, x_0 = problem
    step = data.draw(st.integers(0, len(grid) - 2))
    broken = LevelField(field, 1, broken_from=float(torch.tensor(grid[step])))
    with pytest.raises(pf.UserError, match=rf"difficulty is NaN at step {step}\b"):
        pf.samplers.SAMPLERS[name]()(broken, x_0, grid)
