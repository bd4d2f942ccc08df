"""What a model folder looks like: `config.json` and `model.safetensors`. No torch is needed."""

import hashlib
import json
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.io.atomic import sha256

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def folder_hash(path: Path) -> str:
    """Of both files: tells models apart."""
    both = sha256(path / CONFIG) + sha256(path / WEIGHTS)
    return hashlib.sha256(both.encode()).hexdigest()[:16]


def is_model_folder(path: Path) -> bool:
    """Whether both files are there."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def check_target(path: Path) -> None:
    """Raises UserError unless a model folder can be written there, or replaces one."""
    if path.exists() and not is_model_folder(path):
        raise UserError(f"{path} exists and is not a model folder: name another one")
    if path.exists() and not is_own_config(path / CONFIG):
        raise UserError(f"{path} holds a model that is not of this format: name another folder")
    others = [file.name for file in path.glob("*") if file.name not in (CONFIG, WEIGHTS)]
    if others:
        raise UserError(f"{path} holds {others[0]!r} besides a model: name another folder")


def is_own_config(config: Path) -> bool:
    """Whether it is of a model folder as `save_folder` writes it."""
    try:
        stored = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and {"format_version", "class", "model"} <= stored.keys()
