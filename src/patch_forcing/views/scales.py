"""Colour scales: which number has which colour, and the labelled bar that says so."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from patch_forcing.views.images import CAPTION, FAINT, INK, PAPER, text_font, wrapped

# Anchors of two colour maps of even lightness (viridis and magma; van der Walt & Smith, CC0).
_VIRIDIS = "440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725"
_MAGMA = "000004 1d1147 51127c 822681 b63679 e65164 fb8861 fec287 fcfdbf"


def _table(anchors: str) -> np.ndarray:
    colours = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()])
    at = np.linspace(0, 255, len(colours))
    return np.stack([np.interp(np.arange(256), at, channel) for channel in colours.T], axis=1)


TIME, DIFFICULTY = _table(_VIRIDIS), _table(_MAGMA)
"""Tables of 256 colours. Dark is noise or easy, bright is data or hard."""
BAR = 12
"""Height of the bar of a scale in pixels."""


def patch_map(
    values: Float[Tensor, " N"],
    grid: tuple[int, int],
    colours: np.ndarray,
    bounds: tuple[float, float],
) -> Image.Image:
    """Draws one pixel for each patch. The bounds take the first and the last colour."""
    low, high = bounds
    unit = (values.cpu().reshape(grid) - low) / max(high - low, 1e-12)
    return Image.fromarray(
        colours[(unit.clamp(0, 1) * 255).round().long().numpy()].round().astype(np.uint8)
    )


@dataclass(frozen=True)
class Scale:
    """A colour scale from `low` to `high`, shared by all maps of a picture.

    meaning: what is shown, in a few words. ends: what is written at both ends of the bar.
    root: of signed values, colours go by the square root, so that small ones differ visibly; 0 has
    the colour in the middle of a scale from −high to high.
    """

    meaning: str
    colours: np.ndarray
    low: float
    high: float
    ends: tuple[str, str]
    root: bool = False

    def draw(
        self, values: Float[Tensor, " N"], grid: tuple[int, int], size: tuple[int, int]
    ) -> Image.Image:
        """The map of an image's patches, `size` pixels wide and high."""
        bounds = (self.low, self.high)
        if self.root:
            values = values.sign() * (values.abs() / max(self.high, 1e-12)).sqrt()
            bounds = (-1.0, 1.0)
        small = patch_map(values, grid, self.colours, bounds)
        return small.resize(size, Image.Resampling.NEAREST)

    def legend(self, width: int) -> Image.Image:
        """The meaning, the bar, and what its ends are, `width` pixels wide."""
        font, small = text_font(), text_font(11)
        meaning = wrapped(self.meaning, font, width)
        top = CAPTION * (meaning.count("\n") + 1)
        legend = Image.new("RGB", (width, top + BAR + CAPTION), PAPER)
        draw = ImageDraw.Draw(legend)
        draw.multiline_text((0, 0), meaning, INK, font, spacing=2)
        ramp = np.linspace(0, 255, width).round().astype(int)
        colours = self.colours[ramp].round().astype(np.uint8)
        legend.paste(Image.fromarray(np.repeat(colours[None], BAR, axis=0)), (0, top))
        draw.text((0, top + BAR + 1), self.ends[0], FAINT, small)
        if self.root:
            draw.text((width // 2, top + BAR + 1), "0", FAINT, small, anchor="ma")
        draw.text((width, top + BAR + 1), self.ends[1], FAINT, small, anchor="ra")
        return legend
