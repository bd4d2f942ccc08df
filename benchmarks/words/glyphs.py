"""The letters a to z in fonts that matplotlib brings, drawn once, of which words are put together.

A font library would take longer for the 256 words of a step than the step takes. Here they are two
products of matrices on any device: letters of the atlas are shrunk and set side by side.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.words.spelling import LETTERS
from patch_forcing.core.errors import UserError
from patch_forcing.data.emoji import coverage

_NAMES = (
    "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSans-BoldOblique "
    "DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique DejaVuSansMono-BoldOblique "
    "DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic DejaVuSerif-BoldItalic "
    "STIXGeneral STIXGeneralBol STIXGeneralItalic STIXGeneralBolIta "
    "cmr10 cmb10 cmti10 cmss10 cmtt10"
)
FONTS = tuple(_NAMES.split())
"""Those with plain letters; the others that matplotlib brings have symbols, or a part of them."""
EM = 64
"""Pixels of the em that letters are drawn at."""
TILE = (72, 96)
"""Height and width of a letter's tile."""
BASELINE, PEN = 54, 14
"""Where in it the baseline is, and where the pen starts."""
END = -1
"""In place of a letter behind a word's last one."""


class Glyphs(NamedTuple):
    """F fonts, 26 letters each; lengths in em, from the pen's start on the baseline, down positive.

    advance: how far the pen moves. ink: left, top, right, bottom of what is drawn.
    """

    tiles: Float[Tensor, "F 26 h w"]
    advance: Float[Tensor, "F 26"]
    ink: Float[Tensor, "F 26 4"]

    def to(self, device: torch.device) -> "Glyphs":
        """The same there."""
        return Glyphs(*(part.to(device) for part in self))


def font_folder() -> Path:
    """Where the fonts are. Raises UserError without matplotlib, or with one that lacks a font."""
    try:
        import matplotlib
    except ImportError:
        raise UserError(
            "matplotlib, whose fonts words are drawn in, is missing: pip install matplotlib"
        ) from None
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for name in FONTS:
        if not (folder / f"{name}.ttf").exists():
            raise UserError(
                f"matplotlib {matplotlib.__version__} lacks the font {name}: "
                "pip install 'matplotlib>=3.11'"
            )
    return folder


@cache
def glyphs() -> Glyphs:
    """All letters. Raises UserError where a font is missing."""
    folder = font_folder()
    tiles = torch.zeros(len(FONTS), len(LETTERS), *TILE)
    advance = torch.zeros(len(FONTS), len(LETTERS))
    ink = torch.zeros(len(FONTS), len(LETTERS), 4)
    for f, name in enumerate(FONTS):
        font = ImageFont.truetype(
            str(folder / f"{name}.ttf"), EM, layout_engine=ImageFont.Layout.BASIC
        )
        for k, letter in enumerate(LETTERS):
            tile = Image.new("L", TILE[::-1])
            ImageDraw.Draw(tile).text((PEN, BASELINE), letter, 255, font, anchor="ls")
            tiles[f, k] = torch.frombuffer(bytearray(tile.tobytes()), dtype=torch.uint8).view(TILE)
            advance[f, k] = font.getlength(letter) / EM
            left, top, right, bottom = tile.getbbox() or (0, 0, 0, 0)
            ink[f, k] = torch.tensor([left - PEN, top - BASELINE, right - PEN, bottom - BASELINE])
    return Glyphs(tiles / 255, advance, ink / EM)


class Line(NamedTuple):
    """B words as their fonts set them, in em: where each pen starts, and the ink of each letter.

    Letters behind the end have a box without extent at the word's start.
    """

    pen: Float[Tensor, "B L"]
    boxes: Float[Tensor, "B L 4"]

    @property
    def extent(self) -> Float[Tensor, "B 4"]:
        """Left, top, right, bottom of each word's ink."""
        first, last = self.boxes[:, :, :2].amin(1), self.boxes[:, :, 2:].amax(1)
        return torch.cat([first, last], dim=1)


def set_line(atlas: Glyphs, font: Int64[Tensor, " B"], letters: Int64[Tensor, "B L"]) -> Line:
    """Letters one after the other, as far as each moves the pen."""
    there, known = letters != END, letters.clamp(min=0)
    advance = atlas.advance[font[:, None], known] * there
    pen = advance.cumsum(1) - advance
    boxes = atlas.ink[font[:, None], known] + torch.stack([pen, 0 * pen, pen, 0 * pen], dim=2)
    return Line(pen, torch.where(there[:, :, None], boxes, boxes[:, :1]))


def draw_line(
    atlas: Glyphs,
    font: Int64[Tensor, " B"],
    letters: Int64[Tensor, "B L"],
    line: Line,
    start: Float[Tensor, "B 2"],
    em: Float[Tensor, " B"],
    size: tuple[int, int],
) -> Float[Tensor, "B H W"]:
    """How much of each pixel is ink.

    start: where the first pen starts, (across, down) in pixels. em: pixels of an em.
    """
    height, width = size
    batch, count = letters.shape
    scale = em / EM  # pixels of a tile's pixel
    tiles = atlas.tiles[font[:, None], letters.clamp(min=0)]  # (B, L, h, w)
    tiles = tiles * (letters != END)[:, :, None, None]
    left = start[:, :1] + em[:, None] * line.pen - scale[:, None] * PEN  # (B, L)
    lengths = (scale * TILE[1])[:, None].expand(-1, count)
    across = coverage(width, left.flatten(), lengths.flatten(), TILE[1])
    rows = coverage(height, start[:, 1] - scale * BASELINE, scale * TILE[0], TILE[0])
    lined = tiles.movedim(1, 2).flatten(2)  # (B, h, L·w): side by side
    columns = across.view(batch, count, width, TILE[1]).movedim(1, 2).flatten(2)  # (B, W, L·w)
    return (rows @ lined @ columns.mT).clamp(0, 1)  # letters may touch
