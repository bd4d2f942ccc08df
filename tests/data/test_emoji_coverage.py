"""How much of a tile's cells each pixel of a scene shows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from patch_forcing.data.emoji import EmojiScenes, coverage
from tests.support.emoji_font import tiny_atlas

BLACK = (0, 0, 0, 255)


@st.composite
def rows(draw):
    """Pixels, start, length and cells: the row reaches beyond the pixels or not."""
    size, cells = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    start = draw(st.floats(-1, 1)) * size
    return size, start, draw(st.floats(0.02, 2)) * size, cells


def weights(size, start, length, cells, dtype=torch.float64):
    start, length = (torch.tensor([x], dtype=dtype) for x in (start, length))
    return coverage(size, start, length, cells)[0]


@given(rows(), st.integers(0, 99))
def test_a_pixel_is_the_mean_of_the_linear_interpolation(row, seed):
    size, start, length, cells = row
    values = np.random.default_rng(seed).uniform(-1, 1, cells)
    knots = start + (np.arange(-1, cells + 1) + 0.5) * length / cells
    heights = np.concatenate([[0], values, [0]])
    # between knots and edges all is linear: the trapezoids are exact
    places = np.union1d(knots, np.arange(size + 1))
    line = np.interp(places, knots, heights, left=0, right=0)
    area = np.concatenate([[0], np.cumsum(np.diff(places) * (line[1:] + line[:-1]) / 2)])
    expected = np.diff(area[np.searchsorted(places, np.arange(size + 1))])
    result = weights(*row) @ torch.from_numpy(values)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-10)
    low = weights(*row, dtype=torch.float32).double() @ torch.from_numpy(values)
    np.testing.assert_allclose(low, expected, rtol=0, atol=2e-5)


@given(rows())
def test_weights_of_a_pixel_between_the_outer_centres_sum_to_one(row):
    size, start, length, cells = row
    half, pixel = 0.5 * length / cells, torch.arange(size)
    inside = (pixel >= start + half) & (pixel + 1 <= start + length - half)
    away = (pixel + 1 <= start - half) | (pixel >= start + length + half)
    sums = weights(*row).sum(1)
    assert ((sums[inside] - 1).abs() < 1e-12).all()
    assert (sums[away].abs() < 1e-12).all()
    assert (weights(*row) >= -1e-15).all()


@given(rows())
def test_a_row_within_the_scene_keeps_its_mass(row):
    size, start, length, cells = row
    length = min(length, size / 2)
    half = 0.5 * length / cells  # the outer cells fade out beyond the row
    start = half + abs(start) / size * (size - length - 2 * half)
    mass = weights(size, start, length, cells).sum(0)  # of each cell
    np.testing.assert_allclose(mass, length / cells, rtol=1e-10)
    assert float(mass.sum()) == pytest.approx(length, rel=1e-10)


@given(st.integers(1, 30), st.floats(-1, 1), st.floats(0.02, 2), st.integers(1, 9))
def test_a_row_and_its_mirror_image_have_mirrored_weights(size, start, length, cells):
    start, length = start * size, length * size
    mirrored = weights(size, size - start - length, length, cells).flip(0, 1)
    np.testing.assert_allclose(weights(size, start, length, cells), mirrored, atol=1e-12)


def test_cells_that_are_pixels_are_blurred_by_the_hat_alone():
    # the mean of a hat over its own pixel is 3/4, over each neighbour 1/8
    expected = 0.75 * torch.eye(9) + 0.125 * (torch.eye(9).roll(1, 0) + torch.eye(9).roll(-1, 0))
    expected[0, -1] = expected[-1, 0] = 0
    torch.testing.assert_close(weights(9, 0.0, 9.0, 9), expected.double())


@pytest.mark.parametrize(
    ("size", "scale", "left", "top"),
    [(16, 0.45, 0.0, 0.55), (17, 0.9, 0.1, 0.03), (32, 0.71, 0.2, 0.13), (64, 0.5, 0.41, 0.2)],
)
def test_a_drawing_is_its_tile_sampled_finely_and_averaged(size, scale, left, top):
    picture = torch.randint(0, 256, (8, 8, 4)).repeat_interleave(16, 0).repeat_interleave(16, 1)
    source = EmojiScenes(tiny_atlas(BLACK, picture.numpy()), size)
    corner = torch.tensor([[left, top]])
    drawn = source._drawings(torch.tensor([1]), torch.tensor([scale]), corner)[0]
    fine = 1200 // size  # samples a pixel and axis
    places = (torch.arange(size * fine) + 0.5) / (size * fine)
    x, y = (2 * (places - start) / scale - 1 for start in (left, top))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    share = picture[..., 3:] / 255
    mixed = torch.cat([picture[..., :3] / 255 * share, share], dim=-1).permute(2, 0, 1)[None]
    sampled = F.grid_sample(mixed, grid, mode="bilinear", align_corners=False)
    expected = F.avg_pool2d(sampled, fine)[0]
    torch.testing.assert_close(drawn, expected, rtol=0, atol=4e-3)  # colours are rounded to 1/510
