"""Images of a shard → its arrays: read ahead, encoded, fetched while others are queued."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from patch_forcing.codecs.autoencoder import Autoencoder
from patch_forcing.data.batch import BadSample
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.images import BadImageError
from patch_forcing.data.latent_shards import ShardArrays
from patch_forcing.data.reader import ImageReader
from patch_forcing.data.replacement import FailedRun
from patch_forcing.models.latent_scale import normalised
from patch_forcing.runs.encode_options import EncodeOptions

BATCHES_AHEAD = 2
"""Batches whose images are read, and whose latents are fetched, while one is encoded."""
MAX_FP16 = 65504.0
"""The largest number of fp16."""


class ShardEncoder:
    """Images by number → a shard's arrays."""

    def __init__(
        self,
        data: ImageData,
        autoencoder: Autoencoder,
        options: EncodeOptions,
        rows: tuple[int, ...],
        device: torch.device,
    ):
        self._data, self._autoencoder, self._options = data, autoencoder, options
        self._rows, self._device = rows, device
        self._reader = ImageReader(data.layout, options.size, 3, options.fit, memory=0)
        self._failures = FailedRun()

    def shards(
        self, shards: Sequence[range], bar: Any
    ) -> Iterator[tuple[ShardArrays, dict[str, Any]]]:
        """All images of each shard that can be read and encoded, and the shard's summary.

        When a shard is handed out, batches of the next one are queued already.
        """
        for shard, numbers, host in self._fetched(self._encoded(shards)):
            if host is None:
                yield self._whole(shard)
                continue
            moments, sums = host()
            shard.take(numbers, moments, sums)
            bar.update(len(numbers))

    def _whole(self, shard: "_Shard") -> tuple[ShardArrays, dict[str, Any]]:
        layout, good = self._data.layout, shard.good
        spoilt = [BadSample(layout.place(n), "its latent is not finite") for n in shard.spoilt]
        nothing = np.zeros((1 + self._options.flip, 0, *self._rows), np.float16)
        stored = np.concatenate([nothing, *shard.rows], axis=1)
        arrays = ShardArrays(
            stored[0],
            stored[1] if self._options.flip else None,
            np.array([layout.labels[n] for n in good], np.int64) if layout.labels else None,
            np.array(good, np.int64),
            [layout.captions[n] for n in good] if layout.captions else None,
        )
        sums = np.zeros((2, self._autoencoder.space.channels)) + sum(shard.sums)
        summary = {"first": shard.numbers.start, "stop": shard.numbers.stop, "images": len(good)}
        return arrays, summary | {"bad": shard.bad + spoilt, "sums": sums.tolist()}

    def _encoded(self, shards: Sequence[range]) -> Iterator["_Queued"]:
        """Batch after batch, queued on the device: nothing here waits for a GPU. After a shard's
        last batch, one with nothing in it.
        """
        for place, numbers in enumerate(shards):
            shard = _Shard(numbers)
            for batch, pixels in self._read(shard, chain.from_iterable(shards[place + 1 :])):
                if self._device.type == "cuda":
                    pixels = pixels.pin_memory().to(self._device, non_blocking=True)
                x = pixels.to(self._device).float() / 127.5 - 1
                yield shard, batch, _Host(*self._encode(x))
            yield shard, [], None

    @torch.no_grad()
    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances in fp16 (copies, B, K, h, w), and sums (B, 2, C) over both."""
        space, copies, sums = self._autoencoder.space, [], []
        for images in (x, x.flip(-1)) if self._options.flip else (x,):
            bf16 = self._options.precision == "bf16"
            with torch.autocast(x.device.type, torch.bfloat16) if bf16 else nullcontext():
                mean, logvar = self._autoencoder.encode(images)
            seen = normalised(space, mean)
            square = seen**2
            if logvar is not None:
                square = square + (normalised(space, mean + (logvar / 2).exp()) - seen) ** 2
            sums.append(torch.stack([seen.sum((2, 3)), square.sum((2, 3))], dim=1))
            whole = mean if logvar is None else torch.cat([mean, logvar], dim=1)
            copies.append(torch.where(whole.abs() <= MAX_FP16, whole, torch.nan).half())
        return torch.stack(copies), torch.stack(sums).sum(dim=0)

    @staticmethod
    def _fetched(queued: Iterator["_Queued"]) -> Iterator["_Queued"]:
        """The same, some batches later: by then they are on the host, and others are queued."""
        waiting: deque[_Queued] = deque()
        try:
            for item in queued:
                waiting.append(item)
                if len(waiting) > BATCHES_AHEAD:
                    yield waiting.popleft()
        except (Exception, KeyboardInterrupt):  # in later ones: what is whole by now is kept
            yield from waiting
            raise
        yield from waiting

    def _read(
        self, shard: "_Shard", later: Iterable[int]
    ) -> Iterator[tuple[list[int], UInt8[Tensor, "B 3 S S"]]]:
        """Batches of a shard's readable images; those after are read meanwhile, later ones too."""
        numbers, bad = shard.numbers, shard.bad
        then = list(islice(later, (1 + BATCHES_AHEAD) * self._options.batch_size))
        size = self._options.batch_size
        batch: list[int] = []
        pixels: list[Tensor] = []
        for number in numbers:
            if (number - numbers.start) % size == 0:
                coming = chain(range(number, numbers.stop), then)
                self._reader.read_ahead(islice(coming, (1 + BATCHES_AHEAD) * size))
            try:
                pixels.append(self._reader(number))
                batch.append(number)
                self._failures = FailedRun()
            except BadImageError as error:
                bad.append(BadSample(self._data.layout.place(number), str(error)))
                self._failures.record(bad[-1], error)
            if len(batch) == size:
                yield batch, torch.stack(pixels)
                batch, pixels = [], []
        if batch:
            yield batch, torch.stack(pixels)


class _Shard:
    """A shard under way: which images are good, their rows so far, and which images are bad."""

    def __init__(self, numbers: range):
        self.numbers = numbers
        self.good: list[int] = []
        self.bad: list[BadSample] = []  # in reading
        self.spoilt: list[int] = []  # in encoding
        self.rows: list[np.ndarray] = []
        self.sums: list[np.ndarray] = []

    def take(self, numbers: list[int], moments: np.ndarray, sums: np.ndarray) -> None:
        """A batch; moments: (copies, B, K, h, w), sums: (B, 2, C)."""
        finite = np.isfinite(moments).all(axis=(0, 2, 3, 4))
        self.spoilt.extend(np.array(numbers)[~finite].tolist())
        self.good.extend(np.array(numbers)[finite].tolist())
        self.rows.append(moments[:, finite])
        self.sums.append(sums[finite].sum(axis=0))


class _Host:
    """Tensors on their way to the host; called, it waits for them."""

    def __init__(self, *tensors: Tensor):
        self._event: torch.cuda.Event | None = None
        if tensors[0].is_cuda:
            copies = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors]
            for copy, tensor in zip(copies, tensors, strict=True):
                copy.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
            tensors = tuple(copies)
        self._tensors = tensors

    def __call__(self) -> list[np.ndarray]:
        """The arrays."""
        if self._event is not None:
            self._event.synchronize()
        return [tensor.numpy() for tensor in self._tensors]


_Queued = tuple[_Shard, list[int], _Host | None]
