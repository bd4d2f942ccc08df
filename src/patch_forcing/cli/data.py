"""`patch-forcing data NAME|FOLDER`: builds a data set, or checks a folder of images."""

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patch_forcing.cli.options import check_out, parse
from patch_forcing.core.errors import UserError, unknown_name

_USAGE = """usage: patch-forcing data NAME [OPTIONS]
       patch-forcing data FOLDER

Builds a data set from what this machine has, or reads every image of a folder and says what is
there, what cannot be read, and how to train on it.

emoji    every emoji without skin tone, drawn once from an installed colour font
FOLDER   images, or one subfolder of images for each class

patch-forcing data emoji --help    every option, with its default"""


@dataclass(frozen=True)
class FolderOptions:
    """Options of `data FOLDER`: none."""


@dataclass(frozen=True)
class EmojiOptions:
    """Options of `data emoji`."""

    out: Path = Path("data/emoji")
    """Folder for the atlas: atlas.png and manifest.json; an atlas there is made again."""
    font: Path | None = None
    """A colour emoji font; the installed one if left out."""
    emoji_test: Path | None = None
    """Unicode's list of emoji; the installed one if left out."""


def data(args: Sequence[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return
    if args[0].startswith("-"):
        raise UserError(f"{args[0]!r} is no data set: write its name first, as in data emoji")
    if args[0] == "emoji":
        _emoji(args[1:])
    elif Path(args[0]).exists():
        _folder(Path(args[0]), args[1:])
    else:
        raise unknown_name("data set or folder", args[0], ["emoji"])


def _emoji(args: Sequence[str]) -> None:
    options = parse(
        EmojiOptions,
        args,
        prog="patch-forcing data emoji",
        description="Every emoji without skin tone, drawn once from an installed colour font.",
    )
    check_out("--out", options.out)
    from patch_forcing.data.atlas import SHEET, build_atlas

    atlas, left_out = build_atlas(options.out, options.font, options.emoji_test)
    groups = len({emoji.group for emoji in atlas.emoji})
    print(
        f"{len(atlas.emoji)} emoji in {groups} groups and {len(atlas.subgroups)} subgroups: "
        f"{options.out / SHEET}"
    )
    if left_out:
        print(f"{len(left_out)} of the list are not in the font and were left out")
    print(f"next: patch-forcing train emoji-64 --data.path {options.out}")


def _folder(folder: Path, args: Sequence[str]) -> None:
    parse(
        FolderOptions,
        args,
        prog=f"patch-forcing data {folder}",
        description="Reads every image of the folder and says what is there.",
    )
    from patch_forcing.data.check import check_images
    from patch_forcing.data.folders import FolderSource
    from patch_forcing.runs.bad_samples import FEW
    from patch_forcing.runs.progress import progress_bar

    source = FolderSource(str(folder))
    data = source.open()
    good, bad = [], 0
    print(data.summary)
    with progress_bar(None, total=data.num_samples, unit="image") as bar:
        for number, size in enumerate(check_images(data.layout)):
            bar.update()
            if isinstance(size, tuple):
                good.append(size)
                continue
            bad += 1
            with bar.external_write_mode():
                print(f"bad: {data.layout.file(number)}: {size}", flush=True)
    if not good:
        raise UserError(f"no image of {folder} can be read: give another folder")
    for what, sides in zip(("width", "height"), zip(*good, strict=True), strict=True):
        print(f"{what}: {min(sides)} to {max(sides)}, median {statistics.median_low(sides)}")
    train = f"patch-forcing train folder --data.path {shlex.quote(str(folder))}"
    if not bad:
        print("every image can be read")
    elif bad > max(FEW, source.max_bad_share * data.num_samples):
        # twice the share: a run may meet many of them early
        share = min(1.0, math.ceil(200 * bad / data.num_samples) / 100)
        print(f"{bad} of {data.num_samples} cannot be read, too many: remove them, or let it pass")
        train += f" --data.max-bad-share {share:g}"
    else:
        print(f"{bad} of {data.num_samples} cannot be read: others will take their places")
    print(f"next: {train}")
