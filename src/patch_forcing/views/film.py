"""A film of a sampler at work, as an animated GIF."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.io.image_file import encoded_image, write_image
from patch_forcing.views.images import GAP, INK, PAPER, enlarge, grid_sheet, text_block
from patch_forcing.views.maps import (
    LEVEL,
    MapSource,
    difficulty_scale,
    leads,
    log_difficulty,
    time_scale,
)
from patch_forcing.views.scales import DIFFICULTY, TIME, Scale

Source = TypeVar("Source", bound=MapSource)
Item = TypeVar("Item")

FRAME_MS, LAST_FRAME_MS = 180, 2000
MAX_FRAMES, MAX_BYTES = 60, 2_000_000
"""Longer films leave out frames, evenly."""
PANEL, ALONE = 128, 192
"""About the side of a panel in pixels, and that of a film of one image."""
APART = (
    "Each patch of an image has its own time. Patches that are ahead are closer to the image, and "
    "show the network what surrounds the others."
)
TOGETHER = "This sampler gives all patches the same time, which rises from noise to image."


def film_frames(
    final: Sequence[Image.Image],
    captions: Sequence[str],
    trace: Sequence[Source],
    predict: Callable[[Source], Sequence[Image.Image]],
    patch_size: int,
    *,
    title: str = "",
) -> list[Image.Image]:
    """Draws evaluations in order: the predicted images, and maps of their times and difficulties.

    All frames share their colours. Times are leads over the image's mean; evaluations at which all
    patches are level are left out then, but for the first. Of samplers that give all patches one
    time, the times themselves are shown. The last frame has the finished images, and maps that are
    means over the run. There is no map of difficulty if the model predicts none.

    final, captions: the finished images, and what is written below them. predict: the one-step
    predictions of all images at an evaluation. title: begins the heading of each frame.
    """
    width, height = final[0].size
    lead, logs = leads(trace), log_difficulty(trace)
    together = float(lead.abs().max()) <= LEVEL
    times = torch.stack([evaluation.t for evaluation in trace]) if together else lead
    scale = (
        Scale("time", TIME, 0.0, 1.0, ("0, noise", "1, image")) if together else time_scale(lead)
    )
    maps, values = {"time": scale}, [times]
    if logs is not None:
        maps["difficulty"] = difficulty_scale(logs)
        values.append(logs)
    note = TOGETHER if together else APART
    layout = _Layout(captions, maps, patch_grid((height, width), patch_size), note)
    frames, pictures = [], [*final]
    for k in _shown(lead, together):
        heading = f"{title}evaluation {k + 1} of {len(trace)}, mean time {trace[k].t.mean():.2f}"
        predicted = predict(trace[k])
        pictures += predicted
        frames.append(layout.frame(predicted, [value[k] for value in values], heading))
    means = [value.mean(dim=0) for value in values]
    frames.append(layout.frame(final, means, f"{title}finished; maps are means over the run"))
    palette = _palette(pictures)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


@dataclass(frozen=True)
class _Layout:
    """Where a frame has what: an image beside its maps, two images in a row, legends below.

    maps: their scales by name. grid: rows and columns of patches. note: stands beside the legends.
    """

    captions: Sequence[str]
    maps: Mapping[str, Scale]
    grid: tuple[int, int]
    note: str

    @property
    def group(self) -> int:
        """Panels of an image."""
        return 1 + len(self.maps)

    @property
    def beside(self) -> int:
        """Images in a row."""
        return min(2, len(self.captions))

    @property
    def panel(self) -> int:
        """About the side of a panel in pixels."""
        return PANEL if self.beside > 1 else ALONE

    def frame(
        self, images: Sequence[Image.Image], values: Sequence[Tensor], heading: str
    ) -> Image.Image:
        """values: (B, N) of each map."""
        panels = []
        for i, image in enumerate(images):
            picture = _fitted(image, self.panel)
            panels.append(picture)
            for scale, value in zip(self.maps.values(), values, strict=True):
                panels.append(scale.draw(value[i], self.grid, picture.size))
        names = [text for caption in self.captions for text in (caption, *self.maps)]
        return grid_sheet(
            self._rows(panels),
            captions=self._rows(names),
            title=heading,
            legends=self._legends,
            group=self.group,
        )

    def _rows(self, items: list[Item]) -> list[list[Item]]:
        columns = self.beside * self.group
        return [items[i : i + columns] for i in range(0, len(items), columns)]

    @cached_property
    def _legends(self) -> list[Image.Image]:
        panels = self.beside * self.group
        width = panels * (self.panel + GAP) // (1 + len(self.maps)) - 4 * GAP
        return [
            *(scale.legend(width) for scale in self.maps.values()),
            text_block(self.note, width),
        ]


def save_film(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes an animated GIF that rests on the last frame and starts again, of at most MAX_BYTES.

    Frames are left out, evenly, until it is as small.
    """
    film = _encoded(frames)
    while len(film) > MAX_BYTES and len(frames) > 2:
        frames = [*_evenly(frames[:-1], max(1, len(frames) * 2 // 3)), frames[-1]]
        film = _encoded(frames)
    write_image(film, path)


def _palette(pictures: Sequence[Image.Image]) -> Image.Image:
    """256 colours for all frames: those of the scales, and what the pictures need besides."""
    scales = np.concatenate([table[::8] for table in (TIME, DIFFICULTY)])
    greys = np.linspace(INK, PAPER, 12)
    fixed = np.concatenate([scales, greys]).round().astype(np.uint8)
    pixels = np.concatenate([np.array(_small(picture)).reshape(-1, 3) for picture in pictures])
    rest = 256 - len(fixed)
    seen = Image.fromarray(pixels[None]).quantize(rest, Image.Quantize.MEDIANCUT)
    palette = Image.new("P", (1, 1))
    palette.putpalette(fixed.tobytes() + bytes((seen.getpalette() or [])[: 3 * rest]))
    return palette


def _encoded(frames: Sequence[Image.Image]) -> bytes:
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    rest = list(frames[1:])
    return encoded_image(
        frames[0], "GIF", save_all=True, append_images=rest, duration=durations, loop=0
    )


def _shown(lead: Tensor, together: bool) -> list[int]:
    """The evaluations that have a frame."""
    apart = lead.abs().amax(dim=(1, 2)) > LEVEL
    numbers = [k for k in range(len(lead)) if k == 0 or together or apart[k]]
    return _evenly(numbers, MAX_FRAMES)


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """The first and the last item, and others between them at equal distances."""
    if len(items) <= count:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, count)]


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((64, 64))
    return small


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """The image at about the size of a panel."""
    if max(image.size) <= side:
        return enlarge(image, side)
    factor = side / max(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
