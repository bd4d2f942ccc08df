"""The training objective of Patch Forcing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.core.losses import LossTerms, gaussian_nll, velocity_error
from patch_forcing.core.output import ModelOutput
from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.core.path import LinearPath
from patch_forcing.core.random import CountedGenerator, Generator, draw_normal
from patch_forcing.core.time import PatchTime, as_patch_time
from patch_forcing.core.timesteps import TimestepSampler
from patch_forcing.training.terms import Term


@dataclass(frozen=True)
class PatchForcingObjective:
    """L = mean‖v − v*‖² + nll_weight·NLL over noise and per-patch times (arXiv 2604.19141).

    All of the loss is fp32 whatever the model computes in.

    difficulty_alone: the velocity's error is computed, but teaches nothing.
    terms: + Σ weight·term, such as an alignment (training/alignment.py); a call takes one tensor of
    inputs for each. All look after the same block.
    """

    path: LinearPath
    timesteps: TimestepSampler
    nll_weight: float = 0.01
    terms: tuple[Term, ...] = ()
    difficulty_alone: bool = False

    def __post_init__(self) -> None:
        check_range("nll_weight", self.nll_weight, 0)
        blocks = sorted({term.block for term in self.terms})
        if len(blocks) > 1:
            raise UserError(f"terms look after blocks {blocks}: choose one block for all")

    def __call__(
        self,
        model: Callable[..., ModelOutput],
        x_1: Float[Tensor, "B C H W"],
        condition: Tensor | None,
        *,
        x_0: Float[Tensor, "B C H W"] | None = None,
        t: PatchTime | Tensor | None = None,
        generator: Generator = None,
        crop: Float[Tensor, "B 4"] | None = None,
        inputs: Sequence[Tensor] = (),
    ) -> LossTerms:
        """Loss of the batch x_1; noise and times are drawn from `generator` unless given.

        crop: which part of its picture each image is, for a model that takes it.
        inputs: of each term; of an alignment the features (B, N, F) of the clean images.
        """
        if len(inputs) != len(self.terms):
            names = ", ".join(term.name for term in self.terms) or "no terms"
            raise UserError(f"{len(inputs)} inputs for {names}: give one tensor for each term")
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
        options: dict[str, Any] = {} if crop is None else {"crop": crop}
        if not self.terms:
            return self._plain(model(x_t, time, condition, **options), target)
        after = self.terms[0].block
        output = model(x_t, time, condition, tokens_after=after, **options)
        assert output.tokens is not None
        loss = self._plain(output, target)
        others: dict[str, Tensor] = {}
        total = loss.total
        for term, given in zip(self.terms, inputs, strict=True):
            others[term.name] = term(output.tokens, given)
            total = total + term.weight * others[term.name]
        return LossTerms(total, loss.velocity, loss.nll, others)

    def _plain(self, output: ModelOutput, target: Tensor) -> LossTerms:
        """Velocity and likelihood alone."""
        velocity = velocity_error(output.velocity, target)
        if self.difficulty_alone:
            velocity = velocity.detach()
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
