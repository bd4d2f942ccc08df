"""What a text encoder is: the border between frozen encoders and their users."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Encoded(NamedTuple):
    """Texts as an encoder sees them.

    embeddings: (B, L, E), one vector for each token; zeros where `mask` (B, L) is false, behind the
    last one. cut: what of each text did not fit, empty if all did.
    """

    embeddings: Float[Tensor, "B L E"]
    mask: Bool[Tensor, "B L"]
    cut: tuple[str, ...]


@runtime_checkable
class TextEncoder(Protocol):
    """A network that reads texts, never trained."""

    @property
    def name(self) -> str:
        """What it is called, with a hash of its weights: encoders whose embeddings differ differ in
        this.
        """

    @property
    def width(self) -> int:
        """E."""

    @property
    def max_length(self) -> int:
        """Tokens of a text at most."""

    def encode(self, texts: Sequence[str], length: int) -> Encoded:
        """The first `length` tokens of each text; of the empty text none.

        The same numbers for a text whatever is beside it.
        """

    def to(self, device: torch.device | str) -> "TextEncoder":
        """The same, computing on that device."""
