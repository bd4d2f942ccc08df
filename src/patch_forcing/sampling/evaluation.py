"""What is seen of a sampling run: its evaluations, one by one, and its result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """One call of the field: what a callback sees and a trace keeps.

    step: index of the time step, from 0.
    t: (B, N), the times of the call. A patch that was not computed has the time it was seen at.
    state_t: (B, N), the times the image had reached. t is ahead of it only where a patch was pushed
    ahead for this call, as context or on trial.
    difficulty: (B, N), or None if the model predicts none.
    evaluated: (B, N), the patches that were computed.
    prediction: (B, C, H, W), the one-step prediction x̂_1 of the data.
    nfe: network evaluations per image so far, this one included, guidance counted.
    """

    step: int
    t: Float[Tensor, "B N"]
    state_t: Float[Tensor, "B N"]
    difficulty: Float[Tensor, "B N"] | None
    evaluated: Bool[Tensor, "B N"]
    prediction: Float[Tensor, "B C H W"]
    nfe: float

    def __getitem__(self, images: slice) -> "Evaluation":
        """The same call, of these images of the batch."""
        return Evaluation(
            self.step,
            self.t[images],
            self.state_t[images],
            None if self.difficulty is None else self.difficulty[images],
            self.evaluated[images],
            self.prediction[images],
            self.nfe,
        )

    @staticmethod
    def join(calls: Sequence["Evaluation"]) -> "Evaluation":
        """The same call of several batches, as one of all their images."""
        difficulty = [call.difficulty for call in calls if call.difficulty is not None]
        images = sum(len(call.t) for call in calls)
        return Evaluation(
            calls[0].step,
            torch.cat([call.t for call in calls]),
            torch.cat([call.state_t for call in calls]),
            torch.cat(difficulty) if difficulty else None,
            torch.cat([call.evaluated for call in calls]),
            torch.cat([call.prediction for call in calls]),
            sum(call.nfe * len(call.t) for call in calls) / images,
        )


Callback = Callable[[Evaluation], None]


@dataclass(frozen=True)
class SampleResult:
    """What a sampler returns.

    x_1: (B, C, H, W), the samples, fp32.
    nfe: network evaluations per image, all that was computed, guidance counted.
    trace: one Evaluation per call, or None if none was kept.
    t: (B, N), the time that every patch ended at: 1.
    image_nfe: (B,), the evaluations of each image's own patches. They differ between images where
    patches choose for themselves.
    """

    x_1: Float[Tensor, "B C H W"]
    nfe: float
    trace: list[Evaluation] | None
    t: Float[Tensor, "B N"]
    image_nfe: Float[Tensor, " B"]
