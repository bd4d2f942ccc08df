"""Any function as a field: a formula, or a network that is not ours, under our samplers."""

from collections.abc import Callable

from torch import Tensor

from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.field import FieldOutput, Recall

VelocityFunction = Callable[[Tensor, Tensor], Tensor | ModelOutput]
"""(x_t, t) → the velocity (B, C, H, W), or a ModelOutput, which may hold a log-variance."""


class FunctionField:
    """The `Field` of a function of (x_t, t). Each call of it counts as one evaluation.

    patch_size: P, of a function that takes a time for each patch: t is (B, 1, H, W) then, the time
    of each pixel. None: t is (B,), one time an image. Samplers that give patches times of their own
    raise UserError then. Those that order patches by difficulty need a log-variance.
    Raises UserError if the velocity has another shape than the images.
    """

    def __init__(self, function: VelocityFunction, patch_size: int | None = None):
        self.function = function
        self._patch_size = patch_size

    @property
    def patch_size(self) -> int:
        """P; 1 of a function of one time an image."""
        return 1 if self._patch_size is None else self._patch_size

    def __call__(
        self, x_t: Tensor, t: PatchTime, *, guided: bool = True, recall: Recall | None = None
    ) -> FieldOutput:
        """All patches are computed, whatever `recall` says; there is no guidance to leave out."""
        output = self.function(x_t, self._times(x_t, t))
        if isinstance(output, Tensor):
            output = ModelOutput(output)
        velocity, logvar = output.velocity, output.logvar
        if velocity.shape != x_t.shape:
            raise UserError(
                f"the function gives {tuple(velocity.shape)} for images {tuple(x_t.shape)}: return "
                "a velocity of the images' shape"
            )
        hard = None if logvar is None else difficulty(logvar, self.patch_size)
        return FieldOutput(velocity, hard, 1.0, velocity)

    def _times(self, x_t: Tensor, t: PatchTime) -> Tensor:
        if self._patch_size is not None:
            return spread(t.to_dense(), x_t.shape[-2:], self._patch_size)
        if t.num_levels > 1:
            raise UserError(
                "the sampler gives patches times of their own, and this function takes one time an "
                "image: choose euler, or FunctionField(function, patch_size)"
            )
        return t.values[:, 0]
