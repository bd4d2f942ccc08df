"""The steps of a training run: each read, made, kept and shown."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from patch_forcing.core.losses import LossTerms
from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.source import GivesTexts
from patch_forcing.distributed.shards import is_sharded
from patch_forcing.distributed.watchdog import watched
from patch_forcing.io.run_layout import checkpoint_path
from patch_forcing.io.run_metrics import METRICS, read_metrics
from patch_forcing.runs.bad_samples import BadSamples
from patch_forcing.runs.failed_steps import named_samples
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.progress import TrainingProgress
from patch_forcing.runs.run_folder import StepLines
from patch_forcing.runs.saver import Saver
from patch_forcing.runs.state import TrainingState
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.stops import Interrupted, stop_requests
from patch_forcing.runs.watch import Watch
from patch_forcing.training.finite import FiniteSteps

if TYPE_CHECKING:
    from patch_forcing.runs.run import TrainingRun

_RESUME = "the same command resumes"


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    bad_samples: how many it came upon, and replaced. num_classes, class_names: of its data; classes
    may have no names. writes: whether this process, of several that train together, is the one that
    writes. sheet: the newest samples that it drew. texts: some captions, of a network of texts.
    """

    checkpoint: Path
    steps_before: int
    steps: int
    seconds: float
    bad_samples: int
    num_classes: int
    class_names: tuple[str, ...] = ()
    writes: bool = True
    sheet: Path | None = None
    texts: tuple[str, ...] = ()


class TrainingLoop:
    """The steps of a run that are not `done`, and what is kept and shown of them."""

    def __init__(self, run: "TrainingRun", state: TrainingState, done: int, watch: Watch):
        recipe, ranks = run.recipe, run.ranks
        self._run, self._state, self._done, self._watch = run, state, done, watch
        self._bad = BadSamples(run.folder, done, run.data, recipe.batch_size, ranks)
        self._metrics = StepLines(run.folder / METRICS, done, writes=ranks.first)
        self._saver = Saver(run.folder, done, recipe, (self._metrics, self._bad.lines), ranks)
        self._step = TrainStep(state, recipe, run.device, ranks, run.terms)
        self._finite = FiniteSteps(done + 1, recipe.max_failed_steps)
        self._failed_before = _failed_before(run.folder) if ranks.first else 0
        self._progress = TrainingProgress(
            run.progress if ranks.first else False,
            total=recipe.steps,
            done=done,
            batch_size=recipe.batch_size,
        )
        self._places = ranks.places(recipe.batch_size)
        self._sharded = is_sharded(state.model)  # a step then waits for rows of weights
        self._sheet: Path | None = None

    def run(self) -> Outcome:
        run, recipe, ranks = self._run, self._run.recipe, self._run.ranks
        started, step = time.perf_counter(), self._done
        try:
            guard = watched(ranks, recipe.watchdog)
            with self._progress, side_stream(run.device), guard, stop_requests(ranks) as stop:
                for step in range(self._done, recipe.steps):
                    batch = self._read(step)
                    loss, norm = self._train(batch, step)
                    self._progress.update(loss)
                    stopped = ranks.any(stop.is_set())
                    self._keep(step + 1, batch, loss, norm, stopped)
                    if stopped:
                        stop.set()  # on ranks that had no signal too
                        raise Interrupted(f"stopped after step {step + 1}, saved; {_RESUME}")
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped in step {step + 1}, saved up to step {self._saver.saved}; {_RESUME}"
            ) from None
        self._step.close()
        return self._outcome(time.perf_counter() - started)

    def _read(self, step: int) -> Batch:
        """This rank's share of the batch."""
        run, recipe, ranks = self._run, self._run.recipe, self._run.ranks
        place = f"reading the batch of step {step + 1}"
        ranks.place.enter(place)
        with ranks.together(), enough_memory(recipe, ranks, place):
            spec = BatchSpec(step, recipe.batch_size, recipe.seed, self._places)
            batch = run.data.batch(spec, run.device)
        self._bad.record(step + 1)
        return batch

    def _train(self, batch: Batch, step: int) -> tuple[LossTerms, Tensor]:
        """One optimizer step: its loss, and the gradient's norm."""
        ranks = self._run.ranks
        ranks.place.enter(f"in step {step + 1}, until the sum of its gradients")
        with (
            enough_memory(self._run.recipe, ranks, f"in step {step + 1}"),
            ranks.connected(waiting=self._sharded),
        ):
            loss, norm = self._step(batch, step)
        self._finite.record(loss, norm)
        return loss, norm

    def _keep(self, steps: int, batch: Batch, loss: LossTerms, norm: Tensor, stopped: bool) -> None:
        """Lines, checkpoints and sheets after `steps` steps, as far as they are due."""
        run, recipe, ranks = self._run, self._run.recipe, self._run.ranks
        last = steps == recipe.steps
        logs = steps % recipe.log_every == 0
        saves = self._saver.is_due(steps) or last or stopped
        if logs or saves:
            with named_samples(run.folder, self._done, recipe, run.data, ranks):
                self._finite.check(last=last)
        if logs:
            row = self._row(steps, batch, loss, norm)
            self._progress.record(row)
            self._metrics.write(row)
        if saves:  # torchrun stops the others soon after the first that ends
            ranks.place.enter(f"saving step {steps}")
            with ranks.connected():
                self._saver.save(steps, self._state, last=last or stopped)
        if not stopped and (sheet := self._watch.due_sheet(steps)):
            ranks.place.enter(f"drawing samples of step {steps}")
            with ranks.connected():
                self._sheet = self._watch.draw(steps, sheet)
        if logs:  # after the picture of the same step, which trackers take in order
            self._watch.log(steps, row)

    def _row(
        self, steps: int, batch: Batch, loss: LossTerms, norm: Tensor
    ) -> dict[str, float | int]:
        """A line of metrics.jsonl."""
        row: dict[str, float | int] = {
            "step": steps,
            **{name: float(value) for name, value in loss.named().items()},
            "gradient_norm": float(norm),
            "lr": (recipe := self._run.recipe).optimizer.lr_at(steps - 1, recipe.steps),
        }
        with self._run.ranks.connected(waiting=self._sharded):
            inputs = partial(self._step.inputs, batch, steps - 1, terms=False)
            row |= self._watch.row(steps, self._state.model, inputs)
        failed = self._failed_before + self._finite.failed
        return row | {"failed_steps": failed, "bad_samples": self._bad.count}

    def _outcome(self, seconds: float) -> Outcome:
        saved, run = self._saver.saved, self._run
        return Outcome(
            checkpoint_path(run.folder, saved),
            self._done,
            saved,
            seconds if saved > self._done else 0.0,
            self._bad.count,
            run.data.num_classes,
            run.data.info.class_names,
            run.ranks.first,
            self._sheet,
            run.data.shown_texts if isinstance(run.data, GivesTexts) else (),
        )


def _failed_before(run: Path) -> int:
    """The failed steps that a run which goes on has counted: in its last line."""
    rows = read_metrics(run)
    failed = rows[-1].get("failed_steps", 0) if rows else 0
    return failed if isinstance(failed, int) else 0
