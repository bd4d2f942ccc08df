"""The first step that was not finite is named, however late anyone looks."""

import math

import pytest
import torch

import patch_forcing as pf
from patch_forcing.core.losses import LossTerms
from patch_forcing.training.finite import FiniteSteps


def record(steps: FiniteSteps, loss: float, norm: float) -> None:
    steps.record(LossTerms(*torch.tensor([loss, 0.0, 0.0]).unbind()), torch.tensor(norm))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("looks", [0, 1, 3])
@pytest.mark.parametrize("place", ["loss", "norm"])
def test_the_first_bad_step_is_named(bad, looks, place):
    steps = FiniteSteps(7)
    for step in range(7, 11):
        if step - 7 == looks:
            steps.check()  # all was well so far
        record(steps, 1.0, 2.0)
    record(steps, *((bad, 1.0) if place == "loss" else (1.0, bad)))  # step 11
    record(steps, math.nan, math.nan)
    with pytest.raises(pf.UserError, match="at step 11: checkpoints are intact"):
        steps.check()


def test_nothing_recorded_is_fine():
    FiniteSteps(0).check()
