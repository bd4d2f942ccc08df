"""Sheets of samples: the first images side by side, with what they are."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from patch_forcing.views.images import FAINT, enlarge, grid_sheet

MAX_COLUMNS, MAX_SHEET_IMAGES = 10, 100
"""Of a sheet: columns and images."""
TILE = 96
"""About how large a sheet shows an image, in pixels."""


def sample_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], title: str = ""
) -> Image.Image:
    """Draws the first images, in full rows if their number allows, each with its caption below."""
    tiles = [enlarge(image, TILE) for image in images[:MAX_SHEET_IMAGES]]
    widths = range(MAX_COLUMNS, MAX_COLUMNS // 2 - 1, -1)
    columns = next((width for width in widths if len(tiles) % width == 0), MAX_COLUMNS)
    cut = range(0, len(tiles), columns)
    return grid_sheet(
        [tiles[i : i + columns] for i in cut],
        captions=[captions[i : i + columns] for i in cut],
        title=title,
    )


def framed(image: Image.Image) -> Image.Image:
    """The image as large as a sheet shows it, with a thin line around it: white ends at paper."""
    tile = enlarge(image, TILE)
    ImageDraw.Draw(tile).rectangle((0, 0, tile.width - 1, tile.height - 1), outline=FAINT)
    return tile


def run_title(
    sampler: str, guidance_scale: float, nfe: float | None = None, kind: str | None = None
) -> str:
    """How images were made, as a heading of their pictures. kind: of guidance, if not the usual."""
    count = "" if nfe is None else f", {nfe:.4g} evaluations an image"
    guided = f", guidance {guidance_scale:g}" if guidance_scale != 1 else ""
    guided += "" if kind is None else f" ({kind})"
    return f"by {sampler}{count}{guided}"
