"""`patch-forcing data NAME|FOLDER|shards PATH|hub PATH`: builds a data set, or checks one."""

import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from patch_forcing.cli.data_options import (
    CAPTIONS,
    SOURCES,
    CheckOptions,
    FolderOptions,
    HubOptions,
    all_images,
    as_own,
)
from patch_forcing.cli.options import check_out, check_replaced, parse
from patch_forcing.core.errors import UserError, nearest_names
from patch_forcing.data.image_options import Fit

_USAGE = """usage: patch-forcing data NAME [OPTIONS]
       patch-forcing data FOLDER [--out DIR]
       patch-forcing data shards PATH [--out DIR]
       patch-forcing data hub PATH [--out DIR]

Builds a data set from what this machine has, or reads every image of one and says what is there,
what cannot be read, and how to train on it. With --out, sheet.png shows sixteen of the images as
training will see them.

emoji          every emoji without skin tone, drawn once from an installed colour font
FOLDER         images, or subfolders of images for each class, or images with captions
shards PATH    tar files in WebDataset's form: a folder of them, one, a pattern of them or of URLs
hub PATH       OWNER/NAME on the Hugging Face Hub, or a folder that the package datasets reads

patch-forcing data emoji --help    every option, with its default; so for the others"""


@dataclass(frozen=True)
class Options:
    """Options of `data shards PATH`."""

    source: Annotated[CheckOptions, arg(name="")] = field(default_factory=CheckOptions)
    size: int | None = None
    """Height and width in training, a multiple of 4. Default: the median shortest side, at most
    64."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 is colour. Default: grey if all images are stored so."""
    fit: Fit = "crop"
    """crop: the middle of each image; pad: all of it, on white."""
    buckets: int | None = None
    """Instead of squares, sizes of several aspects, whose sides are multiples of this."""
    template: tuple[str, ...] = ()
    """Captions made of classes, such as 'a photo of a {class}'; docs/text-to-image.md says how."""
    template_weights: tuple[float, ...] = ()
    """How often each template is drawn. Default: all as often."""
    out: Path | None = None
    """Folder for sheet.png: sixteen images as training will see them, one of each class in turn."""


@dataclass(frozen=True)
class OfFolder(Options):
    """Options of `data FOLDER`."""

    source: Annotated[FolderOptions, arg(name="")] = field(default_factory=FolderOptions)
    levels: str | None = None
    """What templates call the levels of folders, from the top, such as style,thing."""


@dataclass(frozen=True)
class OfHub(Options):
    """Options of `data hub PATH`."""

    source: Annotated[HubOptions, arg(name="")] = field(default_factory=HubOptions)


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
        near = nearest_names(args[0], ["emoji", *SOURCES])
        mend = f"did you mean {near[0]!r}?" if near else "give a folder that is there, or emoji;"
        raise UserError(
            f"there is no folder {args[0]}, and no data set of that name: {mend} "
            "patch-forcing data --help lists what there is"
        )


def _emoji(args: Sequence[str]) -> None:
    options = parse(
        EmojiOptions,
        args,
        prog="patch-forcing data emoji",
        description="Every emoji without skin tone, drawn once from an installed colour font.",
        example="patch-forcing data emoji --out data/emoji",
    )
    check_out("--out", options.out)
    from patch_forcing.data.atlas import build_atlas
    from patch_forcing.data.atlas_layout import SHEET

    atlas, left_out = build_atlas(options.out, options.font, options.emoji_test)
    groups = len({emoji.group for emoji in atlas.emoji})
    print(
        f"{len(atlas.emoji)} emoji in {groups} groups and {len(atlas.subgroups)} subgroups: "
        f"{options.out / SHEET}"
    )
    if left_out:
        print(f"{len(left_out)} of the list are not in the font and were left out")
    print(f"next: patch-forcing train emoji-64 --data.path {options.out}")


SHEET = "sheet.png"
_OPTIONS: dict[str, type[Options]] = {"folder": OfFolder, "shards": Options, "hub": OfHub}


def _check(recipe: str, path: str, args: Sequence[str]) -> None:
    command = f"patch-forcing data {path if recipe == 'folder' else f'{recipe} {path}'}"
    options = parse(
        _OPTIONS[recipe],
        as_own(args),
        prog=command,
        description="Reads every image and says what is there.",
        example=f"{command} --out checked",
    )
    if options.out is not None:
        from patch_forcing.io.image_file import is_own_image

        check_out("--out", options.out)
        check_replaced("--out", options.out / SHEET, own=is_own_image)
    names = [field.name for field in fields(options) if field.name not in ("source", "out")]
    how = {name: getattr(options, name) for name in names}
    source = all_images(recipe, path, options.source, **how)
    source.check()
    from patch_forcing.cli.checking import draw_some, read_all
    from patch_forcing.runs.plan import usual_start

    data = source.open()
    print(data.summary)
    sizes = read_all(data)
    if not sizes:
        raise UserError(f"no image of {path} can be read: give others")
    for name, sides in zip(("width", "height"), zip(*sizes, strict=True), strict=True):
        print(f"{name}: {min(sides)} to {max(sides)}, median {statistics.median_low(sides)}")
    from patch_forcing.data.overview import changes
    from patch_forcing.data.source import SeveralSizes

    shown = data.sizes if isinstance(data, SeveralSizes) else [data.shape[1:]]
    for line in changes(sizes, shown, options.fit):
        print(line)
    bad = data.num_samples - len(sizes)
    more = _report_bad(data.num_samples, bad, source.max_bad_share)
    if data.num_classes > max(1, 0.8 * data.num_samples):
        print(
            f"{data.num_classes} classes for {data.num_samples} images: if they are none, add "
            "--data.condition none"
        )
    if options.out is not None:
        print(f"as training will see them: {draw_some(data, options.out / SHEET)}")
    if not data.captioned and (start := usual_start(source, data.shape[0])):
        model, side = start
        if data.shape[1:] != (side, side):
            own = "×".join(map(str, data.shape[1:]))
            print(
                f"without a GPU training starts from {model} and reads them as {side}×{side}; "
                f"--init-from none: as {own}"
            )
    if data.captioned:
        if not options.template:
            print(CAPTIONS)
        more = f" --network.condition text{more}"
    if options.buckets is not None:
        more = f" --network.position rope{more}"
    train = f"patch-forcing train {recipe} --data.path {shlex.quote(path)}"
    print(f"next: {train}{_chosen(options.source)}{_chosen(options, *how)}{more}")


def _chosen(options: Any, *names: str) -> str:
    """Those of the options that are not the default, as training takes them."""
    known = {field.name: field.default for field in fields(options)}
    chosen = {name: getattr(options, name) for name in names or known}
    return "".join(
        f" --data.{name.replace('_', '-')} {shlex.join(map(str, _several(value)))}"
        for name, value in chosen.items()
        if value != known[name]
    )


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


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
