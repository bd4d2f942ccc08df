"""Images of words: one line in one of 21 fonts on a gradient, captioned with the word.

Everything follows from (seed, sample id). Words of the held-out list never occur in training.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from benchmarks.words.glyphs import END, FONTS, Glyphs, draw_line, glyphs, set_line
from benchmarks.words.spelling import LETTERS, LONGEST, SHORTEST, caption, words
from patch_forcing.core.random import CountedGenerator
from patch_forcing.data.batch import Batch
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.emoji import gradient
from patch_forcing.models.config import DataInfo

Which = Literal["seen", "unseen", "letters"]
"""Words of training, words held out, or letters at random, which no list of words helps to read."""
SIZES = {"line": (32, 128), "square": (128, 128)}
"""Height and width: a line fills the image's width, or it stands somewhere in it."""
SHARES = {"line": (0.75, 1.0), "square": (0.6, 1.0)}
"""How large a word is, of the largest that fits."""
MARGIN = 2
"""Pixels that stay free around a word."""
DARK, LIGHT = (0.0, 0.4), (0.65, 1.0)
"""Channels of the gradient and of the word, or the other way round: 0.25 apart at least."""


class Drawn(NamedTuple):
    """B images, what they show, and where.

    letters: numbers of letters, END behind the last one. boxes: left, top, right, bottom of each
    letter's ink, in pixels. images: in [−1, 1].
    """

    letters: Int64[Tensor, "B L"]
    font: Int64[Tensor, " B"]
    boxes: Float[Tensor, "B L 4"]
    images: Float[Tensor, "B 3 H W"]


@dataclass(frozen=True)
class WordSource:
    """Images of words, of a size of SIZES."""

    size: str = "line"

    def open(self) -> "WordImages":
        """Draw the letters and list the words. Raises UserError without matplotlib."""
        return WordImages(self.size)


class WordImages:
    """Endless images of words, with captions."""

    captioned = True
    num_classes = 0

    def __init__(self, size: str = "line", which: Which = "seen"):
        self.size, self.which = size, which
        self.shape = (3, *SIZES[size])
        self.info = DataInfo()
        self.place = "images of words"
        self._letters = spelt(() if which == "letters" else words(which == "unseen"))
        self._atlas = {torch.device("cpu"): glyphs()}

    def batch(self, spec: BatchSpec, device: torch.device | str = "cpu") -> Batch:
        """These images with their captions."""
        ids = torch.arange(spec.positions.start, spec.positions.stop)
        letters, font = self.choose(spec.seed, ids)
        drawn = self.draw(spec.seed, ids, device, letters, font)
        return Batch(drawn.images, None, tuple(caption(word) for word in unspelt(letters)))

    def sample_names(self, spec: BatchSpec) -> list[str]:
        """The images' ids."""
        return [str(number) for number in spec.positions]

    def choose(
        self, seed: int, ids: Int64[Tensor, " B"]
    ) -> tuple[Int64[Tensor, "B L"], Int64[Tensor, " B"]]:
        """Words and fonts, on the CPU, where captions are made: a GPU need not be waited for."""
        u = CountedGenerator(seed, ids & 0xFFFFFFFF).fork("which word").uniform(3 + LONGEST)
        font = (u[:, 0] * len(FONTS)).long()
        if self.which != "letters":
            return self._letters[(u[:, 1] * len(self._letters)).long()], font
        letters = (u[:, 3:] * len(LETTERS)).long()
        length = SHORTEST + (u[:, 2] * (LONGEST - SHORTEST + 1)).long()
        return letters.where(torch.arange(LONGEST) < length[:, None], END), font

    def draw(
        self,
        seed: int,
        ids: Int64[Tensor, " B"],
        device: torch.device | str = "cpu",
        letters: Int64[Tensor, "B L"] | None = None,
        font: Int64[Tensor, " B"] | None = None,
    ) -> Drawn:
        """Images of these ids; of other words, or in other fonts, if they are given."""
        chosen = self.choose(seed, ids)
        letters = (chosen[0] if letters is None else letters).to(device, non_blocking=True)
        font = (chosen[1] if font is None else font).to(device, non_blocking=True)
        generator = CountedGenerator(seed, ids & 0xFFFFFFFF, device=device).fork("word image")
        u = generator.uniform(14)
        atlas, size = self._atlas_on(u.device), SIZES[self.size]
        line = set_line(atlas, font, letters)
        em, start = self._place(atlas, font, line.extent, u[:, :3])
        ink = draw_line(atlas, font, letters, line, start, em, size)
        first, last, colour = _colours(u[:, 3], u[:, 4:13])
        scene = gradient(size, u[:, 13], first, last)
        scene = scene + ink[:, None] * (colour[:, :, None, None] - scene)
        boxes = start.repeat(1, 2)[:, None] + em[:, None, None] * line.boxes
        return Drawn(letters, font, boxes, (2 * scene - 1).clamp(-1, 1))

    def _place(
        self,
        atlas: Glyphs,
        font: Int64[Tensor, " B"],
        extent: Float[Tensor, "B 4"],
        u: Float[Tensor, "B 3"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 2"]]:
        """Pixels of the em, and where the pen starts, so that all ink is inside the margin."""
        height, width = SIZES[self.size]
        free = torch.tensor([width, height], device=u.device) - 2.0 * MARGIN
        tallest = (atlas.ink[..., 3].amax(1) - atlas.ink[..., 1].amin(1))[font]  # of all letters
        most = torch.minimum(free[0] / (extent[:, 2] - extent[:, 0]), free[1] / tallest)
        low, high = SHARES[self.size]
        em = (low + (high - low) * u[:, 0]) * most
        word = em[:, None] * (extent[:, 2:] - extent[:, :2])
        corner = MARGIN + u[:, 1:] * (free - word)
        return em, corner - em[:, None] * extent[:, :2]

    def _atlas_on(self, device: torch.device) -> Glyphs:
        """Copied to a device once: every copy makes a GPU wait."""
        if device not in self._atlas:
            self._atlas[device] = glyphs().to(device)
        return self._atlas[device]


def spelt(listed: tuple[str, ...]) -> Int64[Tensor, "M L"]:
    """Words as numbers of letters."""
    rows = [[LETTERS.index(letter) for letter in word] for word in listed]
    padded = [row + [END] * (LONGEST - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.int64).view(-1, LONGEST)


def unspelt(letters: Int64[Tensor, "B L"]) -> list[str]:
    """Numbers of letters as words."""
    return ["".join(LETTERS[k] for k in row if k != END) for row in letters.tolist()]


def _colours(u: Float[Tensor, " B"], v: Float[Tensor, "B 9"]) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends of the gradient, and the word's colour, (B, 3) each."""
    dark = DARK[0] + (DARK[1] - DARK[0]) * v
    light = LIGHT[0] + (LIGHT[1] - LIGHT[0]) * v
    on_dark = (u < 0.5)[:, None]
    ground, colour = torch.where(on_dark, dark, light), torch.where(on_dark, light, dark)
    return ground[:, :3], ground[:, 3:6], colour[:, 6:]
