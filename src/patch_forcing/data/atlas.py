"""The emoji atlas: every emoji once, drawn from an installed colour font, with its name and group.

A folder of `atlas.png` (tiles in reading order) and `manifest.json` (what each tile shows, from
which font and list, with hashes). The artwork belongs to the font; it is made, not shipped.
"""

import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont, features
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.data.atlas_layout import MANIFEST, SHEET, check_atlas
from patch_forcing.io.atomic import atomic_folder, sha256
from patch_forcing.io.image_file import is_own_image, save_image

TILE = 128
"""Side of a tile; colour fonts are drawn at about this size."""
_FORMAT = 2
_COLUMNS = 44
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_STRIKES = (109, 160, 128, 136, 96, 64)
"""Sizes at which bitmap fonts may have their pictures: Noto 109, Apple 160, …"""
_FONTS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "~/Library/Fonts/NotoColorEmoji.ttf",
    "/Library/Fonts/NotoColorEmoji.ttf",
    "/System/Library/Fonts/Apple Color Emoji.ttc",
    "~/Library/Fonts/NotoColorEmoji-Regular.ttf",
)
_LISTS = (
    "/usr/share/unicode/emoji/emoji-test.txt",
    "/usr/share/unicode/emoji/latest/emoji-test.txt",
)


@dataclass(frozen=True)
class Emoji:
    """One emoji: its text, its Unicode name, its group and subgroup."""

    text: str
    name: str
    group: str
    subgroup: str


