"""A torch Dataset of (image, condition) as training data: anything whose items have numbers.

Which items a step sees, resuming and shares of ranks are as of any other data. Whether an item is
the same when it is read again is up to the data set, and is looked at when it is opened.
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.devices import to_device
from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.dataset_items import (
    Item,
    class_names,
    count_items,
    read_item,
    targets,
    type_name,
)
from patch_forcing.models.config import DataInfo

LOG = logging.getLogger("patch_forcing")
PROBES = 16
"""Items, evenly spread, that are read twice when a data set is opened: what they are stands for
all, and whether they change."""
MAX_QUIET_ITEMS = 1000
"""Items that are read for their classes without saying so."""


class DatasetData:
    """The items of a map-style data set in [−1, 1], in a new order each epoch.

    uint8 is brought there from 0 to 255. Floats are in [−1, 1] already, or in [0, 1] if none of
    those looked at is negative; a later one that is contradicts this, and is refused. A grey image
    among coloured ones is shown in three channels.

    names: of the classes; by default the data set's `classes`, if these are texts.
    num_classes: without names; by default the data set's `targets` tell, or all items are read.
    threads: how many items are read at once, ahead of need; more than one only for data sets that
    several threads may read.
    Raises UserError, which names the item, if the data set or one of those looked at is no such.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        names: Sequence[str] = (),
        num_classes: int | None = None,
        threads: int = 1,
    ):
        check_range("threads", threads, 1, whole=True)
        self._dataset, self.num_samples = dataset, count_items(dataset)
        last = max(1, min(PROBES, self.num_samples) - 1)
        numbers = sorted({k * (self.num_samples - 1) // last for k in range(last + 1)})
        probes = [read_item(dataset, number) for number in numbers]
        first = max(probes, key=lambda item: len(item.pixels)).pixels
        channels, height, width = first.shape
        self.shape, self._dtype = (channels, height, width), first.dtype
        self._low = 0.0 if all(probe.pixels.min() >= 0 for probe in probes) else -1.0
        self._labelled = probes[0].label is not None
        self.info, self.num_classes = DataInfo(), 0
        if self._labelled:
            self.info = DataInfo(class_names=tuple(names) or class_names(dataset))
            known = num_classes or len(self.info.class_names)
            self.num_classes = known or self._count_classes()
        for number, probe in zip(numbers, probes, strict=True):
            self._checked(number, probe)
        self._changing = self._first_change(numbers, probes)
        self._samples = None if self._changing is not None else _hash(probes)
        self._pool = ThreadPoolExecutor(threads)
        self._ahead: tuple[BatchSpec, list[Future[Item]]] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """How many items, their shape, the classes, and a hash of those looked at, if they last."""
        return {
            "items": self.num_samples,
            "shape": list(self.shape),
            "classes": self.num_classes,
            "pixels": "0 to 255" if self._dtype == torch.uint8 else f"{self._low:g} to 1",
            "samples": self._samples,
        }

    @property
    def summary(self) -> str:
        """Items, classes and shape in a line."""
        channels, height, width = self.shape
        colour = "grey" if channels == 1 else "in colour"
        classes = f"{self.num_classes} classes" if self.num_classes else "no classes"
        return f"{self.num_samples} items, {classes}, {height}×{width} {colour}"

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These items; those of the step after are read meanwhile. Raises UserError naming one."""
        if self._ahead is None or self._ahead[0] != spec:
            for future in self._ahead[1] if self._ahead is not None else ():
                future.cancel()
            self._ahead = spec, self._start(spec)
        reading = self._ahead[1]
        self._ahead = spec.next, self._start(spec.next)
        items = [future.result() for future in reading]
        x_1 = self._scaled(to_device(torch.stack([item.pixels for item in items]), device))
        labels = torch.tensor([item.label for item in items]) if self._labelled else None
        return Batch(x_1, None if labels is None else to_device(labels, device))

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """The items' numbers."""
        return [str(number) for number in spec.sample_ids(self.num_samples).tolist()]

    @property
    def num_pictures(self) -> int:
        """As many as items."""
        return self.num_samples

    @property
    def identity(self) -> str:
        """Of what is known of the data set."""
        return hashlib.sha256(repr(self.facts).encode()).hexdigest()[:16]

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which items. Raises UserError if they change: nothing can be kept for them."""
        self._refuse_change()
        return spec.sample_ids(self.num_samples)

    def picture(self, number: int) -> Float[Tensor, "C H W"]:
        """An item's image, in [−1, 1]. Raises UserError if items change."""
        self._refuse_change()
        return self._scaled(self._read(number).pixels)

    def _start(self, spec: BatchSpec) -> list[Future[Item]]:
        numbers = spec.sample_ids(self.num_samples).tolist()
        return [self._pool.submit(self._read, number) for number in numbers]

    def _scaled(self, pixels: Float[Tensor, "*B C H W"] | Tensor) -> Float[Tensor, "*B C H W"]:
        if pixels.dtype == torch.uint8:
            return pixels.float() / 127.5 - 1
        return 2 * pixels - 1 if self._low == 0 else pixels

    def _read(self, number: int) -> Item:
        return self._checked(number, read_item(self._dataset, number))

    def _checked(self, number: int, item: Item) -> Item:
        """In as many channels as all; raises UserError if it is not as those looked at first."""
        pixels, label = item
        if len(pixels) == 1:
            pixels = pixels.expand(self.shape[0], -1, -1)
        if tuple(pixels.shape) != self.shape or pixels.dtype != self._dtype:
            theirs, ours = ("×".join(map(str, shape)) for shape in (pixels.shape, self.shape))
            raise UserError(
                f"item {number} of the data set is {theirs} of {type_name(pixels.dtype)}, others "
                f"are {ours} of {type_name(self._dtype)}: bring all to one shape and type"
            )
        if pixels.is_floating_point() and not (self._low <= pixels.min() and pixels.max() <= 1):
            raise UserError(
                f"item {number} of the data set holds {float(pixels.min()):g} to "
                f"{float(pixels.max()):g}, others lie in [{self._low:g}, 1]: bring all to "
                "[0, 1] or all to [-1, 1]"
            )
        if (label is not None) != self._labelled:
            raise UserError(
                f"item {number} of the data set has the condition {label}, others have "
                f"{'classes' if self._labelled else 'none'}: give all a class, or all None"
            )
        if label is not None and not 0 <= label < self.num_classes:
            raise UserError(
                f"item {number} of the data set is of class {label}: choose 0 to "
                f"{self.num_classes - 1}, of {self.num_classes} classes"
            )
        return Item(pixels, label)

    def _count_classes(self) -> int:
        labels = targets(self._dataset)
        if labels is None:
            if self.num_samples > MAX_QUIET_ITEMS:
                LOG.warning(
                    "the data set names no classes: its %d items are read once to see how many "
                    "there are; DatasetData(dataset, num_classes=N) saves that",
                    self.num_samples,
                )
            every = range(self.num_samples)
            labels = [read_item(self._dataset, number).label or 0 for number in every]
        return max(labels) + 1

    def _first_change(self, numbers: Sequence[int], probes: Sequence[Item]) -> int | None:
        """The first of the probes that is another when it is read again; warns of it."""
        for number, before in zip(numbers, probes, strict=True):
            again = read_item(self._dataset, number)
            if again.label != before.label or not again.pixels.equal(before.pixels):
                LOG.warning(
                    "item %d of the data set changes between reads, as random augmentation makes "
                    "it: a resumed run goes on from its checkpoint, but not bit for bit",
                    number,
                )
                return number
        return None

    def _refuse_change(self) -> None:
        if self._changing is not None:
            raise UserError(
                f"item {self._changing} of the data set changes between reads: leave out "
                "alignment.cache, which keeps features of what it was"
            )


def _hash(items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(item.pixels.contiguous().numpy().tobytes() + f"{item.label};".encode())
    return digest.hexdigest()[:16]
