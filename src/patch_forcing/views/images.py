"""Tensors become PIL images, and images become sheets with captions."""

import re
from collections.abc import Sequence
from typing import Any

from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK, FAINT = (255, 255, 255), (24, 24, 27), (92, 92, 102)
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


def text_font(size: int = 12) -> Any:
    """The font of all pictures: the one that Pillow brings."""
    return ImageFont.load_default(size)


def wrapped(text: str, font: Any, width: int) -> str:
    """Breaks the text at hyphens and spaces into lines of at most `width` pixels."""
    lines = [""]
    for part in re.findall(r"[^\s-]+[\s-]*|[\s-]+", text):
        if lines[-1] and font.getlength(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def grid_sheet(
    rows: Sequence[Sequence[Image.Image]],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    heads: Sequence[Image.Image] = (),
    title: str = "",
    legends: Sequence[Image.Image] = (),
    group: int = 1000,
) -> Image.Image:
    """Sets tiles of one size in rows, with captions below and a title above.

    heads: drawn to the left of each row. legends: drawn side by side below all rows.
    group: so many columns belong together; more space is left after them.
    """
    tile_w, tile_h = rows[0][0].size
    font = text_font()
    texts = [[wrapped(text, font, tile_w) for text in row] for row in captions or ()]
    lines = [max((text.count("\n") + 1 for text in row if text), default=0) for row in texts]
    below = [CAPTION * count for count in lines] or [0] * len(rows)
    left = GAP + max((head.width + GAP for head in heads), default=0)
    columns = max(len(row) for row in rows)
    lefts = [left + c * (tile_w + GAP) + c // group * 2 * GAP for c in range(columns)]
    width = lefts[-1] + tile_w + GAP
    title = wrapped(title, font, width - 2 * GAP) if title else ""
    top = GAP + (CAPTION * (title.count("\n") + 1) + GAP if title else 0)
    heights = [max(tile_h, heads[r].height if heads else 0) for r in range(len(rows))]
    tops = [top + sum(below[:r]) + sum(heights[:r]) + r * GAP for r in range(len(rows) + 1)]
    height = tops[-1] + max((legend.height + GAP for legend in legends), default=0)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((GAP, GAP), title, INK, font, spacing=2)
    for r, row in enumerate(rows):
        y = tops[r]
        if heads:
            sheet.paste(heads[r], (GAP, y + (heights[r] - heads[r].height) // 2))
        for c, tile in enumerate(row):
            sheet.paste(tile, (lefts[c], y))
            if captions:
                place = (lefts[c] + tile_w // 2, y + tile_h + 2)
                draw.multiline_text(place, texts[r][c], FAINT, font, "ma", 2, "center")
    x = GAP
    for legend in legends:
        sheet.paste(legend, (x, tops[-1]))
        x += legend.width + 4 * GAP
    return sheet


def text_block(text: str, width: int) -> Image.Image:
    """A text in lines of at most `width` pixels."""
    font = text_font()
    text = wrapped(text, font, width)
    block = Image.new("RGB", (width, CAPTION * (text.count("\n") + 1)), PAPER)
    ImageDraw.Draw(block).multiline_text((0, 0), text, INK, font, spacing=2)
    return block
