"""One model's weights as the start of another, of other outputs or other classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import DIT, ModelDescription, check_tensors

_LAST = ("final_layer.linear.weight", "final_layer.linear.bias")
_TABLE = "y_embedder.embedding_table.weight"


class WarmStart(NamedTuple):
    """The weights to start from, and what was made of them, in one line."""

    weights: dict[str, Tensor]
    summary: str


def warm_start(source: ModelDescription, model: PatchDiT) -> WarmStart:
    """The source's weights in the form of `model`, whose own are the start where it has none.

    Log-variance that the source does not predict: rows of zeros in the last layer, which leave
    the velocity as it is. Classes: matched by name where both have names in common; all, where
    there are as many; others begin as the null row, which draws what the source has seen. Of a
    DiT, which predicts noise at other times, last layer and time embedding are the model's own.
    Raises UserError naming the size that differs, or the tensor that does not fit.
    """
    if source.class_name not in ("PatchDiT", DIT):
        raise UserError(f"a model of class {source.class_name!r} is unknown: start from a PatchDiT")
    try:
        theirs = PatchDiTConfig(**source.sizes)
    except TypeError as error:
        raise UserError(f"sizes that are none of a PatchDiT ({error}): export it again") from None
    _check_sizes(source, theirs, model)
    weights, own = dict(source.weights), model.state_dict()
    changes = []
    if source.class_name == DIT:
        fresh = [name for name in own if name in _LAST or name.startswith("t_embedder.")]
        weights |= {name: own[name] for name in fresh}
        changes.append("last layer and time embedding new, since a DiT predicts noise")
    elif theirs.predict_difficulty != model.config.predict_difficulty:
        weights |= {
            name: _outputs(weights[name], model.config) for name in _LAST if name in weights
        }
        added = model.config.predict_difficulty
        changes.append("log-variance added, velocity kept" if added else "log-variance left out")
    if _TABLE in weights and _TABLE in own:
        weights[_TABLE], what = _table(weights[_TABLE], source, own[_TABLE], model)
        changes.append(what)
    check_tensors(weights, own, "export it again, or start from another model")
    return WarmStart(weights, "; ".join(changes))


def _check_sizes(source: ModelDescription, theirs: PatchDiTConfig, model: PatchDiT) -> None:
    ours = model.config
    options = {
        "hidden_size": "give --network.hidden-size {}",
        "depth": "give --network.depth {}",
        "num_heads": "give --network.num-heads {}",
        "patch_size": "give --network.patch-size {}",
        "in_channels": "train on data of {} channels",
        "image_size": "train on data of that size",
        "condition": "train under such conditions",
        "position": "give --network.position {}",
        "condition_size": "give --network.condition-size {}",
    }
    for name, mend in options.items():
        had, has = getattr(theirs, name), getattr(ours, name)
        if had != has:
            raise UserError(f"it has {name} {had}, this run {has}: {mend.format(had)}")
    mismatch = model.data_info.mismatch(source.data_info)
    if mismatch:
        raise UserError(f"its images have {mismatch}, as this run's: train on such data")


def _outputs(rows: Tensor, ours: PatchDiTConfig) -> Tensor:
    """The last layer's rows (patch row, patch column, channel), with or without log-variance."""
    channels, more = ours.in_channels, int(ours.predict_difficulty)
    grouped = rows.unflatten(0, (ours.patch_size**2, channels + 1 - more))[:, :channels]
    zeros = grouped.new_zeros(len(grouped), more, *grouped.shape[2:])
    return torch.cat([grouped, zeros], dim=1).flatten(0, 1)


def _table(
    theirs: Tensor, source: ModelDescription, own: Tensor, model: PatchDiT
) -> tuple[Tensor, str]:
    """The label table: one row for each class of ours, then the null row."""
    before = {name: row for row, name in enumerate(source.data_info.class_names)}
    names = model.data_info.class_names
    common = [(row, before[name]) for row, name in enumerate(names) if name in before]
    if theirs.shape == own.shape and (not common or names == source.data_info.class_names):
        return theirs, "all classes kept" if len(own) > 1 else "no classes"
    table = theirs[-1].repeat(len(own), 1)
    for row, old in common:
        table[row] = theirs[old]
    kept = f"{len(common)} of {len(own) - 1} classes kept, by name"
    return table, f"{kept}; the others begin as the null label"
