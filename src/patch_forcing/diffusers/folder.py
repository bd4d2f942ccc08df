"""A pipeline's folder, looked at before anything in it is loaded. No code in it is ever run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError
from patch_forcing.io.foreign import PICKLES, asks_for_code
from patch_forcing.io.foreign import PIPELINE as INDEX
from patch_forcing.io.hub import download, looks_like_hub_id, split_revision
from patch_forcing.io.model_layout import CONFIG, is_model_folder
from patch_forcing.io.run_layout import is_run_folder

FILES = (INDEX, f"*/{CONFIG}", "*/*.safetensors", "*/*.safetensors.index.json")
"""What of a pipeline on the Hub is downloaded."""
_OTHERWISE = {
    "token": "log in with hf auth login, or set HF_TOKEN",
    "local_files_only": "set HF_HUB_OFFLINE=1",
    "proxies": "set HTTPS_PROXY",
    "force_download": "delete what was kept by hf cache",
}
"""Options of loading from the Hub that this library takes otherwise."""
_CODE = ("trust_remote_code", "custom_pipeline")
_NEVER = "code of a model is never run here"


def find_folder(name: str, known: Mapping[str, str], options: Mapping[str, Any]) -> Path:
    """The folder of a pipeline of this library, downloaded first if it is the Hub's.

    known: its class as "pipeline", and the class or the library of each component by its name.
    options: of loading. diffusers' own download asks for code where a component is of no library
    that it knows.
    Raises UserError if there is none, or for what is not to be loaded.
    """
    folder = Path(name)
    if not folder.is_dir():
        hub_id, revision = split_revision(name)
        if not looks_like_hub_id(hub_id):
            raise UserError(f"{name} is not there: give the folder of a pipeline, or OWNER/NAME")
        for option, mend in _OTHERWISE.items():
            if options.get(option):
                raise UserError(f"{option} for {name}: {mend} instead")
        revision, cache = options.get("revision") or revision, options.get("cache_dir")
        folder = download(hub_id, FILES, "no such folder", revision=revision, cache_dir=cache)
    index = _read_index(folder)
    _check_class(folder / INDEX, index.get("_class_name"), known["pipeline"])
    for component, value in index.items():
        if component.startswith("_") or value in ([None, None], None):
            continue
        library, kind = value if isinstance(value, list) and len(value) == 2 else (None, None)
        if component not in known or known[component] not in (library, f"{library}.{kind}"):
            raise UserError(
                f"{folder / INDEX}: {component} is {value}, which a pipeline of this library does "
                f"not have, and {_NEVER}: give a folder that one saved"
            )
        check_component(folder / component, known[component] if "." in known[component] else None)
    return folder


def check_code(place: str, options: Mapping[str, Any]) -> None:
    """Raises UserError for options of loading that let code be run, or pickles be read."""
    for name in _CODE:
        if options.get(name):
            raise UserError(f"{name}={options[name]!r} for {place}: {_NEVER}: leave it out")
    if options.get("use_safetensors") is False:
        raise UserError(f"use_safetensors=False for {place}: pickles are never read: leave it out")


def check_component(folder: Path, kind: str | None) -> None:
    """Raises UserError unless the folder has a config and safetensors, and asks for no code.

    kind: the class that the config names; None: any of diffusers.
    """
    config = _read_json(folder / CONFIG)
    if asks_for_code(config) or any(folder.glob("*.py")):
        raise UserError(f"{folder} asks to run code of its own, and {_NEVER}: take it out")
    if kind is not None:
        _check_class(folder / CONFIG, config.get("_class_name"), kind)
    if not any(folder.glob("*.safetensors")):
        for file in sorted(folder.iterdir()):
            if file.suffix in PICKLES:
                raise UserError(
                    f"{file} is a pickle, which is never read: save the model as safetensors"
                )
        raise UserError(
            f"{folder} holds no *.safetensors, and no other weights are read: save it so"
        )


def _check_class(file: Path, class_name: Any, wanted: str) -> None:
    """By the whole name, or by its last part."""
    if isinstance(class_name, list):
        raise UserError(f"{file} asks to run code of its own, {class_name}, and {_NEVER}")
    module, _, short = wanted.rpartition(".")
    if class_name not in (wanted, short):
        raise UserError(
            f"{file} is of the class {class_name}, not {short} of {module}: load it with that class"
        )


def _read_index(folder: Path) -> dict[str, Any]:
    if (folder / INDEX).is_file():
        return _read_json(folder / INDEX)
    what = f"{folder / INDEX} is missing"
    if is_model_folder(folder) or is_run_folder(folder):
        what = f"{folder} is no pipeline of diffusers, but a model of this library"
    raise UserError(
        f"{what}: give a folder that save_pretrained wrote; what pf.load loads, "
        "PatchForcingPipeline.from_patch_forcing does"
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): copy it again") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object: copy it again")
    return content
