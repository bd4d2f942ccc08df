"""What a network takes and gives: the border between networks and everything that calls them."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from patch_forcing.core.active import ActiveTokens
from patch_forcing.core.time import PatchTime


class ModelOutput(NamedTuple):
    """What a network predicts at x_t.

    velocity: (B, C, H, W). logvar: (B, 1, H, W), the velocity's log-variance, where the network
    predicts it. tokens: (B, N, D), those after a block, where `tokens_after` named one.
    """

    velocity: Float[Tensor, "B C H W"]
    logvar: Float[Tensor, "B 1 H W"] | None = None
    tokens: Float[Tensor, "B N D"] | None = None


@runtime_checkable
class Network(Protocol):
    """What predicts a velocity from per-patch times, under a condition.

    A condition is one tensor whose first axis is the image, such as labels (B,); None is the null
    condition. With `active`, a call computes those tokens alone, and the others' pixels of the
    output mean nothing. With `tokens_after`, it also gives the tokens after that block, 1 … L. A
    network of rotary positions also takes `crop` (B, 4), which part of its picture each image is.
    None of these is passed by those who do not need it, so that a model may do without.
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
        tokens_after: int | None = None,
    ) -> ModelOutput: ...


@runtime_checkable
class Model(Network, Protocol):
    """A network that checks and drops conditions, for guidance and for training without some."""

    def check_condition(self, condition: Tensor | None, batch: int) -> None:
        """Raises UserError if the condition does not suit the model or the batch."""

    def drop_condition(self, condition: Tensor, dropped: Bool[Tensor, " B"]) -> Tensor:
        """The condition, with the null condition in the dropped rows."""


@runtime_checkable
class PreparesConditions(Protocol):
    """A network that makes of a condition, once, what all evaluations under it share."""

    def prepare_condition(self, condition: Tensor | None, batch: int) -> Any:
        """What calls take in the condition's place: a tensor, None, or anything whose `rows(slice)`
        gives those of a range of images.
        """


def prepared(model: Network, condition: Tensor | None, batch: int) -> Any:
    """What calls of the model take for this condition of so many images."""
    if isinstance(model, PreparesConditions):
        return model.prepare_condition(condition, batch)
    return condition


def first_rows(condition: Any, count: int) -> Any:
    """Those of the first images, of what `prepared` made."""
    if condition is None or isinstance(condition, Tensor):
        return None if condition is None else condition[:count]
    return condition.rows(slice(count))
