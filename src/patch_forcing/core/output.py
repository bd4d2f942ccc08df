"""What a network takes and gives: the border between networks and everything that calls them."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.time import PatchTime


class ModelOutput(NamedTuple):
    """Velocity (B, C, H, W), and its log-variance (B, 1, H, W) where the network predicts it."""

    velocity: Float[Tensor, "B C H W"]
    logvar: Float[Tensor, "B 1 H W"] | None = None


class TokensOutput(NamedTuple):
    """A ModelOutput with the tokens (B, N, D) after a block that was asked for."""

    velocity: Float[Tensor, "B C H W"]
    logvar: Float[Tensor, "B 1 H W"] | None
    tokens: Float[Tensor, "B N D"]


@runtime_checkable
class Model(Protocol):
    """A network that predicts a velocity from per-patch times, under a droppable condition.

    A call with `active` computes those tokens alone; the others' pixels of the output mean nothing.
    Samplers that evaluate everything never ask for it.
    """

    @property
    def patch_size(self) -> int: ...

    def __call__(
        self,
        x_t: Tensor,
        t: PatchTime,
        condition: Tensor | None,
        *,
        active: ActiveTokens | None = None,
    ) -> ModelOutput: ...

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        """Raises UserError if the condition does not suit the model or the batch."""

    def drop_condition(self, condition: Tensor, dropped: Bool[Tensor, " B"]) -> Tensor:
        """The condition, with the null condition in the dropped rows."""


class TokensModel(Model, Protocol):
    """A network of blocks of tokens, which shows those after one of them when asked."""

    def __call__(
        self,
        x_t: Tensor,
        t: PatchTime,
        condition: Tensor | None,
        *,
        active: ActiveTokens | None = None,
        tokens_after: int | None = None,
    ) -> Any: ...
