"""What a sampler calls: a model with its condition and guidance. A sampler never sees those."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import ActiveTokens, Memory, Tokens, asked
from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import Model
from patch_forcing.core.patches import spread
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import Guidance, ends, extrapolate, guided_patches, scales


class FieldOutput(NamedTuple):
    """One evaluation of a field.

    velocity: (B, C, H, W), guided. difficulty: (B, N), or None if the model predicts none.
    evaluations: what it cost, in network evaluations per image: an evaluation of some tokens counts
    by their share. unguided: (B, C, H, W), the bare conditional velocity; the same as `velocity`
    without guidance. whole: all tokens were computed; if not, only theirs mean anything. guided:
    the patches that guidance changed; None: none. guided_until: the time at which that ends.
    """

    velocity: Float[Tensor, "B C H W"]
    difficulty: Float[Tensor, "B N"] | None
    evaluations: float
    unguided: Float[Tensor, "B C H W"]
    whole: bool = True
    guided: Bool[Tensor, "B N"] | None = None
    guided_until: float = float("inf")


@runtime_checkable
class Field(Protocol):
    """A velocity with per-patch difficulty, from per-patch times."""

    @property
    def patch_size(self) -> int: ...

    def __call__(
        self,
        x_t: Tensor,
        t: PatchTime,
        *,
        guided: bool = True,
        tokens: Tokens | None = None,
        memory: Memory | None = None,
    ) -> FieldOutput:
        """`guided=False`: the bare conditional velocity, at the cost of one evaluation.

        memory: is brought up to date. tokens: compute these only, as many of each image or packed,
        the others as remembered from a call with the same memory and no tokens; everything is
        computed after all where guidance has set in or ended since then.
        """
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

    def __call__(
        self,
        x_t: Tensor,
        t: PatchTime,
        *,
        guided: bool = True,
        tokens: Tokens | None = None,
        memory: Memory | None = None,
    ) -> FieldOutput:
        if self.condition is not None and len(self.condition) != len(x_t):
            raise UserError(
                f"{len(self.condition)} conditions for {len(x_t)} images: give one each"
            )
        guidance = self.guidance if guided else None
        where = None if guidance is None else guided_patches(guidance, t)
        if where is None:
            guidance = None
        active = None
        if memory is None:
            if tokens is not None:
                raise UserError("tokens without memory: give the memory of an earlier call")
        else:
            if not memory.of_model or memory.guided != (guidance is not None):
                tokens = None
            if tokens is None:
                memory.guided, memory.of_model, tokens = guidance is not None, [], None
            else:
                memory.before(t)
            active = ActiveTokens(tokens, memory.of_model)
        if guidance is None or where is None:
            output = self.model(x_t, t, self.condition, **asked(active))
            cost, unguided = 1, output.velocity
        else:
            pair = guidance.predict(self.model, x_t, t, self.condition, active)
            scale = scales(guidance, t)
            pixels = spread(where, x_t.shape[-2:], self.patch_size)
            if isinstance(scale, Tensor):
                scale = spread(scale, x_t.shape[-2:], self.patch_size)
            output = extrapolate(guidance, pair, pixels, scale)
            cost, unguided = 2, pair.good.velocity
        if memory is not None:
            memory.after(t, tokens)
        hard = None if output.logvar is None else difficulty(output.logvar, self.patch_size)
        share = 1.0 if tokens is None else tokens.numel() / (len(x_t) * t.num_patches)
        until = float("inf") if guidance is None else ends(guidance)
        return FieldOutput(
            output.velocity, hard, cost * share, unguided, tokens is None, where, until
        )
