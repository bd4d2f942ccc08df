"""Encoders by name."""

import pytest
import torch

import patch_forcing as pf
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.features.find import find_encoder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov2-x", "unknown encoder 'dinov2-x': did you mean 'dinov2-"),
        ("emojis", "did you mean 'emoji'"),
        ("~nobody-of-that-name/x", "there is no such user"),
    ],
)
def test_a_mistyped_encoder_is_told_the_nearest(name, message):
    with pytest.raises(pf.UserError, match=message):
        find_encoder(name)


def test_the_bundled_encoder_sees_a_map_whose_mean_is_the_feature():
    encoder = find_encoder("emoji")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    values, grid = encoder.feature_map(images, (8, 8))
    assert grid == (4, 4)
    features = load_emoji_features()
    pooled = features.network(images) - features.reference.mean.float()
    torch.testing.assert_close(values.mean(1), pooled, atol=1e-5, rtol=1e-5)
