"""Where a training run keeps what it wrote, and which of it is sound."""

import logging
import re
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import broken_file

_LOG = logging.getLogger("patch_forcing")
RUN, CHECKPOINTS = "run.json", "checkpoints"
_PREFIX = "step-"


def is_run_folder(path: Path) -> bool:
    """Whether a training run lies there."""
    return (path / RUN).is_file()


def step_folder(parent: Path, step: int) -> Path:
    """Where what was written after `step` steps lies."""
    return parent / f"{_PREFIX}{step:08d}"


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies."""
    return step_folder(run / CHECKPOINTS, step)


def checkpoint_step(checkpoint: Path) -> int:
    """How many steps were done; of a snapshot too."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    return step_folders(run / CHECKPOINTS)


def step_folders(parent: Path) -> list[Path]:
    """What is named by its step, oldest first."""
    found = parent.glob(f"{_PREFIX}*")
    return sorted(path for path in found if re.fullmatch(rf"{_PREFIX}\d{{8,}}", path.name))


def newest_sound(run: Path) -> Path | None:
    """The newest checkpoint that is as it was written, or None if there is none of any kind.

    Newer ones are passed over, each with a warning that names the file that is missing or altered.
    Raises UserError naming such a file if no checkpoint is sound: a run never starts over unasked.
    """
    passed_over: list[Path] = []
    for checkpoint in reversed(checkpoints(run)):
        broken = broken_file(checkpoint)
        if broken is None:
            for damaged in passed_over:
                _LOG.warning("%s is missing or damaged: using %s", damaged, checkpoint)
            return checkpoint
        passed_over.append(broken)
    if passed_over:
        raise UserError(
            f"{passed_over[0]} is missing or damaged, and so is every checkpoint of {run}: "
            "restore one, or choose another folder"
        )
    return None


def ema_folder(checkpoint: Path) -> Path:
    """The model folder of the averaged weights."""
    return checkpoint / "ema"
