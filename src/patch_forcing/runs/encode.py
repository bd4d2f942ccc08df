"""Images → latents on disk: reading, encoding and writing at the same time, shard after shard.

Of several processes (io/ledger.py), whoever finds that all shards are there writes the index.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from patch_forcing.codecs.autoencoder import Autoencoder, Posterior
from patch_forcing.core.errors import UserError, is_out_of_memory
from patch_forcing.data.captions import Several
from patch_forcing.data.image_data import ImageData
from patch_forcing.data.latent_shards import (
    CAPTIONED_VERSION,
    FORMAT_VERSION,
    INDEX,
    PLAN,
    WEIGHTED_VERSION,
    manifest_hash,
    read_summary,
    write_shard,
)
from patch_forcing.io.atomic import write_atomic
from patch_forcing.io.ledger import Ledger, shard_path
from patch_forcing.models.latent_scale import normalised
from patch_forcing.runs.bad_samples import MAX_HARMLESS
from patch_forcing.runs.encode_options import EncodeOptions
from patch_forcing.runs.shard_encoder import ShardEncoder
from patch_forcing.views.progress import progress_bar


class Encoded(NamedTuple):
    """How an encoding went.

    shards: in all. made, kept: of this process's shards. images, bad_samples: in these shards.
    complete: whether the index is written.
    """

    shards: int
    made: int
    kept: int
    images: int
    bad_samples: int
    complete: bool


class Encoding:
    """One process's part of turning `data` into latents below `out`."""

    def __init__(
        self,
        data: ImageData,
        autoencoder: Autoencoder,
        out: Path,
        options: EncodeOptions,
        device: torch.device | str = "cpu",
    ):
        """Raises UserError if images and autoencoder do not fit, or another encoding is there."""
        data = data.in_recorded_order(_recorded_classes(out / PLAN))
        self._data, self._autoencoder, self._out = data, autoencoder, out
        self._options, self._device = options, torch.device(device)
        space = autoencoder.space
        if options.size % space.factor:
            raise UserError(
                f"size={options.size} is no multiple of {space.factor}, of which {space.name} "
                f"makes one cell: choose one, such as {options.size + -options.size % space.factor}"
            )
        side = options.size // space.factor
        self.shape = (space.channels, side, side)
        mean, logvar = self._probe()
        if mean.shape[1:] != self.shape:
            raise UserError(
                f"{space.name} makes {tuple(mean.shape[1:])} of {options.size} pixels, not "
                f"{self.shape}: its config is of another autoencoder"
            )
        self._logvar = logvar is not None
        self.shards = math.ceil(data.num_samples / options.shard_size)
        self._ledger = Ledger(out, PLAN, self._planned(), "latents", "--out")
        self._ledger.check()

    @torch.no_grad()
    def _probe(self) -> Posterior:
        """The posterior of an empty image, before any work."""
        space, size = self._autoencoder.space, self._options.size
        try:
            posterior = self._autoencoder.encode(torch.zeros(1, 3, size, size, device=self._device))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"{space.name} cannot encode {size}×{size} pixels ({error}): its config is of "
                "another autoencoder, or choose another --size"
            ) from None
        normalised(space, posterior.mean)  # raises if its tiles do not fit
        return posterior

    @property
    def _format_version(self) -> int:
        captions = self._data.layout.captions
        weighted = any(isinstance(one, Several) and one.weights for one in captions)
        return WEIGHTED_VERSION if weighted else CAPTIONED_VERSION if captions else FORMAT_VERSION

    @property
    def gib(self) -> float:
        """What the latents will take on disk; captions are not counted."""
        numbers = math.prod(self.shape) * (1 + self._logvar) * (1 + self._options.flip)
        return self._data.num_samples * numbers * 2 / 2**30

    def run(self, rank: int = 0, world: int = 1, progress: bool | None = None) -> Encoded:
        """Encode shards rank, rank + world, … that are not there yet; sound ones are kept.

        Raises UserError if too many images are bad.
        """
        self._ledger.begin()
        mine = range(rank, self.shards, world)
        missing = self._ledger.missing(mine)
        if missing:
            (self._out / INDEX).unlink(missing_ok=True)
        bad = Counter(bad=0, seen=0)
        for number in set(mine) - set(missing):
            self._count(bad, read_summary(shard_path(self._out, number)))
        writes: Future[None] | None = None
        images = sum(len(self._numbers(number)) for number in missing)
        # one writer: a shard is written while the next one is encoded, and no more wait in memory
        with (
            ThreadPoolExecutor(1) as writer,
            progress_bar(progress, total=images, unit="image") as bar,
        ):
            channels, *cells = self.shape
            rows = (channels * (1 + self._logvar), *cells)
            encoder = ShardEncoder(self._data, self._autoencoder, self._options, rows, self._device)
            shards = encoder.shards([self._numbers(number) for number in missing], bar)
            for number, (arrays, summary) in zip(missing, shards, strict=True):
                self._count(bad, summary)
                if writes is not None:
                    writes.result()
                writes = writer.submit(write_shard, shard_path(self._out, number), arrays, summary)
            if writes is not None:
                writes.result()
        complete = self._finish()
        good = bad["seen"] - bad["bad"]
        made = len(missing)
        return Encoded(self.shards, made, len(mine) - made, good, bad["bad"], complete)

    def _numbers(self, shard: int) -> range:
        first = shard * self._options.shard_size
        return range(first, min(first + self._options.shard_size, self._data.num_samples))

    def _planned(self) -> dict[str, Any]:
        """All that shards depend on, as JSON gives it back."""
        options, layout = self._options, self._data.layout
        space = asdict(self._autoencoder.space)
        del space["name"]  # a copy of it elsewhere is the same
        plan = {
            "format_version": self._format_version,
            **{f"autoencoder.{name}": value for name, value in space.items()},
            "images": self._data.num_samples,
            "names": layout.identity,
            "classes": list(layout.class_names),
            "size": options.size,
            "fit": options.fit,
            "flip": options.flip,
            "precision": options.precision,
            "shard_size": options.shard_size,
        }
        plain: dict[str, Any] = json.loads(json.dumps(plan))
        return plain

    def _count(self, bad: Counter[str], summary: dict[str, Any]) -> None:
        bad["seen"] += summary["stop"] - summary["first"]
        bad["bad"] += len(summary["bad"])
        if bad["bad"] > max(MAX_HARMLESS, self._options.max_bad_share * bad["seen"]):
            path, reason = summary["bad"][-1]
            raise UserError(
                f"{bad['bad']} of {bad['seen']} images are bad, more than max_bad_share="
                f"{self._options.max_bad_share:g}, such as {path}: {reason}: raise "
                "--max-bad-share, or remove them and choose another --out"
            )

    def _finish(self) -> bool:
        """Write the index, if all shards are there."""
        if not self._ledger.complete(self.shards):
            return False
        paths = [shard_path(self._out, number) for number in range(self.shards)]
        summaries = [read_summary(path) for path in paths]
        bad = [row for summary in summaries for row in summary["bad"]]
        images = sum(summary["images"] for summary in summaries)
        if not images:
            raise UserError(f"no image of {self._data.place} can be read, such as {bad[0][0]}")
        sums = np.sum([summary["sums"] for summary in summaries], axis=0)
        mean, square = sums / (images * (1 + self._options.flip) * math.prod(self.shape[1:]))
        index = {
            "format_version": self._format_version,
            "autoencoder": asdict(self._autoencoder.space),
            "size": self._options.size,
            "shape": self.shape,
            "logvar": self._logvar,
            "mirrored": self._options.flip,
            "images": images,
            "bad_samples": len(bad),
            "class_names": self._data.layout.class_names,
            "shards": self.shards,
            "hash": _joined(manifest_hash(path) for path in paths),
            "statistics": {
                "mean": mean.tolist(),
                "std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
            },
        }
        lines = [json.dumps({"path": path, "reason": reason}) for path, reason in bad]
        write_atomic(self._out / "bad-samples.jsonl", "".join(f"{line}\n" for line in lines))
        write_atomic(self._out / INDEX, json.dumps(index, indent=1) + "\n")
        return True


def _recorded_classes(plan: Path) -> list[str]:
    """The classes in the order of an encoding that began; none of what the ledger will refuse."""
    try:
        return [str(name) for name in json.loads(plan.read_text(encoding="utf-8"))["classes"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _joined(hashes: Iterator[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
