"""One data set of natural images at work: models are trained, sampled from and measured."""

import argparse
import gc
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.common.record import Row, append_row, provenance, read_rows
from benchmarks.common.tasks import Task
from benchmarks.natural.claims import distance
from benchmarks.natural.measure import Measuring
from benchmarks.natural.real import Judge, RealImages
from benchmarks.natural.settings import REPA_ENCODER, DataSet, Model
from patch_forcing.core.errors import UserError
from patch_forcing.data.sources import FolderSource
from patch_forcing.features.find import find_encoder
from patch_forcing.generation.fit import fit_time_grid
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.io.run_layout import checkpoint_step, checkpoints
from patch_forcing.models.config import SamplingInfo
from patch_forcing.models.inference import cast_weights, compile_whole
from patch_forcing.runs.latent_features import LatentImages
from patch_forcing.runs.trainer import train

RUN = Path(__file__).with_name("run.py")
"""The command."""


@dataclass
class Clock:
    """Whether there is time for a result, by how long others of its kind took."""

    minutes: float | None
    started: float = field(default_factory=time.perf_counter)
    a_step: float = 0.0
    an_evaluation: float = 0.0

    @classmethod
    def of(cls, minutes: float | None, rows: list[Row], data: str) -> "Clock":
        """With what earlier results of this data took, of models of the recipe's size."""
        own = [row for row in rows if row.get("model", {}).get("data") == data]
        own = [row for row in own if row["model"]["size"] == "recipe"]
        clock = cls(minutes)
        for row in own:
            if row["kind"] == "training":
                clock.a_step = row["seconds"] / row["recipe"]["steps"]
            elif row["kind"] == "samples":
                clock.an_evaluation = row["seconds"] / row["nfe"]
        return clock

    def allows(self, seconds: float) -> bool:
        """For so many more."""
        if self.minutes is None:
            return True
        return time.perf_counter() - self.started + seconds <= 60 * self.minutes


@dataclass(frozen=True)
class Bench:
    """The data at hand: where models read them, and what real images are like."""

    options: argparse.Namespace
    one: DataSet
    path: str
    judges: list[Judge]
    held_out: RealImages
    clock: Clock

    def work(self, task: Task) -> bool:
        """Train the model unless it is there, then measure; False if there was no time."""
        model, options, clock = task.model, self.options, self.clock
        run, gpu = options.work / model.run, options.device != "cpu"
        recipe = model.recipe(self.path, gpu, self._features(model))
        about = {
            "model": asdict(model),
            "of": self.one.name,
            **provenance(RUN, options.device),
        }
        begun = run.exists() and checkpoints(run)
        if not begun and not clock.allows(recipe.steps * clock.a_step):
            return False
        outcome = train(model.run, recipe, run, device=options.device, progress=False)
        if checkpoint_step(outcome.checkpoint) != recipe.steps:
            raise UserError(f"{run} is at another step than {recipe.steps}: choose another --work")
        if outcome.seconds:
            log = read_rows(run / "metrics.jsonl")
            clock.a_step = outcome.seconds / (recipe.steps - outcome.steps_before)
            losses = {row["step"]: row["velocity"] for row in log if "velocity" in row}
            row = {"kind": "training", "seconds": outcome.seconds, "recipe": asdict(recipe)}
            row["recipe"]["data"] = self.one.name
            speeds = {row["step"]: row["images_per_second"] for row in log if "velocity" in row}
            self.put({**about, **row, "losses": losses, "speeds": speeds, **log[-1]})
        self._release()
        pipe = self._pipeline(run, task)
        measuring = Measuring(pipe, self.judges, options.samples, options.device)
        if task.wants_difficulty:
            self.put({**about, **measuring.difficulty(self.held_out, min(2000, options.samples))})
        if gpu:
            cast_weights(pipe.model, "bf16")
            compile_whole(pipe.model)
        for sampling in task.samplings:
            if not clock.allows(clock.an_evaluation * max(sampling.nfe, 24)):
                return False
            started = time.perf_counter()
            row = measuring(sampling)
            clock.an_evaluation = (time.perf_counter() - started) / row["nfe"]
            self.put({**about, **row})
        self._release()
        return True

    def put(self, row: Row) -> None:
        """Append and print it."""
        append_row(self.options.out / "rows.jsonl", row)
        print(short(row), flush=True)

    def _pipeline(self, run: Path, task: Task) -> Pipeline:
        """Of averaged weights, with a fitted grid if one is needed."""
        options = self.options
        pipe = load(
            run, options.device, autoencoder=options.autoencoder if self.one.latent else None
        )
        assert pipe.class_names == self.held_out.class_names, "classes are numbered otherwise"
        if any(sampling.grid == "fitted" for sampling in task.samplings):
            pipe.model.sampling_info = SamplingInfo(fit_time_grid(pipe.model, range(32)))
        return pipe

    def _release(self) -> None:
        """Compiled code and memory of what is done: the next model has no use for them."""
        gc.collect()
        if self.options.device != "cpu":
            torch._dynamo.reset()
            torch.cuda.empty_cache()

    def _features(self, model: Model) -> str | None:
        """What alignment reads in place of the images of latents."""
        if not model.repa or not self.one.latent:
            return None
        out = self.options.work / f"{self.options.data}-features"
        if not out.exists():
            images = str(self.options.images / "train")
            both = LatentImages(
                Path(self.path), True, lambda **how: FolderSource(images, **how).open()
            )
            patch = model.recipe(self.path, False).network.patch_size
            assert patch is not None
            gpu = self.options.device != "cpu"
            both.cache(out, find_encoder(REPA_ENCODER), patch, self.options.device, bf16=gpu)
        return str(out)


def short(row: Row) -> str:
    """One line for the terminal."""
    if row["kind"] == "real":
        judged = "; ".join(
            f"{one['network']}: accuracy {one['accuracy']:.1%}, FD {one['floor']['value']:.4g}"
            for one in row["judges"]
        )
        return f"{time.strftime('%H:%M:%S')} real images of {row['of']}: {judged}"
    name = f"{time.strftime('%H:%M:%S')} {Model(**row['model']).name}"
    if row["kind"] == "samples":
        how = " ".join(str(value) for value in row["sampling"].values() if value not in (None, 1.0))
        fds = ", ".join(f"{distance(row, n):.4g}" for n in range(len(row["measures"])))
        named = ", ".join(f"{one['accuracy']:.1%}" for one in row["measures"])
        return f"{name} {how}: FD {fds}; accuracy {named}; {row['seconds']} s"
    if row["kind"] == "training":
        return f"{name}: {row['seconds']:.0f} s, loss {row['velocity']}"
    return f"{name}: " + ", ".join(f"{e['t']}: {e['rank_correlation']:.2f}" for e in row["by_time"])
