"""The training loop: resumes by itself, loses nothing, and knows no data and no condition."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.batch import Inferred, NamesSamples, TrainingData
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.distributed.ranks import Ranks, join_ranks
from patch_forcing.distributed.shards import is_sharded
from patch_forcing.distributed.watchdog import watched
from patch_forcing.features.network import FeatureNetwork
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.io.run_layout import CHECKPOINTS, checkpoint_path, checkpoints, newest_sound
from patch_forcing.models.dit import PatchDiT
from patch_forcing.runs.alignment import StepFeatures, open_alignment
from patch_forcing.runs.bad_samples import BadSamples
from patch_forcing.runs.checkpoint import load_checkpoint
from patch_forcing.runs.init import init_weights
from patch_forcing.runs.memory import enough_memory
from patch_forcing.runs.recipes import Recipe
from patch_forcing.runs.run_folder import FAILED_STEPS, METRICS, StepLines, open_run
from patch_forcing.runs.saver import Saver
from patch_forcing.runs.state import TrainingState, initial_state
from patch_forcing.runs.step import Terms, TrainStep, side_stream
from patch_forcing.runs.stops import Interrupted, stop_requests
from patch_forcing.runs.trackers import Trackers, check_trackers
from patch_forcing.runs.watch import Watch
from patch_forcing.training.finite import FiniteSteps, NotFiniteError
from patch_forcing.views.progress import progress_bar

_RESUME = "the same command resumes"


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    bad_samples: how many it came upon, and replaced. num_classes: of its data. writes: whether this
    process, of several that train together, is the one that writes. sheet: the last step's samples,
    if they were drawn.
    """

    checkpoint: Path
    steps_before: int
    steps: int
    seconds: float
    bad_samples: int
    num_classes: int
    writes: bool = True
    sheet: Path | None = None


def train(
    name: str,
    recipe: Recipe,
    run: Path,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    on_open: Callable[[TrainingData], None] | None = None,
    track: Sequence[str] = (),
    init_from: str | None = None,
    encoder: FeatureNetwork | None = None,
) -> Outcome:
    """Train a recipe in the folder `run`, from its newest checkpoint if it has one.

    Started by torchrun, the processes share each batch, and the first one writes.

    progress: whether to draw a bar; None draws it if stderr is a terminal.
    on_open: called with the data before anything is trained or written.
    track: trackers, by name, that are told all that metrics.jsonl is; none can stop a run.
    init_from: a model whose weights a new run starts from; one with a checkpoint does not read it.
    encoder: what the recipe's alignment calls its encoder, in place of one found by that name.
    A damaged checkpoint is passed over with a warning, and a save that fails is tried again.
    Raises UserError if the folder holds another run, every checkpoint is damaged or every save
    fails, too many samples are bad, or the loss is not finite; Interrupted after Ctrl-C, SIGTERM or
    SIGUSR1 on any rank, with a checkpoint saved.
    """
    check_trackers(track)
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True)
    with join_ranks(device) as ranks:
        _check_shares(recipe, ranks)
        with ranks.together():
            data = recipe.data.open()
            found = data.facts if isinstance(data, Inferred) else None
            alignment = open_alignment(recipe, data, device, ranks, encoder)
            if alignment is not None:
                found = {**(found or {}), "encoder": alignment.encoder}
            start = init_from if init_from is not None and not checkpoints(run) else None
        init: dict[str, str] = {}

        def begin(model: PatchDiT) -> None:
            if start is not None:
                init.update(init_weights(model, start))

        with enough_memory(recipe, ranks, "before the first step"), ranks.connected():
            state = initial_state(recipe, data, device, alignment, ranks=ranks, begin=begin)
        with ranks.together():
            if ranks.first:
                if on_open is not None:
                    on_open(data)
                open_run(run, name, recipe, found, init_from, init or None)
                (run / CHECKPOINTS).mkdir(exist_ok=True)
                remove_leftovers(run / CHECKPOINTS)
        with ranks.together():
            newest = newest_sound(run)
            done = load_checkpoint(newest, state) if newest else 0
        if any(seen != (found, done) for seen in ranks.gather((found, done))):
            raise UserError(
                f"ranks see different data, or checkpoints in {run}: name places on a disk that "
                "all machines share"
            )
        if not is_sharded(state.model):
            averages = chain.from_iterable(network.parameters() for network in state.averages())
            ranks.copy_first_(chain(state.trained(), averages))
        features = None if alignment is None else alignment.features
        with ranks.together():
            told = Trackers(track, run, done, asdict(recipe)) if ranks.first and track else None
        watch = Watch(recipe, run, state.ema, device, ranks, done, told)
        with closing(watch):
            return _train(recipe, run, data, state, features, done, ranks, device, progress, watch)


