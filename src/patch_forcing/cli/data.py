"""`patch-forcing data NAME --out DIR`: builds a data set from what this machine has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patch_forcing.cli.options import check_out, parse
from patch_forcing.core.errors import UserError, unknown_name

_USAGE = """usage: patch-forcing data NAME [OPTIONS]

Builds a data set from what this machine has.

emoji    every emoji without skin tone, drawn once from an installed colour font

patch-forcing data NAME --help    every option, with its default"""


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
    if args[0] != "emoji":
        raise unknown_name("data set", args[0], ["emoji"])
    options = parse(
        EmojiOptions,
        args[1:],
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
