"""References that are no plain folder: shards of WebDataset, and data sets of the Hub or a disk."""

from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.data.layout import Layout
from patch_forcing.data.sources import HubSource
from patch_forcing.scoring.folder_images import LayoutImages
from patch_forcing.scoring.images import Size

HUB = "hub:"
"""In front of OWNER/NAME on the Hub, a folder that `datasets` wrote, or a Parquet file."""
_TAR = ".tar"
_WORDS = {
    "data.path=": "--reference ",
    "its files, --data.config and --data.split": f"its files and its split ({HUB}NAME:SPLIT)",
    "check name, --data.config, --data.split": f"check its name, its split ({HUB}NAME:SPLIT)",
    "data.split of": "split of",
    "data.split=": "split ",
    "choose one with --data.image-column": "give one that has a single one",
}
"""What errors of training data call things, and what they are called here, where no option names a
part of a data set.
"""


def names_data_set(name: str) -> bool:
    """Whether it names one: hub:NAME or hub:NAME:SPLIT, or tar files, by a folder of them, a
    pattern or a URL.
    """
    if name.startswith(HUB) or name.endswith(_TAR):
        return True
    path = Path(name)
    return path.is_dir() and next(path.glob(f"*{_TAR}"), None) is not None


def data_set(name: str, size: Size | None) -> LayoutImages:
    """Its images, fitted to that height and width. Raises UserError if they cannot be had."""
    try:
        return LayoutImages(_layout(name), name, size)
    except UserError as error:
        message = str(error)
        for theirs, ours in _WORDS.items():
            message = message.replace(theirs, ours)
        raise UserError(message) from None


def _layout(name: str) -> Layout:
    if not name.startswith(HUB):
        from patch_forcing.data.shards import find_shards

        return find_shards(name)
    from patch_forcing.data.hub import hub_layout, load_rows

    place, _, split = name.removeprefix(HUB).partition(":")
    options = HubSource(path=place, split=split or "train")
    options.check()
    return hub_layout(options, load_rows(options))
