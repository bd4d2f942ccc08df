"""Clipping, AdamW and averages at once are those one after the other."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.training.options import OptimizerConfig
from tests.scripts import one_pass
from tests.support.scripts import run_script

betas = st.sampled_from([0.0, 0.5, 0.9, 0.999])


@given(
    betas=st.tuples(betas, betas),
    weight_decay=st.sampled_from([0.0, 0.3]),
    clip_norm=st.sampled_from([0.1, 3.0, math.inf]),
    averages=st.integers(1, 3),
    failures=st.lists(st.sampled_from([0, 0, math.nan, math.inf, -math.inf]), max_size=6),
    seed=st.integers(0, 100),
)
def test_at_once_is_one_after_the_other(betas, weight_decay, clip_norm, averages, failures, seed):
    torch.manual_seed(seed)
    config = OptimizerConfig(
        lr=0.1, warmup_steps=2, betas=betas, weight_decay=weight_decay, clip_norm=clip_norm
    )
    result, expected = one_pass.both_ways(config, averages, failures)
    for step, (ours, theirs) in enumerate(zip(result, expected, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b.expand_as(a), rtol=1e-5, atol=1e-6)
        if failures[step] and step:
            assert all(a.equal(b) for a, b in zip(ours, result[step - 1], strict=True))


@pytest.mark.slow
def test_it_is_compiled_once_for_groups_alike():
    # in a process of its own: the type checks of the tests cannot be compiled
    result = json.loads(run_script("one_pass"))
    assert result["apart"] < 1e-6
    assert result["graphs"] == 2
    assert result["kernels"] <= 4  # one for each tensor of the two: nothing is read twice
