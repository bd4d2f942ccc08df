"""Batches: what the trainer asks of any data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.source import SampleSizes
from patch_forcing.models.config import DataInfo


class Batch(NamedTuple):
    """Images or latents in the data's range, and what a network is conditioned on.

    condition: one tensor whose first axis is the image, such as labels (B,); None is unconditional.
    captions: raw text, one for each image. A network takes them once a text encoder has made the
    condition of them.
    crop: which part of its picture each image is, as networks of rotary positions take it
    (models/rotary.py); None: the whole.
    """

    x_1: Float[Tensor, "B C H W"]
    condition: Shaped[Tensor, "B ..."] | None = None
    captions: tuple[str, ...] | None = None
    crop: Float[Tensor, "B 4"] | None = None


class BadSample(NamedTuple):
    """A sample that could not be read.

    path: where it lies. reason: why it is bad.
    """

    path: str
    reason: str


@runtime_checkable
class TrainingData(SampleSizes, Protocol):
    """Data that a recipe trains on."""

    @property
    def info(self) -> DataInfo:
        """What goes with a model trained on it."""

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These samples, on the device: a function of the arguments alone.

        A part of a batch is what stands at its places in the whole batch.
        """


@runtime_checkable
class ReplacesBadSamples(Protocol):
    """Data with samples that may turn out to be bad; others take their places in a batch."""

    @property
    def num_samples(self) -> int:
        """How many samples there are, bad ones counted."""

    @property
    def max_bad_share(self) -> float:
        """The share of bad ones among the samples seen above which training stops."""

    def bad_samples(self) -> list[BadSample]:
        """Bad samples whose turn came for the first time since the last call."""


@runtime_checkable
class NamesSamples(Protocol):
    """Data that can tell which samples a step sees."""

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """What stands at each place, for people; bad ones are not yet replaced."""


@runtime_checkable
class Numbered(Protocol):
    """Finite data whose pictures are numbered, so that features of them can be kept.

    A sample and its mirror image are two pictures.
    """

    @property
    def num_pictures(self) -> int:
        """How many pictures there are."""

    @property
    def identity(self) -> str:
        """A text that differs between data whose pictures differ."""

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """The number of the picture at each place, bad samples replaced."""


@runtime_checkable
class Pictured(Numbered, Protocol):
    """Numbered data that are images."""

    def picture(self, number: int) -> Float[Tensor, "C H W"] | None:
        """The picture in the data's range, or None if it cannot be read."""


@runtime_checkable
class Inferred(Protocol):
    """Data whose size, classes and the like are inferred from what lies there."""

    @property
    def facts(self) -> dict[str, Any]:
        """What was inferred, as JSON takes it; a resumed run refuses data that differ."""

    @property
    def summary(self) -> str:
        """The facts in a line, for people; in at most four more, what else they can check."""


class Examples(NamedTuple):
    """Samples that are looked at again and again, never mirrored.

    ids: one for each, 0 ≤ id < 2^32, which do not depend on the others.
    """

    batch: Batch
    ids: Int64[Tensor, " B"]


@runtime_checkable
class HoldsOut(Protocol):
    """Data that may keep samples out of training, to see what the loss of new ones is."""

    @property
    def held_out_share(self) -> float:
        """The share of samples that is held out; 0 if none is."""

    def examples(self, most: int) -> tuple[Examples, Examples] | None:
        """At most so many of the samples held out, and of those that are trained on; None if none
        are held out, or can be read.
        """


@runtime_checkable
class OrdersClasses(Protocol):
    """Data whose classes are numbered in an order that was inferred, and may be another."""

    def in_recorded_order(self, class_names: Sequence[str]) -> TrainingData:
        """The same data, its classes numbered as in this record, if it has all of their names."""


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

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These images and their labels."""
        chosen = spec.sample_ids(len(self.images))
        return Batch(self.images[chosen].to(device), self.labels[chosen].to(device))

    @property
    def num_pictures(self) -> int:
        """How many images there are; none is ever mirrored."""
        return len(self.images)

    @property
    def identity(self) -> str:
        """The hash of the images' bytes."""
        return hashlib.sha256(self.images.contiguous().numpy().tobytes()).hexdigest()[:16]

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which of the images stand at the places."""
        return spec.sample_ids(len(self.images))

    def picture(self, number: int) -> Float[Tensor, "C H W"]:
        """The image of this number."""
        return self.images[number]

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """The images' numbers."""
        return [str(i) for i in spec.sample_ids(len(self.images)).tolist()]
