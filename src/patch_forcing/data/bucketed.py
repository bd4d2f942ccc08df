"""Images of several aspects as training data: each batch is of one size."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.data.batch import BadSample, Batch, Examples
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.buckets import Size, bucket_sizes, in_buckets, turn
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.image_options import ImageOptions
from patch_forcing.data.layout import Layout
from patch_forcing.data.reader import MEMORY


class BucketedImages(ImageData):
    """Images whose aspects the layout knows, each in the size of the nearest aspect.

    shape: of the square that all sizes have about as many pixels as. Which size a step has, and
    which samples, follows from (seed, step).
    """

    def __init__(
        self,
        layout: Layout,
        size: int,
        channels: int,
        options: ImageOptions,
        memory: int | None = None,
        held: tuple[Layout, float] | None = None,
    ):
        super().__init__(layout, size, channels, options, 0, held)
        assert options.buckets is not None
        buckets = in_buckets(layout.aspects, bucket_sizes(size, options.buckets))
        self._buckets = buckets
        others = dict[Size, Layout]()
        if held:
            apart = in_buckets(held[0].aspects, buckets.sizes, fewest=0)
            parts = zip(apart.sizes, apart.numbers, strict=True)
            others = {size: held[0].part(numbers.tolist()) for size, numbers in parts}
        self._parts = []
        self._memory = MEMORY if memory is None else memory  # of the parts, which alone read
        for own, numbers in zip(buckets.sizes, buckets.numbers, strict=True):
            part, share = layout.part(numbers.tolist()), len(numbers) / len(layout.names)
            looked_at = (others[own], held[1]) if held and own in others else None
            kept = int(share * self._memory)
            self._parts.append(ImageData(part, own, channels, options, kept, looked_at))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths that batches come in."""
        return self._buckets.sizes

    def in_recorded_order(self, class_names: Sequence[str]) -> "BucketedImages":
        """The same images, their classes numbered as in this record, if it has all of them."""
        ordered = super().in_recorded_order(class_names)
        assert isinstance(ordered, BucketedImages)
        return ordered

    @property
    def facts(self) -> dict[str, Any]:
        """Also how many images each size has."""
        return super().facts | {"buckets": self._buckets.counts}

    @property
    def summary(self) -> str:
        """Also how many images each size has."""
        first, *others = super().summary.splitlines()
        counts = ", ".join(f"{size} {count}" for size, count in self._buckets.counts.items())
        return "\n".join([f"{first}; in {len(self.sizes)} sizes instead: {counts}", *others])

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These images, all of one size, and where they are in their pictures."""
        bucket, own = self._turn(spec)
        return self._parts[bucket].batch(own, device)

    def examples(self, most: int) -> tuple[Examples, Examples] | None:
        """Of the size that most images have, of those of which some are held out."""
        for part in sorted(self._parts, key=lambda part: -part.num_samples):
            if both := part.examples(most):
                return both
        return None

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which images stand at the places. Mirrored ones are numbered behind all others."""
        bucket, own = self._turn(spec)
        numbers = self._parts[bucket].picture_numbers(own)
        count = self._parts[bucket].num_samples
        whole = torch.from_numpy(self._buckets.numbers[bucket])[numbers % count]
        return whole + self.num_samples * (numbers // count)

    def picture(self, number: int) -> Float[Tensor, "C H W"] | None:
        """The image in its own size, or None if it cannot be read."""
        mirrored, number = divmod(number, self.num_samples)
        for numbers, part in zip(self._buckets.numbers, self._parts, strict=True):
            place = int(numbers.searchsorted(number))
            if place < len(numbers) and numbers[place] == number:
                return part.picture(place + mirrored * part.num_samples)
        raise IndexError(number)

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """Where the images lie; bad ones are not yet replaced."""
        bucket, own = self._turn(spec)
        return self._parts[bucket].sample_names(own)

    def bad_samples(self) -> list[BadSample]:
        """Bad images whose turn came for the first time since the last call."""
        return [bad for part in self._parts for bad in part.bad_samples()]

    def _turn(self, spec: BatchSpec) -> tuple[int, BatchSpec]:
        return turn(spec, tuple(self._buckets.counts.values()))
