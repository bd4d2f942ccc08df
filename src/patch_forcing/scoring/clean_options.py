"""How images are read that are about to be noised. Nothing here needs torch."""

from dataclasses import dataclass
from pathlib import Path

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.atlas_layout import MANIFEST, SHEET
from patch_forcing.data.image_options import Condition, Fit, check_folder, local_path

COUNT = 200
"""Images where nobody chooses, if there are as many."""
MAX_BINS = 20
"""Bins of time; of more, nobody could read the chart."""


@dataclass(frozen=True)
class CleanOptions:
    """How images are read, and what goes with them."""

    condition: Condition | None = None
    """class, caption, or none: no condition. Default: what the model takes."""
    fit: Fit = "crop"
    """Of a folder. crop: the middle of each image; pad: all of it, on white."""
    depth: int = 1
    """Of a folder: which level of folders names the classes, as for train folder."""

    def __post_init__(self) -> None:
        check_range("data.depth", self.depth, 0, whole=True, mend="; 0: no classes")

    def check_kind(self, path: Path, kind: str) -> None:
        """Raises UserError for what is of folders of images, where there is something else."""
        for name in ("fit", "depth"):
            value = getattr(self, name)
            if kind != "folder" and value != getattr(CleanOptions, name):
                raise UserError(
                    f"data.{name}={value} is of folders of images, and {path} holds {kind}: leave "
                    "it out"
                )


def clean_folder(path: str) -> Path:
    """The folder of this name. Raises UserError, before torch is loaded, if it is not there."""
    folder = local_path(path)
    check_folder(folder)
    return folder


def is_atlas(folder: Path) -> bool:
    """Whether it is an atlas that emoji scenes are made of."""
    return (folder / MANIFEST).is_file() and (folder / SHEET).is_file()
