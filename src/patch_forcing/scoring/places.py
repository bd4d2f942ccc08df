"""What is measured and what it is held against, as users name them: is it there? Without torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.data.image_options import check_folder
from patch_forcing.data.shard_places import list_shards
from patch_forcing.data.sources import HubSource
from patch_forcing.features.names import (
    EFFICIENTNET,
    EMOJI,
    INCEPTION,
    cached_dinov2,
    emoji_classes,
    has_packages,
)
from patch_forcing.generation.find import config_here
from patch_forcing.io.arrays import array_names
from patch_forcing.io.model_layout import is_model_folder
from patch_forcing.io.run_layout import is_run_folder
from patch_forcing.models.config_file import read_config_file
from patch_forcing.scoring.run_data import run_source

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


def names_array(subject: str | Path) -> bool:
    """Whether an array is measured. Raises UserError if it is not there."""
    path = Path(subject)
    if path.suffix != ".npz":
        return False
    if not path.is_file():
        raise UserError(f"{path} is not there: name an .npz file, a folder or a model")
    return True


def names_plain_folder(subject: str | Path) -> bool:
    """Whether a folder of images is measured, no model's and no run's."""
    path = Path(subject)
    return path.is_dir() and not is_model_folder(path) and not is_run_folder(path)


def names_data_set(reference: str) -> bool:
    """Whether it names one: hub:NAME or hub:NAME:SPLIT, or tar files, by a folder of them, a
    pattern or a URL.
    """
    if reference.startswith(HUB) or reference.endswith(_TAR):
        return True
    path = Path(reference)
    return path.is_dir() and next(path.glob(f"*{_TAR}"), None) is not None


def check_reference(name: str) -> None:
    """Raises UserError if there is nothing of that name, or nothing that samples are held against.

    What is in images and in data sets is seen when they are opened.
    """
    path = Path(name)
    if names_data_set(name):
        with in_our_words():
            if name.startswith(HUB):
                hub_source(name).check()
            elif "://" not in name:
                list_shards(name)
    elif is_run_folder(path):
        with in_our_words():
            run_source(path)
    elif path.suffix == ".npz" and path.is_file():
        _check_arrays(name, array_names(path))
    elif not path.is_dir() and (name != EMOJI or path.exists()):
        what = "is no .npz file" if path.exists() else "is not there"
        raise UserError(
            f"--reference {name} {what}: give a folder of images, a run (the images that it held "
            "out), an .npz of images (arr_0) or of statistics (mu, sigma), tar files, "
            f"hub:OWNER/NAME, or {EMOJI}"
        )


def _check_arrays(name: str, names: set[str]) -> None:
    if not ({"mu", "sigma"} <= names or "arr_0" in names):
        there = ", ".join(sorted(names)[:5]) or "nothing"
        raise UserError(
            f"--reference {name} holds {there}: give arr_0 (images), or mu and sigma (statistics)"
        )


def check_train(folder: Path) -> None:
    """Raises UserError unless it is a folder, or a run with images held out."""
    if is_run_folder(folder):
        run_source(folder)
    else:
        check_folder(folder)


def hub_source(reference: str) -> HubSource:
    """The data set that hub:NAME:SPLIT names."""
    place, _, split = reference.removeprefix(HUB).partition(":")
    return HubSource(path=place, split=split or "train")


@contextmanager
def in_our_words() -> Iterator[None]:
    """Errors of training data as they read here."""
    try:
        yield
    except UserError as error:
        message = str(error)
        for theirs, ours in _WORDS.items():
            message = message.replace(theirs, ours)
        raise UserError(message) from None


def check_networks(subject: str | Path, reference: str) -> None:
    """Raises UserError if no network is there to measure a model by, and nobody names one.

    Left to `usual_features`: a model of emoji, images that are there already, and statistics.
    """
    if any(map(has_packages, (EFFICIENTNET, INCEPTION))) or cached_dinov2() is not None:
        return
    config = None if Path(subject).suffix == ".npz" else config_here(subject)
    if reference == EMOJI or Path(reference).suffix == ".npz" or config is None:
        return
    try:
        names = read_config_file(config).data_info.class_names
    except UserError:  # the loader says why, or takes an older checkpoint
        return
    if not emoji_classes() & set(names or ()):
        raise no_network()


def no_network() -> UserError:
    """The error where no network is there."""
    return UserError(
        f"no network to measure by: {install_line('evaluate')} brings {EFFICIENTNET}, or give "
        "--features"
    )
