"""Rotary positions: relative, and the same for a part of a picture wherever it is seen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.models.rotary import patch_positions, rotated, rotation
from tests.support.exact import all_channels, tiny_dit


def test_patches_of_training_are_1_apart_and_around_the_middle():
    at = patch_positions((2, 4), 8)
    assert at.shape == (1, 8, 2)
    assert at[0, :, 0].tolist() == [-0.5] * 4 + [0.5] * 4
    assert at[0, :4, 1].tolist() == [-1.5, -0.5, 0.5, 1.5]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 100))
def test_a_picture_of_any_size_spans_the_same_area(rows, columns, patches):
    row, column = patch_positions((rows, columns), patches)[0].T
    sides = [
        2 * axis.max() + (2 * axis.max() / max(n - 1, 1) if n > 1 else 0)
        for axis, n in ((row, rows), (column, columns))
    ]
    if rows > 1 and columns > 1:
        torch.testing.assert_close(sides[0] * sides[1], torch.tensor(float(patches)))
        torch.testing.assert_close(sides[0] / sides[1], torch.tensor(rows / columns))


@given(st.integers(0, 5), st.integers(0, 4), st.integers(1, 3), st.integers(1, 4))
def test_a_crop_has_the_positions_of_its_place_in_the_whole(top, left, rows, columns):
    whole = patch_positions((8, 8), 16).unflatten(1, (8, 8))
    corners = torch.tensor([[top, left, top + rows, left + columns]]) / 8
    crop = patch_positions((rows, columns), 16, corners)
    expected = whole[:, top : top + rows, left : left + columns].flatten(1, 2)
    torch.testing.assert_close(crop, expected, atol=1e-5, rtol=0)


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_scores_depend_on_the_distance_alone(row, column):
    q, k = torch.randn(2, 1, 1, 1, 1, 8)
    at = torch.tensor([[[0.5, 1.0]], [[2.0, -1.0]]])

    def score(shift: torch.Tensor) -> torch.Tensor:
        one, other = (rotation(place[None] + shift, 8) for place in at)
        both = torch.cat([q, q, q], dim=2), torch.cat([k, k, k], dim=2)
        turned = rotated(both[0], one)[0, 0, 0, 0] @ rotated(both[1], other)[0, 0, 1, 0]
        assert rotated(both[0], one)[:, :, 2:].equal(q)
        return turned

    shift = torch.tensor([row, column])
    torch.testing.assert_close(score(shift), score(torch.zeros(2)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_network_takes_other_sizes_and_says_what_it_cannot_take():
    model = tiny_dit(position="rope")
    for size in ((8, 8), (4, 16), (12, 6)):
        patches = size[0] * size[1] // 4
        x, t = torch.randn(2, 3, *size), torch.rand(2, patches)
        assert model(x, t).velocity.shape == x.shape
        sample = pf.samplers.DualLoopSampler()(pf.VelocityField(model), x, [0.0, 0.5, 1.0])
        assert sample.x_1.shape == x.shape
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    assert model(x, t, crop=whole).velocity.allclose(model(x, t).velocity, atol=1e-5)
    part = whole * torch.tensor([1, 1, 0.5, 0.25])
    assert not model(x, t, crop=part).velocity.allclose(model(x, t).velocity, atol=1e-3)
    with pytest.raises(pf.UserError, match="not divisible by patch size 2"):
        model(torch.randn(2, 3, 8, 7), t)
    with pytest.raises(pf.UserError, match=r"this model takes \(B, 3, H, W\)"):
        model(torch.randn(2, 4, 8, 8), t)
    with pytest.raises(pf.UserError, match="crop for fixed positions"):
        tiny_dit()(torch.randn(2, 3, 8, 8), torch.rand(2), crop=whole)


@torch.no_grad()
def test_images_moved_around_the_picture_are_seen_the_same():
    """There are no positions but relative ones."""
    model = tiny_dit(position="rope")
    x, t = torch.randn(1, 3, 8, 8), torch.rand(1, 16)
    corner = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    moved = all_channels(model(x, t, crop=corner + torch.tensor([0.25, 0.5, 0.25, 0.5])))
    torch.testing.assert_close(moved, all_channels(model(x, t, crop=corner)), atol=1e-4, rtol=0)
