"""Batches: what the trainer asks of any data, and which samples a step sees."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.random import CountedGenerator
from patch_forcing.models.config import DataInfo


class Batch(NamedTuple):
    """Images or latents (B, C, H, W) in the data's range, and their labels (B,)."""

    x_1: Float[Tensor, "B C H W"]
    condition: Int64[Tensor, "B"]


@runtime_checkable
class TrainingData(Protocol):
    """Data that a recipe trains on."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of every sample."""

    @property
    def num_classes(self) -> int:
        """How many labels there are."""

    @property
    def info(self) -> DataInfo:
        """What goes with a model trained on it."""

    def batch(
        self, step: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> Batch:
        """The batch of a step, on the device: a function of its arguments alone."""


@runtime_checkable
class DataSource(Protocol):
    """A recipe's choice of data, with its options."""

    def open(self) -> TrainingData:
        """Read it. Raises UserError if it is not there."""


@dataclass(frozen=True)
class TensorData:
    """A data set that fits into memory."""

    images: Float[Tensor, "M C H W"]
    labels: Int64[Tensor, "M"]
    num_classes: int
    info: DataInfo

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def batch(
        self, step: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> Batch:
        """The next batch_size samples of a new order each epoch; epochs follow without a gap."""
        chosen = sample_ids(step, batch_size, len(self.images), seed)
        return Batch(self.images[chosen].to(device), self.labels[chosen].to(device))


def sample_ids(step: int, batch_size: int, size: int, seed: int) -> Int64[Tensor, "{batch_size}"]:
    """Which of `size` samples a step sees: position is arithmetic, so a resume needs no state."""
    position = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs, places = position // size, position % size
    ids = torch.empty_like(position)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        ids[here] = _epoch_order(size, seed, epoch)[places[here]]
    return ids


@lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> Int64[Tensor, "{size}"]:
    keys = CountedGenerator(seed, torch.arange(size), step=epoch).fork("order").uniform()
    return keys.argsort(stable=True)
