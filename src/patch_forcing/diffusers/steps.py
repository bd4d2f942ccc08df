"""What a pipeline shows while it samples: a bar, and the user's own callback."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.sampling.evaluation import Evaluation

TENSORS = ("prediction", "t", "difficulty", "evaluated", "seeds")
"""What a callback may be given of an evaluation; `seeds` are those of its images."""
OnStepEnd = Callable[[Any, int, Tensor, dict[str, Any]], Mapping[str, Any] | None]


def check_names(names: Sequence[str]) -> None:
    """Raises UserError for a tensor that no evaluation has."""
    for name in names:
        if name not in TENSORS:
            raise unknown_name("tensor in callback_on_step_end_tensor_inputs", name, TENSORS)


@dataclass
class Watch:
    """Is called with every evaluation of a batch and the seeds of its images.

    pipe: what the user's callback is given first. names: the tensors that it is given. bar: one of
    tqdm, of the steps of all batches.
    """

    pipe: Any
    bar: Any
    steps: int
    callback: OnStepEnd | None
    names: Sequence[str]
    batches: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, evaluation: Evaluation, seeds: tuple[int, ...]) -> None:
        """Raises UserError if the callback wants to change what it is shown."""
        if not self.batches or self.batches[-1] != seeds:
            self.batches.append(seeds)
        done = (len(self.batches) - 1) * self.steps + evaluation.step + 1
        self.bar.update(done - self.bar.n)
        if self.callback is None:
            return
        tensors = vars(evaluation) | {"seeds": torch.tensor(seeds)}
        given = {name: tensors[name] for name in self.names}
        time = evaluation.state_t.mean()
        returned = self.callback(self.pipe, evaluation.step, time, dict(given))
        for name, value in (returned or {}).items():
            if value is not given.get(name):
                raise UserError(
                    f"callback_on_step_end returned another {name!r}: it can look, and raise to "
                    "stop; these samplers take nothing back"
                )
