"""What a training step computes from: samples, all that is drawn for them, and rates."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """All that changes from step to step, as tensors, so that a graph can be replayed on them.

    lr, and each average's share of the new weights: scalars. terms: what each term of the objective
    holds the tokens against, in order.
    """

    x_1: Tensor
    condition: Tensor | None
    dropped: Tensor
    x_0: Tensor
    t_values: Tensor
    t_index: Tensor | None
    crop: Tensor | None
    lr: Tensor
    ema_share: Tensor
    narrow_share: Tensor
    wide_share: Tensor
    terms: tuple[Tensor, ...] = ()

    def parts(self, count: int) -> Iterator[tuple[Any, ...]]:
        """What the loss takes, x_1 to crop and terms, in equal parts of the batch."""
        chunks = [[None] * count if whole is None else whole.chunk(count) for whole in self[:7]]
        terms = list(zip(*(whole.chunk(count) for whole in self.terms), strict=True))
        return zip(*chunks, terms or [()] * count, strict=True)

    def copy(self) -> "Inputs":
        """The same in memory of its own."""
        copies = [None if one is None else _copied(one) for one in self[:-1]]
        return Inputs._make([*copies, tuple(map(_copied, self.terms))])

    def fill(self, new: "Inputs") -> None:
        """Other values into the same memory."""
        for ours, theirs in zip(self._tensors(), new._tensors(), strict=True):
            ours.copy_(theirs)

    def _tensors(self) -> list[Tensor]:
        return [one for one in (*self[:-1], *self.terms) if one is not None]


def _copied(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
