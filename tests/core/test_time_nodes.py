"""Conditions interpolated between a few times."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import patch_forcing as pf
from patch_forcing.core.time_nodes import chebyshev_nodes, interpolated, lagrange_weights


def test_nodes_are_chebyshevs_of_the_unit_interval():
    nodes = chebyshev_nodes(5)
    expected = [0, (1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1]
    assert nodes.tolist() == pytest.approx(expected, abs=1e-7)


@given(st.integers(2, 20), st.integers(0, 2**31))
def test_polynomials_below_the_number_of_nodes_come_out_exactly(count, seed):
    random = np.random.default_rng(seed)
    polynomial = np.polynomial.Chebyshev(random.normal(size=count), domain=[0, 1])
    t = torch.from_numpy(random.uniform(size=(2, 7))).float()
    nodes = chebyshev_nodes(count)
    rows = torch.from_numpy(polynomial(nodes.double().numpy())).float()
    result = lagrange_weights(t, nodes) @ rows
    size = np.abs(polynomial.coef).sum()
    assert result.numpy() == pytest.approx(polynomial(t.double().numpy()), abs=3e-6 * size)


def test_some_patches_take_what_they_take_among_all():
    time = interpolated(pf.PatchTime.dense(torch.rand(2, 7)), 3)
    rows = torch.rand(2, 3, 5)
    everywhere = time.gather(rows)  # (2, 7, 5)
    tokens = torch.tensor([[0, 3], [6, 1]])
    result = time.at(tokens).gather(rows)
    torch.testing.assert_close(result, everywhere[torch.arange(2)[:, None], tokens])
    packed = torch.tensor([2, 6, 7, 13, 8])
    result = time.at(packed).gather(rows.flatten(0, 1)[None])
    torch.testing.assert_close(result, everywhere.flatten(0, 1)[packed][None])


@given(st.integers(2, 40))
def test_at_a_node_its_own_value_is_taken(count):
    nodes = chebyshev_nodes(count)
    assert lagrange_weights(nodes[None], nodes)[0].equal(torch.eye(count))


@given(st.floats(0, 1, width=32), st.integers(2, 20))
def test_weights_sum_to_one_and_stay_small_beside_nodes_too(t, count):
    nodes = chebyshev_nodes(count)
    close = torch.cat([nodes.nextafter(torch.tensor(2.0)), torch.tensor([t])]).clamp(0, 1)
    weights = lagrange_weights(close[None], nodes)
    assert weights.sum(-1).numpy() == pytest.approx(1, abs=1e-5)
    # Lebesgue's constant grows like the logarithm
    assert weights.abs().sum(-1).max() < 2 / math.pi * math.log(count) + 1.5


def test_times_are_what_they_were():
    t = torch.rand(3, 50)
    assert interpolated(pf.PatchTime.dense(t), 16).to_dense().numpy() == pytest.approx(
        t.numpy(), abs=1e-6
    )


def test_few_times_stay_as_they_are():
    for time in (
        pf.PatchTime.dense(torch.rand(2, 16)),
        pf.PatchTime(torch.rand(2, 20), torch.randint(20, (2, 50))),
        pf.PatchTime.shared(torch.rand(2), 50),
    ):
        assert interpolated(time, 16) is time


class OnOneDevice(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        assert {x.device.type for x in tensors} <= {"meta"}, function
        return result


def test_nothing_comes_from_another_device():
    # which cannot be recorded on a GPU
    time = pf.PatchTime.dense(torch.rand(2, 50, device="meta"))
    with OnOneDevice():
        assert interpolated(time, 16).gather(torch.empty(2, 16, 3, device="meta")).is_meta


def test_one_node_is_refused():
    with pytest.raises(pf.UserError, match="time_nodes=1 is out of range"):
        interpolated(pf.PatchTime.dense(torch.rand(2, 16)), 1)
