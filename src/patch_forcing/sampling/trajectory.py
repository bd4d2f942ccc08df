"""The state of a sampling run, shared by all samplers: the image, its per-patch time, the count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import patch_grid, spread
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import Generator
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import Field, FieldOutput
from patch_forcing.sampling.grids import check_grid


@dataclass(frozen=True)
class Evaluation:
    """One call of the field: what a callback sees and a trace keeps.

    step: index of the time step, from 0.
    t: (B, N), the times the network saw.
    state_t: (B, N), the times the image had reached; t is ahead of it only where a patch was pushed
    ahead as context.
    difficulty: (B, N), or None if the model predicts none.
    evaluated: (B, N), the patches that were computed.
    prediction: (B, C, H, W), the one-step prediction of the data.
    """

    step: int
    t: Float[Tensor, "B N"]
    state_t: Float[Tensor, "B N"]
    difficulty: Float[Tensor, "B N"] | None
    evaluated: Bool[Tensor, "B N"]
    prediction: Float[Tensor, "B C H W"]

    def __getitem__(self, images: slice) -> "Evaluation":
        """The same call, of some images of the batch."""
        hard = None if self.difficulty is None else self.difficulty[images]
        return Evaluation(
            self.step,
            self.t[images],
            self.state_t[images],
            hard,
            self.evaluated[images],
            self.prediction[images],
        )

    @staticmethod
    def join(calls: Sequence["Evaluation"]) -> "Evaluation":
        """The same call of several batches, as one of all their images."""
        hard = [call.difficulty for call in calls if call.difficulty is not None]
        return Evaluation(
            calls[0].step,
            torch.cat([call.t for call in calls]),
            torch.cat([call.state_t for call in calls]),
            torch.cat(hard) if hard else None,
            torch.cat([call.evaluated for call in calls]),
            torch.cat([call.prediction for call in calls]),
        )


Callback = Callable[[Evaluation], None]


@dataclass(frozen=True)
class SampleResult:
    """What a sampler returns.

    x_1: (B, C, H, W), the samples, fp32. nfe: network evaluations per image, guidance counted.
    trace: one Evaluation per call, if asked for. t: (B, N), the time every patch ended at: 1.
    """

    x_1: Float[Tensor, "B C H W"]
    nfe: float
    trace: list[Evaluation] | None
    t: Float[Tensor, "B N"]


@runtime_checkable
class Sampler(Protocol):
    """From noise to samples along a time grid."""

    def __call__(
        self,
        field: Field,
        x_0: Float[Tensor, "B C H W"],
        time_grid: list[float] | Tensor,
        *,
        generator: Generator = None,
        trace: bool = False,
        callback: Callback | None = None,
    ) -> SampleResult:
        """generator: for samplers that draw; with one stream per image, no image depends on others.

        Raises UserError for a grid that does not rise from 0 to 1, or a field without the
        difficulty that the sampler needs, or that returns NaN, naming the step.
        """
        ...

    def count_evaluations(self, time_grid: list[float]) -> int:
        """Calls of the field on this grid."""
        ...


class Step(NamedTuple):
    """A step of the grid, from τ_k to τ_{k+1}."""

    number: int
    now: float
    then: float


class Trajectory:
    """One run of a sampler: evaluates the field, moves patches, counts and records.

    State is fp32, and a patch's time is set to where it was moved, so that it ends at exactly 1.
    """

    def __init__(
        self,
        field: Field,
        x_0: Float[Tensor, "B C H W"],
        *,
        trace: bool = False,
        callback: Callback | None = None,
    ):
        self.field = field
        self.path = LinearPath(field.patch_size)
        self.x = x_0.float()
        rows, cols = patch_grid(x_0.shape[-2:], field.patch_size)
        self.t = self.x.new_zeros(len(x_0), rows * cols)
        self.nfe = 0.0
        self.step = 0
        self._finite: list[tuple[int, Tensor]] = []
        self._records: list[Evaluation] | None = [] if trace else None
        self._callback = callback

    def steps(self, time_grid: list[float] | Tensor) -> list[Step]:
        """The steps of a checked grid."""
        grid = check_grid(time_grid)
        return [Step(k, *ends) for k, ends in enumerate(pairwise(grid))]

    def shared_time(self, t: float) -> PatchTime:
        """The same time for every patch of every image."""
        return PatchTime.shared(self.x.new_full((len(self.x),), t), self.t.shape[1])

    def evaluate(
        self, step: int, t: PatchTime, x: Tensor | None = None, *, guided: bool = True
    ) -> FieldOutput:
        """The field at the current image, or at `x` in its place."""
        self.step = step
        x = self.x if x is None else x
        with torch.no_grad():
            output = self.field(x, t, guided=guided)
        self.nfe += output.evaluations
        if self._records is not None or self._callback is not None:
            dense = t.to_dense()
            record = Evaluation(
                step,
                dense,
                self.t,
                output.difficulty,
                torch.ones_like(dense, dtype=torch.bool),
                self.path.predict_data(x, output.velocity, t),
            )
            if self._records is not None:
                self._records.append(record)
            if self._callback is not None:
                self._callback(record)
        return output

    def difficulty(self, output: FieldOutput) -> Float[Tensor, "B N"]:
        """The difficulty of an evaluation, to choose by. Raises UserError if missing or NaN."""
        if output.difficulty is None:
            raise UserError(
                "this model predicts no difficulty, which the sampler orders patches by: "
                "sample with euler or random-order"
            )
        if output.difficulty.isnan().any():
            raise UserError(
                f"difficulty is NaN at step {self.step}: the model's weights are broken, "
                "or the guidance scale is far too large"
            )
        return output.difficulty

    def displaced(
        self, velocity: Tensor, to: float, where: Bool[Tensor, "B N"] | None = None
    ) -> Tensor:
        """The image with the patches of `where` (None: all) one Euler step on, at time `to`."""
        dt = to - self.t if where is None else (to - self.t) * where
        return self.x + spread(dt, self.x.shape[-2:], self.field.patch_size) * velocity.float()

    def move(self, velocity: Tensor, to: float, where: Bool[Tensor, "B N"] | None = None) -> None:
        """Take that step."""
        self.x = self.displaced(velocity, to, where)
        self.t = torch.full_like(self.t, to) if where is None else self.t.masked_fill(where, to)
        self._finite.append((self.step, self.x.isfinite().all()))  # read at the end: no waiting

    def result(self) -> SampleResult:
        """The finished run. Raises UserError if the image is not finite."""
        assert bool((self.t == 1).all()), "a sampler left patches behind"
        for step, finite in self._finite:
            if not finite:
                raise UserError(
                    f"samples hold NaN or infinity from step {step} on: the model's weights are "
                    "broken, or the guidance scale is far too large"
                )
        return SampleResult(self.x, self.nfe, self._records, self.t)
