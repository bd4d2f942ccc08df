"""Saving while training goes on: a save that fails is tried again before the run stops."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import Ranks
from patch_forcing.io.atomic import remove_folder, remove_leftovers
from patch_forcing.io.run_layout import CHECKPOINTS, checkpoint_step, checkpoints
from patch_forcing.runs.checkpoint import KEPT_CHECKPOINTS, save_checkpoint
from patch_forcing.runs.recipe import Recipe
from patch_forcing.runs.run_folder import StepLines
from patch_forcing.runs.snapshots import SNAPSHOTS, newest_snapshot, save_snapshot
from patch_forcing.runs.state import TrainingState

LOG = logging.getLogger("patch_forcing")
TRIES = 10
"""Saves that fail in a row before a run stops: in training they are spread over one interval."""
WAIT = 3.0
"""Seconds between tries where no step is left to train meanwhile."""


class Saver:
    """Checkpoints of a run, snapshots of its averages, and the lines that go with them.

    saved: the step of the newest checkpoint. All ranks take part, and know how it went.
    """

    def __init__(
        self, run: Path, done: int, recipe: Recipe, lines: Iterable[StepLines], ranks: Ranks
    ):
        """done: steps of the checkpoint resumed from; snapshots after it, of steps that will be
        done again, are removed. lines: on disk no later than a checkpoint.
        """
        self.saved, self._ranks = done, ranks
        self._run, self._recipe, self._lines = run, recipe, tuple(lines)
        self._failed = 0
        newest = newest_snapshot(run, done) if ranks.first else 0
        self._newest_snapshot = ranks.gather(newest)[0]

    def is_due(self, steps: int) -> bool:
        """Whether to save after `steps` steps: each interval, and ten times as often on failure."""
        due = self._checkpoint_due(steps) or self._snapshot_due(steps)
        return due and (
            not self._failed or steps % max(1, self._recipe.checkpoint_every // TRIES) == 0
        )

    def save(self, steps: int, state: TrainingState, *, last: bool = False) -> None:
        """Save what is due, and remove what is too old; a failure is a warning: the run may go on.

        last: nothing is trained after this, so that it is tried again at once.
        Raises UserError with the system's reason after TRIES failures in a row.
        """
        while True:
            # first: killed between the two, a run takes the snapshot again
            snapshot = self._snapshot_due(steps)
            checkpoint = self.saved < steps if last else self._checkpoint_due(steps)
            lost = self._try(self._snapshot, steps, state) if snapshot else None
            if snapshot and lost is None:
                self._newest_snapshot = steps
            reason = self._try(self._checkpoint, steps, state) if checkpoint else None
            if checkpoint and reason is None:
                self.saved = steps
            if lost is None and reason is None:
                self._failed = 0
                return
            self._failed += 1
            if self._failed >= TRIES:
                raise UserError(
                    f"{self._run}: {reason or lost}, at step {steps} and {TRIES} times in a row: "
                    f"step {self.saved} is saved; mend it and start the same command again"
                )
            if self._ranks.first:
                what = "step %d" if reason else "the snapshot of step %d"
                LOG.warning(f"{what} is not saved yet: %s (%s)", steps, reason or lost, self._run)
            if not last:
                return
            time.sleep(WAIT)

    def _checkpoint_due(self, steps: int) -> bool:
        return _is_behind(self.saved, steps, self._recipe.checkpoint_every)

    def _snapshot_due(self, steps: int) -> bool:
        every = self._recipe.snapshot_interval()
        last = steps == self._recipe.steps and self._newest_snapshot < steps
        return every > 0 and (last or _is_behind(self._newest_snapshot, steps, every))

    def _try(
        self, write: Callable[[int, TrainingState], object], steps: int, state: TrainingState
    ) -> str | None:
        """Why it failed, if it did, on any rank."""
        try:
            write(steps, state)
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _snapshot(self, steps: int, state: TrainingState) -> None:
        with self._ranks.together(OSError):
            if self._ranks.first:
                remove_leftovers(self._run / SNAPSHOTS)
        save_snapshot(self._run, steps, state, self._ranks)

    def _checkpoint(self, steps: int, state: TrainingState) -> None:
        with self._ranks.together(OSError):
            if self._ranks.first:
                remove_leftovers(self._run / CHECKPOINTS)
                for lines in self._lines:
                    lines.flush()
        save_checkpoint(self._run, steps, state, self._ranks)
        with self._ranks.together(OSError):
            if self._ranks.first:
                keep_newest(self._run, KEPT_CHECKPOINTS, steps)


def _is_behind(saved: int, steps: int, every: int) -> bool:
    """Whether an interval has ended since."""
    return saved // every < steps // every


def keep_newest(run: Path, count: int, step: int) -> None:
    """Of the checkpoints up to a step, remove all but the newest; those ahead were passed over."""
    for old in [path for path in checkpoints(run) if checkpoint_step(path) <= step][:-count]:
        remove_folder(old)
