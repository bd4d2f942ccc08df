"""The benchmark of counts: discs are counted as they are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.counts.run import MOST, SIZE, counted, discs


@given(st.integers(1, MOST), st.integers(0, 2**32 - 1))
def test_discs_are_counted(count, seed):
    image = discs(count, np.random.default_rng(seed))
    assert counted(image) == count
    assert 0 <= image.min() and image.max() == 1
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
