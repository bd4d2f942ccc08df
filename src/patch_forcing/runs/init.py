"""Training that starts from another model, of the run's first step only."""

from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import find_model
from patch_forcing.io.model_layout import folder_hash
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import read_folder
from patch_forcing.models.warm_start import warm_start
from patch_forcing.training.options import TrainedPart


def check_start(train_only: TrainedPart, init_from: str | None) -> None:
    """Raises UserError if a part alone is to be trained, of weights drawn anew."""
    if train_only != "all" and init_from is None:
        raise UserError(
            f"--train-only {train_only} without a model, whose other weights stay as they are: "
            "add --init-from MODEL"
        )


def init_weights(model: PatchDiT, name: str, train_only: TrainedPart = "all") -> dict[str, str]:
    """The weights of a fresh network become those of another model.

    train_only: what of them is trained after that.
    Returns what run.json keeps: its name as given, the hash of its files, what was made of it.
    Raises UserError naming the model and what does not fit, or begins anew and would stay so.
    """
    folder = find_model(name)
    try:
        start = warm_start(read_folder(folder), model)
    except UserError as error:
        raise UserError(f"--init-from {name}: {error}") from None
    if train_only != "all" and start.anew:
        raise UserError(
            f"--init-from {name}: {start.anew}, and --train-only {train_only} would leave it so: "
            "train all weights, or start from another model"
        )
    model.load_state_dict(start.weights)
    return {"model": name, "hash": folder_hash(folder), "summary": start.summary}
