"""Which samples a step sees is arithmetic."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import TensorData
from patch_forcing.data.batch_spec import BatchSpec, rank_places
from patch_forcing.models.config import DataInfo


@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 2**40))
def test_every_epoch_sees_every_sample_once(size, batch_size, seed):
    steps = -(-3 * size // batch_size)
    seen = torch.cat([BatchSpec(step, batch_size, seed).sample_ids(size) for step in range(steps)])
    for epoch in range(3):
        assert seen[epoch * size : (epoch + 1) * size].sort().values.equal(torch.arange(size))


def test_epochs_differ_in_order_and_so_do_seeds():
    first, second = BatchSpec(0, 50, 1).sample_ids(50), BatchSpec(1, 50, 1).sample_ids(50)
    assert not first.equal(second)
    assert not first.equal(BatchSpec(0, 50, 2).sample_ids(50))


@given(st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**62))
def test_a_pass_goes_through_the_samples_by_rising_keys(size, epoch, seed):
    draws = [CountedGenerator(seed, [n], epoch).fork("order").uniform() for n in range(size)]
    keys = torch.cat(draws).tolist()
    expected = sorted(range(size), key=keys.__getitem__)
    assert BatchSpec(epoch, size, seed).sample_ids(size).tolist() == expected


def test_the_order_does_not_depend_on_the_batch_size():
    whole = BatchSpec(0, 60, 3).sample_ids(25)
    parts = torch.cat([BatchSpec(step, 12, 3).sample_ids(25) for step in range(5)])
    assert whole.equal(parts)


ROWS = TensorData(torch.arange(23.0).view(23, 1, 1, 1), torch.arange(23), 23, DataInfo())


@given(st.integers(1, 8), st.integers(0, 9), st.integers(8, 40), st.integers(0, 2**40))
def test_ranks_share_a_batch_without_overlap_and_it_is_the_same_for_any_number_of_them(
    world, step, batch_size, seed
):
    whole = ROWS.batch(BatchSpec(step, batch_size, seed))
    places = [rank_places(batch_size, rank, world) for rank in range(world)]
    assert [place for mine in places for place in mine] == list(range(batch_size))
    assert max(map(len, places)) - min(map(len, places)) <= 1
    parts = [ROWS.batch(BatchSpec(step, batch_size, seed, mine)) for mine in places]
    assert torch.cat([part.x_1 for part in parts]).equal(whole.x_1)
    assert torch.cat([part.condition for part in parts]).equal(whole.condition)


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**40))
def test_an_epoch_of_all_ranks_is_every_sample_once(world, single, seed):
    size = 3 * world * single
    data = dataclasses.replace(
        ROWS, images=torch.zeros(size, 1, 1, 1), labels=torch.arange(size), num_classes=size
    )
    seen = [
        data.batch(BatchSpec(step, world * single, seed).share(rank, world))
        for step in range(3)
        for rank in range(world)
    ]
    assert torch.cat([batch.condition for batch in seen]).sort().values.equal(torch.arange(size))


@pytest.mark.parametrize(
    ("batch_size", "rank", "world", "message"),
    [
        (8, 2, 2, "rank 2 of 2 does not exist: ranks are 0 to 1"),
        (8, -1, 2, "rank -1 of 2 does not exist"),
        (3, 0, 4, "batch_size=3 is less than 4 ranks: choose 4 or more"),
    ],
)
def test_ranks_that_cannot_be_are_named(batch_size, rank, world, message):
    with pytest.raises(pf.UserError, match=message):
        rank_places(batch_size, rank, world)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1, 8, 0), "step=-1 is out of range: choose a whole number, 0 or more"),
        ((0, 0, 0), "batch_size=0 is out of range: choose a whole number, 1 or more"),
        ((0, 8, -1), "seed=-1 is out of range"),
        ((0, 8, 2**63), "seed=9223372036854775808 is out of range"),
        ((0, 8, 0, range(4, 9)), r"places=range\(4, 9\) are not in a batch of 8"),
        ((0, 8, 0, range(3, 3)), "choose a part of range"),
        ((0, 8, 0, range(0, 8, 2)), "choose a part of range"),
    ],
)
def test_a_spec_that_cannot_be_is_named(values, message):
    with pytest.raises(pf.UserError, match=message):
        BatchSpec(*values)


def test_positions_run_on_from_step_to_step_and_a_share_is_a_part_of_them():
    spec = BatchSpec(5, 12, 0)
    assert spec.positions == range(60, 72)
    assert spec.next.positions == range(72, 84)
    assert spec.share(1, 3).positions == range(64, 68)
    assert spec.share(1, 3).next == BatchSpec(6, 12, 0, range(4, 8))
    assert spec.share(1, 3).epochs(66).tolist() == [0, 0, 1, 1]
