"""What a sampler calls: a model with its condition and guidance. A sampler never sees those."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import Model, ModelOutput
from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import Guidance, active_patches, extrapolate


class FieldOutput(NamedTuple):
    """One evaluation of a field.

    velocity: (B, C, H, W), guided. difficulty: (B, N), or None if the model predicts none.
    evaluations: what it cost, in network evaluations per image. unguided: (B, C, H, W), the bare
    conditional velocity; the same as `velocity` without guidance.
    """

    velocity: Float[Tensor, "B C H W"]
    difficulty: Float[Tensor, "B N"] | None
    evaluations: float
    unguided: Float[Tensor, "B C H W"]


@runtime_checkable
class Field(Protocol):
    """A velocity with per-patch difficulty, from per-patch times."""

    @property
    def patch_size(self) -> int: ...

    def __call__(self, x_t: Tensor, t: PatchTime, *, guided: bool = True) -> FieldOutput:
        """`guided=False`: the bare conditional velocity, at the cost of one evaluation."""
        ...


class VelocityField:
    """The `Field` of a model.

    condition: what the model takes, one row per image, or None.
    Raises UserError if the condition does not suit the model, or if guidance has none to drop.
    """

    def __init__(
        self, model: Model, condition: Tensor | None = None, guidance: Guidance | None = None
    ):
        if condition is not None:
            model.check_condition(condition, len(condition))
        if guidance is not None:
            guidance.check(condition)
        self.model = model
        self.condition = condition
        self.guidance = guidance

    @property
    def patch_size(self) -> int:
        """P."""
        return self.model.patch_size

    def __call__(self, x_t: Tensor, t: PatchTime, *, guided: bool = True) -> FieldOutput:
        if self.condition is not None and len(self.condition) != len(x_t):
            raise UserError(
                f"{len(self.condition)} conditions for {len(x_t)} images: give one each"
            )
        guidance = self.guidance
        if guided and guidance is not None:
            active = active_patches(guidance, t)
            if active.any():
                pair = guidance.predict(self.model, x_t, t, self.condition)
                where = spread(active, x_t.shape[-2:], self.patch_size)
                return self._output(extrapolate(guidance, pair, where), 2, pair.good.velocity)
        prediction = self.model(x_t, t, self.condition)
        return self._output(prediction, 1, prediction.velocity)

    def _output(self, prediction: ModelOutput, cost: float, unguided: Tensor) -> FieldOutput:
        logvar = prediction.logvar
        hard = None if logvar is None else difficulty(logvar, self.patch_size)
        return FieldOutput(prediction.velocity, hard, cost, unguided)
