"""A published checkpoint, before torch reads it."""

from pathlib import Path

from patch_forcing.core.errors import UserError


def check_checkpoint(file: Path) -> None:
    """Raises UserError unless it is a file."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise UserError(f"{file} {what}: give a checkpoint file")
