"""The samples of all shards of a folder of latents, by number, mapped into memory."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16, Int64
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.captions import Caption
from patch_forcing.data.latent_shards import LatentIndex, ShardArrays, open_shard
from patch_forcing.io.ledger import shard_path

READERS = 4
"""Threads that read: a mapped page that is not in memory yet makes its reader wait for the disk."""
_EXPONENT = 0x7C00
"""Of fp16; all ones is infinity or NaN."""


class LatentRows:
    """Rows as they are stored, (K, h, w) fp16, with the labels and captions that go with them."""

    def __init__(self, folder: Path, index: LatentIndex):
        """Raises UserError if shards are missing or damaged, or not those of the index."""
        self._folder, self._index = folder, index
        shards = [open_shard(shard_path(folder, number)) for number in range(index.shards)]
        sizes = [len(shard.latents) for shard in shards]
        for number, shard in enumerate(shards):
            self._check(shard_path(folder, number), shard)
        if sum(sizes) != index.images or not shards:
            raise UserError(
                f"{folder} holds {sum(sizes)} latents, not {index.images}: bring shards and "
                "latents.json of one encoding together"
            )
        self._shards, self._firsts = shards, np.cumsum([0, *sizes])
        self._copies = [s.latents for s in shards], [s.mirrored for s in shards]
        self._pool = ThreadPoolExecutor(READERS)

    def _check(self, path: Path, shard: ShardArrays) -> None:
        size, classes = len(shard.latents), len(self._index.class_names)
        wanted = (size, *self._index.rows)
        for array in [shard.latents, shard.mirrored] if self._index.mirrored else [shard.latents]:
            if array is None or array.shape != wanted or array.dtype != np.float16:
                held = None if array is None else (array.dtype.name, array.shape)
                raise UserError(
                    f"{path} holds {held}, not fp16 of {wanted}: bring shards and latents.json of "
                    "one encoding together"
                )
        labels, captions = shard.labels, shard.captions
        if classes and (
            labels is None or len(labels) != size or ((labels < 0) | (labels >= classes)).any()
        ):
            raise UserError(
                f"{path} has no label of {classes} for each sample: bring shards and latents.json "
                "of one encoding together"
            )
        if self._index.captions and (captions is None or len(captions) != size):
            raise UserError(
                f"{path} has no captions for each sample: bring shards and latents.json of one "
                "encoding together"
            )

    @property
    def labels(self) -> Int64[Tensor, " M"]:
        """The class of each sample."""
        parts = [shard.labels for shard in self._shards if shard.labels is not None]
        return torch.from_numpy(np.concatenate(parts).astype(np.int64))

    @property
    def image_numbers(self) -> list[int]:
        """For each sample the number of its image in the data set that was encoded."""
        return [int(number) for shard in self._shards for number in shard.numbers]

    def caption(self, number: int) -> Caption:
        """Of a sample; the empty text if it has none."""
        shard, row = self._locate(number)
        captions = self._shards[shard].captions
        return captions[row] if captions is not None else ""

    def place(self, number: int) -> str:
        """In which row of which shard a sample lies."""
        shard, row = self._locate(number)
        return f"{shard_path(self._folder, shard)}[{row}]"

    def row(self, number: int, mirrored: bool) -> Float16[np.ndarray, "K h w"]:
        """One row, read at once."""
        row: np.ndarray = self._read(np.array([number]), np.array([mirrored]))[0]
        return row

    def start(
        self, numbers: Int64[Tensor, " B"], mirrored: Bool[Tensor, " B"]
    ) -> list[Future[np.ndarray]]:
        """Begin to read these rows; the parts are in order."""
        parts = zip(
            np.array_split(numbers.numpy(), READERS),
            np.array_split(mirrored.numpy(), READERS),
            strict=True,
        )
        return [self._pool.submit(self._read, *part) for part in parts]

    def _read(self, numbers: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        rows = np.empty((len(numbers), *self._index.rows), np.float16)
        shards = np.searchsorted(self._firsts, numbers, side="right") - 1
        within = numbers - self._firsts[shards]
        places = zip(mirrored.tolist(), shards.tolist(), within.tolist(), strict=True)
        for row, (copy, shard, at) in zip(rows, places, strict=True):
            row[...] = self._copies[copy][shard][at]
        return rows

    def _locate(self, number: int) -> tuple[int, int]:
        """Its shard, and its row there."""
        shard = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return shard, number - int(self._firsts[shard])


def not_finite(rows: Float16[np.ndarray, "B K h w"]) -> list[int]:
    """Which rows hold NaN or infinity.

    Their bits are compared, which is ten times as fast as asking fp16 numbers.
    """
    bits = rows.view(np.uint16) & _EXPONENT
    worst = bits.reshape(len(rows), -1).max(axis=1, initial=0)
    return [int(i) for i in np.flatnonzero(worst == _EXPONENT)]
