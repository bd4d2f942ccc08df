"""Snapshots of the two power averages, and averages of other lengths made of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.sharded_checkpoint import whole_description
from patch_forcing.io.atomic import atomic_folder, broken_file, remove_folder, write_manifest
from patch_forcing.io.model_layout import WEIGHTS
from patch_forcing.io.run_layout import check_run_folder, checkpoint_step, step_folder, step_folders
from patch_forcing.models.folder import read_folder, write_files
from patch_forcing.runs.state import TrainingState, power_name
from patch_forcing.training.posthoc_ema import (
    MAX_WIDTH,
    WIDTHS,
    Profile,
    profile_error,
    snapshot_weights,
)

SNAPSHOTS = "snapshots"
DTYPE = torch.float16
"""Half of the disk for an error below 1 % of the distance between the two, for widths above 0.04;
bf16's would be eight times that."""
MAX_ERROR = 0.1
"""Of a profile's norm: what a sum of snapshots may miss of the length that is asked for."""


def save_snapshot(run: Path, step: int, state: TrainingState, ranks: Ranks = ALONE) -> None:
    """Write the power averages after `step` steps, each a model folder. All ranks take part.

    Raises OSError, on all ranks, if the first cannot write.
    """
    with ExitStack() as writing:
        folder = None
        with ranks.together(OSError):
            if ranks.first:
                path = step_folder(run / SNAPSHOTS, step)
                folder = writing.enter_context(atomic_folder(path, replace=True))
        for name, model in state.power_networks().items():
            whole = whole_description(model, ranks)
            with ranks.together(OSError):
                if folder is not None:
                    (folder / name).mkdir()
                    low = {key: tensor.to(DTYPE) for key, tensor in whole.weights.items()}
                    write_files(folder / name, whole._replace(weights=low))
        with ranks.together(OSError):
            if folder is not None:
                write_manifest(folder)
            writing.close()


def newest_snapshot(run: Path, done: int) -> int:
    """Its step, or 0; those after `done` steps, which a resumed run takes again, are removed."""
    newest = 0
    for path in step_folders(run / SNAPSHOTS):
        if checkpoint_step(path) > done:
            remove_folder(path)
        else:
            newest = max(newest, checkpoint_step(path))
    return newest


def reconstruct_ema(
    run: str | Path, widths: Sequence[float], out: str | Path, *, step: int | None = None
) -> list[Path]:
    """Averaged weights of other lengths, from a run's snapshots (Karras et al. 2024, section 3.2).

    widths: σ of each, relative to the steps so far; of edm2's names 0.10 is ema-0.100.
    out: a new model folder of one width; of several, a folder with one of each.
    step: which had a snapshot; None is the last that had one.
    Returns the model folders, in order; nothing is written unless all are.
    Raises UserError if a width or the step cannot be had, a snapshot is damaged, or `out` exists.
    """
    run, out = Path(run), Path(out)
    if out.exists():
        raise UserError(f"{out} exists: name another folder or remove it")
    used = _snapshots_until(run, step)
    mixes = ema_weights([checkpoint_step(path) for path in used], widths)
    for path in used:
        if broken := broken_file(path):
            raise UserError(
                f"{broken} is missing or damaged: restore it, or remove {path} to do without"
            )
    folders = [path / power_name(width) for path in used for width in WIDTHS]
    whole = read_folder(folders[-1])
    made = _mixed(folders, mixes)
    names = [f"width-{width:g}" if len(widths) > 1 else "" for width in widths]
    with atomic_folder(out) as aside:
        for name, weights in zip(names, made, strict=True):
            (aside / name).mkdir(exist_ok=True)
            write_files(aside / name, whole._replace(weights=weights))
    return [out / name for name in names]


def ema_weights(
    steps: Sequence[int], widths: Sequence[float]
) -> Float[np.ndarray, "widths snapshots"]:
    """How much of each stored average, both of each step in turn, is in that of each width.

    steps: of the snapshots; the last is the one that is averaged up to.
    Raises UserError for a width that they make to no better than MAX_ERROR.
    """
    stored = [Profile(step, width) for step in steps for width in WIDTHS]
    if not widths:
        raise UserError("no width: give one or more, such as 0.08")
    for number, width in enumerate(widths):
        if width in widths[:number]:
            raise UserError(f"width {width:g} is there twice: give each once")
        if not 0 < width <= MAX_WIDTH or _fit(stored, width)[1] > MAX_ERROR:
            low, high = _range(stored)
            raise UserError(
                f"width {width:g} is out of range: choose {low:.3f} to {high:.3f}, which "
                f"{len(steps)} snapshots up to step {steps[-1]} can make"
            )
    return np.stack([_fit(stored, width)[0] for width in widths])


def _fit(stored: Sequence[Profile], width: float) -> tuple[Float[np.ndarray, " n"], float]:
    wanted = Profile(stored[-1].t, width)
    weights = snapshot_weights(stored, wanted)
    return weights, profile_error(stored, wanted, weights)


def _range(stored: Sequence[Profile]) -> tuple[float, float]:
    """The narrowest and the widest, rounded to 0.001 inwards, by bisection from the kept ones."""

    def last_good(good: int, bad: int) -> float:
        while abs(bad - good) > 1:
            middle = (good + bad) // 2
            if _fit(stored, middle / 1000)[1] <= MAX_ERROR:
                good = middle
            else:
                bad = middle
        return good / 1000

    return last_good(50, 1), last_good(100, round(1000 * MAX_WIDTH) + 1)


def _snapshots_until(run: Path, step: int | None) -> list[Path]:
    """Those up to a step, which has one itself."""
    check_run_folder(run)
    folders = step_folders(run / SNAPSHOTS)
    if not folders:
        raise UserError(
            f"{run} holds no snapshots: train again in another --out, with --snapshot-every other "
            "than 0"
        )
    steps = [checkpoint_step(path) for path in folders]
    if step is None:
        return folders
    if step not in steps:
        nearest = min(steps, key=lambda known: abs(known - step))
        raise UserError(
            f"{run} has no snapshot of step {step}: choose {nearest}, the nearest of "
            f"{len(steps)} from {steps[0]} to {steps[-1]}"
        )
    return folders[: steps.index(step) + 1]


def _mixed(
    folders: Sequence[Path], mixes: Float[np.ndarray, "widths n"]
) -> list[dict[str, Tensor]]:
    """Sums of the folders' weights, in fp64, tensor by tensor: all in memory is what they make."""
    made: list[dict[str, Tensor]] = [{} for _ in mixes]
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(one / WEIGHTS, "pt")) for one in folders]
        for name in files[-1].keys():  # noqa: SIM118  # no mapping
            sums: list[Tensor | float] = [0.0] * len(mixes)
            for number, file in enumerate(files):
                tensor = file.get_tensor(name).double()
                for one, mix in enumerate(mixes):
                    sums[one] = sums[one] + float(mix[number]) * tensor
            for weights, total in zip(made, sums, strict=True):
                assert isinstance(total, Tensor)
                if not total.isfinite().all():
                    raise UserError(
                        f"{name!r} in the snapshots up to {folders[-1].parent} is beyond "
                        f"{torch.finfo(DTYPE).max:g}, which they cannot hold: choose an earlier "
                        "--step"
                    )
                weights[name] = total.to(torch.float32)
    return made
