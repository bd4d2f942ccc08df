"""A run of a sampler: the image, its per-patch time, the count; shared by all samplers."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import Memory, Tokens
from patch_forcing.core.difficulty import easy_count, lowest
from patch_forcing.core.errors import UserError
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.patches import spread
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import Generator, draw_normal
from patch_forcing.core.time import PatchTime
from patch_forcing.core.time_grid import check_grid
from patch_forcing.sampling.evaluation import Callback, Evaluation, SampleResult
from patch_forcing.sampling.field import Field, FieldOutput, KeepingField, Recall
from patch_forcing.sampling.function_field import FunctionField, VelocityFunction


class Step(NamedTuple):
    """A step of the grid, from τ_k to τ_{k+1}."""

    number: int
    now: float
    then: float


class Moving(NamedTuple):
    """The patches that an evaluation is for.

    where: (B, N). tokens: the same as token indices, as many of each image, or packed.
    """

    where: Bool[Tensor, "B N"]
    tokens: Tokens


class Trajectory:
    """One run of a sampler: evaluates the field, moves patches, counts and records.

    State is fp32, and a patch's time is set to where it was moved, so that it ends at exactly 1.
    """

    def __init__(
        self,
        field: Field | VelocityFunction,
        x_0: Float[Tensor, "B C H W"],
        *,
        trace: bool = False,
        callback: Callback | None = None,
    ):
        self.field = field if isinstance(field, Field) else FunctionField(field)
        self.path = LinearPath(self.field.patch_size)
        self.x = x_0.float()
        rows, cols = patch_grid(x_0.shape[-2:], self.field.patch_size)
        self.t = self.x.new_zeros(len(x_0), rows * cols)
        self.kept = field.kept if isinstance(field, KeepingField) else None
        self.num_kept = field.num_kept if isinstance(field, KeepingField) else 0
        self.nfe = 0.0
        self._image_nfe = self.x.new_zeros(len(x_0))
        self.step = 0
        self._last: FieldOutput | None = None
        self._checks: list[tuple[int, str, Tensor]] = []  # read at the end: reading waits
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

        memory: what evaluations of a part of the patches know of the others; it is brought up to
        date. moving: with a memory, compute these patches only; the others keep the velocity and
        the difficulty of the evaluation before.
        complete: what the sampler adds to the output before it is recorded.
        """
        self.step, t = step, t.padded()
        x = self.x if x is None else x
        options: dict[str, Any] = {}  # a field that computes everything need not know `recall`
        if memory is not None:
            options["recall"] = Recall(memory, None if moving is None else moving.tokens)
        with torch.no_grad():
            output = self.field(x, t, guided=guided, **options)
        evaluated = torch.ones_like(self.t, dtype=torch.bool)
        if moving is not None and self._last is not None and not output.whole:
            evaluated = moving.where
            output = _merge(output, self._last, evaluated, self.field.patch_size)
        if complete is not None:
            output = complete(output)
        self._last = output
        self._count(output.evaluations, moving, output.whole)
        self._record(t, x, output, evaluated)
        return output

    def rest(self, step: int, t: PatchTime, x: Tensor) -> None:
        """Record a step at which no patch of any image has anything to do."""
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
        difficulty = output.difficulty
        record = Evaluation(
            self.step, t.to_dense(), self.t, difficulty, evaluated, prediction, self.nfe
        )
        if self._records is not None:
            self._records.append(record)
        if self._callback is not None:
            self._callback(record)

    def difficulty(self, output: FieldOutput) -> Float[Tensor, "B N"]:
        """The difficulty of an evaluation, to order patches by.

        Raises UserError if the model predicts none. NaN is an error at the end of the run.
        """
        if output.difficulty is None:
            raise UserError(
                "this model predicts no difficulty, which the sampler orders patches by: choose "
                "one whose needs_difficulty is False"
            )
        self._watch("difficulty is NaN at step {step}", output.difficulty.isnan().any())
        return output.difficulty

    def kept_first(self, ranking: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """A ranking without negative numbers, with the patches that the field keeps before all."""
        return ranking if self.kept is None else ranking.masked_fill(self.kept, -1.0)

    def easy_set(self, ranking: Float[Tensor, "B N"], easy_fraction: float) -> Bool[Tensor, "B N"]:
        """The lowest ⌊p·M⌋ of the M patches that the field moves, and those that it keeps."""
        count = easy_count(easy_fraction, self.t.shape[1] - self.num_kept)
        return lowest(self.kept_first(ranking), self.num_kept + count)

    def predict_noise(self, output: FieldOutput, t: PatchTime) -> Float[Tensor, "B C H W"]:
        """x̂_0 at the current image, by an evaluation of it."""
        if output.noise is not None:
            return output.noise
        return self.path.predict_noise(self.x, output.velocity.float(), t)

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
        self._checks.append((self.step, what, broken))

    def result(self) -> SampleResult:
        """The finished run. Raises UserError if anything was NaN, or the image infinite."""
        behind = (self.t != 1).any()
        flags = torch.stack([*(broken for _, _, broken in self._checks), behind]).tolist()
        for (step, what, _), broken in zip(self._checks, flags, strict=False):
            if broken:
                raise UserError(
                    f"{what.format(step=step)}: the model's weights are broken, or the guidance "
                    "scale is far too large"
                )
        assert not flags[-1], "a sampler left patches behind"
        return SampleResult(self.x, self.nfe, self._records, self.t, self._image_nfe)


def _merge(
    new: FieldOutput, before: FieldOutput, where: Bool[Tensor, "B N"], patch_size: int
) -> FieldOutput:
    """`new` in the patches of `where`, `before` elsewhere."""
    pixels = spread(where, new.velocity.shape[-2:], patch_size)
    difficulty = new.difficulty
    if difficulty is not None and before.difficulty is not None:
        difficulty = torch.where(where, difficulty, before.difficulty)
    guided = new.guided
    if guided is not None or before.guided is not None:
        none = torch.zeros_like(where)
        now, then = (none if mask is None else mask for mask in (guided, before.guided))
        guided = torch.where(where, now, then)
    return new._replace(
        velocity=torch.where(pixels, new.velocity, before.velocity),
        unguided=torch.where(pixels, new.unguided, before.unguided),
        difficulty=difficulty,
        guided=guided,
        guided_until=_earlier(new.guided_until, before.guided_until),
    )


def _earlier(a: float | Tensor, b: float | Tensor) -> float | Tensor:
    """The lesser, patch by patch if one is of patches."""
    if isinstance(a, Tensor):
        return a.minimum(b) if isinstance(b, Tensor) else a.clamp(max=b)
    return b.clamp(max=a) if isinstance(b, Tensor) else min(a, b)
