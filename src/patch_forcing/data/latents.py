"""Latents made beforehand (`patch-forcing encode`) as training data, mapped into memory."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import BadSample, Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.image_data import local_path
from patch_forcing.data.images import BadImageError
from patch_forcing.data.latent_shards import LatentIndex, open_shard, read_index
from patch_forcing.data.replacement import Replacer
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.config import DataInfo

READERS = 4
"""Threads that read: a mapped page that is not in memory yet makes its reader wait for the disk."""
_EXPONENT = 0x7C00
"""Of fp16; all ones is infinity or NaN."""


@dataclass(frozen=True)
class LatentsSource:
    """Latents of images, as `patch-forcing encode` writes them."""

    path: str = ""
    """The folder; required."""
    flip: bool = True
    """Show each image mirrored half of the time; they must have been encoded so too."""
    sample_posterior: bool = True
    """Draw each latent anew from its posterior, every time; without, its mean."""
    verify: bool = False
    """Read everything first and compare checksums."""
    max_bad_share: float = 0.01
    """Stop when more of the latents looked at are not finite, and more than 10."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_share <= 1:
            raise UserError(f"data.max_bad_share={self.max_bad_share} is out of range: 0 to 1")

    def open(self) -> "LatentData":
        """Map all shards. Raises UserError if they are not there, not complete, or damaged."""
        if not self.path:
            raise UserError(
                "data.path is not given: add --data.path DIR, which patch-forcing encode writes"
            )
        folder = local_path(self.path)
        index = read_index(folder)
        if self.flip and not index.mirrored:
            raise UserError(
                f"{folder} holds no mirrored images: add --data.no-flip, or encode with --flip"
            )
        if self.verify:
            for number in range(index.shards):
                broken = broken_file(shard_path(folder, number))
                if broken:
                    raise UserError(
                        f"{broken} is damaged: start the same patch-forcing encode again, which "
                        "mends it, or copy it again"
                    )
        return LatentData(folder, index, self)


