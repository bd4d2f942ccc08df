"""Whether training is still finite, looked at now and then: looking makes a GPU wait."""

import math

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.losses import LossTerms


class FiniteSteps:
    """Loss and gradient norm of the steps since the last look. first: the step to come."""

    def __init__(self, first: int):
        self._first = first
        self._steps: list[Tensor] = []

    def record(self, loss: LossTerms, norm: Tensor) -> None:
        """Remember a step, without waiting for it."""
        self._steps.append(torch.stack([loss.total, norm]))

    def check(self) -> None:
        """Raises UserError naming the first step whose loss or gradient was not finite."""
        if not self._steps:
            return
        for step, (loss, norm) in enumerate(torch.stack(self._steps).tolist(), self._first):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise UserError(
                    f"loss is {loss:g}, gradient norm {norm:g} at step {step}: "
                    "checkpoints are intact; train in another --out with a lower --optimizer.lr"
                )
        self._first += len(self._steps)
        self._steps.clear()
