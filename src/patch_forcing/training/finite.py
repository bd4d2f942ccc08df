"""Whether training is still finite, looked at now and then: looking makes a GPU wait."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.losses import LossTerms
from patch_forcing.training.options import PATIENCE


class FailedStep(NamedTuple):
    """A step whose loss or gradient norm is not finite."""

    step: int
    loss: float
    norm: float


class NotFiniteError(UserError):
    """Too many steps failed in a row; `steps` are they."""

    def __init__(self, steps: Sequence[FailedStep]):
        self.steps = tuple(steps)
        step, loss, norm = self.steps[0]
        super().__init__(
            f"loss {loss:g}, gradient norm {norm:g} at step {step}, the first of "
            f"{len(self.steps)} in a row that were not finite: weights and checkpoints are "
            "intact; train in another --out with a lower --optimizer.lr"
        )


class FiniteSteps:
    """Loss and gradient norm of the steps since the last look. first: the step to come.

    Steps where either is not finite change no weight; `failed` counts those that were looked at.
    patience: so many in a row are too many.
    """

    def __init__(self, first: int, patience: int = PATIENCE):
        self.failed = 0
        self._next = first
        self._steps: list[Tensor] = []
        self._in_a_row: list[FailedStep] = []
        self._first, self._patience = first, patience

    def record(self, loss: LossTerms, norm: Tensor) -> None:
        """Remember a step, without waiting for it."""
        self._steps.append(torch.stack([loss.total, norm]))

    def check(self, *, last: bool = False) -> None:
        """Raises NotFiniteError naming the first of `patience` failed steps in a row.

        last: the run ends here; raises too if none of its steps was finite, however few.
        """
        recorded = torch.stack(self._steps).tolist() if self._steps else []
        self._steps.clear()
        for loss, norm in recorded:
            if math.isfinite(loss) and math.isfinite(norm):
                self._in_a_row.clear()
            else:
                self.failed += 1
                self._in_a_row.append(FailedStep(self._next, loss, norm))
            self._next += 1
            if len(self._in_a_row) >= self._patience:
                raise NotFiniteError(self._in_a_row)
        if last and self._in_a_row and self.failed == self._next - self._first:
            raise NotFiniteError(self._in_a_row)