@dataclass(frozen=True)
class Atlas:
    """Every emoji's picture. tiles: (M, 128, 128, 4) uint8, RGBA, alpha not premultiplied."""

    emoji: tuple[Emoji, ...]
    tiles: UInt8[Tensor, "M 128 128 4"]

    @cached_property
    def subgroups(self) -> tuple[str, ...]:
        """Names of the classes, in the list's order."""
        return tuple(dict.fromkeys(emoji.subgroup for emoji in self.emoji))

    @cached_property
    def labels(self) -> Int64[Tensor, " M"]:
        """The class of each emoji: the number of its subgroup."""
        numbers = {name: number for number, name in enumerate(self.subgroups)}
        return torch.tensor([numbers[emoji.subgroup] for emoji in self.emoji])

    @cached_property
    def identity(self) -> str:
        """Tells atlases apart: 16 digits of the SHA-256 of emoji and pixels, however stored."""
        digest = hashlib.sha256("\n".join(entry.text for entry in self.emoji).encode())
        digest.update(self.tiles.numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def drawings(self) -> Int64[Tensor, " M"]:
        """The drawing of each emoji: fonts give some emoji one picture (Norway and Svalbard)."""
        seen: dict[bytes, int] = {}
        return torch.tensor([seen.setdefault(t.numpy().tobytes(), len(seen)) for t in self.tiles])


def read_emoji_test(path: Path) -> list[Emoji]:
    """The fully-qualified emoji without skin tone of Unicode's emoji-test.txt.

    Raises UserError if the file is not such a list.
    """
    emoji, group, subgroup = list[Emoji](), "", ""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    for line in lines:
        heading = re.match(r"# (sub)?group: (.+)", line)
        row = re.match(r"([0-9A-F ]+); fully-qualified +# \S+ E\d+\.\d+ (.+)", line)
        if heading and heading[1]:
            subgroup = heading[2].strip()
        elif heading:
            group = heading[2].strip()
        elif row:
            points = [int(point, 16) for point in row[1].split()]
            if not any(point in _SKIN_TONES for point in points):
                emoji.append(Emoji("".join(map(chr, points)), row[2].strip(), group, subgroup))
    if not emoji:
        raise UserError(f"{path} lists no fully-qualified emoji: give Unicode's emoji-test.txt")
    return emoji


def build_atlas(
    out: Path, font: Path | None = None, emoji_test: Path | None = None
) -> tuple[Atlas, list[Emoji]]:
    """Draw every emoji of the list once into the folder `out`.

    Returns the atlas, and what the font lacks of the list: that is left out.

    font, emoji_test: where the installed ones lie, if None.
    Raises UserError naming the package that brings what is missing, or if `out` holds other files.
    """
    if not features.check("raqm"):
        raise UserError(
            "this Pillow cannot join emoji sequences (no libraqm): pip install --upgrade pillow, "
            "and on Linux apt install libfribidi0"
        )
    font = font or _installed(_FONTS, "colour emoji font", "--font", _FONT_PACKAGES)
    emoji_test = emoji_test or _installed(_LISTS, "emoji-test.txt", "--emoji-test", _LIST_PACKAGES)
    for file in (font, emoji_test):
        if not file.is_file():
            raise UserError(f"{file} is not there: give another file, or leave the option out")
    if out.exists() and not _may_replace(out):
        raise UserError(f"{out} holds other files: name an empty or a new folder")
    listed = read_emoji_test(emoji_test)
    emoji, tiles = _draw(listed, font)
    atlas = Atlas(tuple(emoji), torch.from_numpy(tiles))
    drawn = set(emoji)
    left_out = [entry for entry in listed if entry not in drawn]
    with atomic_folder(out, replace=True) as folder:
        save_image(_sheet(tiles), folder / SHEET)
        manifest = {
            "format": _FORMAT,
            "font": {"file": font.name, "sha256": sha256(font)},
            "emoji_test": {"file": emoji_test.name, "sha256": sha256(emoji_test)},
            "atlas": {"file": SHEET, "sha256": sha256(folder / SHEET), "tile": TILE},
            "identity": atlas.identity,
            "left_out": [entry.name for entry in left_out],
            "emoji": [asdict(entry) for entry in emoji],
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return atlas, left_out


def _may_replace(out: Path) -> bool:
    """Whether nothing is in the folder but an atlas, of any format, one of whose files is sound."""
    if not out.is_dir() or {file.name for file in out.iterdir()} - {SHEET, MANIFEST}:
        return False
    if not any(out.iterdir()) or is_own_image(out / SHEET):
        return True
    try:
        return {"format", "emoji", "atlas"} <= json.loads((out / MANIFEST).read_text()).keys()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def load_atlas(folder: Path) -> Atlas:
    """The atlas in a folder. Raises UserError if there is none, or if it is damaged."""
    again = check_atlas(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        emoji = tuple(Emoji(**row) for row in manifest["emoji"])
        whole = manifest["format"] == _FORMAT
        whole = whole and sha256(folder / SHEET) == manifest["atlas"]["sha256"]
        whole = whole and isinstance(manifest["identity"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    damaged = UserError(f"{folder} is damaged or of another version: make it again with {again}")
    if not whole:
        raise damaged
    try:
        sheet = np.asarray(Image.open(folder / SHEET, formats=["PNG"]))
        rows, cols = sheet.shape[0] // TILE, sheet.shape[1] // TILE
        tiles = sheet.reshape(rows, TILE, cols, TILE, 4).swapaxes(1, 2).reshape(-1, TILE, TILE, 4)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise damaged from None
    atlas = Atlas(emoji, torch.from_numpy(tiles[: len(emoji)].copy()))
    if atlas.identity != manifest["identity"]:  # a row too few, and each name is beside its picture
        raise damaged
    return atlas


_FONT_PACKAGES = (
    "Debian: apt install fonts-noto-color-emoji; Fedora: dnf install google-noto-color-emoji-fonts;"
    " macOS: brew install --cask font-noto-color-emoji"
)
_LIST_PACKAGES = (
    "Debian: apt install unicode-data; Fedora: dnf install unicode-emoji; macOS: save "
    "https://unicode.org/Public/emoji/15.0/emoji-test.txt"
)


def _installed(places: Iterable[str], what: str, option: str, packages: str) -> Path:
    for place in places:
        path = Path(place).expanduser()
        if path.is_file():
            return path
    raise UserError(f"no {what} on this machine: {packages}; or give one with {option}")


def _draw(listed: list[Emoji], path: Path) -> tuple[list[Emoji], UInt8[np.ndarray, "M 128 128 4"]]:
    """The emoji that the font has, and their tiles: one square around all ink, so sizes compare."""
    font = _open_font(path)
    side, corner = round(2 * font.size), round(font.size / 4)
    advance = statistics.median(font.getlength(entry.text) for entry in listed)
    emoji, canvases = [], []
    for entry in listed:
        # a font that does not know a sequence draws its parts side by side
        if font.getlength(entry.text) > 1.5 * advance:
            continue
        canvas = Image.new("RGBA", (side, side))
        ImageDraw.Draw(canvas).text((corner, corner), entry.text, font=font, embedded_color=True)
        pixels = _straight(np.asarray(canvas))
        if not _is_coloured(pixels):
            continue  # an empty box, or a letter in the drawing colour
        emoji.append(entry)
        canvases.append(pixels)
    if not emoji:
        raise UserError(
            f"{path} draws none of the listed emoji in colour: give a colour font with "
            "bitmaps or plain layers (CBDT, sbix, COLRv0), as Debian's NotoColorEmoji.ttf has"
        )
    return emoji, _tiles(canvases)


def _open_font(path: Path) -> ImageFont.FreeTypeFont:
    """The font at the size at which it has pictures."""
    for size in _STRIKES:
        try:
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.RAQM)
        except OSError as error:
            reason = str(error)
    raise UserError(f"{path} cannot be read as a font ({reason}): give a colour emoji font")


def _straight(pixels: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Pillow blends text into the clear black canvas, so colours came out premultiplied."""
    wide = pixels.astype(np.int32)
    alpha = wide[..., 3:]
    colour = (wide[..., :3] * 255 + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([colour.clip(0, 255), alpha], axis=-1).astype(np.uint8)


def _is_coloured(pixels: UInt8[np.ndarray, "H W 4"]) -> bool:
    """Whether anything but the text colour, white, was drawn."""
    ink = pixels[pixels[..., 3] > 0]
    return bool(len(ink)) and bool((ink[:, :3] != 255).any())


def _tiles(canvases: list[UInt8[np.ndarray, "S S 4"]]) -> UInt8[np.ndarray, "M 128 128 4"]:
    """One square for all, around all ink, resized to the tile if it differs."""
    ink = np.zeros(canvases[0].shape[:2], bool)
    for canvas in canvases:
        ink |= canvas[..., 3] > 0
    ys, xs = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    side = int(max(ys[-1] - ys[0], xs[-1] - xs[0])) + 1
    left, top = (int(axis[0] + axis[-1] + 1 - side) // 2 for axis in (xs, ys))
    crop = (left, top, left + side, top + side)
    squares = [Image.fromarray(canvas).crop(crop) for canvas in canvases]
    if side != TILE:
        squares = [square.resize((TILE, TILE), Image.Resampling.LANCZOS) for square in squares]
    return np.stack([np.asarray(square) for square in squares])


def _sheet(tiles: UInt8[np.ndarray, "M 128 128 4"]) -> Image.Image:
    cols = min(_COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / cols)
    padded = np.zeros((rows * cols, TILE, TILE, 4), np.uint8)
    padded[: len(tiles)] = tiles
    grid = padded.reshape(rows, cols, TILE, TILE, 4).swapaxes(1, 2)
    return Image.fromarray(grid.reshape(rows * TILE, cols * TILE, 4))
