"""One model's weights as the start of another, of other outputs or other classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.models.class_names import alike
from patch_forcing.models.conditions import INITIAL_STD
from patch_forcing.models.config import PatchDiTConfig
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import DIT, ModelDescription, check_tensors

_LAST = ("final_layer.linear.weight", "final_layer.linear.bias")
_TABLE = "y_embedder.embedding_table.weight"


class WarmStart(NamedTuple):
    """The weights to start from, and what was made of them, in one line.

    anew: what begins as no weights of the source, besides log-variance; empty if nothing does.
    """

    weights: dict[str, Tensor]
    summary: str
    anew: str = ""


def warm_start(source: ModelDescription, model: PatchDiT) -> WarmStart:
    """The source's weights in the form of `model`, whose own are the start where it has none.

    Log-variance that the source does not predict: rows of zeros in the last layer, which leave
    the velocity as it is. Classes: matched by name where both have names in common; all, where
    there are as many without; others begin as the class whose name is most alike, or else as random
    rows that are spread as the source's are: as equal rows they would take long to part. Of a DiT,
    which predicts noise at other times, last layer and time embedding are the model's own.
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
    changes, anew = [], ""
    if source.class_name == DIT:
        fresh = [name for name in own if name in _LAST or name.startswith("t_embedder.")]
        weights |= {name: own[name] for name in fresh}
        changes.append(anew := "last layer and time embedding new, since a DiT predicts noise")
    elif theirs.predict_difficulty != model.config.predict_difficulty:
        weights |= {
            name: _outputs(weights[name], model.config) for name in _LAST if name in weights
        }
        added = model.config.predict_difficulty
        changes.append("log-variance added, velocity kept" if added else "log-variance left out")
    if _TABLE in weights and _TABLE in own:
        weights[_TABLE], what, unknown = _table(weights[_TABLE], source, own[_TABLE], model)
        changes.append(what)
        anew = anew or (f"{unknown} classes begin anew" if unknown else "")
    check_tensors(weights, own, "export it again, or start from another model")
    return WarmStart(weights, "; ".join(changes), anew)


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
) -> tuple[Tensor, str, int]:
    """The label table: one row for each class of ours, then the null row; what was made of it, and
    how many rows are no class's of the same name.
    """
    known, names = source.data_info.class_names, model.data_info.class_names
    common = len(set(known) & set(names))
    if theirs.shape == own.shape and (not common or names == known):
        return theirs, "all classes kept" if len(own) > 1 else "no classes", 0
    table = theirs[-1].repeat(len(own), 1)
    if len(theirs) > 1:
        rows = theirs[:-1].float()
        spread = rows.std(dim=0, correction=0) / INITIAL_STD
        table[:-1] = rows.mean(dim=0) + spread * own[:-1].float()
    pairs = alike(names, known)
    for row, old in pairs.items():
        table[row] = theirs[old]
    classes, rest = len(own) - 1, len(own) - 1 - len(pairs)
    summary = f"{common} of {classes} classes kept, by name"
    if len(pairs) > common:
        summary += f"; {len(pairs) - common} begin as one of a name alike"
    summary += f"; {rest} begin at random" if rest else ""
    return table, summary, classes - common
