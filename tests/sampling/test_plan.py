"""What a run will cost, said before: every sampler's plan against the run itself."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from tests.support.exact import SpyField, tiny_dit

MODEL = tiny_dit()
X_0 = CountedGenerator(range(2)).fork("noise").normal(3, 8, 8)
LABELS = torch.tensor([0, 3])
SAMPLERS = [
    pf.samplers.EulerSampler(),
    pf.samplers.AdamsBashforthSampler(),
    pf.samplers.AdamsBashforthSampler(reuse_guidance=True),
    pf.samplers.EulerMaruyamaSampler(),
    pf.samplers.HeunSampler(),
    pf.samplers.RandomOrderSampler(0.5, 3, evaluate="moving", refresh=2),
    pf.samplers.DualLoopSampler(),
    pf.samplers.DualLoopSampler(0.7, 4, evaluate="moving"),
    pf.samplers.DualLoopSampler(1.0, 4, evaluate="moving"),
    pf.samplers.DualLoopSampler(0.0, 2, evaluate="moving"),
    pf.samplers.LookAheadSampler(),
    pf.samplers.LookAheadSampler(context_ratio=2.5, unguided_context=True),
    pf.samplers.MultirateSampler(),
    pf.samplers.MultirateSampler((1, 2, 4), (0.4, 0.3, 0.3), context="ahead"),
    pf.samplers.MultirateSampler((2, 4), (0.0, 1.0), context="ahead"),
    pf.samplers.MultirateSampler((1, 2), (0.8, 0.2), evaluate="all", rank="random"),
]


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float]:
    low = draw(st.sampled_from([0.0, 0.1, 0.25, 0.31, 0.5]))
    return low, draw(st.sampled_from([0.55, 0.75, 0.8, 1.0]))


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(max_examples=12)
@given(
    guidance=st.none() | st.builds(pf.ClassifierFreeGuidance, st.just(2.0), intervals()),
    grid=st.integers(1, 4).map(lambda steps: [k / steps for k in range(steps + 1)])
    | st.just([0.0, 0.1, 0.3, 1.0]),
)
def test_a_run_costs_what_its_plan_says(sampler, guidance, grid):
    spy = SpyField(pf.VelocityField(MODEL, LABELS, guidance))
    generator = CountedGenerator(range(2)).fork("sampler")
    result = sampler(spy, X_0, grid, generator=generator, trace=True)
    plan = sampler.plan(grid, 16)
    assert len(plan) == len(spy.t)
    for call, t in zip(plan, spy.t, strict=True):
        assert set(torch.tensor(call.times).tolist()) == set(t.flatten().tolist())
    assert result.nfe == pytest.approx(
        pf.samplers.count_evaluations(sampler, grid, 16, guidance), abs=1e-6
    )
    spent = [evaluation.nfe for evaluation in result.trace]
    assert 0 < spent[0] <= 2
    assert spent == sorted(spent)
    assert spent[-1] == result.nfe


def test_guidance_costs_nothing_outside_its_interval():
    grid = [k / 8 for k in range(9)]
    count = pf.samplers.count_evaluations
    guidance = pf.ClassifierFreeGuidance(3.0, (0.2, 0.5))
    assert count(pf.samplers.EulerSampler(), grid, 16, guidance) == 8 + 3  # 0.25, 0.375, 0.5
    # half of the patches wait in each step, but where guidance sets in or ends all are computed
    multirate = pf.samplers.MultirateSampler()
    seen = [t for now, then in pairwise(grid) for t in (now, (now + then) / 2)]
    inside = [0.2 <= t <= 0.5 for t in seen]
    assert count(multirate, grid, 16, guidance) == sum(
        (1 + guided) * (0.5 if k % 2 and inside[k - 1] == guided else 1)
        for k, guided in enumerate(inside)
    )
