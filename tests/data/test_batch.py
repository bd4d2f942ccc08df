"""Which samples a step sees is arithmetic."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.data.batch import sample_ids


@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 2**40))
def test_every_epoch_sees_every_sample_once(size, batch_size, seed):
    steps = -(-3 * size // batch_size)
    seen = torch.cat([sample_ids(step, batch_size, size, seed) for step in range(steps)])
    for epoch in range(3):
        assert seen[epoch * size : (epoch + 1) * size].sort().values.equal(torch.arange(size))


def test_epochs_differ_in_order_and_so_do_seeds():
    first, second = sample_ids(0, 50, 50, seed=1), sample_ids(1, 50, 50, seed=1)
    assert not first.equal(second)
    assert not first.equal(sample_ids(0, 50, 50, seed=2))


def test_the_order_does_not_depend_on_the_batch_size():
    whole = sample_ids(0, 60, 25, seed=3)
    parts = torch.cat([sample_ids(step, 12, 25, seed=3) for step in range(5)])
    assert whole.equal(parts)
