"""The data that recipes may train on: where they lie, and how they are read.

Nothing here needs torch. `check` says early what is not there; `open` imports what reads it.
"""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patch_forcing.core.errors import UserError, check_range
from patch_forcing.data.atlas_layout import check_atlas
from patch_forcing.data.image_options import Condition, ImageOptions, check_folder, local_path
from patch_forcing.data.templates import TemplateOptions, read_levels
from patch_forcing.io.hub import looks_like_hub_id

if TYPE_CHECKING:
    from patch_forcing.data.batch import TensorData
    from patch_forcing.data.emoji import EmojiScenes
    from patch_forcing.data.emoji_text import CaptionedScenes
    from patch_forcing.data.image_data import ImageData
    from patch_forcing.data.latents import LatentData
else:
    # what `open` returns, for those who look its annotations up
    _OPENED = {
        "TensorData": "batch",
        "EmojiScenes": "emoji",
        "CaptionedScenes": "emoji_text",
        "ImageData": "image_data",
        "LatentData": "latents",
    }

    def __getattr__(name: str) -> Any:
        if name not in _OPENED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"patch_forcing.data.{_OPENED[name]}"), name)


@dataclass(frozen=True)
class Digits:
    """UCI's optical recognition test set (Alpaydin & Kaynak 1998), ink 0 … 16 as −1 … 1."""

    def open(self) -> "TensorData":
        """All scans with their labels 0 … 9."""
        from patch_forcing.data.digits import open_digits

        return open_digits()


@dataclass(frozen=True)
class EmojiSource:
    """The scenes of an atlas made by `patch-forcing data emoji`."""

    path: str = "data/emoji"
    """Folder of the atlas."""
    size: int = 64
    """Height and width of a scene; 64 is the benchmark."""

    def __post_init__(self) -> None:
        check_range("data.size", self.size, 16, 1024)

    def check(self) -> None:
        """Raises UserError saying how to make the atlas if it is not there."""
        check_atlas(Path(self.path))

    def open(self) -> "EmojiScenes":
        """Read the atlas. Raises UserError saying how to make it if it is not there."""
        from patch_forcing.data.atlas import load_atlas
        from patch_forcing.data.emoji import EmojiScenes

        return EmojiScenes(load_atlas(Path(self.path)), self.size)


@dataclass(frozen=True)
class EmojiTextSource:
    """Captioned scenes of an atlas made by `patch-forcing data emoji`."""

    path: str = "data/emoji"
    """Folder of the atlas."""
    size: int = 128
    """Height and width of a scene."""
    unseen: bool = False
    """Show the combinations that are else held out, and no others."""

    def __post_init__(self) -> None:
        check_range("data.size", self.size, 16, 1024)

    def check(self) -> None:
        """Raises UserError saying how to make the atlas if it is not there."""
        check_atlas(Path(self.path))

    def open(self) -> "CaptionedScenes":
        """Read the atlas. Raises UserError saying how to make it if it is not there, or too old."""
        from patch_forcing.data.atlas import load_atlas
        from patch_forcing.data.emoji_text import CaptionedScenes

        return CaptionedScenes(load_atlas(Path(self.path)), self.size, self.unseen)


@dataclass(frozen=True)
class FolderSource(ImageOptions):
    """A folder of images, of subfolders of them for each class, or with captions."""

    path: str = ""
    """The folder; required."""
    depth: int = 1
    """Which level of folders names the classes: 1 is the top one; 2 makes classes such as a/b of
    the second; 0: folders are no classes. Deeper folders belong to the class around them."""
    levels: str | None = field(default=None, kw_only=True)
    """What templates call the levels of folders, from the top, such as style,thing; as many as name
    the classes."""
    held_out: float | None = field(default=0.0, kw_only=True)
    """Share of the images kept out of training, whose loss is watched; 0: none. Default of the
    recipe folder: 0.05; 0.1 of fewer than 1,000 images, 0 of fewer than 100."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.depth", self.depth, 0, whole=True, mend="; 0: no classes")
        count = len(self.level_names)
        if count and self.depth not in (1, count):
            raise UserError(
                f"data.depth={self.depth} with data.levels={self.levels}, which are {count}: leave "
                "the depth out"
            )

    @property
    def level_names(self) -> tuple[str, ...]:
        """What templates call the levels of folders."""
        return read_levels(self.levels)

    def check(self) -> None:
        """Raises UserError unless a folder is given that is there."""
        if not self.path:
            raise UserError("data.path is not given: add --data.path DIR, a folder of images")
        check_folder(local_path(self.path))

    def open(self) -> "ImageData":
        """List the folder and look at some headers.

        Raises UserError if it is not given, not there, not arranged in classes, or unreadable.
        """
        self.check()
        from patch_forcing.data.folder_layout import find_images
        from patch_forcing.data.open_images import open_images

        depth = len(self.level_names) or self.depth
        try:
            layout = find_images(local_path(self.path), self.condition, depth)
        except UserError as error:
            if self.levels and "data.depth" in str(error):  # which nobody chose
                raise UserError(f"data.levels={self.levels}: {error}") from None
            raise
        return open_images(layout, self)


@dataclass(frozen=True)
class ShardsSource(ImageOptions):
    """Tar files in WebDataset's form: KEY.jpg, and KEY.cls, KEY.txt or KEY.json with it."""

    path: str = ""
    """A folder of .tar files, one of them, a pattern as 'imagenet-{000..146}.tar' or '*.tar', or
    such a pattern of URLs; required."""

    def check(self) -> None:
        """Raises UserError unless shards are given; those of this machine have to be there."""
        if not self.path:
            raise UserError("data.path is not given: add --data.path PATH, tar files in a folder")
        if "://" not in self.path:
            from patch_forcing.data.shard_places import list_shards

            list_shards(self.path)

    def open(self) -> "ImageData":
        """Look through those shards that are not known yet.

        Raises UserError if there are none, or one cannot be reached.
        """
        self.check()
        from patch_forcing.data.open_images import open_images
        from patch_forcing.data.shards import find_shards

        return open_images(find_shards(self.path, self.condition), self)


