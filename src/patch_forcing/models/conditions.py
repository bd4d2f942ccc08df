"""What an image is of, as a network takes it in: one module for each kind of condition.

A condition is one tensor whose first axis is the image, such as labels (B,). Its kind says what
tensors suit, which one is the null condition, and what a network makes of them. Whoever hands
conditions on (trainers, samplers, guidance) looks at the first axis alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from patch_forcing.core.errors import UserError
from patch_forcing.models.class_names import label_error

if TYPE_CHECKING:
    from patch_forcing.models.config import PatchDiTConfig


class Embedded(NamedTuple):
    """The conditions of a batch, embedded.

    vector: (B, D), added to the embedding of each time. tokens: (B, L, D), what blocks attend to
    besides the image; mask: (B, L), where those are not padding. Both None: the vector is all.
    keys_values: of each block, (B, L, 2, heads, width), in place of tokens, for many evaluations
    under the same conditions.
    """

    vector: Float[Tensor, "B D"]
    tokens: Float[Tensor, "B L D"] | None = None
    mask: Bool[Tensor, "B L"] | None = None
    keys_values: tuple[Tensor, ...] | None = None

    def rows(self, images: slice) -> "Embedded":
        """Those of a range of images."""
        kept = self.keys_values
        return Embedded(
            self.vector[images],
            None if self.tokens is None else self.tokens[images],
            None if self.mask is None else self.mask[images],
            None if kept is None else tuple(one[images] for one in kept),
        )


@runtime_checkable
class ConditionModule(Protocol):
    """The part of a network, an nn.Module, that embeds conditions of one kind.

    One with an attribute `attended` that is true gives tokens, to which each block then attends.
    """

    def __call__(self, condition: Tensor) -> Embedded: ...

    def init_weights(self) -> None:
        """Called when all linear layers of the network, those in here too, are initialised."""

    def check(self, condition: Tensor, batch: int) -> None:
        """Raises UserError unless it is a condition of this kind for so many images."""

    def null(self, batch: int) -> Tensor:
        """The null condition of so many images, on the device of the weights."""


@runtime_checkable
class Condition(Protocol):
    """A kind of condition with its options: a frozen dataclass, validated when built."""

    def module(self, sizes: "PatchDiTConfig") -> ConditionModule:
        """The module of a network of these sizes. Raises UserError if they do not suit."""


INITIAL_STD = 0.02
"""Of rows of a label table, as DiT has it."""


@dataclass(frozen=True)
class ClassCondition:
    """Labels (B,), int64: 0 … num_classes − 1, and num_classes for the null condition."""

    def module(self, sizes: "PatchDiTConfig") -> ConditionModule:
        """A table of vectors."""
        return LabelEmbedder(sizes.num_classes, sizes.vector_size)


class LabelEmbedder(nn.Module):
    """Labels → width D; the row at index `num_classes` is the null condition."""

    def __init__(self, num_classes: int, hidden_size: int):
        super().__init__()
        self.num_classes = num_classes
        self.embedding_table = nn.Embedding(num_classes + 1, hidden_size)

    def forward(self, labels: Int64[Tensor, "..."]) -> Embedded:
        """Raises UserError unless there is one label for each image."""
        if labels.ndim != 1:
            raise UserError(f"labels {tuple(labels.shape)}: give one for each image, (B,)")
        return Embedded(self.embedding_table(labels))

    def init_weights(self) -> None:
        """Small, so that the zero-initialised modulation starts to learn smoothly."""
        nn.init.normal_(self.embedding_table.weight, std=INITIAL_STD)

    def check(self, condition: Tensor, batch: int) -> None:
        """Raises UserError unless these are (batch,) labels in range."""
        if condition.shape != (batch,) or condition.dtype != torch.int64:
            raise UserError(
                f"labels {tuple(condition.shape)} of {condition.dtype}: give ({batch},) int64"
            )
        wrong = condition[(condition < 0) | (condition >= self.num_classes)]
        if len(wrong):
            raise label_error(int(wrong[0]), self.num_classes)

    def null(self, batch: int) -> Int64[Tensor, " {batch}"]:
        """The label behind the last class."""
        return torch.full((batch,), self.num_classes, device=self.embedding_table.weight.device)
