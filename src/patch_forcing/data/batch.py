"""Batches: what the trainer asks of any data, and which samples a step sees."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.models.config import DataInfo


class Batch(NamedTuple):
    """Images or latents (B, C, H, W) in the data's range, and their labels (B,) or B captions."""

    x_1: Float[Tensor, "B C H W"]
    condition: Int64[Tensor, " B"] | tuple[str, ...] | None


class BadSample(NamedTuple):
    """A sample that could not be read: where it lies, and why."""

    path: str
    reason: str


@runtime_checkable
class TrainingData(Protocol):
    """Data that a recipe trains on."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of every sample."""

    @property
    def num_classes(self) -> int:
        """How many labels there are; 0 is unconditional."""

    @property
    def info(self) -> DataInfo:
        """What goes with a model trained on it."""

    def batch(
        self,
        step: int,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        places: range | None = None,
    ) -> Batch:
        """The batch of a step, on the device: a function of its arguments alone.

        places: those of the batch's batch_size samples that are wanted, as a rank wants its own
        (rank_places); None: all. Asked for a part, data give what stands there in the whole.
        """


@runtime_checkable
class ReplacesBadSamples(Protocol):
    """Data some of whose samples may turn out to be bad; others take their places in a batch."""

    @property
    def num_samples(self) -> int:
        """How many there are, bad ones counted."""

    @property
    def max_bad_share(self) -> float:
        """The share of the samples looked at above which training on makes no sense."""

    def bad_samples(self) -> list[BadSample]:
        """Those whose turn came, for the first time, in the batches since the last call."""


@runtime_checkable
class NamesSamples(Protocol):
    """Data that can tell which samples a step sees."""

    def sample_names(self, step: int, batch_size: int, seed: int) -> list[str]:
        """What stands at each place of a batch, for people; bad ones are not yet replaced."""


@runtime_checkable
class Numbered(Protocol):
    """Finite data: what stands at a place of a batch is one of `num_pictures`, by its number.

    A sample and its mirror image are two pictures. So something can be kept for each.
    """

    @property
    def num_pictures(self) -> int:
        """How many there are."""

    @property
    def identity(self) -> str:
        """Tells apart data whose pictures differ."""

    def picture_numbers(
        self, step: int, batch_size: int, seed: int, places: range | None = None
    ) -> Int64[Tensor, " B"]:
        """What stands at the places of a batch, bad samples replaced."""


@runtime_checkable
class Pictured(Numbered, Protocol):
    """Numbered data that are images."""

    def picture(self, number: int) -> Float[Tensor, "C H W"] | None:
        """In the data's range; None if it cannot be read."""


@runtime_checkable
class Inferred(Protocol):
    """Data that was looked at to learn what it is."""

    @property
    def found(self) -> dict[str, Any]:
        """What was found, as JSON takes it; a resumed run must find the same."""

    @property
    def summary(self) -> str:
        """The same for people, in a line."""


@runtime_checkable
class Captioned(Protocol):
    """Data whose condition may be captions."""

    @property
    def place(self) -> str:
        """Where they come from, as the user calls it."""

    @property
    def captioned(self) -> bool:
        """Whether the condition of a batch is captions."""


@runtime_checkable
class DataSource(Protocol):
    """A recipe's choice of data, with its options."""

    def open(self) -> TrainingData:
        """Read it. Raises UserError if it is not there."""


@dataclass(frozen=True)
class TensorData:
    """A data set that fits into memory."""

    images: Float[Tensor, "M C H W"]
    labels: Int64[Tensor, " M"]
    num_classes: int
    info: DataInfo

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def batch(
        self,
        step: int,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        places: range | None = None,
    ) -> Batch:
        """The next batch_size samples of a new order each epoch; epochs follow without a gap."""
        chosen = sample_ids(step, batch_size, len(self.images), seed, places)
        return Batch(self.images[chosen].to(device), self.labels[chosen].to(device))

    @property
    def num_pictures(self) -> int:
        """Of those that are never mirrored, how many there are."""
        return len(self.images)

    @property
    def identity(self) -> str:
        """Of the images' bytes."""
        return hashlib.sha256(self.images.contiguous().numpy().tobytes()).hexdigest()[:16]

    def picture_numbers(
        self, step: int, batch_size: int, seed: int, places: range | None = None
    ) -> Int64[Tensor, " B"]:
        """Which of the images."""
        return sample_ids(step, batch_size, len(self.images), seed, places)

    def picture(self, number: int) -> Float[Tensor, "C H W"]:
        """An image."""
        return self.images[number]

    def sample_names(self, step: int, batch_size: int, seed: int) -> list[str]:
        """Their numbers."""
        return [str(i) for i in sample_ids(step, batch_size, len(self.images), seed).tolist()]


def rank_places(batch_size: int, rank: int, world: int) -> range:
    """The places of every batch that rank `rank` of `world` reads.

    Those of all ranks are the whole batch in order, without overlap, in shares that differ by one
    at most; which sample stands at a place does not depend on `world`.
    Raises UserError if there is no such rank, or nothing for some.
    """
    if not 0 <= rank < world:
        raise UserError(f"rank {rank} of {world} does not exist: ranks are 0 to {world - 1}")
    if batch_size < world:
        raise UserError(
            f"batch_size={batch_size} is less than {world} ranks: choose {world} or more"
        )
    return range(rank * batch_size // world, (rank + 1) * batch_size // world)


def positions(step: int, batch_size: int, places: range | None = None) -> range:
    """Where a step's samples stand in the endless row of all epochs; places: as TrainingData's."""
    first, last = (places.start, places.stop) if places is not None else (0, batch_size)
    return range(step * batch_size + first, step * batch_size + last)


def sample_ids(
    step: int, batch_size: int, size: int, seed: int, places: range | None = None
) -> Int64[Tensor, " B"]:
    """Which of `size` samples a step sees: position is arithmetic, so a resume needs no state."""
    where = positions(step, batch_size, places)
    position = torch.arange(where.start, where.stop)
    epochs, turns = position // size, position % size
    ids = torch.empty_like(position)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        ids[here] = _epoch_order(size, seed, epoch)[turns[here]]
    return ids


def sample_epochs(
    step: int, batch_size: int, size: int, places: range | None = None
) -> Int64[Tensor, " B"]:
    """In which pass over `size` samples a step sees each of its samples."""
    where = positions(step, batch_size, places)
    return torch.arange(where.start, where.stop) // size


@lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> Int64[Tensor, " {size}"]:
    keys = CountedGenerator(seed, torch.arange(size), step=epoch).fork("order").uniform()
    return keys.argsort(stable=True)
