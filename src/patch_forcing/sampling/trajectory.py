"""The state of a sampling run, shared by all samplers: the image, its per-patch time, the count."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import Memory, Tokens
from patch_forcing.core.errors import UserError
from patch_forcing.core.patches import patch_grid, spread
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import Generator, draw_normal
from patch_forcing.core.time import PatchTime, check_grid
from patch_forcing.sampling.field import Field, FieldOutput


@dataclass(frozen=True)
class Evaluation:
    """One call of the field: what a callback sees and a trace keeps.

    step: index of the time step, from 0.
    t: (B, N), the times of the call; of patches that were not computed, what they would have been.
    state_t: (B, N), the times the image had reached; t is ahead of it only where a patch was pushed
    ahead for this call, as context or on trial.
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

    x_1: (B, C, H, W), the samples, fp32. nfe: network evaluations per image, guidance counted, all
    that was computed. trace: one Evaluation per call, if asked for. t: (B, N), the time every patch
    ended at: 1. image_nfe: (B,), what each image's own patches took; where they choose for
    themselves, not all the same.
    """

    x_1: Float[Tensor, "B C H W"]
    nfe: float
    trace: list[Evaluation] | None
    t: Float[Tensor, "B N"]
    image_nfe: Float[Tensor, " B"]


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

    def plan(self, time_grid: list[float], num_patches: int) -> list["Call"]:
        """The evaluations that a run on this grid takes, in order, for images of N patches.

        Where patches choose for themselves, the most that it can take.
        """
        ...


class Call(NamedTuple):
    """An evaluation that is to come.

    times: all that patches are at. share: of the patches that are computed; more where guidance
    sets in or ends since the last whole evaluation. guided: not the bare conditional velocity.
    reuse: what guidance adds may come from earlier ones.
    """

    times: tuple[float, ...]
    share: float = 1.0
    guided: bool = True
    reuse: bool = False


class Step(NamedTuple):
    """A step of the grid, from τ_k to τ_{k+1}."""

    number: int
    now: float
    then: float


class Moving(NamedTuple):
    """The patches that an evaluation is for: where, (B, N), as token indices too, maybe packed."""

    where: Bool[Tensor, "B N"]
    tokens: Tokens


def _merge(
    new: FieldOutput, before: FieldOutput, where: Bool[Tensor, "B N"], patch_size: int
) -> FieldOutput:
    """`new` in the patches of `where`, `before` elsewhere."""
    pixels = spread(where, new.velocity.shape[-2:], patch_size)
    hard = new.difficulty
    if hard is not None and before.difficulty is not None:
        hard = torch.where(where, hard, before.difficulty)
    guided = new.guided
    if guided is not None or before.guided is not None:
        none = torch.zeros_like(where)
        now, then = (none if mask is None else mask for mask in (guided, before.guided))
        guided = torch.where(where, now, then)
    return new._replace(
        velocity=torch.where(pixels, new.velocity, before.velocity),
        unguided=torch.where(pixels, new.unguided, before.unguided),
        difficulty=hard,
        guided=guided,
        guided_until=min(new.guided_until, before.guided_until),
    )


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
        self._image_nfe = self.x.new_zeros(len(x_0))
        self.step = 0
        self._last: FieldOutput | None = None
        self._broken: list[tuple[int, str, Tensor]] = []  # read at the end: reading waits
        self._records: list[Evaluation] | None = [] if trace else None
        self._callback = callback

    def steps(self, time_grid: list[float] | Tensor) -> list[Step]:
        """The steps of a checked grid."""
        grid = check_grid(time_grid)
        return [Step(k, *ends) for k, ends in enumerate(pairwise(grid))]

    def shared_time(self, t: float) -> PatchTime:
        """The same time for every patch of every image."""
        return PatchTime.everywhere(t, self.x, self.t.shape[1])

    def evaluate(
        self,
        step: int,
        t: PatchTime,
        x: Tensor | None = None,
        *,
        guided: bool = True,
        memory: Memory | None = None,
        moving: Moving | None = None,
        complete: Callable[[FieldOutput], FieldOutput] | None = None,
    ) -> FieldOutput:
        """The field at the current image, or at `x` in its place.

        memory: what evaluations of some patches know of the others, brought up to date. moving:
        compute these only; the others keep their velocity and difficulty of the evaluation before.
        complete: what the sampler adds to it before it is recorded.
        """
        self.step, t = step, t.padded()
        x = self.x if x is None else x
        before: FieldOutput | None = self._last
        options: dict[str, Any] = {} if memory is None else {"memory": memory}
        if moving is not None:
            options["tokens"] = moving.tokens
        with torch.no_grad():
            output = self.field(x, t, guided=guided, **options)
        evaluated = torch.ones_like(self.t, dtype=torch.bool)
        if moving is not None and before is not None and not output.whole:
            evaluated = moving.where
            output = _merge(output, before, evaluated, self.field.patch_size)
        if complete is not None:
            output = complete(output)
        self._last = output
        self._count(output.evaluations, moving, output.whole)
        self._record(t, x, output, evaluated)
        return output

    def rest(self, step: int, t: PatchTime, x: Tensor) -> None:
        """On record only: a step at which no patch of any image has anything to do."""
        assert self._last is not None
        self.step = step
        self._record(t, x, self._last, torch.zeros_like(self.t, dtype=torch.bool))

    def _count(self, evaluations: float, moving: Moving | None, whole: bool) -> None:
        self.nfe += evaluations
        if moving is None:
            self._image_nfe += evaluations
        elif whole:  # for those that needed any
            self._image_nfe += evaluations * moving.where.any(dim=1)
        else:
            per_token = evaluations * len(self.x) / moving.tokens.numel()
            self._image_nfe += per_token * moving.where.sum(dim=1)

    def _record(
        self, t: PatchTime, x: Tensor, output: FieldOutput, evaluated: Bool[Tensor, "B N"]
    ) -> None:
        if self._records is None and self._callback is None:
            return
        prediction = self.path.predict_data(x, output.velocity, t)
        record = Evaluation(
            self.step, t.to_dense(), self.t, output.difficulty, evaluated, prediction
        )
        if self._records is not None:
            self._records.append(record)
        if self._callback is not None:
            self._callback(record)

    def difficulty(self, output: FieldOutput) -> Float[Tensor, "B N"]:
        """The difficulty of an evaluation, to choose by. Raises UserError if the model has none.

        NaN is found at the end of the run.
        """
        if output.difficulty is None:
            raise UserError(
                "this model predicts no difficulty, which the sampler orders patches by: "
                "sample with adams-bashforth, euler or heun"
            )
        self._watch("difficulty is NaN at step {step}", output.difficulty.isnan().any())
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
        self._watch("samples hold NaN or infinity from step {step} on", ~self.x.isfinite().all())

    def stir(self, std: float, generator: Generator) -> None:
        """Add fresh noise of this standard deviation to the image; its time stands still."""
        fresh = draw_normal(generator, len(self.x), *self.x.shape[1:], device=self.x.device)
        self.x = self.x + std * fresh

    def _watch(self, what: str, broken: Bool[Tensor, ""]) -> None:
        self._broken.append((self.step, what, broken))

    def result(self) -> SampleResult:
        """The finished run. Raises UserError if anything was NaN, or the image infinite."""
        behind = (self.t != 1).any()
        found = torch.stack([*(broken for _, _, broken in self._broken), behind]).tolist()
        for (step, what, _), broken in zip(self._broken, found, strict=False):
            if broken:
                raise UserError(
                    f"{what.format(step=step)}: the model's weights are broken, or the guidance "
                    "scale is far too large"
                )
        assert not found[-1], "a sampler left patches behind"
        return SampleResult(self.x, self.nfe, self._records, self.t, self._image_nfe)


class TrajectorySampler(ABC):
    """A `Sampler` that says how one trajectory goes; starting and ending it is the same for all."""

    @abstractmethod
    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        """Take the run from noise to data."""

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
        run = Trajectory(field, x_0, trace=trace, callback=callback)
        self.follow(run, time_grid, generator)
        return run.result()
