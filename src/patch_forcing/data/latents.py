"""Latents made beforehand (`patch-forcing encode`) as training data."""

from collections.abc import Iterable
from concurrent.futures import Future
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int64
from torch import Tensor

from patch_forcing.core.devices import to_device
from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import BadSample, Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.captions import NO_CAPTION, Caption, drawn, texts_of
from patch_forcing.data.image_options import Condition, local_path
from patch_forcing.data.images import BadImageError
from patch_forcing.data.latent_rows import LatentRows, not_finite
from patch_forcing.data.latent_shards import LatentIndex, read_index
from patch_forcing.data.replacement import Replacer
from patch_forcing.data.sources import LatentsSource
from patch_forcing.data.templates import read_levels
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.config import DataInfo
from patch_forcing.models.latent_scale import normalised


class LatentData:
    """The latents of a folder as a network sees them, in a new order each epoch.

    Which one stands where, whether it is mirrored, which of its captions is shown, and the noise
    that draws it from its posterior, follow from (seed, epoch, sample).
    """

    def __init__(self, folder: Path, index: LatentIndex, options: LatentsSource):
        self._folder, self._index = folder, index
        condition, self._by_class = _condition(folder, index, options), list[Caption]()
        self.shape = index.shape
        self.num_samples = index.images
        class_names = index.class_names if condition == "class" else ()
        if options.template:
            self._by_class = options.captions(class_names, read_levels(options.levels))
            class_names = ()
        self.captioned = condition == "caption" or bool(options.template)
        self.num_classes = len(class_names)
        self.info = DataInfo.of_latents(index.space, class_names)
        self.max_bad_share = options.max_bad_share
        self._flip = options.flip
        self._draws = options.sample_posterior and index.logvar
        self._rows = LatentRows(folder, index)
        self._labels = self._rows.labels if condition == "class" else None
        self._readable = Replacer(
            self._sound, self._rows.place, self.num_samples, f"encode {folder} again"
        )
        self._ahead: tuple[BatchSpec, list[Future[np.ndarray]]] | None = None
        self._last: tuple[BatchSpec | None, Tensor] = (None, torch.zeros(0, dtype=torch.long))

    @property
    def place(self) -> str:
        """Where the latents come from, as the user calls it."""
        return str(self._folder)

    def all_captions(self) -> Iterable[str]:
        """All texts of all samples that have one."""
        captions = self._by_class or map(self._rows.caption, range(self.num_samples))
        return chain.from_iterable(map(texts_of, captions))

    @property
    def facts(self) -> dict[str, Any]:
        """How many, of how many classes, and hashes of the latents and of their autoencoder."""
        facts = {
            "images": self.num_samples,
            "classes": self.num_classes,
            "shape": list(self.shape),
            "latents": self._index.hash,
            "autoencoder": self._index.space.hash,
        }
        return facts | ({"captions": True} if self.captioned else {})

    @property
    def summary(self) -> str:
        """Images, classes, shape and autoencoder in a line."""
        kinds = "with captions" if self.captioned else "no classes"
        kinds = f"{self.num_classes} classes" if self.num_classes else kinds
        shape, size = "×".join(map(str, self.shape)), self._index.size
        return (
            f"{self.num_samples} images of {size}×{size}, {kinds}, as latents of {shape} "
            f"({self._index.space.name})"
        )

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These latents; those of the step after are read meanwhile."""
        ids, epochs = spec.sample_ids(self.num_samples), spec.epochs(self.num_samples)
        numbers, rows = self._read(spec)
        moments = to_device(torch.from_numpy(rows), device).float()
        generator = CountedGenerator(
            spec.seed, to_device(ids, device), to_device(epochs, device), device
        )
        x_1 = normalised(self._index.space, self._draw(moments, generator))
        if self.captioned:
            u = CountedGenerator(spec.seed, ids, epochs).fork("caption").uniform()
            captions = map(self._caption, numbers.tolist())
            return Batch(x_1, captions=tuple(map(drawn, captions, u.tolist())))
        return Batch(
            x_1, None if self._labels is None else to_device(self._labels[numbers], device)
        )

    @property
    def num_pictures(self) -> int:
        """How many latents there are, those of mirrored images counted if they are shown."""
        return self.num_samples * (1 + self._flip)

    @property
    def image_numbers(self) -> list[int]:
        """For each latent the number of its image in the data set that was encoded."""
        return self._rows.image_numbers

    @property
    def identity(self) -> str:
        """A text that differs where the latents differ, or whether mirrored ones are shown."""
        return f"{self._index.hash}, {'mirrored too' if self._flip else 'never mirrored'}"

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which latents stand at the places. Mirrored ones are numbered behind all others.

        The numbers of the batch that was read last are at hand.
        """
        if self._last[0] != spec:
            self._read(spec)
        return self._last[1]

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """In which row of which shard the latents lie; bad ones are not yet replaced."""
        return [self._rows.place(number) for number in spec.sample_ids(self.num_samples).tolist()]

    def bad_samples(self) -> list[BadSample]:
        """Bad latents whose turn came for the first time since the last call."""
        return self._readable.bad_samples()

    def _draw(
        self, moments: Float[Tensor, "B K h w"], generator: CountedGenerator
    ) -> Float[Tensor, "B C h w"]:
        """Latents drawn from N(mean, exp(logvar)), or the mean."""
        mean = moments[:, : self.shape[0]]
        if not self._draws:
            return mean
        spread = (moments[:, self.shape[0] :] / 2).exp()
        return mean + spread * generator.fork("posterior").normal(*self.shape)

    def _mirrored(self, spec: BatchSpec) -> Bool[Tensor, " B"]:
        if not self._flip:
            return torch.zeros(len(spec.positions), dtype=torch.bool)
        return spec.mirrored(self.num_samples)

    def _read(self, spec: BatchSpec) -> tuple[Int64[Tensor, " B"], Float16[np.ndarray, "B K h w"]]:
        """Numbers and rows of what stands at the places, bad ones replaced."""
        numbers, epochs = spec.sample_ids(self.num_samples), spec.epochs(self.num_samples)
        mirrored = self._mirrored(spec)
        if self._ahead is None or self._ahead[0] != spec:
            self._ahead = spec, self._rows.start(numbers, mirrored)
        rows = np.concatenate([part.result() for part in self._ahead[1]])
        soon = spec.next
        soon_ids = soon.sample_ids(self.num_samples)
        self._ahead = soon, self._rows.start(soon_ids, self._mirrored(soon))
        bad = set(not_finite(rows))
        if self.captioned:
            bad |= {i for i, n in enumerate(numbers.tolist()) if not self._caption(n)}
        for i in sorted(bad):
            other, _ = self._readable(spec.seed, int(numbers[i]), int(epochs[i]))
            numbers[i], rows[i] = other, self._rows.row(other, bool(mirrored[i]))
        self._last = spec, numbers + self.num_samples * mirrored
        return numbers, rows

    def _sound(self, number: int) -> None:
        """Raises BadImageError for latents that are not finite, of the image or its mirror, and for
        those that lack a caption where captions are the condition.
        """
        for mirrored in range(1 + self._flip):
            if not_finite(self._rows.row(number, bool(mirrored))[None]):
                raise BadImageError("latents that are not finite")
        if self.captioned and not self._caption(number):
            raise BadImageError(NO_CAPTION)

    def _caption(self, number: int) -> Caption:
        """Of a sample, by its class if there are templates."""
        if self._by_class and self._labels is not None:
            return self._by_class[int(self._labels[number])]
        return self._rows.caption(number)


