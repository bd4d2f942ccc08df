"""The benchmark of counts: discs are counted as they are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.counts.run import MOST, SIZE, TIMES, counted, discs
from benchmarks.pages.counts import EARLY, early, layouts
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import TIMESTEPS


@given(st.integers(1, MOST), st.integers(0, 2**32 - 1))
def test_discs_are_counted(count, seed):
    image = discs(count, np.random.default_rng(seed))
    assert counted(image) == count
    assert image.min() >= 0
    assert image.max() == 1
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert not edge.any()


@pytest.mark.parametrize("side", [3, 5])
def test_specks_are_no_discs(side):
    image = discs(2, np.random.default_rng(0))
    free = next(
        (slice(y, y + side), slice(x, x + side))
        for y in range(SIZE - side)
        for x in range(SIZE - side)
        if not image[max(0, y - 1) : y + side + 1, max(0, x - 1) : x + side + 1].any()
    )
    image[free] = 1
    assert counted(image) == 2


@pytest.mark.parametrize("times", TIMES)
def test_the_share_of_early_images_is_that_of_draws_of_one_patch(times):
    sampler = build("timesteps", TIMESTEPS, times)
    t = sampler(20_000, 1, generator=CountedGenerator(0, range(20_000))).to_dense()
    share = float((t < EARLY).float().mean())
    if "shared" in times:
        assert share == pytest.approx(early(times), abs=0.01)
    else:  # each patch is below the image's latest time
        assert share >= early(times) - 0.01


def test_the_page_has_a_line_for_each_distribution():
    right = {grid: {"share": 0.5, "width": 0.05} for grid in ("uniform", "shifted:shift=3")}
    made = {"command": "c", "commit": "abc", "date": "2026-11-30", "hardware": "a CPU"}
    made |= {"versions": {"torch": "2.14.1"}, "errors": {"0.0": 0.3}, "mean_image": 0.25}
    row = {"times": "shared-uniform", "seed": 0, "steps": 4000, "samples": 400, "right": right}
    other = {**right, "uniform": {"share": 0.6, "width": 0.05}}
    text = layouts([{**row, **made}, {**row, **made, "seed": 1, "right": other}])
    assert "| `shared-uniform` | 10.0 % | 55.0 ± 7.1 % | 50.0 ± 0.0 % | 20.0 ± 0.0 % |" in text
    assert "training seeds: 2 where" in text
