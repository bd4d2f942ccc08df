"""The layout of a run folder, and which of its checkpoints are sound."""

import json
import logging
import re
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import broken_file

_LOG = logging.getLogger("patch_forcing")
RUN, CHECKPOINTS = "run.json", "checkpoints"
_PREFIX = "step-"


def is_run_folder(path: Path) -> bool:
    """Whether the folder holds a training run."""
    return (path / RUN).is_file()


def check_run_folder(path: Path) -> None:
    """Raises UserError unless it is the folder of a training run."""
    if not is_run_folder(path):
        raise UserError(f"{path} is no run folder: give the --out of a training")


def holds_own_run(path: Path) -> bool:
    """Whether a run of ours is there: run.json as training writes it, or checkpoints beside any.

    Where there are checkpoints, a damaged run.json is a run's too.
    """
    if is_run_folder(path) and checkpoints(path):
        return True
    try:
        return {"name", "recipe"} <= json.loads((path / RUN).read_text(encoding="utf-8")).keys()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def step_folder(parent: Path, step: int) -> Path:
    """The folder of what is written after `step` steps."""
    return parent / f"{_PREFIX}{step:08d}"


def checkpoint_path(run: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` steps."""
    return step_folder(run / CHECKPOINTS, step)


def checkpoint_step(checkpoint: Path) -> int:
    """The number of steps before a checkpoint or snapshot."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return step_folders(run / CHECKPOINTS)


def step_folders(parent: Path) -> list[Path]:
    """The folders that are named by their step, oldest first."""
    paths = parent.glob(f"{_PREFIX}*")
    return sorted(path for path in paths if re.fullmatch(rf"{_PREFIX}\d{{8,}}", path.name))


def newest_sound(run: Path) -> Path | None:
    """The newest checkpoint that is as it was written, or None if the run has no checkpoints.

    Each newer one is passed over with a warning, which names the file that is missing or altered.
    If no checkpoint is sound, UserError is raised: a run never starts over by itself.
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
    """The model folder with the averaged weights."""
    return checkpoint / "ema"
