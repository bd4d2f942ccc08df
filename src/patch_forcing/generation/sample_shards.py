"""Many images into one array, by any number of processes, stopped and continued.

Seeds are cut into shards of a fixed size, and a shard is sampled in the same batches whoever makes
it: so files are the same, to the byte, for any number of processes. Whoever finds that all shards
are there writes the array, and removes them.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.generation.gallery import (
    MOST,
    MOST_MAPS,
    captions,
    sample_rows,
    save_sheet,
    write_maps,
    write_rows,
)
from patch_forcing.generation.generate import check_labels, check_seeds
from patch_forcing.generation.pipeline import Pipeline, PipelineResult, Sampling
from patch_forcing.io.atomic import (
    atomic_folder,
    broken_file,
    locked,
    remove_leftovers,
    remove_shared,
    write_manifest,
)
from patch_forcing.io.ledger import Ledger, difference, shard_path
from patch_forcing.io.npz import read_about, write_npz
from patch_forcing.views.images import to_pil
from patch_forcing.views.progress import progress_bar

FORMAT_VERSION = 1
_PLAN, _IMAGES, _SUMMARY = "samples.plan.json", "images.npy", "summary.json"
_LONG = 1000
"""Characters of seeds, labels or times that are kept as they are; of more, a hash."""


@dataclass(frozen=True)
class ShardOptions:
    """How the work is cut, and what is left besides the array."""

    shard_size: int = 256
    batch_size: int = 64
    pngs: bool = True
    maps: bool = False

    def __post_init__(self) -> None:
        for name in ("shard_size", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: choose 1 or more")


class Sampled(NamedTuple):
    """How it went: shards in all, those made here and found here; evaluations an image, once done.

    nfe: None while other processes have shards to make.
    """

    shards: int
    made: int
    found: int
    nfe: float | None


class SampleJob:
    """One process's part of sampling `seeds` into the array `npz`."""

    def __init__(
        self,
        pipe: Pipeline,
        sampling: Sampling,
        labels: Sequence[int] | None,
        seeds: Sequence[int],
        npz: Path,
        out: Path,
        options: ShardOptions,
    ):
        """labels: one for all, or one for each seed. out: for SEED.png, sheet and samples.json.

        Raises UserError, before any work, if they do not fit, or another job's results are there.
        """
        check_seeds(seeds)
        self._labels = check_labels(labels, len(seeds), pipe.model.config.num_classes)
        self._pipe, self._sampling, self._seeds = pipe, sampling, list(seeds)
        self._npz, self._out, self._options = npz, out, options
        self.shards = math.ceil(len(seeds) / options.shard_size)
        self._parts = npz.with_name(f"{npz.name}.parts")
        self._plan = self._planned()
        self._ledger = Ledger(self._parts, _PLAN, self._plan, "samples", "--npz")
        self._ledger.check()
        self._is_finished()

    @property
    def gib(self) -> float:
        """What the array will take on disk; its shards take as much until it is there."""
        return len(self._seeds) * math.prod(self._pipe.image_shape) / 2**30

    def run(self, rank: int = 0, world: int = 1, progress: bool | None = None) -> Sampled:
        """Sample shards rank, rank + world, … that are not there yet; sound ones are kept."""
        mine = range(rank, self.shards, world)
        if self._is_finished():
            return self._found(len(mine))
        try:
            return self._run(mine, rank == 0, progress)
        except FileNotFoundError:
            if not self._is_finished():  # by others, meanwhile, who then removed all shards
                raise
            return self._found(len(mine))

    def _run(self, mine: range, first: bool, progress: bool | None) -> Sampled:
        self._ledger.begin()
        missing = self._ledger.missing(mine)
        if missing and self._is_finished():  # likewise
            return self._found(len(mine))
        if self._options.maps and first:
            self._write_maps()
        for number in sorted(set(mine) - set(missing)):
            self._write_pngs(number, self._images(number), again=False)
        writes: Future[None] | None = None
        images = sum(len(self._range(number)) for number in missing)
        # one writer: files are written while the next shard is sampled, and no more wait in memory
        with (
            ThreadPoolExecutor(1) as writer,
            progress_bar(progress, total=images, unit="image") as bar,
        ):
            for number in missing:
                result = self._sample(self._range(number), advance=bar.update)
                if writes is not None:
                    writes.result()
                writes = writer.submit(self._write, number, result)
            if writes is not None:
                writes.result()
        made, found = len(missing), len(mine) - len(missing)
        return Sampled(self.shards, made, found, self._finish())

    def _range(self, shard: int) -> range:
        first = shard * self._options.shard_size
        return range(first, min(first + self._options.shard_size, len(self._seeds)))

    def _sample(self, places: range, **options: Any) -> PipelineResult:
        labels = None if self._labels is None else self._labels[places.start : places.stop]
        seeds = self._seeds[places.start : places.stop]
        options = {"batch_size": self._options.batch_size, **options}
        return self._pipe.sample(self._sampling, labels, seeds, **options)

    def _planned(self) -> dict[str, Any]:
        """What every image depends on, and how they are cut, as JSON gives it back."""
        pipe, sampling, labels = self._pipe, self._sampling, self._labels
        one = labels is not None and len(set(labels)) == 1
        plan = {
            "format_version": FORMAT_VERSION,
            "model_hash": pipe.hash,
            "precision": pipe.precision,
            "autoencoder_hash": None if pipe.autoencoder is None else pipe.autoencoder.space.hash,
            "seeds": _short(_ranges(self._seeds)),
            "labels": None if labels is None else _short(_ranges(labels[:1] if one else labels)),
            "sampler": sampling.name,
            "grid": _short(",".join(map(repr, sampling.time_grid))),
            "guidance": sampling.guidance_scale,
            "guidance_interval": sampling.guidance_interval,
            "guidance_schedule": sampling.guidance_schedule,
            "weak_model_hash": sampling.weak_model,
            "compat": sampling.compat,
            "shard_size": self._options.shard_size,
        }
        plain: dict[str, Any] = json.loads(json.dumps(plan))
        return plain

    def _is_finished(self) -> bool:
        """Whether the array is there. Raises UserError if it is another one."""
        if not self._npz.exists():
            return False
        about = read_about(self._npz)
        try:
            told = difference(self._plan, about)
        except KeyError:
            told = "another kind"
        if told:
            raise UserError(
                f"{self._npz} holds samples of {told}: name another --npz, or remove it"
            )
        return True

    def _found(self, mine: int) -> Sampled:
        """The array was there."""
        remove_shared(self._parts)
        return Sampled(self.shards, 0, mine, float(read_about(self._npz)["nfe"]))

    def _write(self, number: int, result: PipelineResult) -> None:
        pixels = result.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self._write_pngs(number, pixels)
        with atomic_folder(shard_path(self._parts, number), replace=True) as folder:
            np.save(folder / _IMAGES, pixels, allow_pickle=False)
            summary = {
                "nfe": result.nfe,
                "seconds": result.seconds,
                "rows": sample_rows(result, self._pipe),
            }
            (folder / _SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
            write_manifest(folder)

    def _write_pngs(self, number: int, pixels: np.ndarray, again: bool = True) -> None:
        """Those of a shard, or those that are not there."""
        if not self._options.pngs:
            return
        self._out.mkdir(parents=True, exist_ok=True)
        for place, image in zip(self._range(number), pixels, strict=True):
            file = self._out / f"{self._seeds[place]}.png"
            if again or not file.exists():
                _picture(image).save(file)

    def _write_maps(self) -> None:
        """maps.png, of a few images that are sampled for it alone: shards keep no traces."""
        result = self._sample(range(min(MOST_MAPS, len(self._seeds))), trace=True)
        self._out.mkdir(parents=True, exist_ok=True)
        write_maps(result, self._pipe, self._out / "maps.png")

    def _images(self, number: int) -> np.ndarray:
        file = shard_path(self._parts, number) / _IMAGES
        images: np.ndarray = np.load(file, allow_pickle=False)
        return images

    def _summary(self, number: int) -> dict[str, Any]:
        text = (shard_path(self._parts, number) / _SUMMARY).read_text(encoding="utf-8")
        summary: dict[str, Any] = json.loads(text)
        return summary

    def _finish(self) -> float | None:
        """Write what is made of all shards, if they are all there. Evaluations an image."""
        if not self._is_finished():
            if not self._ledger.complete(self.shards):
                return None
            with locked(self._parts / "lock"):
                if not self._is_finished():
                    self._assemble()
        return self._found(0).nfe

    def _assemble(self) -> None:
        """sheet.png, samples.json, and last the array, which says that all is done."""
        remove_leftovers(self._npz.parent, f"{self._npz.name}-")
        for number in range(self.shards):
            broken = broken_file(shard_path(self._parts, number))
            if broken:
                raise UserError(
                    f"{broken} is damaged: start the same command again, which makes it anew"
                )
        self._out.mkdir(parents=True, exist_ok=True)
        first = list(islice(chain.from_iterable(map(self._images, range(self.shards))), MOST))
        labels = None if self._labels is None else self._labels[:MOST]
        written = captions(self._seeds[:MOST], labels, self._pipe)
        save_sheet(list(map(_picture, first)), written, self._out / "sheet.png")
        summaries = map(self._summary, range(self.shards))
        write_rows(chain.from_iterable(s["rows"] for s in summaries), self._out / "samples.json")
        sizes = [len(self._range(number)) for number in range(self.shards)]
        each = [self._summary(number)["nfe"] for number in range(self.shards)]
        nfe = math.fsum(map(math.prod, zip(each, sizes, strict=True))) / len(self._seeds)
        shape = (len(self._seeds), *first[0].shape)
        images = map(self._images, range(self.shards))
        write_npz(self._npz, shape, images, self._plan | {"nfe": nfe})


def _picture(image: np.ndarray) -> Image.Image:
    """(H, W, C) → an image."""
    return to_pil(torch.from_numpy(image.copy()).permute(2, 0, 1))


def _ranges(numbers: Sequence[int]) -> str:
    """As on the command line: 0, 1, 2, 7 → "0-2,7"."""
    starts = [0, *(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1)]
    runs = [(numbers[i], numbers[j - 1]) for i, j in pairwise([*starts, len(numbers)])]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _short(text: str) -> str:
    """The text, or what tells it apart if it is long."""
    if len(text) <= _LONG:
        return text
    return f"{text[:20]}… sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
