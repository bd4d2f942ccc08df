"""The files of a sharded state: PyTorch's distributed checkpoint, in safetensors.

Each rank writes its rows into a file of its own, with their offsets in its header. Whoever reads
takes what it needs from whichever files have it, so that ranks may be more, fewer or one; a file
without offsets, of a state that is not sharded, is read the same way. Not DCP's usual format: that
one is a pickle.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.tensor import DTensor

from patch_forcing.distributed.ranks import Ranks
from patch_forcing.distributed.shards import is_sharded, own_part, seen_whole
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import ModelDescription


def write_shards(folder: Path, tensors: dict[str, Tensor], ranks: Ranks) -> None:
    """Together with all ranks, into an existing folder, on disk when it returns.

    Raises OSError, on all ranks, if one could not write.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    ranks.collect(lambda: _tell(lambda: dcp.save(tensors, storage_writer=writer)))


def read_shards(folder: Path, targets: dict[str, Tensor]) -> None:
    """Fill tensors, or this rank's rows of them, from all the safetensors files of a folder.

    Raises OSError if a file cannot be read, ValueError if a tensor is missing or of another shape.
    """
    sizes = stored_sizes(folder)
    for name, target in targets.items():
        if name not in sizes:
            raise ValueError(f"{name} is missing")
        if sizes[name].shape != target.shape:
            raise ValueError(
                f"{name} is {tuple(sizes[name].shape)}, here it is {tuple(target.shape)}"
            )
    reader = HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():  # that it reads alone: then none waits for one that cannot
        warnings.filterwarnings("ignore", message="torch.distributed")
        _tell(lambda: dcp.load(targets, storage_reader=reader, no_dist=True))


def stored_sizes(folder: Path) -> dict[str, Tensor]:
    """What the files of a folder hold, as tensors without memory."""
    reader = HuggingFaceStorageReader(str(folder))
    stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
    return {
        name: torch.empty(tensor.size, dtype=tensor.properties.dtype, device="meta")
        for name, tensor in stored.items()
    }


def whole_description(model: PatchDiT, ranks: Ranks) -> ModelDescription:
    """Of a model of whichever kind; all ranks take part, and the first one gets all weights, whole
    and in the memory of the host, if they are sharded.
    """
    described = model.description()
    if not is_sharded(model):
        return described
    whole: dict[str, Tensor] = {}
    for name, weight in described.weights.items():
        gathered = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if ranks.first:
            whole[name] = gathered.cpu()
    return described._replace(weights=whole)


def as_whole(
    optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor], model: nn.Module
) -> dict[str, Tensor]:
    """An optimizer's tensors, named by optimizer, weight and kind, as seen over all ranks."""
    weight_of = _weights(optimizers, model)
    return {key: seen_whole(tensor, weight_of(key)) for key, tensor in tensors.items()}


def optimizer_targets(
    optimizers: list[torch.optim.Optimizer], stored: dict[str, Tensor], model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Room for what is stored: this rank's own, and the same as seen over all ranks."""
    weight_of = _weights(optimizers, model)
    own: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        weight = weight_of(key)
        like = own_part(weight) if tensor.shape == weight.shape else tensor
        device = weight.device if tensor.shape == weight.shape else "cpu"
        own[key] = torch.zeros(like.shape, dtype=tensor.dtype, device=device)
    return own, as_whole(optimizers, own, model)


def _weights(
    optimizers: list[torch.optim.Optimizer], model: nn.Module
) -> Callable[[str], nn.Parameter]:
    """The weight of the model that an optimizer's tensor belongs to, by the tensor's name."""
    whole = {id(own_part(weight)): weight for weight in model.parameters()}
    numbered = [
        [whole[id(part)] for group in optimizer.param_groups for part in group["params"]]
        for optimizer in optimizers
    ]

    def weight_of(key: str) -> nn.Parameter:
        number, weight, _ = key.split(".")
        return numbered[int(number)][int(weight)]

    return weight_of


def _tell(operation: Callable[[], object]) -> None:
    """What went wrong on which rank, as one OSError."""
    try:
        operation()
    except CheckpointException as error:
        rank, (cause, _) = min(error.failures.items())
        if isinstance(cause, RuntimeError):  # a connection broke
            raise cause from None
        reason = getattr(cause, "strerror", None) or str(cause)
        raise OSError(None, f"rank {rank}: {reason}") from None
