"""A training run: resumes by itself, loses nothing, and knows no data, no condition and no term."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.core.losses import LossTerms
from patch_forcing.data.batch import Batch, Inferred, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.source import GivesTexts
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.shards import is_sharded
from patch_forcing.distributed.watchdog import watched
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.io.run_layout import CHECKPOINTS, checkpoint_path, checkpoints, newest_sound
from patch_forcing.io.run_metrics import METRICS
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.bad_samples import BadSamples
from patch_forcing.runs.checkpoint import load_checkpoint
from patch_forcing.runs.failed_steps import named_samples
from patch_forcing.runs.init import check_start, init_weights
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.progress import TrainingProgress
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.run_folder import NO_CHANGES, Changes, StepLines, one_training, open_run
from patch_forcing.runs.saver import Saver
from patch_forcing.runs.state import TrainingState, initial_state
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.runs.stops import Interrupted, stop_requests
from patch_forcing.runs.terms import RunTerm
from patch_forcing.runs.trackers import Trackers
from patch_forcing.runs.watch import Watch
from patch_forcing.training.finite import FiniteSteps

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


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run in its folder, with all that it is made of.

    name: of the recipe; a folder holds runs of one name. terms: of the objective, in order. device,
    ranks: what it computes on. init_from: a model whose weights a new run starts from; one with a
    checkpoint does not read it. track: trackers, by name, that get all that metrics.jsonl gets;
    none can stop a run. progress: whether to draw a bar; None draws it if stderr is a terminal.
    on_open: called with the data before anything is trained or written. changes: what may differ
    from the run that began here.
    Raises UserError if the batch does not split over the ranks, or if a head alone is to be trained
    and no model is named.
    """

    name: str
    recipe: Recipe
    folder: Path
    data: TrainingData
    terms: tuple[RunTerm, ...] = ()
    device: torch.device | str = "cpu"
    ranks: Ranks = ALONE
    init_from: str | None = None
    track: tuple[str, ...] = ()
    progress: bool | None = None
    on_open: Callable[[TrainingData], None] | None = None
    changes: Changes = NO_CHANGES

    def __post_init__(self) -> None:
        check_start(self.recipe.train_only, self.init_from)
        recipe, world = self.recipe, self.ranks.world
        shares = world * recipe.accumulate
        if recipe.batch_size % shares:
            raise UserError(
                f"batch_size={recipe.batch_size} does not split equally over {world} ranks in "
                f"accumulate={recipe.accumulate} parts each: choose a multiple of {shares}"
            )

    def train(self) -> Outcome:
        """To the last step, from the newest checkpoint if there is one.

        A damaged checkpoint is passed over with a warning, and a save that fails is tried again.
        Raises UserError if the folder holds another run or one that is going on, every checkpoint
        is damaged or every save fails, too many samples are bad, or the loss is not finite;
        Interrupted after Ctrl-C, SIGTERM or SIGUSR1 on any rank, with a checkpoint saved.
        """
        with ExitStack() as held:
            return self._train(held)

    def _train(self, held: ExitStack) -> Outcome:
        ranks = self.ranks
        state = self._begin(held)
        done = self._resume(state)
        with ranks.together():
            trackers = None
            if ranks.first and self.track:
                trackers = Trackers(self.track, self.folder, done, asdict(self.recipe))
            watch = Watch(
                self.recipe, self.folder, state.ema, self.device, ranks, done, trackers, self.data
            )
        with closing(watch):
            return _Loop(self, state, done, watch).run()

    def _record(self) -> dict[str, Any]:
        """What run.json keeps of data and terms; a resumed run must have the same."""
        record = dict(self.data.facts) if isinstance(self.data, Inferred) else {}
        for term in self.terms:
            record |= term.record
        return record

    def _begin(self, held: ExitStack) -> TrainingState:
        """The first weights; and the folder, locked, opened and recorded.

        The lock comes after all that can be refused: a mistake leaves no folder behind.
        """
        ranks, start = self.ranks, dict[str, str]()

        def begin(model: PatchDiT) -> None:
            if self.init_from is not None and not checkpoints(self.folder):
                start.update(init_weights(model, self.init_from, self.recipe.train_only))

        with enough_memory(self.recipe, ranks, "before the first step"), ranks.connected():
            state = initial_state(
                self.recipe, self.data, self.device, self.terms, ranks=ranks, begin=begin
            )
        with ranks.together():
            if ranks.first:
                if self.on_open is not None:
                    self.on_open(self.data)
                held.enter_context(one_training(self.folder))
                record, init = self._record(), start or None
                how = (self.folder, self.name, self.recipe)
                open_run(*how, record, self.init_from, init, changes=self.changes)
                (self.folder / CHECKPOINTS).mkdir(exist_ok=True)
                remove_leftovers(self.folder / CHECKPOINTS)
        return state

    def _resume(self, state: TrainingState) -> int:
        """Fills the state, the same on all ranks; returns how many steps were done."""
        ranks = self.ranks
        with ranks.together():
            newest = newest_sound(self.folder)
            done = load_checkpoint(newest, state) if newest else 0
        mine = self._record(), done
        if any(theirs != mine for theirs in ranks.gather(mine)):
            raise UserError(
                f"ranks see different data, or checkpoints in {self.folder}: name places on a disk "
                "that all machines share"
            )
        if not is_sharded(state.model):
            modules = *state.networks().values(), *state.term_modules().values()
            ranks.copy_first_(chain.from_iterable(module.parameters() for module in modules))
        return done


class _Loop:
    """The steps of a run that are not `done`, and what is kept and shown of them."""

    def __init__(self, run: TrainingRun, state: TrainingState, done: int, watch: Watch):
        recipe, ranks = run.recipe, run.ranks
        self._run, self._state, self._done, self._watch = run, state, done, watch
        self._bad = BadSamples(run.folder, done, run.data, recipe.batch_size, ranks)
        self._metrics = StepLines(run.folder / METRICS, done, writes=ranks.first)
        self._saver = Saver(run.folder, done, recipe, (self._metrics, self._bad.lines), ranks)
        self._step = TrainStep(state, recipe, run.device, ranks, run.terms)
        self._finite = FiniteSteps(done + 1, recipe.max_failed_steps)
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
                f"stopped in step {step}, saved up to step {self._saver.saved}; {_RESUME}"
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
        return row | {"failed_steps": self._finite.failed, "bad_samples": self._bad.count}

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
