"""Checkpoints of a training run: each complete and checksummed, or absent."""

from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.distributed.ranks import ALONE, Ranks
from patch_forcing.distributed.sharded_checkpoint import (
    as_whole,
    optimizer_targets,
    read_shards,
    stored_sizes,
    whole_description,
    write_shards,
)
from patch_forcing.distributed.shards import is_sharded
from patch_forcing.io.atomic import atomic_folder, write_manifest
from patch_forcing.io.model_layout import WEIGHTS
from patch_forcing.io.run_layout import checkpoint_path, checkpoint_step
from patch_forcing.models.folder import write_config, write_files, write_tensors
from patch_forcing.runs.state import TrainingState

KEPT_CHECKPOINTS = 3
"""Checkpoints kept: the newest, and two to fall back on."""
_OPTIMIZER = "optimizer.safetensors"
_OPTIMIZER_SHARDS = "optimizer"
"""In its place a folder, to which each rank gave a file: of a sharded run. So is `model`."""


def save_checkpoint(run: Path, step: int, state: TrainingState, ranks: Ranks = ALONE) -> Path:
    """Write weights, averages and optimizer after `step` steps; returns the checkpoint's folder.

    All ranks take part; of a sharded state each writes its share, else the first one all.
    Raises OSError, on all ranks, if one cannot write.
    """
    path = checkpoint_path(run, step)
    with ranks.together(OSError):
        if not is_sharded(state.model):
            if ranks.first:
                _save_whole(path, state)
            return path
    _save_sharded(path, state, ranks)
    return path


def _save_whole(path: Path, state: TrainingState) -> None:
    with atomic_folder(path, replace=True) as folder:
        for name, model in state.networks().items():
            (folder / name).mkdir()
            write_files(folder / name, model.description())
        write_tensors(folder / _OPTIMIZER, _flat(state.optimizers))
        for name, module in state.term_modules().items():
            write_tensors(folder / f"{name}.safetensors", module.state_dict())
        write_manifest(folder)


def _save_sharded(path: Path, state: TrainingState, ranks: Ranks) -> None:
    """Averages are gathered, for anyone to sample from; the first rank names the folder, last."""
    optimizer = as_whole(state.optimizers, _flat(state.optimizers), state.model)
    averages = {name: one for name, one in state.networks().items() if one is not state.model}
    with ExitStack() as writing:
        aside = None
        with ranks.together(OSError):
            if ranks.first:
                aside = writing.enter_context(atomic_folder(path, replace=True))
                for name in ("model", *averages, _OPTIMIZER_SHARDS):
                    (aside / name).mkdir()
                write_config(aside / "model", state.model.description())
        folder = ranks.gather(aside)[0]
        assert folder is not None
        for name, average in averages.items():
            whole = whole_description(average, ranks)
            with ranks.together(OSError):
                if ranks.first:
                    write_files(folder / name, whole)
        write_shards(folder / "model", state.model.state_dict(), ranks)
        write_shards(folder / _OPTIMIZER_SHARDS, optimizer, ranks)
        with ranks.together(OSError):
            if ranks.first:
                write_manifest(folder)
            writing.close()


def load_checkpoint(checkpoint: Path, state: TrainingState) -> int:
    """Fill `state` from a sound checkpoint; returns how many steps were done.

    Either may be sharded: ranks may be others than those that wrote. All ranks take part.
    Raises UserError if it is another network's, or another optimizer's.
    """
    try:
        if is_sharded(state.model) or not (checkpoint / _OPTIMIZER).is_file():
            _load_shards(checkpoint, state)
        else:
            for name, model in state.networks().items():
                model.load_state_dict(load_file(checkpoint / name / WEIGHTS))
            _fill(state.optimizers, load_file(checkpoint / _OPTIMIZER))
        for name, module in state.term_modules().items():
            module.load_state_dict(load_file(checkpoint / f"{name}.safetensors"))
    except (OSError, RuntimeError, ValueError, LookupError, SafetensorError) as error:
        raise UserError(
            f"{checkpoint} does not fit this run ({str(error).splitlines()[0]}): remove it to "
            "resume from the one before"
        ) from None
    return checkpoint_step(checkpoint)


def _load_shards(checkpoint: Path, state: TrainingState) -> None:
    """Each rank reads what it holds, of whichever kind the files are."""
    for name, model in state.networks().items():
        read_shards(checkpoint / name, model.state_dict())
    whole = (checkpoint / _OPTIMIZER).is_file()
    folder = checkpoint if whole else checkpoint / _OPTIMIZER_SHARDS
    own, targets = optimizer_targets(state.optimizers, stored_sizes(folder), state.model)
    read_shards(folder, targets)
    _fill(state.optimizers, own)


def _flat(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimizers' tensors, named by optimizer, weight and kind."""
    return {
        f"{number}.{weight}.{name}": tensor
        for number, optimizer in enumerate(optimizers)
        for weight, tensors in optimizer.state_dict()["state"].items()
        for name, tensor in tensors.items()
    }


def _fill(optimizers: list[torch.optim.Optimizer], flat: dict[str, Tensor]) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, tensor in flat.items():
        number, weight, name = key.split(".")
        states[int(number)].setdefault(int(weight), {})[name] = tensor
    for optimizer, state in zip(optimizers, states, strict=True):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
