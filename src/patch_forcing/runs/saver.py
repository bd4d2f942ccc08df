"""Saving while training goes on: a save that fails is tried again before the run stops."""

import time
from collections.abc import Iterable
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import remove_leftovers
from patch_forcing.runs.checkpoint import (
    CHECKPOINTS,
    KEEP,
    LOG,
    TrainingState,
    keep_newest,
    save_checkpoint,
)
from patch_forcing.runs.ranks import Ranks
from patch_forcing.runs.run_folder import StepLines

TRIES = 10
"""Saves that fail in a row before a run stops: in training they are spread over one interval."""
WAIT = 3.0
"""Seconds between tries where no step is left to train meanwhile."""


class Saver:
    """Checkpoints of a run, and the lines that go with them.

    saved: the step of the newest checkpoint. All ranks take part, and know how it went.
    """

    def __init__(self, run: Path, done: int, every: int, lines: Iterable[StepLines], ranks: Ranks):
        """every: steps between checkpoints. lines: on disk no later than a checkpoint."""
        self.saved, self._ranks = done, ranks
        self._run, self._every, self._lines = run, every, tuple(lines)
        self._failed = 0

    def is_due(self, steps: int) -> bool:
        """Whether to save after `steps` steps: each interval, and ten times as often on failure."""
        return steps % (max(1, self._every // TRIES) if self._failed else self._every) == 0

    def save(self, steps: int, state: TrainingState, *, last: bool = False) -> None:
        """Save, and remove what is too old; a failure is a warning, and the run may go on.

        last: nothing is trained after this, so that it is tried again at once.
        Raises UserError with the system's reason after TRIES failures in a row.
        """
        while True:
            reason = self._try(steps, state)
            if reason is None:
                self.saved, self._failed = steps, 0
                return
            self._failed += 1
            if self._failed >= TRIES:
                raise UserError(
                    f"{self._run}: {reason}, at step {steps} and {TRIES} times in a row: "
                    f"step {self.saved} is saved; mend it and start the same command again"
                )
            if self._ranks.first:
                LOG.warning("step %d is not saved yet: %s (%s)", steps, reason, self._run)
            if not last:
                return
            time.sleep(WAIT)

    def _try(self, steps: int, state: TrainingState) -> str | None:
        """Why it failed, if it did, on any rank."""
        try:
            with self._ranks.together(OSError):
                if self._ranks.first:
                    remove_leftovers(self._run / CHECKPOINTS)
                    for lines in self._lines:
                        lines.flush()
            save_checkpoint(self._run, steps, state, self._ranks)
            with self._ranks.together(OSError):
                if self._ranks.first:
                    keep_newest(self._run, KEEP, steps)
        except OSError as error:
            return error.strerror or str(error)
        return None
