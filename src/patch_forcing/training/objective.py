"""The training objective of Patch Forcing."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.losses import AlignedLossTerms, LossTerms, gaussian_nll, velocity_error
from patch_forcing.core.output import Model, ModelOutput
from patch_forcing.core.patches import patch_grid
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator, Generator, draw_normal
from patch_forcing.core.time import PatchTime, as_patch_time
from patch_forcing.core.timesteps import TimestepSampler
from patch_forcing.training.alignment import Alignment


@dataclass(frozen=True)
class PatchForcingObjective:
    """L = mean‖v − v*‖² + nll_weight·NLL over noise and per-patch times (arXiv 2604.19141).

    Terms are fp32 whatever the model computes in.

    alignment: with it (training/alignment.py), + weight·alignment of tokens and features; calls
    then take features, and return AlignedLossTerms.
    """

    path: LinearPath
    timesteps: TimestepSampler
    nll_weight: float = 0.01
    alignment: Alignment | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.nll_weight < float("inf"):
            raise UserError(f"nll_weight={self.nll_weight} is out of range: choose 0 or more")

    def __call__(
        self,
        model: Model,
        x_1: Float[Tensor, "B C H W"],
        condition: Tensor | None,
        *,
        x_0: Float[Tensor, "B C H W"] | None = None,
        t: PatchTime | Tensor | None = None,
        generator: Generator = None,
        features: Float[Tensor, "B N F"] | None = None,
    ) -> LossTerms | AlignedLossTerms:
        """Loss of the batch x_1; noise and times are drawn from `generator` unless given.

        features: a frozen encoder's of the clean images, on the grid of patches, for an alignment.
        """
        if (features is None) != (self.alignment is None):
            raise UserError("features go with an alignment: give both or neither")
        if x_0 is None:
            x_0 = self.draw_noise(x_1, generator)
        elif x_0.shape != x_1.shape:
            raise UserError(f"noise {tuple(x_0.shape)} for data {tuple(x_1.shape)}: give one shape")
        if t is None:
            t = self.draw_times(x_1, generator)
        rows, cols = patch_grid(x_1.shape[-2:], self.path.patch_size)
        time = as_patch_time(t, len(x_1), rows * cols)
        target = self.path.velocity(x_0, x_1)
        x_t = self.path.interpolate(x_0, x_1, time)
        if self.alignment is None or features is None:
            return self._terms(model(x_t, time, condition), target)
        after = self.alignment.block
        output = model(x_t, time, condition, tokens_after=after)
        assert output.tokens is not None
        total, velocity, nll = self._terms(output, target)
        aligned = self.alignment(output.tokens, features)
        return AlignedLossTerms(total + self.alignment.weight * aligned, velocity, nll, aligned)

    def _terms(self, output: ModelOutput, target: Tensor) -> LossTerms:
        velocity = velocity_error(output.velocity, target)
        if output.logvar is None:
            return LossTerms(velocity, velocity, velocity.new_zeros(()))
        nll = gaussian_nll(output.velocity, output.logvar, target)
        return LossTerms(velocity + self.nll_weight * nll, velocity, nll)

    def draw_noise(
        self, x_1: Float[Tensor, "B C H W"], generator: Generator = None
    ) -> Float[Tensor, "B C H W"]:
        """x_0 for the batch x_1."""
        return draw_normal(_for(generator, "noise"), *x_1.shape, device=x_1.device)

    def draw_times(self, x_1: Float[Tensor, "B C H W"], generator: Generator = None) -> PatchTime:
        """Per-patch times for the batch x_1."""
        rows, cols = patch_grid(x_1.shape[-2:], self.path.patch_size)
        stream = _for(generator, "timesteps")
        return self.timesteps(len(x_1), rows * cols, generator=stream, device=x_1.device)


def _for(generator: Generator, purpose: str) -> Generator:
    """Counted streams are separate by purpose; a torch generator is one stream."""
    return generator.fork(purpose) if isinstance(generator, CountedGenerator) else generator
