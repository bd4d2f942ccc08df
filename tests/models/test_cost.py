"""What a forward pass costs, counted operation by operation and by formula."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import patch_forcing as pf
from patch_forcing.core.active import ActiveTokens
from patch_forcing.models.cost import Timing, operations, timed

GOLDEN = {
    "B/2": {1: 46005485568, 2: 46094352384, 16: 47338487808, 256: 68666523648},
    "L/2": {1: 161388953600, 2: 161697759232, 16: 166021038080, 256: 240134389760},
    "XL/2": {1: 237235765248, 2: 237690224640, 16: 244052656128, 256: 353122910208},
}
PUBLISHED = {"B/2": (46.0, 68.7), "L/2": (161.4, 240.1), "XL/2": (237.2, 353.1)}
PARAMETERS = {"B/2": 130, "L/2": 458, "XL/2": 675}


def formula(config: pf.PatchDiTConfig, levels: int) -> int:
    """Two operations for each multiply-add; layers as in the method, one image."""
    n, d, pixels = config.num_patches, config.hidden_size, config.patch_size**2
    block = 12 * d**2 * n + 2 * n**2 * d + 6 * d**2 * levels
    patches = n * d * pixels * config.in_channels
    time = levels * (256 * d + d**2)
    final = levels * 2 * d**2 + n * d * pixels * (config.in_channels + 1)
    return 2 * (config.depth * block + patches + time + final)


def parameters(config: pf.PatchDiTConfig) -> int:
    d, pixels = config.hidden_size, config.patch_size**2
    block = 12 * d**2 + 9 * d + 6 * d**2 + 6 * d
    patches = d * (pixels * config.in_channels + 1)
    conditions = 257 * d + d * (d + 1) + (config.num_classes + 1) * d
    final = 2 * d * (d + 1) + pixels * (config.in_channels + 1) * (d + 1)
    return config.depth * block + patches + conditions + final


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name[0] != "B")) for name in GOLDEN]
)
def test_operations_of_a_forward_pass_are_the_golden_numbers(name):
    with torch.device("meta"):
        model = pf.PatchDiT(pf.preset(name))
        x, labels = torch.empty(1, 4, 32, 32), torch.zeros(1, dtype=torch.int64)
        for levels, golden in GOLDEN[name].items():
            index = torch.zeros(1, 256, dtype=torch.int64)
            time = pf.PatchTime(torch.empty(1, levels), None if levels == 256 else index)
            with FlopCounterMode(display=False) as counter:
                model(x, time, labels)
            assert counter.get_total_flops() == golden


@pytest.mark.parametrize(
    "active",
    [77, pytest.param(1, marks=pytest.mark.slow), pytest.param(256, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", GOLDEN)
def test_active_tokens_cost_their_share_and_look_at_all(name, active):
    config = pf.preset(name)
    with torch.device("meta"):
        model = pf.PatchDiT(config)
        x, labels = torch.empty(1, 4, 32, 32), torch.zeros(1, dtype=torch.int64)
        time = pf.PatchTime(torch.empty(1, 2), torch.zeros(1, 256, dtype=torch.int64))
        memory = []
        model(x, time, labels, active=ActiveTokens(None, memory))
        tokens = torch.zeros(1, active, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(x, time, labels, active=ActiveTokens(tokens, memory))
    n, d, pixels, levels = 256, config.hidden_size, config.patch_size**2, 2
    block = 12 * d**2 * active + 2 * active * n * d + 6 * d**2 * levels
    patches = n * d * pixels * config.in_channels  # all are embedded
    final = levels * 2 * d**2 + active * d * pixels * (config.in_channels + 1)
    expected = 2 * (config.depth * block + patches + levels * (256 * d + d**2) + final)
    assert counter.get_total_flops() == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers_follow_from_the_sizes(name):
    result = {levels: formula(pf.preset(name), levels) for levels in GOLDEN[name]}
    assert result == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers_round_to_the_published_table(name):
    shared, dense = PUBLISHED[name]
    assert round(GOLDEN[name][1] / 1e9, 1) == shared
    assert round(GOLDEN[name][256] / 1e9, 1) == dense
    assert GOLDEN[name][2] / GOLDEN[name][1] < 1.0021


@pytest.mark.parametrize("name", ["S/2", *PARAMETERS])
def test_parameter_counts_follow_from_the_sizes(name):
    with torch.device("meta"):
        model = pf.PatchDiT(pf.preset(name))
    count = sum(weight.numel() for weight in model.parameters())
    assert count == parameters(model.config)
    assert round(count / 1e6) == PARAMETERS.get(name, 33)


def test_median_and_spread_of_the_repeats():
    timing = Timing((0.3, 0.1, 0.2))
    assert timing.median == 0.2
    assert timing.spread == pytest.approx(1.0)


def test_the_call_is_made_as_often_as_its_time_is_divided_by():
    calls = []
    timing = timed(lambda: calls.append(len(calls)), "cpu", least_seconds=0.001)
    assert len(timing.seconds) == 3
    assert min(timing.seconds) > 0
    assert len(calls) > 4  # two to warm up, two to see how long they take, then the repeats


def test_operations_are_those_of_the_golden_numbers():
    with torch.device("meta"):
        model = pf.PatchDiT(pf.preset("B/2"))
    assert operations(model.config, 1) == 46005485568
    assert operations(model.config, 16) == 47338487808
