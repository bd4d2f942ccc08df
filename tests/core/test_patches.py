"""The patch grid, against explicit loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.patches import pool, spread, unpatchify


@st.composite
def grids(draw):
    """Rows, columns and patch side; seldom square."""
    side = st.integers(1, 4)
    return draw(side), draw(side), draw(st.sampled_from([1, 2, 4, 8]))


@given(grids())
def test_the_grid_counts_rows_and_columns(grid):
    rows, cols, patch = grid
    assert patch_grid((rows * patch, cols * patch), patch) == (rows, cols)


@given(grids(), st.integers(1, 3))
def test_spread_gives_every_pixel_the_value_of_its_patch(grid, batch):
    rows, cols, patch = grid
    values = torch.randn(batch, rows * cols)
    image = spread(values, (rows * patch, cols * patch), patch)
    assert image.shape == (batch, 1, rows * patch, cols * patch)
    for y in range(rows * patch):
        for x in range(cols * patch):
            n = (y // patch) * cols + x // patch
            assert image[:, 0, y, x].equal(values[:, n])


def test_spread_keeps_the_type_of_masks_and_counts():
    assert spread(torch.tensor([[True, False]]), (1, 2), 1).dtype == torch.bool
    assert spread(torch.tensor([[3, 4]]), (1, 2), 1).dtype == torch.int64


@given(grids(), st.integers(1, 3))
def test_pool_is_the_mean_over_pixels_and_channels(grid, channels):
    rows, cols, patch = grid
    image = torch.randn(2, channels, rows * patch, cols * patch, dtype=torch.float64)
    pooled = pool(image, patch)
    assert pooled.shape == (2, rows * cols)
    for r in range(rows):
        for c in range(cols):
            cell = image[:, :, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
            expected = cell.sum(dim=(1, 2, 3)) / (channels * patch * patch)
            torch.testing.assert_close(pooled[:, r * cols + c], expected)


@given(grids())
def test_pool_undoes_spread(grid):
    rows, cols, patch = grid
    # whole numbers: their sums are exact, and so is division by a power of two
    values = torch.randint(-1000, 1000, (2, rows * cols)).float()
    assert pool(spread(values, (rows * patch, cols * patch), patch), patch).equal(values)


@given(grids(), st.integers(1, 3))
def test_unpatchify_orders_a_token_by_patch_row_patch_column_channel(grid, channels):
    rows, cols, patch = grid
    tokens = torch.randn(2, rows * cols, patch * patch * channels)
    image = unpatchify(tokens, (rows * patch, cols * patch), patch)
    assert image.shape == (2, channels, rows * patch, cols * patch)
    for y in range(rows * patch):
        for x in range(cols * patch):
            n = (y // patch) * cols + x // patch
            first = ((y % patch) * patch + x % patch) * channels
            assert image[:, :, y, x].equal(tokens[:, n, first : first + channels])


@pytest.mark.parametrize(
    ("size", "patch"), [((6, 8), 4), ((8, 6), 4), ((8, 8), 3), ((0, 8), 2), ((8, 8), 0)]
)
def test_sizes_that_patches_do_not_tile_are_refused_by_name(size, patch):
    height, width = size
    with pytest.raises(pf.UserError, match=rf"{height}x{width} .* patch size {patch}"):
        patch_grid(size, patch)


def test_every_function_refuses_sizes_that_patches_do_not_tile():
    for call in (
        lambda: pool(torch.zeros(1, 1, 6, 9), 4),
        lambda: spread(torch.zeros(1, 2), (6, 9), 4),
        lambda: unpatchify(torch.zeros(1, 2, 16), (6, 9), 4),
    ):
        with pytest.raises(pf.UserError, match=r"6x9 .* patch size 4"):
            call()
