"""What is counted about speed; how fast anything is, no test depends on."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.generation.speed import (
    SAMPLED,
    forward_times,
    random_model,
    speeds,
    time_sampler,
)
from patch_forcing.models.cost import operations
from tests.support.exact import tiny_dit


def test_nothing_in_a_random_model_is_zero():
    model = random_model(tiny_dit().config)
    assert all(weight.ne(0).all() for weight in model.parameters())


def test_networks_are_given_one_time_two_and_one_for_each_patch():
    times = forward_times(tiny_dit(), 3).values()
    assert [t.num_levels for t in times] == [1, 2, 16]
    assert [len(t.to_dense().unique()) for t in times] == [1, 2, 48]


@pytest.mark.parametrize(
    ("name", "nfe"),
    [
        ("euler", 9),
        ("dual-loop", 8),
        ("dual-loop:evaluate=moving", 2 * (1 + 3 * 10 / 16)),
        ("look-ahead", 9),
    ],
)
def test_samplers_are_compared_at_as_many_calls(name, nfe):
    field = pf.VelocityField(tiny_dit(), torch.tensor([0, 1]))
    timing, counted = time_sampler(name, field, torch.randn(2, 3, 8, 8), 9, least_seconds=0.0)
    assert counted == nfe
    assert len(timing.seconds) == 3


def test_shares_and_rates_follow_from_the_times():
    model = tiny_dit(num_classes=0)
    rows = list(speeds(model, 2, 5, rate=1e9, least_seconds=0.0))
    assert [row.what for row in rows[3:]] == list(SAMPLED)
    for row in rows:
        assert row.images_per_second == pytest.approx(2 / row.timing.median)
        useful = operations(model.config, 1) * 2 * (row.nfe or 1)
        assert row.share == pytest.approx(useful / row.timing.median / 1e9)
