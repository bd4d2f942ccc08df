"""Faults made on purpose: a row of docs/reliability.md, children that train, what must hold.

Faults are real: processes that the kernel kills, calls that the kernel fails, disks that are full,
bytes that are altered. Everything that trains does so in a forked child.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from benchmarks.faults.system_calls import run_child
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_step, checkpoints, ema_folder
from patch_forcing.models.loading import load_model
from patch_forcing.runs import saver
from patch_forcing.runs.checkpoint import load_checkpoint
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.state import TrainingState, initial_state
from patch_forcing.runs.trainer import train
from patch_forcing.training.optim import take_step
from tests.support.same_runs import assert_same, losses
from tests.support.tiny import TINY


@dataclass
class Row:
    """A fault, what must hold, how often it was tried, and each time that it did not hold."""

    fault: str
    holds: str
    tried: int = 0
    broken: list[str] = field(default_factory=list)
    notes: dict[str, object] = field(default_factory=dict)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """One try; whatever it raises is written down."""
        self.tried += 1
        try:
            yield
        except Exception as error:
            self.broken.append(f"{what}: {type(error).__name__} {error}"[:300])


def training(recipe: Recipe, run: Path) -> Callable[[], object]:
    """What a child does: train, with the last tries of a save in quick succession."""

    def task() -> None:
        torch.set_num_threads(1)
        saver.WAIT = 0.01
        train("faults", recipe, run, progress=False)

    return task


def whole_run(recipe: Recipe, run: Path) -> Path:
    """A run that nothing disturbs; gives its last checkpoint."""
    ended = run_child(training(recipe, run))
    assert ended.status == 0, ended.text
    return checkpoints(run)[-1]


def prepare() -> None:
    """Import here what would else be imported in each child: that takes longer than its training.

    Nothing is derived here: autograd's threads, once started, do not survive a fork.
    """
    torch.set_num_threads(1)
    state = _empty(TINY)
    for weight in state.model.parameters():
        weight.grad = torch.zeros_like(weight)
    take_step(state.optimizers, 0.0)
    _empty.cache_clear()


@cache
def _empty(recipe: Recipe) -> TrainingState:
    return initial_state(recipe, recipe.data.open(), "cpu")


def assert_sound(run: Path, recipe: Recipe) -> None:
    """Every checkpoint that has its name verifies and loads; at most one interval is lost."""
    named = checkpoints(run) if run.exists() else []
    for checkpoint in named:
        assert broken_file(checkpoint) is None, f"{broken_file(checkpoint)} is broken"
        load_checkpoint(checkpoint, copy.deepcopy(_empty(recipe)))
        load_model(ema_folder(checkpoint))
    written = (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
    logged = written.count("\n")  # log_every is 1
    saved = checkpoint_step(named[-1]) if named else 0
    assert logged - saved <= recipe.checkpoint_every, f"{logged} steps done, {saved} saved"


def assert_finishes(run: Path, recipe: Recipe, whole: Path) -> None:
    """The same command again ends as the run that was never disturbed, and leaves nothing aside."""
    ended = run_child(training(recipe, run))
    assert ended.status == 0, ended.text
    assert_like(run, whole)


def assert_like(run: Path, whole: Path) -> None:
    """Weights, average, optimizer and losses are bitwise those of `whole`; no leftovers."""
    assert_same(checkpoints(run)[-1], whole)
    assert losses(run) == losses(whole.parent.parent)
    left = [file.name for file in run.rglob("*") if file.name.startswith(".")]
    assert not left, f"leftovers {left}"


def before(
    recipe: Recipe, step: int, action: Callable[[], object], task: Callable[[], object]
) -> Callable[[], object]:
    """The task, with something done when the batch of a step is asked for; for a child."""

    def changed() -> None:
        source = type(recipe.data)
        opened = source.open

        def open_with_action(self: object) -> object:
            data = opened(self)
            kind = type(data)

            def batch_after_action(self: object, spec: BatchSpec, *args: object) -> object:
                if spec.step == step:
                    action()
                return kind.batch(self, spec, *args)

            # of the class, for readers of captions put a class of their own in front of it
            changed = type(kind.__name__, (kind,), {"batch": batch_after_action})
            object.__setattr__(data, "__class__", changed)
            return data

        source.open = open_with_action
        task()

    return changed
