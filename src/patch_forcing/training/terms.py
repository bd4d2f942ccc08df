"""What a loss may have besides velocity and likelihood: terms that look at the tokens inside."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Term(Protocol):
    """One of them: total = velocity + nll_weight·nll + Σ weight·term."""

    @property
    def name(self) -> str:
        """Of its value among the others, as metrics.jsonl has it."""

    @property
    def weight(self) -> float:
        """Its factor in the total."""

    @property
    def block(self) -> int:
        """It sees the tokens after so many blocks, 1 or more."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What is trained with the network for it alone, by the names of files in checkpoints."""

    def __call__(self, tokens: Float[Tensor, "B N D"], inputs: Tensor) -> Float[Tensor, ""]:
        """Its value, not yet weighted; inputs: what it is to hold the tokens against, (B, …)."""
