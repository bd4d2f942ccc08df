"""Training that starts from another model, of the run's first step only."""

from patch_forcing.core.errors import UserError
from patch_forcing.generation.find import find_model
from patch_forcing.io.model_layout import folder_hash
from patch_forcing.models.dit import PatchDiT
from patch_forcing.models.folder import read_folder
from patch_forcing.models.warm_start import warm_start


def init_weights(model: PatchDiT, name: str) -> dict[str, str]:
    """The weights of a fresh network become those of another model.

    Returns what run.json keeps: its name as given, the hash of its files, what was made of it.
    Raises UserError naming the model and what does not fit.
    """
    folder = find_model(name)
    try:
        start = warm_start(read_folder(folder), model)
    except UserError as error:
        raise UserError(f"--init-from {name}: {error}") from None
    model.load_state_dict(start.weights)
    return {"model": name, "hash": folder_hash(folder), "summary": start.summary}
