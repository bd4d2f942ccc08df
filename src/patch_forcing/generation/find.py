"""MODEL as users name it: a bundled name, a folder, or a Hub id."""

import json
from pathlib import Path

from patch_forcing.core.errors import UserError, nearest_names, unknown_name
from patch_forcing.io.foreign import PIPELINE, instead
from patch_forcing.io.hub import download, file_names, looks_like_hub_id, split_revision
from patch_forcing.io.model_layout import CONFIG, is_model_folder
from patch_forcing.io.run_layout import checkpoints, ema_folder, is_run_folder, newest_sound

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
            raise _no_model(path)
    elif str(name) not in bundled_names():
        if path.exists():
            raise UserError(f"{path} is a file: give the folder that holds it")
        if _is_path(name):
            raise _no_folder(name)
        if not looks_like_hub_id(split_revision(str(name))[0]):
            raise unknown_name("model or folder", str(name), bundled_names())


def find_model(
    name: str | Path, *, revision: str | None = None, cache_dir: str | Path | None = None
) -> Path:
    """The model folder: a folder here (a run's newest averaged weights), bundled, or the Hub's.

    A Hub id is OWNER/NAME, or OWNER/NAME@REVISION. revision, cache_dir: as `io.hub.download` takes
    them; a revision of what lies here is an error.
    Raises UserError if there is none of that name, or if the folder holds no model.
    """
    check_model(name)
    path = Path(name)
    if not path.is_dir() and str(name) not in bundled_names():
        return _from_hub(str(name), revision, cache_dir)
    if revision is not None:
        raise UserError(f"revision={revision!r}: {name} lies here, not on the Hub: leave it out")
    if is_run_folder(path):
        checkpoint = newest_sound(path)
        if checkpoint is None:
            raise UserError(f"{path} has no checkpoint yet: train it first")
        return ema_folder(checkpoint)
    return path if path.is_dir() else find_bundled(str(name))


def config_here(name: str | Path) -> Path | None:
    """config.json of a model on this disk: of a run, of its newest checkpoint, sound or not.

    None of what is not here, or has none.
    """
    path = Path(name) if Path(name).is_dir() else find_bundled(str(name))
    if is_run_folder(path):
        path = ema_folder(checkpoints(path)[-1]) if checkpoints(path) else path
    file = path / CONFIG
    return file if file.is_file() else None


def _from_hub(name: str, revision: str | None, cache_dir: str | Path | None) -> Path:
    """Downloaded: two files, and nothing else that lies there."""
    hub_id, own = split_revision(name)
    missing = f"no such folder ({_meant(Path(name)) or 'train it first?'})"
    if own is not None and revision is not None and own != revision:
        raise UserError(f"{name} with revision={revision!r}: give one of them")
    revision = revision if own is None else own
    folder = download(hub_id, missing=missing, revision=revision, cache_dir=cache_dir)
    if is_model_folder(folder):
        return folder
    names, pipeline = file_names(hub_id, revision), None
    if PIPELINE in names:
        pipeline = _read(download(hub_id, [PIPELINE], revision=revision, cache_dir=cache_dir))
    what = instead(names, pipeline) or "give one that patch-forcing push wrote"
    raise UserError(f"{hub_id} on the Hub holds no model of patch-forcing: {what}")


def _is_path(name: str | Path) -> bool:
    """Whether it can be a folder here alone: a Path, or of another form than OWNER/NAME."""
    text = str(name)
    if "/" not in text and "\\" not in text:
        return False
    return isinstance(name, Path) or text[0] in "./~" or "\\" in text or text.count("/") > 1


def _no_folder(name: str | Path) -> UserError:
    """The error for a path where nothing is."""
    path = Path(name)
    there = next(parent for parent in path.absolute().parents if parent.exists())
    mend = _meant(path) or "give the folder of a model or a run"
    if str(name).startswith("~"):
        mend = "~ is not expanded here: write the whole path"
    return UserError(f"no folder {name} (of its path, {there} is there): {mend}")


def _meant(path: Path) -> str:
    """A question after models and runs of a name like that, beside where it would be; or ""."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    known = {one.name: one for one in beside if is_run_folder(one) or is_model_folder(one)}
    likely = [repr(str(known[name])) for name in nearest_names(path.name, known)]
    return f"did you mean {' or '.join(likely)}?" if likely else ""


def _no_model(path: Path) -> UserError:
    """The error for a folder that holds neither a model nor a run."""
    names = [file.name for file in path.iterdir()]
    if not names:
        what = "is empty"
    elif reason := instead(names, _read(path) if PIPELINE in names else None):
        return UserError(f"{path} holds no model of patch-forcing: {reason}")
    else:
        what = "holds neither a model nor a run"
    return UserError(
        f"{path} {what}: give a folder with config.json and model.safetensors, or of a run"
    )


def _read(folder: Path) -> dict[str, object]:
    """What model_index.json says; empty if it is damaged."""
    try:
        content = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
