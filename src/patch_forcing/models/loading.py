"""Model folders → networks, whatever their class."""

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import CONFIG, DIT, WEIGHTS, read_folder


def load_model(path: str | Path, device: torch.device | str = "cpu") -> PatchDiT:
    """The model in the folder `path`, in evaluation mode, fp32.

    Raises UserError naming the file and what is wrong with it: missing, truncated, of an unknown
    format version, or with a missing, surplus, wrong-shaped or non-finite tensor.
    """
    path = Path(path)
    found = read_folder(path)
    if found.class_name == DIT:
        raise UserError(
            f"{path} holds a DiT, which predicts the noise of another path: train from it with "
            "patch-forcing train RECIPE --init-from, and sample that"
        )
    if found.class_name != "PatchDiT":
        raise unknown_name(f"class in {path / CONFIG}", str(found.class_name), ["PatchDiT"])
    known = {field.name for field in fields(PatchDiTConfig)}
    for name in found.sizes.keys() - known:
        raise unknown_name(f"size in {path / CONFIG}", name, known - found.sizes.keys() or known)
    for field in fields(PatchDiTConfig):
        if field.name not in found.sizes:
            raise UserError(f"{path / CONFIG} lacks {field.name!r}: copy or export the model again")
    if isinstance(found.sizes["depth"], int) and found.sizes["depth"] > len(found.weights):
        raise UserError(  # before as many blocks are built
            f"{path / CONFIG}: depth={found.sizes['depth']} for {len(found.weights)} tensors: "
            "bring the config and the weights of one model together"
        )
    try:
        with torch.device("meta"):  # no memory and no initialisation for what is overwritten
            model = PatchDiT(PatchDiTConfig(**found.sizes), found.data_info, found.sampling_info)
    except (TypeError, RuntimeError, OverflowError, UserError) as error:
        raise UserError(f"{path / CONFIG}: {error}: copy or export the model again") from None
    _check_tensors(path / WEIGHTS, found.weights, model.state_dict())
    model = model.to_empty(device=device)
    model.init_positions()
    model.load_state_dict(found.weights)
    return model.eval()


def _check_tensors(file: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if name not in found:
            raise UserError(f"{file} lacks the tensor {name!r}: copy or export the model again")
        if found[name].shape != tensor.shape:
            raise UserError(
                f"{file}: tensor {name!r} has shape {tuple(found[name].shape)}, not "
                f"{tuple(tensor.shape)}: bring the config and the weights of one model together"
            )
        if not found[name].isfinite().all():
            raise UserError(f"{file}: tensor {name!r} holds NaN or infinity: use an earlier one")
    for name in found:
        if name not in expected:
            raise unknown_name(f"tensor in {file}", name, expected)
