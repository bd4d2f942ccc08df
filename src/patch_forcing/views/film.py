"""A film of a sampler at work, as an animated GIF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.patches import patch_grid
from patch_forcing.io.image_file import save_image
from patch_forcing.views.images import enlarge, grid_sheet
from patch_forcing.views.maps import (
    DIFFICULTY,
    TIME,
    MapSource,
    difficulty_bounds,
    log_difficulty,
    patch_map,
)

FRAME_MS, LAST_FRAME_MS = 150, 2500
_TITLES = ("prediction", "time of each patch", "difficulty")


def film_frames(
    predictions: Sequence[Sequence[Image.Image]],
    trace: Sequence[MapSource],
    final: Sequence[Image.Image],
    patch_size: int,
    *,
    title: str = "",
    tile: int = 64,
) -> list[Image.Image]:
    """Draws one frame for each evaluation: predictions, times and difficulties of all images.

    predictions: the one-step predictions of all images, for each evaluation.
    trace: the times and difficulties of each evaluation.
    final: the finished images, which the last frame shows.
    title: begins the heading of each frame. tile: the side of an image in pixels.
    """
    width, height = final[0].size
    grid = patch_grid((height, width), patch_size)
    size = enlarge(final[0], tile).size
    logs = log_difficulty(trace)
    bounds = difficulty_bounds(trace)

    def maps(
        values: Float[Tensor, "B N"], colours: np.ndarray, limits: tuple[float, float]
    ) -> list[Image.Image]:
        tiles = (patch_map(value, grid, colours, limits) for value in values)
        return [small.resize(size, Image.Resampling.NEAREST) for small in tiles]

    frames = []
    for k, evaluation in enumerate(trace):
        rows = [
            [enlarge(image, tile) for image in predictions[k]],
            maps(evaluation.t, TIME, (0.0, 1.0)),
            maps(logs[k], DIFFICULTY, bounds),
        ]
        heading = f"{title}evaluation {k + 1} of {len(trace)}"
        frames.append(grid_sheet(rows, row_titles=_TITLES, title=heading))
    rows = [
        [enlarge(image, tile) for image in final],
        maps(trace[-1].t * 0 + 1, TIME, (0.0, 1.0)),
        maps(logs[-1], DIFFICULTY, bounds),
    ]
    frames.append(grid_sheet(rows, row_titles=_TITLES, title=f"{title}done"))
    return frames


def save_film(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes an animated GIF that pauses on the last frame and starts again."""
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    rest = list(frames[1:])
    save_image(frames[0], path, save_all=True, append_images=rest, duration=durations, loop=0)
