"""MODEL as users name it: a bundled name, a folder, or a Hub id."""

from pathlib import Path

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.io.hub import download, looks_like_hub_id
from patch_forcing.io.model_layout import is_model_folder
from patch_forcing.io.run_layout import ema_folder, is_run_folder, newest_sound

_BUNDLED = Path(__file__).parent.parent / "bundled"


def bundled_names() -> list[str]:
    """The models that come with the package."""
    return sorted(folder.name for folder in _BUNDLED.iterdir() if is_model_folder(folder))


def find_bundled(name: str) -> Path:
    """The model folder of a bundled name, whatever lies in the current folder."""
    return _BUNDLED / name


def check_model(name: str | Path) -> None:
    """Raises UserError, before torch is loaded, if there can be no model of that name."""
    path = Path(name)
    if path.is_dir():
        if not (is_run_folder(path) or is_model_folder(path)):
            what = "is empty" if not any(path.iterdir()) else "holds neither a model nor a run"
            raise UserError(
                f"{path} {what}: give a folder with config.json and model.safetensors, or of a run"
            )
    elif str(name) not in bundled_names():
        if path.exists():
            raise UserError(f"{path} is a file: give the folder that holds it")
        if not looks_like_hub_id(str(name)):
            raise unknown_name("model or folder", str(name), bundled_names())


def find_model(name: str | Path) -> Path:
    """The model folder: a folder here (a run's newest averaged weights), bundled, or the Hub's.

    Raises UserError if there is none of that name, or if the folder holds no model.
    """
    check_model(name)
    path = Path(name)
    if is_run_folder(path):
        checkpoint = newest_sound(path)
        if checkpoint is None:
            raise UserError(f"{path} has no checkpoint yet: train it first")
        return ema_folder(checkpoint)
    if path.is_dir():
        return path
    return find_bundled(str(name)) if str(name) in bundled_names() else download(str(name))
