"""Many images into one array, by any number of processes, stopped and continued.

Seeds are cut into shards of a fixed size, and a shard is sampled in the same batches whoever makes
it: so files are the same, to the byte, for any number of processes. Whichever process sees that all
shards are there writes the array, and removes them.
"""

import json
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.generation.conditions import Conditions
from patch_forcing.generation.gallery import image_rows
from patch_forcing.generation.generate import check_seeds
from patch_forcing.generation.numbers import abridged, write_numbers
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import Sampling
from patch_forcing.generation.result import MAX_MAPS, PipelineResult
from patch_forcing.generation.shard_files import SampleFiles, pixel_rows
from patch_forcing.io.atomic import locked, remove_shared
from patch_forcing.io.image_file import save_image
from patch_forcing.io.ledger import Ledger, difference
from patch_forcing.io.npz import read_about
from patch_forcing.views.progress import progress_bar
from patch_forcing.views.sheets import MAX_SHEET_IMAGES

FORMAT_VERSION = 1
_PLAN = "samples.plan.json"


@dataclass(frozen=True)
class ShardOptions:
    """How the work is cut, and what is left besides the array."""

    shard_size: int = 256
    batch_size: int = 64
    pngs: bool = True
    maps: bool = False
    film: bool = False

    def __post_init__(self) -> None:
        for name in ("shard_size", "batch_size"):
            check_range(name, getattr(self, name), 1)


class Sampled(NamedTuple):
    """How it went.

    shards: in all. made: by this process. kept: its share that was there before. nfe: evaluations
    an image, or None while other processes have shards to make.
    """

    shards: int
    made: int
    kept: int
    nfe: float | None


@dataclass(frozen=True)
class SampleTask:
    """All that an array of images depends on, and how it is cut into shards.

    conditions: one for each seed.
    """

    pipe: Pipeline
    sampling: Sampling
    conditions: Conditions
    seeds: Sequence[int]
    shard_size: int

    @property
    def shards(self) -> int:
        """Their number."""
        return math.ceil(len(self.seeds) / self.shard_size)

    def shard(self, number: int) -> slice:
        """The images of a shard."""
        first = number * self.shard_size
        return slice(first, min(first + self.shard_size, len(self.seeds)))

    def sample(self, images: slice, **options: Any) -> PipelineResult:
        """Those images. options: as `Pipeline.sample` takes them."""
        return self.pipe.sample(
            self.sampling, self.conditions[images], self.seeds[images], **options
        )

    def plan(self) -> dict[str, Any]:
        """All of it as JSON gives it back: two tasks with the same plan make the same files."""
        space = None if self.pipe.autoencoder is None else self.pipe.autoencoder.space
        sampling = self.sampling.record()
        plan = {
            "format_version": FORMAT_VERSION,
            "model_hash": self.pipe.hash,
            "precision": self.pipe.precision,
            "autoencoder_hash": None if space is None else space.hash,
            "seeds": abridged(write_numbers(self.seeds)),
            **self.conditions.plan(),
            **sampling,
            "grid": abridged(",".join(map(repr, self.sampling.time_grid))),
            "shard_size": self.shard_size,
        }
        plain: dict[str, Any] = json.loads(json.dumps(plan))
        return plain


