"""A failed step is counted; one after the other stops, named however late anyone looks."""

import math

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.losses import LossTerms
from patch_forcing.training.finite import FiniteSteps
from patch_forcing.training.options import PATIENCE


def record(steps: FiniteSteps, loss: float, norm: float) -> None:
    steps.record(LossTerms(*torch.tensor([loss, 0.0, 0.0]).unbind()), torch.tensor(norm))


bad_numbers = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])


@bad_numbers
@pytest.mark.parametrize("looks", [0, 1, 3, 8, 12, 15])
@pytest.mark.parametrize("place", ["loss", "norm"])
def test_the_first_of_many_failed_steps_is_named(bad, looks, place):
    steps = FiniteSteps(7)
    for step in range(7, 11 + PATIENCE):
        if step - 7 == looks:
            steps.check()
        failed = (bad, 1.0) if place == "loss" else (1.0, bad)
        record(steps, *(failed if step >= 11 else (1.0, 2.0)))
    with pytest.raises(
        pf.UserError, match=rf"at step 11, the first of {PATIENCE} in a row .* are intact"
    ):
        steps.check()
    assert steps.failed == PATIENCE


@bad_numbers
def test_steps_that_fail_now_and_then_are_counted(bad):
    steps = FiniteSteps(0)
    for step in range(10 * PATIENCE):
        record(steps, bad if step % PATIENCE else 1.0, 1.0)
    steps.check()
    assert steps.failed == (PATIENCE - 1) * 10


def test_a_run_of_which_no_step_was_finite_stops_however_short():
    steps = FiniteSteps(3)
    record(steps, math.nan, 1.0)
    steps.check()  # more may come
    with pytest.raises(pf.UserError, match="at step 3,"):
        steps.check(last=True)


@pytest.mark.parametrize("first", [1, 8])
def test_a_run_whose_last_steps_alone_failed_ends(first):
    steps = FiniteSteps(first)
    for loss in (1.0, math.nan, math.nan):
        record(steps, loss, 1.0)
    steps.check(last=True)
    assert steps.failed == 2


@pytest.mark.parametrize("patience", [1, 3])
def test_so_many_in_a_row_are_too_many_and_one_less_is_not(patience):
    steps = FiniteSteps(1, patience)
    for loss in (1.0, *[math.nan] * (patience - 1), 1.0, *[math.nan] * patience):
        steps.check()
        record(steps, loss, 1.0)
    with pytest.raises(pf.UserError, match=f"at step {patience + 2}, the first of {patience} in"):
        steps.check()


def test_nothing_recorded_is_fine():
    FiniteSteps(0).check()
