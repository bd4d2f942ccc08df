"""A colour font of a few emoji and the list that goes with it: atlases without installed fonts."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, features

from patch_forcing.data.atlas import _FORMAT, TILE, Atlas, Emoji, build_atlas
from patch_forcing.data.atlas_layout import MANIFEST, SHEET
from patch_forcing.io.atomic import sha256

LIST = """\
# group: Smileys & Emotion

# subgroup: face-smiling
1F600                    ; fully-qualified     # 😀 E1.0 grinning face
1F603                    ; fully-qualified     # 😃 E0.6 grinning face with big eyes

# subgroup: heart
2764 FE0F 200D 1F525     ; fully-qualified     # ❤️‍🔥 E13.1 heart on fire
2764 200D 1F525          ; unqualified         # ❤‍🔥 E13.1 heart on fire
2764 FE0F                ; fully-qualified     # ❤️ E0.6 red heart
2764                     ; unqualified         # ❤ E0.6 red heart

# group: Flags

# subgroup: country-flag
1F3F4 200D 2620 FE0F     ; fully-qualified     # 🏴‍☠️ E11.0 pirate flag
1F1F3 1F1F4              ; fully-qualified     # 🇳🇴 E2.0 flag: Norway
1F1F8 1F1EF              ; fully-qualified     # 🇸🇯 E2.0 flag: Svalbard & Jan Mayen
1F44B 1F3FB              ; fully-qualified     # 👋🏻 E1.0 waving hand: light skin tone

# group: Component

# subgroup: skin-tone
1F3FB                    ; component           # 🏻 E1.0 light skin tone
"""
"""The font lacks big eyes, and joins no pirate flag; Svalbard flies Norway's."""

_FLAG = [("red", (0, 300, 1000, 1000)), ("blue", (300, 300, 500, 1000))]
_PICTURES = {  # layers: a colour and a rectangle of 1000 × 1000; one reaches the top
    "face": [("yellow", (0, 0, 1000, 1000)), ("blue", (200, 600, 400, 800))],
    "heart": [("red", (100, 0, 900, 700)), ("blue", (400, 700, 600, 1000))],
    "fire": [("yellow", (200, 0, 800, 1000))],
    "heart_fire": [("red", (0, 0, 1000, 600)), ("yellow", (300, 600, 700, 1000))],
    "black_flag": [("blue", (0, 0, 1000, 1000))],
    "skull": [("blue", (0, 0, 1000, 1000))],
    "hand": [("yellow", (0, 0, 1000, 1000))],
    "norway": _FLAG,
    "svalbard": _FLAG,
}
_COLOURS = {"red": (0.8, 0, 0.2, 1), "yellow": (1, 0.8, 0, 1), "blue": (0, 0.2, 0.6, 0.5)}
_CHARACTERS = {
    0x1F600: "face", 0x2764: "heart", 0x1F525: "fire", 0x1F3F4: "black_flag", 0x2620: "skull",
    0x1F44B: "hand", 0x1F3FB: "tone", 0xFE0F: "vs16", 0x200D: "zwj",
    0x1F1F3: "n", 0x1F1F4: "o", 0x1F1F8: "s", 0x1F1EF: "j",
}  # fmt: skip
_JOINED = """feature ccmp {
    sub heart vs16 zwj fire by heart_fire; sub n o by norway; sub s j by svalbard; sub hand tone by
    hand;
} ccmp;"""


def emoji_font(path: Path, *, colour: bool = True) -> Path:
    """Write the font; without colour, only the outline of each picture's first layer."""
    square = (0, 0, 1000, 1000)
    glyphs = {".notdef": _rectangle(*square)}
    glyphs |= {n: _rectangle(*square if colour else p[0][1]) for n, p in _PICTURES.items()}
    glyphs |= dict.fromkeys(["tone", "vs16", "zwj", *"nosj"], TTGlyphPen(None).glyph())
    layered = {}
    for name, layers in _PICTURES.items():
        layered[name] = [(f"{name}.{n}", [*_COLOURS].index(c)) for n, (c, _) in enumerate(layers)]
        glyphs |= {f"{name}.{n}": _rectangle(*box) for n, (_, box) in enumerate(layers)}
    font = FontBuilder(unitsPerEm=1000)
    font.setupGlyphOrder([*glyphs])
    font.setupCharacterMap(_CHARACTERS)
    font.setupGlyf(glyphs)
    width = {name: 0 if glyph.numberOfContours == 0 else 1000 for name, glyph in glyphs.items()}
    font.setupHorizontalMetrics({n: (width[n], getattr(g, "xMin", 0)) for n, g in glyphs.items()})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "Few Emoji", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    if colour:
        font.setupCOLR(layered)
        font.setupCPAL([list(_COLOURS.values())])
    addOpenTypeFeaturesFromString(font.font, _JOINED)
    font.save(path)
    return path


def _rectangle(left: int, bottom: int, right: int, top: int):
    pen = TTGlyphPen(None)
    pen.moveTo((left, bottom))
    for corner in ((left, top), (right, top), (right, bottom)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


def font_and_list(folder: Path) -> tuple[Path, Path]:
    """Both files, in a folder."""
    (folder / "emoji-test.txt").write_text(LIST, encoding="utf-8")
    return emoji_font(folder / "few.ttf"), folder / "emoji-test.txt"


def write_atlas(out: Path) -> Path:
    """The atlas of the font, as `patch-forcing data emoji` makes it, at `out`."""
    if not features.check("raqm"):
        pytest.skip("needs a Pillow that joins emoji sequences (libraqm)")
    out.parent.mkdir(parents=True, exist_ok=True)
    build_atlas(out, *font_and_list(out.parent))
    return out


def save_atlas(out: Path, atlas: Atlas) -> Path:
    """The folder of an atlas in memory: one row of tiles."""
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([*atlas.tiles.numpy()], axis=1)).save(out / SHEET)
    manifest = {
        "format": _FORMAT,
        "atlas": {"sha256": sha256(out / SHEET)},
        "identity": atlas.identity,
        "emoji": [asdict(entry) for entry in atlas.emoji],
    }
    (out / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def tiny_atlas(*tiles: Sequence[int] | np.ndarray) -> Atlas:
    """An atlas in memory: of whole RGBA colours or pictures, else of four shapes in two classes."""
    if not tiles:
        tiles = tuple(np.asarray(_shape(n)) for n in range(4))
    pictures = np.stack([np.broadcast_to(np.uint8(tile), (TILE, TILE, 4)) for tile in tiles])
    emoji = [
        Emoji(chr(0x1F600 + n), f"shape {n}", "shapes", "ab"[n % 2]) for n in range(len(tiles))
    ]
    return Atlas(tuple(emoji), torch.from_numpy(pictures))


def _shape(number: int) -> Image.Image:
    picture = Image.new("RGBA", (TILE, TILE))
    pen = ImageDraw.Draw(picture)
    box = (8 + 4 * number, 16, 120, 112 - 8 * number)
    (pen.ellipse if number % 2 else pen.rectangle)(box, (60 * number, 200, 40, 255))
    pen.polygon([(10, 10), (60, 30), (20, 70)], (250, 30, 60 * number, 160))
    return picture
