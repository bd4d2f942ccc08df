"""Embeddings of position, time and label against their formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.models.embeddings import (
    TimestepEmbedder,
    sincos_positions,
    timestep_features,
)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_timestep_features_are_cosines_then_sines_of_raw_time(times):
    t = np.array(times)
    angle = t[:, None] * np.exp(-np.log(10_000) * np.arange(128) / 128)
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    result = timestep_features(torch.tensor([times], dtype=torch.float32))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result[0].numpy(), expected, atol=3e-7)


@pytest.mark.parametrize(("rows", "cols", "dim"), [(1, 1, 4), (2, 3, 8), (5, 2, 24)])
def test_positions_are_sines_then_cosines_columns_before_rows(rows, cols, dim):
    result = sincos_positions(rows, cols, dim)
    quarter = dim // 4
    for row in range(rows):
        for col in range(cols):
            for k in range(quarter):
                omega = 10_000 ** (-k / quarter)
                expected = [f(x * omega) for x in (col, row) for f in (math.sin, math.cos)]
                position = result[row * cols + col, k::quarter].tolist()
                assert position == pytest.approx(expected, abs=1e-7)


def test_positions_tell_all_patches_apart():
    positions = sincos_positions(16, 16, 64)
    distances = torch.cdist(positions, positions) + 10 * torch.eye(256)
    assert distances.min() > 0.1


def test_timestep_embedder_is_two_linear_layers_with_silu_between():
    embedder, t = TimestepEmbedder(12), torch.rand(2, 3)
    first, _, second = embedder.mlp
    hidden = timestep_features(t) @ first.weight.T + first.bias
    expected = (hidden * torch.sigmoid(hidden)) @ second.weight.T + second.bias
    torch.testing.assert_close(embedder(t), expected)


def test_timestep_embedder_computes_features_in_fp32_and_answers_in_its_own_dtype():
    embedder, t = TimestepEmbedder(12), torch.rand(1, 4)
    expected = embedder(t)
    result = embedder.bfloat16()(t)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, atol=2e-2, rtol=2e-2)
