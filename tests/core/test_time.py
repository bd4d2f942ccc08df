"""PatchTime: distinct times and which patch holds which."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.core.time import as_patch_time


def test_shared_time_is_one_level_for_all_patches():
    time = pf.PatchTime.shared(torch.tensor([0.25, 0.75]), 3)
    assert (time.num_levels, time.num_patches) == (1, 3)
    assert time.to_dense().tolist() == [[0.25] * 3, [0.75] * 3]


def test_dense_round_trip():
    t = torch.rand(4, 9)
    assert pf.PatchTime.dense(t).to_dense().equal(t)


def test_gather_gives_each_patch_the_row_of_its_time():
    values, index = torch.rand(2, 3), torch.randint(3, (2, 8))
    time = pf.PatchTime(values, index)
    rows = torch.randn(2, 3, 5)
    for b in range(2):
        for n in range(8):
            assert time.gather(rows)[b, n].equal(rows[b, index[b, n]])
            assert time.to_dense()[b, n] == values[b, index[b, n]]


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))
def test_gradients_of_gather_add_up_over_the_patches_that_share_a_row(levels, patches, seed):
    random = torch.Generator().manual_seed(seed)
    index = torch.randint(levels, (2, patches), generator=random)
    rows = torch.randn(2, levels, 3, generator=random, dtype=torch.float64, requires_grad=True)
    time = pf.PatchTime(torch.zeros(2, levels), index)
    gradient = torch.randn(2, patches, 3, generator=random, dtype=torch.float64)
    (summed,) = torch.autograd.grad(time.gather(rows), rows, gradient)
    expected = torch.zeros(2, levels, 3, dtype=torch.float64)
    for b in range(2):
        for n in range(patches):
            expected[b, index[b, n]] += gradient[b, n]
    torch.testing.assert_close(summed, expected)


def test_gather_works_under_vmap():
    time = pf.PatchTime(torch.zeros(2, 3), torch.randint(3, (2, 5)))
    many = torch.randn(6, 2, 3, 4)
    expected = torch.stack([time.gather(rows) for rows in many])
    assert torch.func.vmap(time.gather)(many).equal(expected)


def test_two_levels():
    where = torch.tensor([[True, False, False], [False, False, True]])
    time = pf.PatchTime.two_level(where, 0.5, torch.tensor([0.125, 0.25]))
    assert time.num_levels == 2
    assert time.to_dense().tolist() == [[0.5, 0.125, 0.125], [0.25, 0.25, 0.5]]


def test_tile_repeats_the_batch():
    for time in (
        pf.PatchTime(torch.rand(2, 2), torch.randint(2, (2, 5))),
        pf.PatchTime.dense(torch.rand(2, 5)),
    ):
        assert time.tile(2).to_dense().equal(time.to_dense().repeat(2, 1))


def test_the_times_are_known_where_they_are_given_as_numbers():
    where = torch.tensor([[True, False, False]])
    assert pf.PatchTime.two_level(where, 0.5, 0.25).known == (0.25, 0.5)
    assert pf.PatchTime.two_level(where, 1, 0).known == (0.0, 1.0)
    assert pf.PatchTime.two_level(where, 0.5, torch.tensor(0.25)).known is None
    everywhere = pf.PatchTime.everywhere(0.3, torch.zeros(2, 1, 4, 4), 5)
    assert (everywhere.known, everywhere.num_levels) == ((0.3,), 1)
    assert everywhere.to_dense().equal(torch.full((2, 5), 0.3))
    assert everywhere.tile(3).known == (0.3,)
    assert pf.PatchTime.dense(torch.rand(2, 5)).known is None


@pytest.mark.parametrize(
    ("levels", "patches"), [(u, n) for n in (6, 10, 16, 24) for u in range(1, n + 1)]
)
def test_padding_keeps_every_time_and_leaves_few_shapes(levels, patches):
    time = pf.PatchTime(torch.rand(2, levels), torch.randint(levels, (2, patches)), (0.5,))
    padded = time.padded()
    assert padded.to_dense().equal(time.to_dense())
    allowed = [many for many in (1, 2, 4, 8, 16) if many <= patches]
    assert padded.num_levels == min(many for many in (*allowed, patches) if many >= levels)
    assert padded.known == time.known
    assert padded.padded() is padded


def test_times_of_some_patches():
    tokens = torch.tensor([[0, 3], [1, 4]])
    for time in (
        pf.PatchTime(torch.rand(2, 3), torch.randint(3, (2, 5))),
        pf.PatchTime.dense(torch.rand(2, 5)),
    ):
        assert time.at(tokens).to_dense().equal(time.to_dense().gather(1, tokens))


def test_the_border_takes_images_or_patches():
    assert as_patch_time(torch.tensor([0.5]), 1, 4).num_levels == 1
    assert as_patch_time(torch.rand(3, 4), 3, 4).num_levels == 4


@pytest.mark.parametrize("shape", [(), (1, 2, 3), (2, 5)])
def test_the_border_refuses_other_shapes(shape):
    with pytest.raises(pf.UserError):
        as_patch_time(torch.rand(shape), 2, 4)


def test_mismatched_batches_are_refused():
    with pytest.raises(pf.UserError, match="does not match"):
        pf.PatchTime(torch.rand(2, 2), torch.zeros(3, 4, dtype=torch.int64))
