"""Model folders → networks, whatever their class."""

from dataclasses import fields
from pathlib import Path

import torch

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.model_layout import CONFIG, WEIGHTS
from patch_forcing.models.config import OPTIONAL, PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import (
    DIT,
    ModelDescription,
    check_tensors,
    read_config,
    read_folder,
)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> PatchDiT:
    """The model in the folder `path`, in evaluation mode, fp32.

    Raises UserError naming the file and what is wrong with it: missing, truncated, of an unknown
    format version, or with a missing, surplus, wrong-shaped or non-finite tensor.
    """
    path = Path(path)
    stored = read_folder(path)
    model = _network(path, stored)
    try:
        check_tensors(stored.weights, model.state_dict(), "copy or export the model again")
    except UserError as error:
        raise UserError(f"{path / WEIGHTS}: {error}") from None
    model = model.to_empty(device=device)
    model.init_positions()
    model.load_state_dict(stored.weights)
    return model.eval()


def without_weights(path: str | Path) -> PatchDiT:
    """The same model on torch's meta device: its sizes, data and sampling, but no numbers.

    Raises UserError for what `load_model` finds wrong before it looks at tensors.
    """
    return _network(Path(path), read_config(Path(path)))


def _network(path: Path, stored: ModelDescription) -> PatchDiT:
    """A network of the stored sizes, without memory and initialisation for what is overwritten."""
    if stored.class_name == DIT:
        raise UserError(
            f"{path} holds a DiT, which predicts the noise of another path: train from it with "
            "patch-forcing train RECIPE --init-from, and sample that"
        )
    if stored.class_name != "PatchDiT":
        raise unknown_name(f"class in {path / CONFIG}", str(stored.class_name), ["PatchDiT"])
    known = [field.name for field in fields(PatchDiTConfig)]
    missing = [name for name in known if name not in (*stored.sizes, *OPTIONAL)]
    for name in stored.sizes:
        if name not in known:
            raise unknown_name(f"size in {path / CONFIG}", name, missing or known)
    if missing:
        raise UserError(f"{path / CONFIG} lacks {missing[0]!r}: copy or export the model again")
    if isinstance(stored.sizes["depth"], int) and stored.sizes["depth"] > len(stored.weights):
        raise UserError(  # before as many blocks are built
            f"{path / CONFIG}: depth={stored.sizes['depth']} for {len(stored.weights)} tensors: "
            "bring the config and the weights of one model together"
        )
    try:
        with torch.device("meta"):
            return PatchDiT(PatchDiTConfig(**stored.sizes), stored.data_info, stored.sampling_info)
    except (TypeError, RuntimeError, OverflowError, UserError) as error:
        raise UserError(f"{path / CONFIG}: {error}: copy or export the model again") from None