@dataclass(frozen=True)
class LatentsSource(TemplateOptions):
    """Latents of images, as `patch-forcing encode` writes them."""

    path: str = ""
    """The folder; required."""
    condition: Condition | None = None
    """What goes with each latent. Default: its class if there are classes, else its caption if
    there are captions, else none. Captions take --network.condition text."""
    flip: bool = True
    """Show each image mirrored half of the time; they must have been encoded so too."""
    sample_posterior: bool = True
    """Draw each latent anew from its posterior, every time; without, its mean."""
    verify: bool = False
    """Read everything first and compare checksums."""
    max_bad_share: float = 0.01
    """Stop when more of the latents looked at are not finite, and more than 10."""
    levels: str | None = field(default=None, kw_only=True)
    """What templates call the parts of classes such as a/b, with commas: style,thing."""

    def __post_init__(self) -> None:
        check_range("data.max_bad_share", self.max_bad_share, 0, 1)
        self.check_templates(self.condition, ",".join(read_levels(self.levels)))

    def check(self) -> None:
        """Raises UserError unless complete latents are there."""
        if not self.path:
            raise UserError(
                "data.path is not given: add --data.path DIR, which patch-forcing encode writes"
            )
        from patch_forcing.data.latent_shards import read_index

        read_index(local_path(self.path))

    def open(self) -> "LatentData":
        """Map all shards. Raises UserError if they are not there, not complete, or damaged."""
        self.check()
        from patch_forcing.data.latents import open_latents

        return open_latents(self)


@dataclass(frozen=True, kw_only=True)
class HubParts:
    """Which part of a data set is read, and which of its columns."""

    config: str | None = None
    """Which of several data sets under that name."""
    split: str = "train"
    """Which part of it; slices as 'train[:10%]' too."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; name a commit for a run that others can repeat."""
    image_column: str | None = None
    """Default: the only one of images, stored as datasets, pandas or Spark does; else image."""
    label_column: str | None = None
    """Default: the only one of class labels, or else label, class, category or the like."""
    caption_column: str | None = None
    """Default: text, caption, prompt or the like; if named without a label column, captions are the
    condition."""


@dataclass(frozen=True)
class HubSource(HubParts, ImageOptions):
    """A data set of images by its name on the Hub, or in a folder."""

    path: str = ""
    """OWNER/NAME on the Hub, a folder that `datasets` wrote or reads, or a Parquet file;
    required."""

    def check(self) -> None:
        """Raises UserError unless a data set is given that is there, or may be on the Hub."""
        if not self.path:
            raise UserError("data.path is not given: add --data.path OWNER/NAME, or a folder")
        if not local_path(self.path).exists() and not looks_like_hub_id(self.path):
            # a folder's name mistyped would cost half a minute on the network
            raise UserError(
                f"data.path={self.path} is not there: give a folder, or OWNER/NAME on the Hub"
            )

    def open(self) -> "ImageData":
        """Load it, downloading it first if it is not on this disk.

        Raises UserError if it cannot be had, or has no column of images.
        """
        self.check()
        from patch_forcing.data.hub import hub_layout, load_rows
        from patch_forcing.data.open_images import open_images

        return open_images(hub_layout(self, load_rows(self)), self)
