"""Tensors become PIL images, and images become sheets with captions."""

import re
from collections.abc import Sequence

from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK, FAINT = (255, 255, 255), (24, 24, 27), (113, 113, 122)
GAP = 6
CAPTION = 16
"""Height of a line of text in pixels."""


def to_pil(pixels: UInt8[Tensor, "C H W"]) -> Image.Image:
    """Converts one image with 1 channel (grey) or 3 channels (RGB)."""
    array = pixels.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """Scales an image by a whole factor to about `side` pixels, in RGB, with sharp pixels."""
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
    """Sets tiles of one size in rows, with captions below, titles of rows, and a title above."""
    tile_w, tile_h = rows[0][0].size
    font = ImageFont.load_default(12)
    texts = [[_wrapped(text, font, tile_w) for text in row] for row in captions or ()]
    lines = [max((text.count("\n") + 1 for text in row if text), default=0) for row in texts]
    below = [CAPTION * count for count in lines] or [0] * len(rows)
    left = GAP + max((round(font.getlength(text)) + 2 * GAP for text in row_titles), default=0)
    top = GAP + (CAPTION + GAP if title else 0)
    columns = max(len(row) for row in rows)
    tops = [top + sum(below[:r]) + r * (tile_h + GAP) for r in range(len(rows) + 1)]
    size = (left + columns * (tile_w + GAP), tops[-1])
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((GAP, GAP), title, INK, font)
    for r, row in enumerate(rows):
        y = tops[r]
        if row_titles:
            draw.text((GAP, y + tile_h // 2), row_titles[r], FAINT, font, anchor="lm")
        for c, tile in enumerate(row):
            x = left + c * (tile_w + GAP)
            sheet.paste(tile, (x, y))
            if captions:
                place = (x + tile_w // 2, y + tile_h + 2)
                draw.multiline_text(place, texts[r][c], FAINT, font, "ma", 2, "center")
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Breaks the text at hyphens and spaces into lines of at most `width` pixels."""
    lines = [""]
    for part in re.findall(r"[^\s-]+[\s-]*|[\s-]+", text):
        if lines[-1] and font.getlength(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
