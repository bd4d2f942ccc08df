"""What a sampler calls: a model with its condition and guidance. A sampler never sees those."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import ActiveTokens, Memory, Tokens
from patch_forcing.core.difficulty import difficulty
from patch_forcing.core.errors import UserError
from patch_forcing.core.output import Model, Network, prepared
from patch_forcing.core.time import PatchTime
from patch_forcing.sampling.guidance import Guidance, Query


class FieldOutput(NamedTuple):
    """One evaluation of a field.

    velocity: (B, C, H, W), guided.
    difficulty: (B, N), or None if the model predicts none.
    evaluations: what it cost, in network evaluations per image. An evaluation of a part of the
    tokens counts by their share.
    unguided: (B, C, H, W), the bare conditional velocity; `velocity` itself without guidance.
    whole: whether all tokens were computed; if not, only theirs mean anything.
    guided: (B, N), the patches that guidance changed; None: none.
    guided_until: the time at which guidance ends, for all patches or for each.
    noise: (B, C, H, W), x̂_0, of a wrapper whose images are not on the path at the caller's time;
    None: it is x_t − t·v.
    """

    velocity: Float[Tensor, "B C H W"]
    difficulty: Float[Tensor, "B N"] | None
    evaluations: float
    unguided: Float[Tensor, "B C H W"]
    whole: bool = True
    guided: Bool[Tensor, "B N"] | None = None
    guided_until: float | Float[Tensor, " N"] = float("inf")
    noise: Float[Tensor, "B C H W"] | None = None


class Recall(NamedTuple):
    """How an evaluation computes a part of the tokens and recalls the others.

    memory: what earlier calls remember of all tokens; the call brings it up to date.
    tokens: the ones to compute, as many of each image, or packed. None: all are computed. They all
    are, too, where the memory is empty, or where guidance has set in or ended since it was filled.
    """

    memory: Memory
    tokens: Tokens | None = None

    def active(self, t: PatchTime, guided: bool) -> ActiveTokens:
        """What the network is to compute at these times."""
        memory, tokens = self
        if tokens is None or not memory.of_model or memory.guided != guided:
            memory.guided, memory.of_model, tokens = guided, [], None
        else:
            memory.before(t)
        return ActiveTokens(tokens, memory.of_model)


@runtime_checkable
class Field(Protocol):
    """A velocity with per-patch difficulty, from per-patch times.

    Anything with these two members is a field, so that one field may wrap another and change the
    images and times on their way in and the output on its way back. A wrapper hands on `guided` and
    `recall`, changes `velocity` and `unguided` alike by `_replace`, and gives `guided_until` in its
    caller's time; all else stays the inner field's, so that costs and memory do.
    """

    @property
    def patch_size(self) -> int: ...

    def __call__(
        self, x_t: Tensor, t: PatchTime, *, guided: bool = True, recall: Recall | None = None
    ) -> FieldOutput:
        """guided: if False, the bare conditional velocity, at the cost of one evaluation.

        recall: which tokens are computed, and what is remembered of the others. Samplers that
        evaluate everything never give it.
        """
        ...


@runtime_checkable
class KeepingField(Protocol):
    """A field that keeps some patches as they are. Samplers count shares of the others alone."""

    @property
    def kept(self) -> Bool[Tensor, " N"]:
        """The patches that no image changes in."""

    @property
    def num_kept(self) -> int:
        """How many these are, known without waiting for a GPU."""


class VelocityField:
    """The `Field` of a model.

    condition: what the model takes, one row for each image, or None. What evaluations share of it,
    such as a refined text, is made at the first one.
    Raises UserError if the condition does not suit the model, or if guidance has none to drop, or a
    network that cannot drop it.
    """

    def __init__(
        self, model: Network, condition: Tensor | None = None, guidance: Guidance | None = None
    ):
        if condition is not None and isinstance(model, Model):
            model.check_condition(condition, len(condition))
        if guidance is not None:
            guidance.check(condition)
        self.model = model
        self.condition = condition
        self.guidance = guidance
        self._shared: tuple[int, Any] | None = None

    @property
    def patch_size(self) -> int:
        """P."""
        return self.model.patch_size

    def __call__(
        self, x_t: Tensor, t: PatchTime, *, guided: bool = True, recall: Recall | None = None
    ) -> FieldOutput:
        if self.condition is not None and len(self.condition) != len(x_t):
            raise UserError(
                f"{len(self.condition)} conditions for {len(x_t)} images: give one each"
            )
        guidance = self.guidance if guided else None
        where = None if guidance is None else guidance.where(t)
        active = None if recall is None else recall.active(t, guided=where is not None)
        query = Query(x_t, t, self._prepared(len(x_t), guided=where is not None), active)
        if guidance is None or where is None:
            output = query.ask(self.model)
            unguided, cost, until = output.velocity, 1, float("inf")
        else:
            pair = guidance.predict(self.model, query)
            output = guidance.combine(pair, t, where, self.patch_size)
            unguided, cost, until = pair.good.velocity, 2, guidance.end
        tokens = None if active is None else active.tokens
        if recall is not None:
            recall.memory.after(t, tokens)
        share = 1.0 if tokens is None else tokens.numel() / (len(x_t) * t.num_patches)
        return FieldOutput(
            output.velocity,
            None if output.logvar is None else difficulty(output.logvar, self.patch_size),
            cost * share,
            unguided,
            whole=tokens is None,
            guided=where,
            guided_until=until,
        )

    def _prepared(self, batch: int, guided: bool) -> Any:
        """The condition of both predictions if they are guided, else of the good one."""
        if self._shared is None or self._shared[0] != batch:
            if self.guidance is None:
                self._shared = batch, prepared(self.model, self.condition, batch)
            else:
                self._shared = batch, self.guidance.prepare(self.model, self.condition, batch)
        shared = self._shared[1]
        if self.guidance is None or guided:
            return shared
        return self.guidance.alone(shared, batch)