def _train(
    recipe: Recipe,
    run: Path,
    data: TrainingData,
    state: TrainingState,
    features: StepFeatures | None,
    done: int,
    ranks: Ranks,
    device: torch.device | str,
    progress: bool | None,
    watch: Watch,
) -> Outcome:
    """From `done` steps to the end."""
    bad = BadSamples(run, done, data, recipe.batch_size, ranks)
    metrics = StepLines(run / METRICS, done, writes=ranks.first)
    saver = Saver(run, done, recipe, (metrics, bad.lines), ranks)
    train_step = TrainStep(state, recipe, device, ranks, features)
    finite = FiniteSteps(done + 1, recipe.max_failed_steps)
    places = ranks.places(recipe.batch_size)
    started = time.perf_counter()
    step, sheet = done, None
    bar = progress_bar(
        progress if ranks.first else False, total=recipe.steps, initial=done, unit="step"
    )
    try:
        guard = watched(ranks, recipe.watchdog)
        with bar, side_stream(device), guard, stop_requests(ranks) as stop:
            for step in range(done, recipe.steps):
                reads = f"reading the batch of step {step + 1}"
                ranks.place.enter(reads)
                with ranks.together(), enough_memory(recipe, ranks, reads):
                    spec = BatchSpec(step, recipe.batch_size, recipe.seed, places)
                    batch = data.batch(spec, device)
                bad.record(step + 1)
                ranks.place.enter(f"in step {step + 1}, until the sum of its gradients")
                with (
                    enough_memory(recipe, ranks, f"in step {step + 1}"),
                    ranks.connected(waiting=is_sharded(state.model)),  # for rows of weights
                ):
                    loss, norm = train_step(batch, step)
                finite.record(loss, norm)
                bar.update()
                steps, stopped = step + 1, ranks.any(stop.is_set())
                last = steps == recipe.steps
                logs = steps % recipe.log_every == 0
                saves = saver.is_due(steps) or last or stopped
                if logs or saves:
                    with _named_samples(run, done, recipe, data, ranks):
                        finite.check(last=last)
                if logs:
                    bar.set_postfix(loss=f"{loss.velocity:.3f}", refresh=False)
                    row = _metrics_row(recipe, steps, loss, norm)
                    with ranks.connected(waiting=is_sharded(state.model)):
                        inputs = partial(train_step.inputs, batch, step, features=False)
                        row |= watch.row(steps, state.model, inputs)
                    row |= {"failed_steps": finite.failed, "bad_samples": bad.count}
                    metrics.write(row)
                if saves:  # torchrun stops the others soon after the first that ends
                    ranks.place.enter(f"saving step {steps}")
                    with ranks.connected():
                        saver.save(steps, state, last=last or stopped)
                if watch.draws(steps) and not stopped:
                    ranks.place.enter(f"drawing samples of step {steps}")
                    with ranks.connected():
                        sheet = watch.draw(steps)
                if logs:  # after the picture of the same step, which trackers take in order
                    watch.log(steps, row)
                if stopped:
                    stop.set()  # on ranks that had no signal too
                    raise Interrupted(f"stopped after step {steps}, saved; {_RESUME}")
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped in step {step}, saved up to step {saver.saved}; {_RESUME}"
        ) from None
    train_step.close()
    seconds = time.perf_counter() - started if saver.saved > done else 0.0
    newest = checkpoint_path(run, saver.saved)
    found = bad.count, data.num_classes
    return Outcome(newest, done, saver.saved, seconds, *found, ranks.first, sheet)


def _check_shares(recipe: Recipe, ranks: Ranks) -> None:
    shares = ranks.world * recipe.accumulate
    if recipe.batch_size % shares:
        raise UserError(
            f"batch_size={recipe.batch_size} does not split equally over {ranks.world} ranks in "
            f"accumulate={recipe.accumulate} parts each: choose a multiple of {shares}"
        )


@contextmanager
def _named_samples(
    run: Path, done: int, recipe: Recipe, data: TrainingData, ranks: Ranks
) -> Iterator[None]:
    """If too many steps failed, write down which samples they saw."""
    try:
        yield
    except NotFiniteError as error:
        lines = StepLines(run / FAILED_STEPS, done, writes=ranks.first)
        for failed in error.steps:
            row: dict[str, Any] = {
                "step": failed.step,
                "loss": failed.loss,
                "gradient_norm": failed.norm,
            }
            if isinstance(data, NamesSamples):
                spec = BatchSpec(failed.step - 1, recipe.batch_size, recipe.seed)
                row["samples"] = data.sample_names(spec)
            lines.write(row)
        raise UserError(f"{error}; {lines.file} names the samples of these steps") from None


def _metrics_row(recipe: Recipe, steps: int, loss: Terms, norm: Tensor) -> dict[str, float | int]:
    return {
        "step": steps,
        **{term: float(value) for term, value in loss._asdict().items()},
        "gradient_norm": float(norm),
        "lr": recipe.optimizer.lr_at(steps - 1, recipe.steps),
    }
