"""Images of a layout as training data.

Images that cannot be read are replaced, and the order is arithmetic.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from patch_forcing.core.devices import to_device
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import BadSample, Batch, Examples
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.buckets import Size, crops
from patch_forcing.data.captions import drawn, texts_of
from patch_forcing.data.held_out import (
    nearest_places,
    place,
)
from patch_forcing.data.image_options import (
    ImageOptions,
)
from patch_forcing.data.images import BadImageError
from patch_forcing.data.layout import Layout
from patch_forcing.data.reader import ImageReader
from patch_forcing.data.replacement import Replacer
from patch_forcing.models.config import DataInfo


class ImageData:
    """The images of a layout in [−1, 1], in a new order each epoch.

    Which image stands where in a step, whether it is mirrored, and which of its captions is shown,
    follows from (seed, epoch, sample); so does which other one takes the place of one that cannot
    be read.
    """

    def __init__(
        self,
        layout: Layout,
        size: int | tuple[int, int],
        channels: int,
        options: ImageOptions,
        memory: int | None = None,
        held: tuple[Layout, float] | None = None,
    ):
        """size: height and width, or both in one. memory: bytes of images to keep, as ImageReader
        takes it. held: images that are held out of training, and which share they are of all.
        """
        self.layout, self._size = layout, size
        height, width = (size, size) if isinstance(size, int) else size
        self.shape = (channels, height, width)
        self.num_samples = len(layout.names)
        self.num_classes = len(layout.class_names)
        self.info = DataInfo(class_names=layout.class_names)
        self.max_bad_share = options.max_bad_share
        self._flip, self._options, self._memory = options.flip, options, memory
        self._reader = ImageReader(layout, size, channels, options.fit, memory)
        self._labels = torch.tensor(layout.labels)
        self._fit = options.fit
        self._last: tuple[BatchSpec | None, tuple[int, ...]] = (None, ())
        self._held = held
        check = f"check {self.place} with patch-forcing data"
        self._readable = Replacer(self._reader, layout.place, self.num_samples, check)

    def in_recorded_order(self, class_names: Sequence[str]) -> "ImageData":
        """The same images, their classes numbered as in this record, if it has all of them."""
        own = self.layout.class_names
        if not own or own == tuple(class_names) or not set(own) <= set(class_names):
            return self
        layout = self.layout.in_class_order(class_names)
        held = self._held and (self._held[0].in_class_order(class_names), self._held[1])
        return type(self)(layout, self._size, self.shape[0], self._options, self._memory, held)

    @property
    def held_out(self) -> Layout | None:
        """The images that are held out; None if none is."""
        return self._held[0] if self._held else None

    @property
    def held_out_share(self) -> float:
        """The share of all images that is held out; 0 if none is."""
        return self._held[1] if self._held else 0.0

    def examples(self, most: int) -> tuple[Examples, Examples] | None:
        """At most so many of the images held out, and of those trained on, that can be read."""
        if self._held is None:
            return None
        held = ImageData(self._held[0], self._size, self.shape[0], self._options, memory=0)
        both = held._examples(most), self._examples(most)
        return both if all(len(one.ids) for one in both) else None

    def _examples(self, most: int) -> Examples:
        numbers = nearest_places(self.layout, most)
        self._reader.read_ahead(numbers)
        pictures = {number: self._picture(number) for number in numbers}
        good = {number: picture for number, picture in pictures.items() if picture is not None}
        x_1 = torch.stack([*good.values()]) if good else torch.empty(0, *self.shape)
        labels = self._labels[[*good]] if self.num_classes else None
        places = [int(place(self.layout.names[number]) * 2**32) for number in good]
        ids = torch.tensor(places, dtype=torch.int64)
        captions = self._captions([*good], CountedGenerator(0, ids)) if self.captioned else None
        return Examples(Batch(x_1, labels, captions, self._crops([*good])), ids)

    def _crops(self, numbers: Sequence[int]) -> Float[Tensor, "B 4"] | None:
        """Which part of its picture each image is, the same of its mirror; None if nobody knows."""
        if not self.layout.aspects:
            return None
        aspects = torch.tensor([self.layout.aspects[number] for number in numbers])
        return crops(aspects, Size(*self.shape[1:]))

    def _captions(self, numbers: Sequence[int], generator: CountedGenerator) -> tuple[str, ...]:
        """A text of each of these images, drawn by their weights."""
        shares = generator.fork("caption").uniform().tolist()
        captions = map(self.layout.captions.__getitem__, numbers)
        return tuple(map(drawn, captions, shares))

    @property
    def place(self) -> str:
        """Where the images come from, as the user calls it."""
        return str(self.layout.root)

    @property
    def captioned(self) -> bool:
        """Whether batches have captions, and no condition yet."""
        return self.layout.captioned

    def all_captions(self) -> Iterable[str]:
        """All texts of all images that have one."""
        return chain.from_iterable(map(texts_of, self.layout.captions))

    @property
    def facts(self) -> dict[str, Any]:
        """How many images, the classes, the shape, and which names were listed."""
        facts = {
            "images": self.num_samples,
            "classes": self.layout.class_sizes,
            "size": self.shape[1],
            "channels": self.shape[0],
            "names": self.layout.identity,
        }
        if contents := self.layout.contents:
            facts["contents"] = contents
        if self._held:
            held = self._held[0]
            facts["held_out"] = {"images": len(held.names), "names": held.identity}
        return facts | ({"captions": True} if self.captioned else {})

    @property
    def summary(self) -> str:
        """Images, classes and shape in a line, and the layout's notes: five lines at most."""
        colour = "grey" if self.shape[0] == 1 else "in colour"
        shape = f"{self.shape[1]}×{self.shape[2]} {colour}"
        line = f"{self.num_samples} images, {self.layout.summary}, read as {shape}"
        if self._held:
            line += f"; {len(self._held[0].names)} more are held out"
        return "\n".join([line, *self.layout.notes.lines])

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These images; those of the step after are read meanwhile."""
        numbers, pixels = self._read(spec)
        self._reader.read_ahead(spec.next.sample_ids(self.num_samples).tolist())
        x_1 = to_device(torch.stack(pixels), device).float() / 127.5 - 1
        if self._flip:
            mirrored = to_device(spec.mirrored(self.num_samples), device)
            x_1 = torch.where(mirrored[:, None, None, None], x_1.flip(-1), x_1)
        crop = self._crops(numbers)
        crop = None if crop is None else to_device(crop, device)
        if self.captioned:
            ids, epochs = spec.sample_ids(self.num_samples), spec.epochs(self.num_samples)
            generator = CountedGenerator(spec.seed, ids, epochs)
            return Batch(x_1, captions=self._captions(numbers, generator), crop=crop)
        labels = self._labels[torch.tensor(numbers)] if self.num_classes else None
        labels = None if labels is None else to_device(labels, device)
        return Batch(x_1, labels, crop=crop)

    @property
    def num_pictures(self) -> int:
        """How many images there are, mirrored ones counted if they are shown."""
        return self.num_samples * (1 + self._flip)

    @property
    def identity(self) -> str:
        """A text that differs where the images or the way they are read differ."""
        mirrored = "mirrored too" if self._flip else "never mirrored"
        shape = "×".join(map(str, self.shape))
        return f"{self.layout.identity} {shape} {self._fit}, {mirrored}"

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which images stand at the places. Mirrored ones are numbered behind all others.

        The numbers of the batch that was read last are at hand.
        """
        numbers = torch.tensor(self._last[1] if self._last[0] == spec else self._read(spec)[0])
        return numbers + self.num_samples * spec.mirrored(self.num_samples) * self._flip

    def picture(self, number: int) -> Float[Tensor, "C H W"] | None:
        """The image in [−1, 1], or None if it cannot be read."""
        mirrored, number = divmod(number, self.num_samples)
        x_1 = self._picture(number)
        return x_1.flip(-1) if mirrored and x_1 is not None else x_1

    def _picture(self, number: int) -> Float[Tensor, "C H W"] | None:
        """As it is stored, in [−1, 1], or None if it cannot be read."""
        try:
            return self._reader(number).float() / 127.5 - 1
        except BadImageError:
            return None

    def _read(self, spec: BatchSpec) -> tuple[tuple[int, ...], tuple[UInt8[Tensor, "C H W"], ...]]:
        """Numbers and pixels of what stands at the places, bad images replaced."""
        ids, epochs = spec.sample_ids(self.num_samples).tolist(), spec.epochs(self.num_samples)
        self._reader.read_ahead(ids)
        turns = zip(ids, epochs.tolist(), strict=True)
        numbers, pixels = zip(*(self._readable(spec.seed, *turn) for turn in turns), strict=True)
        self._last = spec, numbers
        return numbers, pixels

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """Where the images lie; bad ones are not yet replaced."""
        return [self.layout.place(n) for n in spec.sample_ids(self.num_samples).tolist()]

    def bad_samples(self) -> list[BadSample]:
        """Bad images whose turn came for the first time since the last call."""
        return self._readable.bad_samples()
