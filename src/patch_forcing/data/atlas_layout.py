"""The files of an emoji atlas. Nothing here needs torch."""

from pathlib import Path

from patch_forcing.core.errors import UserError

SHEET, MANIFEST = "atlas.png", "manifest.json"


def check_atlas(folder: Path) -> str:
    """The command that makes the atlas of a folder. Raises UserError naming it if there is none."""
    again = f"patch-forcing data emoji --out {folder}"
    if not (folder / MANIFEST).is_file() or not (folder / SHEET).is_file():
        raise UserError(f"{folder} holds no emoji atlas: make it with {again}")
    return again
