"""`patch-forcing data NAME|FOLDER|shards PATH|hub PATH`: builds a data set, or checks one."""

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from patch_forcing.cli.options import check_out, parse
from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.data.annotations import Condition
from patch_forcing.data.hub import HubParts
from patch_forcing.data.image_data import ImageData, ImageOptions

_USAGE = """usage: patch-forcing data NAME [OPTIONS]
       patch-forcing data FOLDER
       patch-forcing data shards PATH
       patch-forcing data hub PATH

Builds a data set from what this machine has, or reads every image of one and says what is there,
what cannot be read, and how to train on it.

emoji          every emoji without skin tone, drawn once from an installed colour font
FOLDER         images, or one subfolder of images for each class, or images with captions
shards PATH    tar files in WebDataset's form: a folder of them, one, a pattern of them or of URLs
hub PATH       OWNER/NAME on the Hugging Face Hub, or a folder that the package datasets reads

patch-forcing data emoji --help    every option, with its default; so for the others"""


@dataclass(frozen=True)
class CheckOptions:
    """Options of `data FOLDER` and `data shards PATH`."""

    condition: Condition | None = None
    """What goes with each image: class, caption or none. Default: what there is, classes first."""


@dataclass(frozen=True)
class HubOptions(HubParts, CheckOptions):
    """Options of `data hub PATH`."""


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
    elif args[0] in SOURCES and (args[1:] or not Path(args[0]).exists()):
        if not args[1:]:
            raise UserError(f"data {args[0]}: its path is missing: data {args[0]} PATH")
        if args[1] in ("-h", "--help"):
            _check(args[0], "PATH", args[1:])
        if args[1].startswith("-"):
            raise UserError(f"data {args[0]}: the path comes first: data {args[0]} PATH {args[1]}")
        _check(args[0], args[1], args[2:])
    elif Path(args[0]).exists():
        _check("folder", args[0], args[1:])
    else:
        raise unknown_name("data set or folder", args[0], ["emoji", *SOURCES])


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


SOURCES = ("shards", "hub")
"""Recipes whose data are checked under their name; those of `folder` need none."""
NO_CAPTIONS_YET = "no network here takes captions yet: with --data.condition none it trains without"


def _check(recipe: str, path: str, args: Sequence[str]) -> None:
    options = parse(
        HubOptions if recipe == "hub" else CheckOptions,
        args,
        prog=f"patch-forcing data {path if recipe == 'folder' else f'{recipe} {path}'}",
        description="Reads every image and says what is there.",
    )
    from patch_forcing.runs.recipes import RECIPES

    default: Any = RECIPES[recipe].recipe.data
    source: ImageOptions = replace(default, path=path, **vars(options))
    data = source.open()
    print(data.summary)
    sizes = _read_all(data)
    if not sizes:
        raise UserError(f"no image of {path} can be read: give others")
    for name, sides in zip(("width", "height"), zip(*sizes, strict=True), strict=True):
        print(f"{name}: {min(sides)} to {max(sides)}, median {statistics.median_low(sides)}")
    train = f"patch-forcing train {recipe} --data.path {shlex.quote(path)}"
    for field in fields(options):
        if getattr(options, field.name) != field.default:
            value = shlex.quote(getattr(options, field.name))
            train += f" --data.{field.name.replace('_', '-')} {value}"
    train += _report_bad(data.num_samples, data.num_samples - len(sizes), source.max_bad_share)
    if data.num_classes > max(1, 0.8 * data.num_samples):
        print(
            f"{data.num_classes} classes for {data.num_samples} images: if they are none, add "
            "--data.condition none"
        )
    if data.captioned:
        print(NO_CAPTIONS_YET)
        return
    print(f"next: {train}")


def _read_all(data: ImageData) -> list[tuple[int, int]]:
    """Widths and heights of the images that can be read; the others are named."""
    from patch_forcing.data.check import check_images
    from patch_forcing.views.progress import progress_bar

    sizes = []
    with progress_bar(None, total=data.num_samples, unit="image") as bar:
        for number, size in enumerate(check_images(data.layout)):
            bar.update()
            if isinstance(size, tuple):
                sizes.append(size)
                continue
            with bar.external_write_mode():
                print(f"bad: {data.layout.place(number)}: {size}", flush=True)
    return sizes


def _report_bad(images: int, bad: int, max_bad_share: float) -> str:
    """Prints how many are bad; returns the option that training needs with so many."""
    from patch_forcing.runs.bad_samples import MAX_HARMLESS

    if not bad:
        print("every image can be read")
    elif bad > max(MAX_HARMLESS, max_bad_share * images):
        # twice the share: a run may meet many of them early
        share = min(1.0, math.ceil(200 * bad / images) / 100)
        print(f"{bad} of {images} cannot be read, too many: remove them, or let it pass")
        return f" --data.max-bad-share {share:g}"
    else:
        print(f"{bad} of {images} cannot be read: others will take their places")
    return ""