def _condition(folder: Path, index: LatentIndex, options: LatentsSource) -> Condition:
    """What the latents are conditioned on; templates make captions of classes.

    Raises UserError if it is not there.
    """
    wanted = options.condition
    if options.template and not index.class_names:
        raise UserError(f"data.template: latents of {folder} have no classes: leave it out")
    if wanted == "class" and not index.class_names:
        raise UserError(f"data.condition=class: no image of {folder} has a label: choose none")
    if wanted == "caption" and not index.captions:
        raise UserError(f"data.condition=caption: no image of {folder} has one: choose none")
    return wanted or ("class" if index.class_names else "caption" if index.captions else "none")


def open_latents(options: LatentsSource) -> LatentData:
    """Map all shards. Raises UserError if they are not there, not complete, or damaged."""
    folder = local_path(options.path)
    index = read_index(folder)
    if options.flip and not index.mirrored:
        raise UserError(
            f"{folder} holds no mirrored images: add --data.no-flip, or encode with --flip"
        )
    if options.verify:
        for number in range(index.shards):
            broken = broken_file(shard_path(folder, number))
            if broken:
                raise UserError(
                    f"{broken} is damaged: start the same patch-forcing encode again, which "
                    "mends it, or copy it again"
                )
    return LatentData(folder, index, options)
