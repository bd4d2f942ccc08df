"""The training loop: resumes by itself, loses nothing, and knows no data and no condition."""

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from patch_forcing.core.losses import LossTerms
from patch_forcing.data.batch import Inferred, TrainingData
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.runs.bad_samples import BadSamples
from patch_forcing.runs.checkpoint import (
    CHECKPOINTS,
    TrainingState,
    checkpoint_path,
    load_checkpoint,
    newest_sound,
)
from patch_forcing.runs.progress import progress_bar
from patch_forcing.runs.recipes import Recipe
from patch_forcing.runs.run_folder import METRICS, StepLines, open_run
from patch_forcing.runs.saver import Saver
from patch_forcing.runs.step import TrainStep, side_stream
from patch_forcing.training.finite import FiniteSteps

_RESUME = "the same command resumes"


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; the message says what was saved."""


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    bad_samples: how many it came upon, and replaced. num_classes: of its data.
    """

    checkpoint: Path
    steps_before: int
    steps: int
    seconds: float
    bad_samples: int
    num_classes: int


def train(
    name: str,
    recipe: Recipe,
    run: Path,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    on_open: Callable[[TrainingData], None] | None = None,
) -> Outcome:
    """Train a recipe in the folder `run`, from its newest checkpoint if it has one.

    progress: whether to draw a bar; None draws it if stderr is a terminal.
    on_open: called with the data before anything is trained or written.
    A damaged checkpoint is passed over with a warning, and a save that fails is tried again.
    Raises UserError if the folder holds another run, every checkpoint is damaged or every save
    fails, too many samples are bad, or the loss is not finite; Interrupted after Ctrl-C, with a
    checkpoint saved.
    """
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True)
    data = recipe.data.open()
    state = initial_state(recipe, data, device)
    if on_open is not None:
        on_open(data)
    open_run(run, name, recipe, data.found if isinstance(data, Inferred) else None)
    (run / CHECKPOINTS).mkdir(exist_ok=True)
    remove_leftovers(run / CHECKPOINTS)
    found = newest_sound(run)
    done = load_checkpoint(found, state) if found else 0
    bad = BadSamples(run, done, data, recipe.batch_size)
    if found and done >= recipe.steps:
        return Outcome(found, done, done, 0.0, bad.count, data.num_classes)
    metrics = StepLines(run / METRICS, done)
    saver = Saver(run, done, recipe.checkpoint_every, (metrics, bad.lines))
    train_step = TrainStep(state, recipe, device)
    finite = FiniteSteps(done)
    started = time.perf_counter()
    step = done
    bar = progress_bar(progress, total=recipe.steps, initial=done, unit="step")
    try:
        with bar, side_stream(device), _stop_requests() as stop:
            for step in range(done, recipe.steps):
                batch = data.batch(step, recipe.batch_size, recipe.seed, device)
                bad.record(step + 1)
                loss, norm = train_step(batch, step)
                finite.record(loss, norm)
                bar.update()
                steps = step + 1
                if steps % recipe.log_every == 0:
                    finite.check()
                    bar.set_postfix(loss=f"{loss.velocity:.3f}", refresh=False)
                    seconds = time.perf_counter() - started
                    row = _metrics_row(recipe, steps, steps - done, seconds, loss, norm)
                    row |= {"failed_steps": finite.failed, "bad_samples": bad.count}
                    metrics.write(row)
                stopping = stop.is_set()  # once: else a stop asked for meanwhile would not be saved
                last = steps == recipe.steps or stopping
                if last or saver.is_due(steps):
                    finite.check(last=steps == recipe.steps)
                    saver.save(steps, state, last=last)
                if stopping:
                    raise Interrupted(f"stopped after step {steps}, saved; {_RESUME}")
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped in step {step}, saved up to step {saver.saved}; {_RESUME}"
        ) from None
    seconds = time.perf_counter() - started
    newest = checkpoint_path(run, saver.saved)
    return Outcome(newest, done, saver.saved, seconds, bad.count, data.num_classes)


def initial_state(recipe: Recipe, data: TrainingData, device: torch.device | str) -> TrainingState:
    """Weights from the recipe's seed, leaving the caller's random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = recipe.network.build(data).to(device)
    model.recompute_activations = recipe.recompute_activations
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    return TrainingState(
        model, ema, recipe.optimizer.build(model.parameters(), model.hidden_matrices())
    )


def _metrics_row(
    recipe: Recipe, steps: int, steps_here: int, seconds: float, loss: LossTerms, norm: Tensor
) -> dict[str, float | int]:
    return {
        "step": steps,
        **{term: float(value) for term, value in loss._asdict().items()},
        "gradient_norm": float(norm),
        "lr": recipe.optimizer.lr_at(steps - 1, recipe.steps),
        "images_per_second": round(steps_here * recipe.batch_size / seconds, 1),
    }


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """The first Ctrl-C asks for a stop after the step at hand; a second one breaks it off."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