class LatentData:
    """The latents of a folder as a network sees them, in a new order each epoch.

    Which one stands where, whether it is mirrored, and the noise that draws it from its posterior,
    follow from (seed, epoch, sample).
    """

    def __init__(self, folder: Path, index: LatentIndex, options: LatentsSource):
        self._folder, self._index = folder, index
        self.shape = index.shape
        self.num_samples = index.images
        self.num_classes = len(index.class_names)
        self.info = DataInfo.of_latents(index.space, index.class_names)
        self.max_bad_share = options.max_bad_share
        self._flip = options.flip
        self._draws = options.sample_posterior and index.logvar
        shards = [open_shard(shard_path(folder, number)) for number in range(index.shards)]
        sizes = [len(shard.latents) for shard in shards]
        self._firsts = np.cumsum([0, *sizes])
        self._numbers = [shard.numbers for shard in shards]
        plain, mirrored = [s.latents for s in shards], [s.mirrored for s in shards if self._flip]
        self._copies = (plain, mirrored)
        labels = [shard.labels for shard in shards if self.num_classes]
        self._check(plain, mirrored, labels)
        self._labels = torch.from_numpy(np.concatenate([[], *labels]).astype(np.int64))
        self._readable = Replacer(
            self._sound, self._place, self.num_samples, f"encode {folder} again"
        )
        self._pool = ThreadPoolExecutor(READERS)
        self._ahead: tuple[BatchSpec, list[Future[np.ndarray]]] | None = None
        self._seen: tuple[BatchSpec | None, np.ndarray] = (None, np.zeros(0, np.int64))

    def _check(
        self,
        plain: Sequence[np.ndarray],
        mirrored: Sequence[np.ndarray | None],
        labels: Sequence[np.ndarray | None],
    ) -> None:
        sizes = np.diff(self._firsts).tolist()
        for number, array in [*enumerate(plain), *enumerate(mirrored)]:
            wanted = (sizes[number], *self._index.rows)
            if array is None or array.shape != wanted or array.dtype != np.float16:
                found = None if array is None else (array.dtype.name, array.shape)
                raise UserError(
                    f"{shard_path(self._folder, number)} holds {found}, not fp16 of {wanted}: "
                    "bring shards and latents.json of one encoding together"
                )
        for number, part in enumerate(labels):
            if (
                part is None
                or len(part) != sizes[number]
                or (part < 0).any()
                or (part >= self.num_classes).any()
            ):
                raise UserError(
                    f"{shard_path(self._folder, number)} has no label of {self.num_classes} for "
                    "each sample: bring shards and latents.json of one encoding together"
                )
        if sum(sizes) != self.num_samples or not sizes:
            raise UserError(
                f"{self._folder} holds {sum(sizes)} latents, not {self.num_samples}: bring shards "
                "and latents.json of one encoding together"
            )

    @property
    def found(self) -> dict[str, Any]:
        """How many, of how many classes, and hashes of the latents and of their autoencoder."""
        return {
            "images": self.num_samples,
            "classes": self.num_classes,
            "shape": list(self.shape),
            "latents": self._index.hash,
            "autoencoder": self._index.space.hash,
        }

    @property
    def summary(self) -> str:
        """Images, classes, shape and autoencoder in a line."""
        classes = f"{self.num_classes} classes" if self.num_classes else "no classes"
        shape, size = "×".join(map(str, self.shape)), self._index.size
        return (
            f"{self.num_samples} images of {size}×{size}, {classes}, as latents of {shape} "
            f"({self._index.space.name})"
        )

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """The next batch_size latents; those of the step after are read meanwhile."""
        ids, epochs, rows, mirrored = self._read_batch(spec)
        used = ids.numpy().copy()
        for i in _not_finite(rows):
            turn = int(ids[i]), int(epochs[i])
            used[i], _ = self._readable(spec.seed, *turn)
            rows[i] = self._row(int(used[i]), bool(mirrored[i]))
        self._seen = spec, used + self.num_samples * mirrored
        moments = torch.from_numpy(rows).to(device).float()
        generator = CountedGenerator(spec.seed, ids.to(device), epochs.to(device), device)
        x_1 = self._index.space.normalised(self._draw(moments, generator))
        if not self.num_classes:
            return Batch(x_1, None)
        return Batch(x_1, self._labels[torch.from_numpy(used)].to(device))

    @property
    def num_pictures(self) -> int:
        """Latents, and those of as many mirrored images if they are shown."""
        return self.num_samples * (1 + self._flip)

    @property
    def image_numbers(self) -> list[int]:
        """Of which of the images that were encoded each latent is."""
        return [int(number) for part in self._numbers for number in part]

    @property
    def identity(self) -> str:
        """Of the latents, and of whether mirrored ones are shown."""
        return f"{self._index.hash}, {'mirrored too' if self._flip else 'never mirrored'}"

    def picture_numbers(self, spec: BatchSpec) -> Int64[Tensor, " B"]:
        """Which latents; of mirrored images behind all others. Of the batch read last, at once."""
        if self._seen[0] != spec:
            self.batch(spec)
        return torch.from_numpy(self._seen[1])

    def _draw(
        self, moments: Float[Tensor, "B K h w"], generator: CountedGenerator
    ) -> Float[Tensor, "B C h w"]:
        """Drawn from N(mean, exp(logvar)), or the mean."""
        mean = moments[:, : self.shape[0]]
        if not self._draws:
            return mean
        spread = (moments[:, self.shape[0] :] / 2).exp()
        return mean + spread * generator.fork("posterior").normal(*self.shape)

    def _read_batch(self, spec: BatchSpec) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Sample ids, epochs, rows as stored, and which ones are mirrored."""
        ids, epochs, mirrored = self._turns(spec)
        if self._ahead is None or self._ahead[0] != spec:
            self._ahead = spec, self._start(ids.numpy(), mirrored)
        rows = np.concatenate([part.result() for part in self._ahead[1]])
        ids_soon, _, mirrored_soon = self._turns(spec.next)
        self._ahead = spec.next, self._start(ids_soon.numpy(), mirrored_soon)
        return ids, epochs, rows, mirrored

    def _turns(self, spec: BatchSpec) -> tuple[Tensor, Tensor, np.ndarray]:
        ids = spec.sample_ids(self.num_samples)
        epochs = spec.epochs(self.num_samples)
        if not self._flip:
            return ids, epochs, np.zeros(len(ids), dtype=bool)
        mirrored = CountedGenerator(spec.seed, ids, epochs).fork("flip").uniform() < 0.5
        return ids, epochs, mirrored.numpy()

    def _start(self, ids: np.ndarray, mirrored: np.ndarray) -> list[Future[np.ndarray]]:
        parts = zip(np.array_split(ids, READERS), np.array_split(mirrored, READERS), strict=True)
        return [self._pool.submit(self._read, *part) for part in parts]

    def _read(self, ids: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        rows = np.empty((len(ids), *self._index.rows), np.float16)
        shards = np.searchsorted(self._firsts, ids, side="right") - 1
        within = ids - self._firsts[shards]
        places = zip(mirrored.tolist(), shards.tolist(), within.tolist(), strict=True)
        for row, (copy, shard, at) in zip(rows, places, strict=True):
            row[...] = self._copies[copy][shard][at]
        return rows

    def _row(self, number: int, mirrored: bool) -> np.ndarray:
        row: np.ndarray = self._read(np.array([number]), np.array([mirrored]))[0]
        return row

    def _sound(self, number: int) -> None:
        """Raises BadImageError for latents that are not finite, of the image or its mirror."""
        for mirrored in range(1 + self._flip):
            if _not_finite(self._row(number, bool(mirrored))[None]):
                raise BadImageError("latents that are not finite")

    def _place(self, number: int) -> str:
        shard = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return f"{shard_path(self._folder, shard)}[{number - self._firsts[shard]}]"

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """In which row of which shard they lie; bad ones are not yet replaced."""
        ids = spec.sample_ids(self.num_samples)
        return [self._place(number) for number in ids.tolist()]

    def bad_samples(self) -> list[BadSample]:
        """Those whose turn came, for the first time, in the batches since the last call."""
        return self._readable.bad_samples()


def _not_finite(rows: np.ndarray) -> list[int]:
    """Which rows hold NaN or infinity: by their bits, ten times as fast as asking fp16 numbers."""
    bits = rows.view(np.uint16) & _EXPONENT
    worst = bits.reshape(len(rows), -1).max(axis=1, initial=0)
    return [int(i) for i in np.flatnonzero(worst == _EXPONENT)]