class SampleJob:
    """One process's part of sampling `seeds` into the array `npz`."""

    def __init__(
        self,
        pipe: Pipeline,
        sampling: Sampling,
        conditions: Conditions,
        seeds: Sequence[int],
        npz: Path,
        out: Path,
        options: ShardOptions,
    ):
        """conditions: one for all, or one for each seed. out: of images, sheets, samples.json.

        Raises UserError, before any work, if they do not fit, or another job's results are there.
        """
        conditions = conditions.for_seeds(seeds)
        check_seeds(seeds)
        self._task = SampleTask(pipe, sampling, conditions, list(seeds), options.shard_size)
        self._files, self._options = SampleFiles(npz, out), options
        self._plan = self._task.plan()
        self._ledger = Ledger(self._files.parts, _PLAN, self._plan, "samples", "--npz")
        self._ledger.check()
        self._is_finished()
        self._files.folder.check()

    @property
    def shards(self) -> int:
        """How many there are in all."""
        return self._task.shards

    @property
    def gib(self) -> float:
        """What the array will take on disk; its shards take as much until it is there."""
        channels, *own = self._task.pipe.image_shape
        pixels = math.prod(self._task.sampling.request.size or own)
        return len(self._task.seeds) * channels * pixels / 2**30

    def run(self, rank: int = 0, world: int = 1, progress: bool | None = None) -> Sampled:
        """Sample shards rank, rank + world, … that are not there yet; sound ones are kept."""
        mine = range(rank, self.shards, world)
        if self._is_finished():
            if rank == 0:
                self._restore()
            return self._all_kept(len(mine))
        try:
            return self._run(mine, rank == 0, progress)
        except FileNotFoundError:
            if not self._is_finished():  # by others, meanwhile, who then removed all shards
                raise
            return self._all_kept(len(mine))

    def _run(self, mine: range, first: bool, progress: bool | None) -> Sampled:
        self._ledger.begin()
        with ExitStack() as held:
            with locked(self._files.parts / "lock"):
                if self._is_finished():  # by others, meanwhile
                    return self._all_kept(len(mine))
                held.enter_context(self._files.folder.claimed(self._task.seeds, self._plan))
            return self._work(mine, first, progress)

    def _work(self, mine: range, first: bool, progress: bool | None) -> Sampled:
        missing = self._ledger.missing(mine)
        if missing and self._is_finished():  # by others, meanwhile
            return self._all_kept(len(mine))
        if first:
            self._draw(self._options.maps, self._options.film)
        if self._options.pngs:
            for number in sorted(set(mine) - set(missing)):
                seeds = self._task.seeds[self._task.shard(number)]
                self._files.write_pngs(seeds, self._files.images(number), again=False)
        self._make(missing, progress)
        made, kept = len(missing), len(mine) - len(missing)
        return Sampled(self.shards, made, kept, self._finish())

    def _make(self, missing: Sequence[int], progress: bool | None) -> None:
        """These shards. Files are written while the next one is sampled; no more wait in memory."""
        seeds, size = self._task.seeds, self._options.batch_size
        writes: Future[None] | None = None
        images = sum(len(seeds[self._task.shard(number)]) for number in missing)
        with (
            ThreadPoolExecutor(1) as writer,
            progress_bar(progress, total=images, unit="image") as bar,
        ):
            for number in missing:
                shard = self._task.shard(number)
                result = self._task.sample(shard, batch_size=size, advance=bar.update)
                if writes is not None:
                    writes.result()
                writes = writer.submit(self._write, number, result)
            if writes is not None:
                writes.result()

    def _write(self, number: int, result: PipelineResult) -> None:
        if self._options.pngs:
            self._files.write_pngs(result.seeds, pixel_rows(result))
        self._files.write_shard(number, result, self._task.pipe)

    def _draw(self, maps: bool, film: bool) -> None:
        """Maps and film, of a few images that are sampled for them alone: shards keep no traces."""
        if not (maps or film):
            return
        size, folder = self._options.batch_size, self._files.folder
        result = self._task.sample(slice(MAX_MAPS), batch_size=size, trace=True)
        if maps:
            save_image(result.maps(), folder.maps)
        if film:
            result.film(folder.film)

    def _restore(self) -> None:
        """Make the folder that of the array that is there, if it is not: with all that belongs.

        What is not known any more is told: `seconds` is null then, and `nfe` the images' mean.
        """
        task, folder, first = self._task, self._files.folder, slice(MAX_SHEET_IMAGES)
        nfe = [float(read_about(self._files.npz)["nfe"])] * len(task.seeds)
        rows = list(image_rows(task.pipe, task.sampling, task.conditions, task.seeds, nfe, None))
        same = [_lasting(row) for row in folder.rows()] == json.loads(
            json.dumps([_lasting(row) for row in rows])
        )
        with nullcontext() if same else folder.claimed(task.seeds, self._plan):
            self._draw(
                self._options.maps and not folder.maps.exists(),
                self._options.film and not folder.film.exists(),
            )
            captions = task.conditions[first].captions(task.seeds[first])
            self._files.restore(task.seeds, captions, self._options.pngs)
            if not same:
                folder.write_rows(rows)
            folder.finish()

    def _is_finished(self) -> bool:
        """Whether the array is there. Raises UserError if it is another one."""
        npz = self._files.npz
        if not npz.exists():
            return False
        try:
            other = difference(self._plan, read_about(npz))
        except KeyError:
            other = "another kind"
        if other:
            raise UserError(f"{npz} holds samples of {other}: name another --npz, or remove it")
        return True

    def _all_kept(self, mine: int) -> Sampled:
        """The array is there, and with it all shards."""
        remove_shared(self._files.parts)
        return Sampled(self.shards, 0, mine, float(read_about(self._files.npz)["nfe"]))

    def _finish(self) -> float | None:
        """Write what is made of all shards, if they are all there. Evaluations an image."""
        if not self._is_finished():
            if not self._ledger.complete(self.shards):
                return None
            with locked(self._files.parts / "lock"):
                if not self._is_finished():
                    task = self._task
                    self._files.assemble(self.shards, task.seeds, task.conditions, self._plan)
        return self._all_kept(0).nfe


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    """What of an image's record does not differ between two times that it is made."""
    return {key: row[key] for key in row.keys() - {"nfe", "token_evaluations", "seconds", "model"}}
