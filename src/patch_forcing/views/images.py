"""Tensors → PIL images, and sheets of tiles with captions."""

from collections.abc import Sequence

from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK, FAINT = (255, 255, 255), (24, 24, 27), (113, 113, 122)
GAP = 6
CAPTION = 16
"""Height of a line of text, in pixels."""


def to_pil(pixels: UInt8[Tensor, "C H W"]) -> Image.Image:
    """One image of 1 (grey) or 3 channels (RGB)."""
    array = pixels.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """RGB, its longer side at least about `side` pixels by a whole factor, pixels left sharp."""
    factor = max(1, round(side / max(image.size)))
    size = (image.width * factor, image.height * factor)
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST)


def grid_sheet(
    rows: Sequence[Sequence[Image.Image]],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    row_titles: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """Tiles of one size in rows, a caption below each, a title before each row and above all."""
    tile_w, tile_h = rows[0][0].size
    line = CAPTION if captions else 0
    font = ImageFont.load_default(12)
    left = GAP + max((round(font.getlength(text)) + 2 * GAP for text in row_titles), default=0)
    top = GAP + (CAPTION + GAP if title else 0)
    columns = max(len(row) for row in rows)
    size = (left + columns * (tile_w + GAP), top + len(rows) * (tile_h + line + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, INK, font)
    for r, row in enumerate(rows):
        y = top + r * (tile_h + line + GAP)
        if row_titles:
            draw.text((GAP, y + tile_h // 2), row_titles[r], FAINT, font, anchor="lm")
        for c, tile in enumerate(row):
            x = left + c * (tile_w + GAP)
            sheet.paste(tile, (x, y))
            if captions:
                draw.text((x + tile_w // 2, y + tile_h + 2), captions[r][c], FAINT, font, "ma")
    return sheet
