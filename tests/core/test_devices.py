"""Copies to a device have the same values, whenever the work before them ends."""

import pytest
import torch

from patch_forcing.core.devices import to_device


def test_what_is_there_already_is_not_copied():
    x = torch.arange(3)
    assert to_device(x, "cpu") is x


@pytest.mark.gpu
def test_copies_that_nobody_waits_for_have_the_values_of_then():
    busy = torch.randn(4096, 4096, device="cuda")
    for number in range(50):
        busy = busy @ busy / 4096  # work that a copy would wait for
        x = torch.full((1000,), float(number))
        there = to_device(x, "cuda")
        x.fill_(-1)  # the copy is of pinned memory, and not of this
        assert bool((there == number).all())
