"""How images are read and shown, wherever they come from. Nothing here needs torch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.templates import TemplateOptions

if TYPE_CHECKING:
    from patch_forcing.data.image_data import ImageData

Condition = Literal["class", "caption", "none"]
Fit = Literal["crop", "pad"]
_SAVED = ("dataset_dict.json", "dataset_info.json")
SIZE_MULTIPLE, MIN_SIZE, MAX_INFERRED_SIZE, MAX_SIZE = 4, 8, 64, 1024
"""Pixels. Sizes are multiples of 4, so that patches tile them. Training above 64 takes a GPU and
hours, so a larger size is not inferred."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions(TemplateOptions, ABC):
    """How images are read and shown, wherever they come from."""

    size: int | None = None
    """Height and width, a multiple of 4. Default: the images' median shortest side, at most 64."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 is colour. Default: grey if all images are stored so."""
    condition: Condition | None = None
    """What goes with each image. Default: its class if there are classes, else its caption if there
    are captions, else none. Captions take --network.condition text."""
    fit: Fit = "crop"
    """crop: the middle of each image; pad: all of it, on white. The aspect is always kept."""
    buckets: int | None = None
    """Instead of squares, sizes of several aspects and about as many pixels, each batch of one.
    Their sides are multiples of this, which the patch size divides. Takes --network.position
    rope."""
    flip: bool = True
    """Show each image mirrored, left to right, half of the time; not for writing or numbers."""
    max_bad_share: float = 0.01
    """Stop when more of the images looked at cannot be read, and more than 10."""
    held_out: float | None = 0.0
    """Share of the images kept out of training, whose loss is watched; 0: none."""
    path: str = field(default="", kw_only=False)
    """Where the images lie; required."""

    def __post_init__(self) -> None:
        if self.size is not None and (
            not MIN_SIZE <= self.size <= MAX_SIZE or self.size % SIZE_MULTIPLE
        ):
            raise UserError(
                f"data.size={self.size} does not fit: choose a multiple of {SIZE_MULTIPLE}, "
                f"{MIN_SIZE} to {MAX_SIZE}"
            )
        if self.buckets is not None:
            check_range("data.buckets", self.buckets, 1, whole=True)
            if self.fit == "pad":
                raise UserError(
                    f"data.fit=pad with data.buckets={self.buckets}, where images need no white: "
                    "leave one of the two out"
                )
        check_range("data.max_bad_share", self.max_bad_share, 0, 1)
        if self.held_out is not None:
            check_range("data.held_out", self.held_out, 0, 0.5)
        self.check_templates(self.condition, ",".join(self.level_names))

    @property
    def level_names(self) -> tuple[str, ...]:
        """What templates call the parts of classes such as a/b."""
        return ()

    @abstractmethod
    def open(self) -> "ImageData":
        """List the images and look at some. Raises UserError saying what is not as it should be."""

    @abstractmethod
    def check(self) -> None:
        """Raises UserError, before torch is loaded, if there is nothing at `path`."""


def local_path(path: str) -> Path:
    """A path as users write it. Raises UserError if it begins with a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"data.path={path}: there is no such user: write it out") from None


def check_folder(root: Path) -> None:
    """Raises UserError unless it is a folder, and says what takes it otherwise."""
    if not root.is_dir():
        what = "is a file: give the folder" if root.exists() else "is not there: give a folder"
        raise UserError(f"{root} {what} of images{other_recipe(root)}")


def other_recipe(path: Path) -> str:
    """Which recipe takes what lies there instead of images, or nothing."""
    files = [path] if path.is_file() else list(path.iterdir()) if path.is_dir() else []
    if any(file.suffix == ".tar" for file in files):
        return "; for tar files: train shards, data shards"
    if any(file.suffix in (".parquet", ".arrow") or file.name in _SAVED for file in files):
        return "; for what the package datasets reads: train hub, data hub"
    return ""
